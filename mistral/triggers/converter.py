"""From a notification to what a workflow is given: ``params.event_params``.

The definitions file says it, in the operator's hands (spec/engine.md § 10.4)::

    - event_types: [compute.instance.create.*, compute.instance.delete.*]
      properties:
        instance_id: <% $.payload.instance_id %>

The last entry with a pattern that matches the event type counts.
"""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mistral.bus import Notification
from mistral.errors import ExpressionFault, ServiceError
from mistral.expressions.evaluate import Evaluator, check
from mistral.expressions.facts import View
from mistral.expressions.limits import Allowance
from mistral.expressions.yaml_text import load_yaml

LOG = logging.getLogger(__name__)

EXPRESSION_SECONDS: Final = 6.0
"""For all properties of one event."""

_KEYS: Final = {"event_types", "properties"}


@dataclass(frozen=True, slots=True)
class Definition:
    """One entry of the file.

    :param patterns: shell patterns; case counts.
    :param properties: name → expression or plain value.
    """

    patterns: tuple[str, ...]
    properties: Mapping[str, Any]

    def matches(self, event_type: str) -> bool:
        return any(fnmatch.fnmatchcase(event_type, each) for each in self.patterns)


def read_file(path: str, languages: Sequence[str]) -> list[Definition]:
    """The definitions of a file; none if there is no such file.

    :param languages: of expressions that are allowed here.
    :raises ServiceError: the file cannot be read or says something else; names
        the place.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        LOG.info("There is no %s: events have their default properties", path)
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ServiceError(f"{path} cannot be read: {error}.") from error
    try:
        return read(text, languages)
    except (ExpressionFault, ServiceError) as error:
        raise ServiceError(f"{path}: {error.message}") from error


def read(text: str, languages: Sequence[str]) -> list[Definition]:
    """
    :raises ExpressionFault: it is not YAML, or an expression in it cannot work.
    :raises ServiceError: it is not a list of definitions.
    """
    entries = load_yaml(text)
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise ServiceError(f"Expected a list of definitions, found {_kind(entries)}.")
    return [_definition(e, f"entry {n}", languages) for n, e in enumerate(entries, 1)]


def _definition(entry: Any, where: str, languages: Sequence[str]) -> Definition:
    if not isinstance(entry, Mapping) or set(entry) != _KEYS:
        found = _kind(entry)
        if isinstance(entry, Mapping) and entry:
            found += f" of {', '.join(map(str, entry))}"
        raise ServiceError(
            f"Expected a mapping of event_types and properties at {where},"
            f" found {found}."
        )
    patterns, properties = entry["event_types"], entry["properties"]
    if isinstance(patterns, str):
        patterns = [patterns]
    if (
        not isinstance(patterns, list)
        or not patterns
        or not all(isinstance(each, str) and each for each in patterns)
    ):
        raise ServiceError(f"Expected event_types at {where} to be text or texts.")
    if not isinstance(properties, Mapping) or not all(
        isinstance(name, str) for name in properties
    ):
        raise ServiceError(f"Expected properties at {where} to be a mapping of names.")
    for name, value in properties.items():
        for scalar in _texts(value):
            try:
                check(scalar, languages)
            except ExpressionFault as error:
                found = f"{where}, property {name}: {error.message}"
                raise ServiceError(found) from None
    return Definition(tuple(patterns), dict(properties))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return []


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "a text"}
    return names.get(type(value), type(value).__name__)


class Converter:
    """Makes event parameters; built once, safe to use from any thread."""

    def __init__(
        self, evaluator: Evaluator, definitions: Sequence[Definition] = ()
    ) -> None:
        self._evaluator = evaluator
        self._definitions = tuple(definitions)

    def convert(self, event: Notification) -> dict[str, Any]:
        """The properties of an event. One whose expression finds nothing is
        null: the log names it, and the workflow starts all the same."""
        for definition in reversed(self._definitions):
            if definition.matches(event.event_type):
                return self._evaluated(definition, event)
        return {
            "service": event.publisher,
            "project_id": event.project_id,
            "user_id": _user(event.context),
            "timestamp": event.timestamp,
        }

    def evaluated(
        self, tree: Mapping[str, Any], event: Notification, params: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """What a trigger itself says of the event.

        :param params: what ``convert`` has made of it; expressions see it as
            ``params``.
        :raises ExpressionFault: an expression fails.
        """
        view = View({**_seen(event), "params": dict(params)})
        allowance = Allowance(EXPRESSION_SECONDS)
        found: Mapping[str, Any] = self._evaluator.evaluate(dict(tree), view, allowance)
        return found

    def input_of(
        self, mapping: Any, event: Notification, params: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[str]]:
        """What a trigger's input becomes of an event, and what is wrong with it: a
        part that fails is null; one expression for all of it has to give a mapping,
        otherwise there is none. The log says so, too.

        :param params: as for ``evaluated``.
        """
        seen = {**_seen(event), "params": dict(params)}
        faults: list[str] = []
        if isinstance(mapping, Mapping):
            return self._each(mapping, seen, "Input", faults), faults
        found = self._each({"input": mapping}, seen, "The", faults)["input"]
        if isinstance(found, Mapping):
            return dict(found), faults
        LOG.warning(
            "The input of a trigger of %s is no mapping: it is empty", event.event_type
        )
        return {}, [*faults, "The input is no mapping: it is empty."]

    def _evaluated(self, definition: Definition, event: Notification) -> dict[str, Any]:
        return self._each(definition.properties, _seen(event), "Property", [])

    def _each(
        self,
        values: Mapping[str, Any],
        seen: Mapping[str, Any],
        what: str,
        faults: list[str],
    ) -> dict[str, Any]:
        """The values of expressions about an event.

        :param faults: what is wrong with them is added to it.
        """
        view = View(dict(seen))
        allowance = Allowance(EXPRESSION_SECONDS)
        found = {}
        for name, value in values.items():
            try:
                found[name] = self._evaluator.evaluate(value, view, allowance)
            except ExpressionFault as error:
                about = (what, name, seen["event_type"], error.message)
                LOG.warning("%s %s of events %s: %s", *about)
                faults.append(f"{what} {name} is null: {error.message}")
                found[name] = None
        return found


def _seen(event: Notification) -> dict[str, Any]:
    """What expressions see of an event."""
    return {
        "event_type": event.event_type,
        "payload": event.payload,
        "publisher": event.publisher,
        "timestamp": event.timestamp,
        "context": dict(event.context),
    }


def _user(context: Mapping[str, Any]) -> str:
    for name in ("user_id", "user"):
        found = context.get(name)
        if isinstance(found, str) and found:
            return found
    return ""
