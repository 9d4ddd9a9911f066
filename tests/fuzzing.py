"""schemathesis against the API: requests that its document describes, and such that
it forbids. Every answer has to be one of the document, and none a failure of ours.

``FUZZ_EXAMPLES`` says how many random requests each operation gets and how many random
sequences of operations follow, ``FUZZ_SEED`` where they begin: a run ends when it has
made them, on a fast machine as on a slow one. A failure names the seed and the request.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import schemathesis
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "10"))
SEED: Final = int(os.environ.get("FUZZ_SEED", "1"))

REFUSALS: Final = (
    "400", "401", "403", "404", "405", "406", "409", "412", "413", "414", "415", "423",
    "429", "431",
)  # fmt: skip
"""What a request that the document forbids may be answered with."""

Ask = Callable[[str, str, Any], tuple[int, Any]]
"""(method, path, body) → status and JSON."""

Known = Mapping[str, Sequence[str]]
"""Ids and names of what there is, by collection."""

WORKFLOWS: Final = """
version: '2.0'
hello:
  input: [{person: Bob}]
  output: {said: <% $.person %>}
  tasks:
    say: {action: std.echo output=<% $.person %>, publish: {said: <% task().result %>}}
failing:
  tasks:
    fail: {action: std.fail}
waiting:
  tasks:
    wait: {action: std.async_noop}
above:
  tasks:
    many: {workflow: hello, with-items: i in <% range(3) %>}
    below: {workflow: failing}
"""
ACTIONS: Final = "version: '2.0'\n{}: {{base: std.echo, base-input: {{output: x}}}}\n"
WORKBOOK: Final = "version: '2.0'\nname: {}\nactions:\n  a: {{base: std.noop}}\n"
SOURCE: Final = """
from mistral_lib import actions
class Doubler(actions.Action):
    def run(self, context):
        return 2
"""

TIMES: Final = 4
"""So many of each thing: requests delete some."""


def furnish(ask: Ask, *, shares: bool = False) -> Known:
    """Make some of everything, so that requests find it.

    :param shares: there are projects to share workflows with.
    """
    known: dict[str, list[str]] = {}

    def made(collection: str, path: str, body: Any, *keys: str) -> Any:
        status, answer = ask("POST", f"/v2/{collection}{path}", body)
        assert status == 201, (collection, status, answer)
        found = answer.get(collection, [answer])
        for key in keys:
            known.setdefault(collection, []).extend(each[key] for each in found)
        return found

    workflows = made("workflows", "", WORKFLOWS, "id", "name")
    made("workflows", "?namespace=n", WORKFLOWS, "id")
    for number in range(TIMES):
        name = f"x{number}"
        made("actions", "", ACTIONS.format(name), "name", "id")
        made("actions", "?namespace=n", ACTIONS.format(name))
        for where in ("", "?namespace=n"):
            made("workbooks", where, WORKBOOK.format(name), "name")
        made("environments", "", {"name": name}, "name")
        made("code_sources", f"?name={name}", SOURCE, "id", "name")
        made("code_sources", f"?name={name}&namespace=n", SOURCE)
        dynamic = {"name": f"d{name}", "class_name": "Doubler"}
        dynamic["code_source_name"] = name
        made("dynamic_actions", "", dynamic, "id", "name")
        made("dynamic_actions", "", {**dynamic, "namespace": "n"})
        first = workflows[0]["id"]
        about = {"name": name, "workflow_id": first}
        made("cron_triggers", "", {**about, "pattern": "0 0 1 1 *"}, "id", "name")
        about |= {"exchange": "e", "topic": "t", "event": name}
        made("event_triggers", "", about, "id")
        for workflow in workflows:
            body = {
                "workflow_id": workflow["id"],
                "id": f"run-{name}-{workflow['name']}",
            }
            made("executions", "?wait=2", body, "id")
        for action in ("std.noop", "std.async_noop"):
            params = {"save_result": True}
            made("action_executions", "", {"name": action, "params": params}, "id")
        if shares:
            path = f"/{first}/members"
            status, _ = ask("POST", f"/v2/workflows{path}", {"member_id": name})
            assert status == 201
            known.setdefault("projects", []).append(name)
    for collection in ("tasks", "action_executions"):
        _, answer = ask("GET", f"/v2/{collection}", None)
        found = [each["id"] for each in answer[collection]]
        known[collection] = [*known.get(collection, ()), *found]
    return known


# -- The document, as requests are made of it ----------------------------------

_IN_BODIES: Final = {
    "workflow_id": "workflows",
    "workflow_name": "workflows",
    "source_execution_id": "executions",
    "code_source_id": "code_sources",
    "code_source_name": "code_sources",
}
_RUNNABLE: Final = ["std.echo", "std.noop", "std.fail", "std.async_noop", "x1"]


def furnished(document: dict[str, Any], known: Known) -> dict[str, Any]:
    """The document, where ids and names may also be those of what there is."""
    document = deepcopy(document)
    for path, operation in _operations(document):
        collection = path.split("/")[2] if path.startswith("/v2/") else ""
        for parameter in operation.get("parameters", ()):
            if parameter.get("in") == "path":
                words = _words(parameter["name"], collection, known)
                parameter["schema"] = _offered(parameter["schema"], words)
        if "requestBody" in operation:
            _offer_in_body(document, operation["requestBody"], known)
    _tell_json(document)
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for path, item in document["paths"].items():
        for operation in item.values():
            yield path, operation


def _words(name: str, collection: str, known: Known) -> Sequence[str]:
    if name == "namespace":
        return ["n"]
    special = {"project": "projects", "action_id": "action_executions"}
    return known.get(special.get(name, collection), ())


def _offered(schema: Any, words: Sequence[str]) -> Any:
    return {"anyOf": [{"enum": list(words)}, schema]} if words else schema


def _offer_in_body(document: dict[str, Any], body: Any, known: Known) -> None:
    reference = body["content"].get("application/json", {}).get("schema", {})
    name = reference.get("$ref", "").rpartition("/")[2]
    if not name:
        return
    properties = document["components"]["schemas"][name]["properties"]
    for attribute, collection in _IN_BODIES.items():
        if attribute in properties:
            words = known.get(collection, ())
            properties[attribute] = _offered(properties[attribute], words)
    if name == "ActionRun":
        properties["name"] = _offered(properties["name"], _RUNNABLE)


def _tell_json(schema: Any) -> None:
    """Texts that hold JSON would hardly ever be met by chance."""
    if isinstance(schema, dict):
        if "contentSchema" in schema:
            schema["format"] = "json-object"
        for value in schema.values():
            _tell_json(value)
    elif isinstance(schema, list):
        for value in schema:
            _tell_json(value)


schemathesis.openapi.format(
    "json-object",
    st.dictionaries(
        st.sampled_from(["person", "output", "env", "run_sync", "save_result", ""]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
        max_size=2,
    ).map(json.dumps),
)


def load(
    document: dict[str, Any],
    *,
    app: Any = None,
    url: str = "",
    maintenance: bool = False,
) -> Any:
    """The schema for a :class:`Run`.

    :param app: a WSGI application that is asked; default: the server at ``url``.
    :param maintenance: ``/maintenance`` alone, or everything but its PUT, which would
        hold up all else.
    """
    settings: dict[str, Any] = {
        "seed": SEED,
        "continue-on-failure": True,
        "generation": {"max-examples": EXAMPLES, "database": "none"},
        "phases": {"coverage": {"generate-duplicate-query-parameters": True}},
        "checks": {
            # A request of the right shape can still be refused: there is no such
            # workflow, or a text is no definition.
            "positive_data_acceptance": {"enabled": False},
            # It knows a deleted object by its name alone: one of another namespace
            # is something else, and a later request may make the name again.
            "use_after_free": {"enabled": False},
            "negative_data_rejection": {"expected-statuses": list(REFUSALS)},
        },
    }
    if maintenance:
        # nothing there leads to anything else
        settings["phases"]["stateful"] = {"enabled": False}
    if url:
        settings["base-url"] = url
    schema = schemathesis.openapi.from_dict(
        document, config=SchemathesisConfig.from_dict(settings)
    )
    if app is not None:
        schema.app = _unpacked(app)
        schema.location = "/v2/openapi.json"
    if maintenance:
        return schema.include(path="/maintenance")
    return schema.exclude(method="PUT", path="/maintenance")


def _unpacked(app: Any) -> Any:
    """schemathesis' own client does not read gzip."""

    def asked(environ: dict[str, Any], start_response: Any) -> Any:
        environ.pop("HTTP_ACCEPT_ENCODING", None)
        return app(environ, start_response)

    return asked


# -- A run --------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """An answer that should not be."""

    check: str
    operation: str
    message: str
    request: str
    answer: str

    def __str__(self) -> str:
        return (
            f"{self.operation}: {self.check}: {self.message}\n"
            f"    {self.request}\n    → {self.answer}"
        )


class Run:
    """What was answered how often, and what was found, each sort once."""

    def __init__(self, schema: Any) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.findings: dict[tuple[str, str, str], Finding] = {}
        for event in from_schema(schema).execute():
            if isinstance(event, events.NonFatalError):
                self._add(Finding("error", event.label, repr(event.value), "", ""))
            elif isinstance(event, events.FatalError):
                self._add(Finding("error", "", repr(event.exception), "", ""))
            elif isinstance(event, events.ScenarioFinished):
                self._record(event.recorder)

    def __str__(self) -> str:
        found = "\n".join(map(str, self.findings.values()))
        asked = self.answers.total()
        return f"FUZZ_SEED={SEED}, {asked} requests, and these findings:\n{found}"

    @property
    def successes(self) -> set[str]:
        """Operations that did at least once what they are for."""
        return {name for name, status in self.answers if 200 <= status < 300}

    @property
    def asked(self) -> set[str]:
        """Operations that were asked for."""
        return {name for name, _ in self.answers}

    def _add(self, found: Finding) -> None:
        key = (found.check, found.operation, found.message[:60])
        self.findings.setdefault(key, found)

    def _record(self, recorder: Any) -> None:
        for case_id, node in recorder.cases.items():
            interaction = recorder.interactions.get(case_id)
            if interaction is None or interaction.response is None:
                continue
            response = interaction.response
            operation = node.value.operation.label
            self.answers[operation, response.status_code] += 1
            for check in recorder.checks.get(case_id, ()):
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    self._add(
                        Finding(
                            check.name,
                            operation,
                            f"{failure.title}: {failure.message}",
                            check.failure_info.code_sample,
                            f"{response.status_code} {response.content[:500]!r}",
                        )
                    )
