"""What triggers have in common: the workflow that they start, its input, and in
whose name it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Connection

from mistral.api import uploads
from mistral.api.auth import as_kept, params_as_kept
from mistral.api.rest import Call, is_uuid
from mistral.context import Context
from mistral.db import definitions, trusts
from mistral.db.declared import Making
from mistral.db.owned import Author
from mistral.errors import Conflict, InvalidInput, MistralError, NotFound
from mistral.lang import appointments, start_params
from mistral.lang.parse import Signature
from mistral.publisher_entries import shown

Row = Mapping[str, Any]

Result = TypeVar("Result")


def shown_values(row: Row) -> Row:
    """A trigger's row as answers have it."""
    if "workflow_params" not in row:
        return row
    return {**row, "workflow_params": shown(row["workflow_params"])}


def workflow_of(call: Call, connection: Connection, identifier: str) -> Row:
    """The workflow that a trigger of the caller's project starts.

    By UUID, or by name in the default namespace. Administrators, too, mean what
    their project sees: the trigger's runs belong to it (Q-33).

    :raises NotFound: there is none.
    """
    project = call.context.project_id
    if is_uuid(identifier):
        row = definitions.find_workflow(
            connection, id=identifier.lower(), project_id=project
        )
    else:
        row = definitions.find_workflow(
            connection, name=identifier, namespace="", project_id=project
        )
    if row is None:
        raise NotFound(f"No workflow '{identifier}' in namespace ''.")
    return row


def check_input(workflow: Row, given: Mapping[str, Any], *, whole: bool = True) -> None:
    """
    :param whole: no more is given when the trigger fires.
    :raises InvalidInput: missing or unexpected names.
    """
    declared = Signature.declared(workflow["spec"].get("input"))
    missing = sorted(declared.required - set(given)) if whole else []
    unexpected = [name for name in given if not declared.takes(name)]
    if missing or unexpected:
        raise InvalidInput.listing(
            workflow["name"], "WorkflowSpec", missing, unexpected
        )


def params_to_keep(
    call: Call, params: Mapping[str, Any], context: Context, before: Any = None
) -> dict[str, Any]:
    """``workflow_params`` as a trigger's row has them. Nobody is there to be told when
    it fires, so what no start can take is refused now.

    :param context: whose trigger it is.
    :param before: what these replace.
    :raises BadRequest: what no start can take (``start_params``), or what claims to be
        sealed.
    """
    start_params.check(params)
    appointments.of(params, call.services.clock.now())
    return params_as_kept(params, context, call.services.keyring, before=before)


def with_declared(call: Call, work: Callable[[Connection, Author], Result]) -> Result:
    """Do what stores or changes definitions, and with them the triggers of their
    texts, in one transaction.

    Where callers have tokens of Keystone, each new trigger needs a trust. How many
    there will be shows a rehearsal, which also finds what is refused before anybody is
    asked for a trust.

    :param work: may be repeated.
    :raises Conflict: others changed the same definitions meanwhile.
    """
    database = call.services.database
    made: list[dict[str, Any]] = []
    with ExitStack() as stack:
        if call.services.delegation is not None:
            for _ in range(_rehearse(call, work)):
                made.append(stack.enter_context(owned(call, _unchecked)))

        def attempt(connection: Connection) -> Result:
            left = list(made)
            return work(connection, _author(call, connection, left))

        # An engine may be firing one of them just now.
        return database.replay(attempt)


def _unchecked(connection: Connection) -> None:
    """The rehearsal has seen to that."""


class _Rehearsed(Exception):
    pass


def _rehearse(call: Call, work: Callable[[Connection, Author], Any]) -> int:
    """How many triggers would be made; nothing is stored."""
    asked: list[int] = []

    def count() -> dict[str, Any]:
        asked.append(1)
        return {"id": call.services.new_id()}

    def attempt(connection: Connection) -> None:
        asked.clear()
        work(connection, _with_making(call, connection, count))
        raise _Rehearsed

    with suppress(_Rehearsed):
        call.services.database.replay(attempt)
    return len(asked)


def _author(call: Call, connection: Connection, left: list[dict[str, Any]]) -> Author:
    def own() -> dict[str, Any]:
        if call.services.delegation is None:
            return {"id": call.services.new_id()}
        if not left:
            raise Conflict("The definition was changed meanwhile: try again.")
        return left.pop()

    return _with_making(call, connection, own)


def _with_making(
    call: Call, connection: Connection, own: Callable[[], dict[str, Any]]
) -> Author:
    def kept(params: Mapping[str, Any], before: Any) -> Mapping[str, Any]:
        return params_to_keep(call, params, call.context, before)

    most = call.services.settings.event_engine.max_sources
    author = uploads.author_of(call, connection)
    return replace(author, triggers=Making(own, kept, most))


@contextmanager
def owned(call: Call, check: Callable[[Connection], Any]) -> Iterator[dict[str, Any]]:
    """The columns ``id`` and ``context`` of a trigger that is being made.

    Where callers have tokens of Keystone, its runs get theirs by a trust (§ 4.4),
    which ends if no trigger comes of it.

    :param check: refuses what cannot become a trigger, before anybody is asked for
        a trust.
    :raises Forbidden: the caller cannot make a trust.
    :raises Unavailable: the identity service does not answer.
    """
    services = call.services
    trigger_id: str = services.new_id()
    whose = call.context.for_later()
    if services.delegation is None:
        yield {"id": trigger_id, "context": whose.to_dict()}
        return
    with services.database.read() as connection:
        check(connection)
    trust_id = services.delegation.make(call.context)
    context = as_kept(replace(whose, trust_id=trust_id), services.keyring)
    try:
        with services.database.begin() as connection:
            now = services.database.now(connection)
            project_id, sealed = whose.project_id, context["sealed"]
            trusts.expect(connection, trigger_id, project_id, sealed, now)
    except Exception:
        with suppress(MistralError):
            services.delegation.drop(trust_id)
        raise
    try:
        yield {"id": trigger_id, "context": context}
    except Exception:
        # if this fails, too, the trust is looked at some minutes later
        with suppress(Exception), services.database.begin() as connection:
            trusts.release(connection, trigger_id)
        raise
