"""Commands by which somebody from outside tells a workflow something: messages, events
and results of asynchronous actions."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import click
from rich.markup import escape

from mistral import errors
from mistral.cli.output import Output
from mistral.cli.rest import Service
from mistral.cli.session import Session, command
from mistral.cli.texts import read_json, read_secret

SOURCES: Final = "event_sources"

TRIGGERS: Final = "event_triggers"

SIGNATURE: Final = "X-Hub-Signature-256"
"""Where a signature stands unless the source names another header."""

KINDS: Final = ("hmac", "token")
ENDS: Final = ("SUCCESS", "ERROR", "CANCELLED")

CALLBACKS: Final = "/v2/callbacks/"

_SHOWN: Final = ("id", "name", "kind", "signature_header", "created_at")
_TRIGGER: Final = (
    "id", "name", "exchange", "topic", "event", "workflow_id", "message",
    "definition_type",
)  # fmt: skip
_FIRING: Final = (
    "created_at", "event_id", "outcome", "state", "reached", "execution_id", "reason",
)  # fmt: skip


@command()
@click.argument("execution_id", metavar="ID")
@click.argument("name")
@click.argument("payload", required=False)
@click.option("--key", help="Tells messages of one name apart; the task names it.")
@click.option("--id", "message_id", help="Your id: a repeat changes nothing.")
def send(
    session: Session,
    execution_id: str,
    name: str,
    payload: str | None,
    key: str | None,
    message_id: str | None,
) -> None:
    """Send the message NAME to a running execution.

    PAYLOAD is JSON, a text or @file; the task that waits for the message (std.wait_for)
    has it as its result. Where none waits yet, it is kept.
    """
    body = {"name": name, "payload": read_json(payload, "PAYLOAD")}
    body |= {"key": key} if key is not None else {}
    body |= {"id": message_id} if message_id is not None else {}
    found = session.service.post("executions", execution_id, "messages", body=body)
    if not session.output.for_people:
        session.output.data(found)
    elif found.get("taken_by"):
        taker = escape(str(found["taken_by"]))
        session.output.say(f"taken by the action execution {taker}")
    else:
        session.output.say("kept until a task waits for it")


@command()
@click.argument("execution_id", metavar="ID")
def messages(session: Session, execution_id: str) -> None:
    """Messages to an execution that no task has taken yet, the oldest first."""
    found = session.service.get("executions", execution_id, "messages")["messages"]
    rows = found
    if session.output.for_people:
        rows = [
            {**row, "payload": json.dumps(row.get("payload"), ensure_ascii=False)}
            for row in found
        ]
    columns = ("id", "name", "key", "payload", "created_at")
    session.output.table(rows, columns, "no messages are kept")


@command()
@click.argument("source", required=False)
@click.option(
    "--create",
    "kind",
    type=click.Choice(KINDS),
    help="Make it: requests are signed, or bring a token.",
)
@click.option(
    "--secret", help="With --create hmac: the key, or @file (default: a new one)."
)
@click.option(
    "--signature-header",
    "header",
    help=f"With --create hmac: where signatures stand (default: {SIGNATURE}).",
)
@click.option("--delete", is_flag=True, help="Take nothing from it any more.")
def sources(
    session: Session,
    source: str | None,
    kind: str | None,
    secret: str | None,
    header: str | None,
    delete: bool,
) -> None:
    """Who may send events over HTTP: all, or one SOURCE (name or id).

    The secret of a source is shown when it is made, and never again.
    """
    service, output = session.service, session.output
    if kind is not None and delete:
        raise errors.BadRequest("--create and --delete exclude each other")
    if (secret is not None or header is not None) and kind != "hmac":
        option = "--signature-header" if secret is None else "--secret"
        raise errors.BadRequest(f"{option} is for --create hmac")
    if source is None and (delete or kind is not None):
        option = "--delete" if delete else "--create"
        raise errors.BadRequest(f"{option} needs the name of a SOURCE")
    if source is None:
        found = list(service.all(SOURCES, SOURCES, sort_keys="name,id"))
        output.table(found, _SHOWN, "no event sources")
    elif delete:
        service.delete(SOURCES, source)
        if output.for_people:
            output.say(f"{escape(source)} is deleted")
        else:
            output.data({"deleted": source})
    elif kind is None:
        found = [service.get(SOURCES, source)]
        if output.for_people:
            output.table(found, _SHOWN, "")
        else:
            output.data(found[0])
    else:
        body = {"name": source, "kind": kind}
        given = read_secret(secret, "--secret")
        body |= {} if given is None else {"secret": given}
        body |= {} if header is None else {"signature_header": header}
        _show_new(service, output, service.post(SOURCES, body=body))


def _show_new(service: Service, output: Output, made: Mapping[str, Any]) -> None:
    if not output.for_people:
        output.data(made)
        return
    output.table([made], _SHOWN, "")
    output.say(f"secret:  {escape(str(made['secret']))}  (not shown again)")
    output.say(f"address: {escape(service.root + str(made['path']))}")


@command()
@click.argument("source")
@click.argument("payload", required=False)
@click.option("--event", default="", help="Its type, which event triggers name.")
@click.option("--id", "event_id", help="Your id: a repeat changes nothing.")
@click.option(
    "--secret",
    envvar="MISTRAL_EVENT_SECRET",
    show_envvar=True,
    help="Of kind hmac: the key of signatures, or @file.",
)
@click.option(
    "--token",
    envvar="MISTRAL_EVENT_TOKEN",
    show_envvar=True,
    help="Of kind token: the token, or @file.",
)
@click.option("--signature-header", "header", help="If SOURCE is an id: where to sign.")
def tell(
    session: Session,
    source: str,
    payload: str | None,
    event: str,
    event_id: str | None,
    secret: str | None,
    token: str | None,
    header: str | None,
) -> None:
    """Tell an event as SOURCE (name or id).

    PAYLOAD is JSON, a text or @file. Event triggers of the source's project with the
    exchange http and the source's name as topic hear it. Whoever sees no sources gives
    the id.
    """
    if (secret is None) == (token is None):
        raise errors.BadRequest(
            "one of --secret (which signs) and --token is needed, and no more than one"
        )
    kind = "hmac" if token is None else "token"
    if header is not None and kind == "token":
        raise errors.BadRequest("--signature-header is for --secret")
    if not _is_uuid(source):
        found = session.service.get(SOURCES, source)
        if found["kind"] != kind:
            option = "--secret" if found["kind"] == "hmac" else "--token"
            raise errors.BadRequest(
                f"the source {source} is of kind {found['kind']}: give its {option}"
            )
        source, header = found["id"], header or found["signature_header"]
    body = _encoded(read_json(payload, "PAYLOAD"), payload)
    key = read_secret(secret, "--secret")
    bearer = read_secret(token, "--token")
    if key is not None:
        digest = hmac.new(_bytes(key), body, hashlib.sha256).hexdigest()
        headers = {header or SIGNATURE: f"sha256={digest}"}
    else:
        headers = {"X-Event-Token": str(bearer)}
    if event_id is not None:
        headers["Idempotency-Key"] = event_id
    _must_be_headers(headers)
    answer = session.service.post_bytes(
        "events", source, body=body, headers=headers, event=event
    )
    if session.output.for_people:
        shown = f"{escape(str(answer['event']))}  {escape(str(answer['id']))}"
        session.output.say(f"taken: {shown}")
    else:
        session.output.data(answer)


@command()
@click.argument("address")
@click.argument("result", required=False)
@click.option(
    "--state",
    type=click.Choice(ENDS, case_sensitive=False),
    help="What has become of it (default: SUCCESS).",
)
def complete(
    session: Session, address: str, result: str | None, state: str | None
) -> None:
    """Complete an asynchronous action by its signed ADDRESS.

    The address is what callback_url() gave the action; RESULT is JSON, a text or @file:
    its result, or its error. No other right is needed.
    """
    parts = urlsplit(address)
    before, found, action_id = parts.path.partition(CALLBACKS)
    query = dict(parse_qsl(parts.query))
    if not found or not action_id or not {"expires", "signature"} <= set(query):
        raise errors.BadRequest(
            "expected an address such as"
            f" http://HOST:8989{CALLBACKS}ID?expires=…&signature=…"
            " (put it in quotes: your shell takes & for its own)"
        )
    if state is not None:
        query["state"] = state.upper()
    service = session.service
    if parts.netloc:
        # Whoever was given an address need not know the service otherwise.
        service = Service(f"{parts.scheme}://{parts.netloc}{before}/v2")
    body = _encoded(read_json(result, "RESULT"), result)
    service.post_bytes("callbacks", action_id, body=body, headers={}, **query)
    end = query.get("state", ENDS[0])
    if session.output.for_people:
        session.output.say(f"{escape(action_id)} is told: {escape(end)}")
    else:
        session.output.data({"id": action_id, "state": end})


@command()
@click.argument("trigger", required=False)
@click.option(
    "-n",
    "--last",
    "count",
    type=click.IntRange(1, 100),
    default=10,
    show_default=True,
    help="How many events.",
)
def events(session: Session, trigger: str | None, count: int) -> None:
    """Event triggers, or what came of the last events that one TRIGGER (name or id)
    heard, the latest first."""
    service, output = session.service, session.output
    if trigger is None:
        found = service.all(TRIGGERS, TRIGGERS, sort_keys="name,id")
        output.table(list(found), _TRIGGER, "no event triggers")
        return
    if not _is_uuid(trigger):
        trigger = _trigger_named(service, trigger)
    rows = service.get(TRIGGERS, trigger, "firings", limit=count)["firings"]
    output.table(
        [{**row, "state": row["state"] or ""} for row in rows]
        if output.for_people
        else rows,
        _FIRING,
        "it has heard nothing yet",
    )


def _trigger_named(service: Service, name: str) -> str:
    """
    :raises NotFound: there is none of that name.
    :raises BadRequest: there are several.
    """
    ids = [row["id"] for row in service.all(TRIGGERS, TRIGGERS, name=name)]
    if not ids:
        raise errors.NotFound(f"there is no event trigger with the name {name}")
    if len(ids) > 1:
        raise errors.BadRequest(
            f"several event triggers have the name {name}, give an id: {', '.join(ids)}"
        )
    return str(ids[0])


COMMANDS: Final = (send, messages, sources, tell, complete, events)


def _is_uuid(text: str) -> bool:
    try:
        return len(text) == 36 and bool(UUID(text))
    except ValueError:
        return False


def _encoded(value: Any, given: str | None) -> bytes:
    """As JSON; nothing where nothing was given."""
    if given is None:
        return b""
    return json.dumps(value).encode()


def _bytes(text: str) -> bytes:
    """As they stood on the command line."""
    return text.encode("utf-8", "surrogateescape")


def _must_be_headers(headers: Mapping[str, str]) -> None:
    """:raises BadRequest: one would end the header, or cannot be sent in one."""
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise errors.BadRequest(
                f"what goes into the header {name} can only hold printable ASCII"
            )
