"""The section ``triggers`` of a workflow or workbook: what starts a workflow by itself.

::

    triggers:
      nightly: {type: cron, pattern: "0 3 * * *", timezone: Europe/Berlin}
      on-upload:
        type: event
        exchange: glance
        topic: notifications
        event: image.upload
        input: {image: <% $.payload.id %>}
      on-payment:
        type: event
        exchange: http
        topic: shop
        event: paid
        message: {name: paid, key: <% $.payload.order %>, payload: <% $.payload %>}

Also read is what the language once had (spec/language.md § 30): ``Triggers``, the type
``periodic``, ``parameters: {cron-pattern: …}`` and ``tasks``, the target of a reverse
workflow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from mistral.errors import BadRequest
from mistral.exchanges import check_exchange
from mistral.expressions.recognition import contains_expression
from mistral.lang import cron, schedules, shapes, start_params, zones
from mistral.lang.embedded import Expressions
from mistral.lang.shapes import Findings, Path, Shape
from mistral.lang.specs import REQUIRED, TriggerSpec, WorkflowSpec
from mistral.lang.text import to_json

SECTIONS: Final = ("triggers", "Triggers")
TYPES: Final = ("cron", "event")

LONGEST_NAME: Final = 200
LONGEST_SOURCE: Final = 80
LONGEST_WORD: Final = 255
"""Of a message: its name, its key, and the id of an execution."""
MOST_COUNT: Final = 2**31 - 1

_RULE: Final = "TRIGGER"

_PERIODIC: Final = "periodic"
_OLD_PATTERN: Final = "cron-pattern"


# -- Shapes -------------------------------------------------------------------


def _one_of(*words: str) -> Shape:
    def shape(found: Findings, path: Path, value: Any) -> bool:
        if value in words and isinstance(value, str):
            return True
        hint = found.did_you_mean(value, words) if isinstance(value, str) else ""
        message = f"expected one of {', '.join(words)}, found {_shown(value)}{hint}"
        found.error(path, message, _RULE)
        return False

    return shape


def _number(least: int, most: int) -> Shape:
    def shape(found: Findings, path: Path, value: Any) -> bool:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if is_number and least <= value <= most:
            return True
        message = f"expected a whole number from {least} to {most}"
        found.error(path, f"{message}, found {_shown(value)}", _RULE)
        return False

    return shape


def _accepted(judge: Callable[[str], Any]) -> Shape:
    """A text that a function takes."""

    def shape(found: Findings, path: Path, value: Any) -> bool:
        if not shapes.text(found, path, value):
            return False
        try:
            judge(value)
        except BadRequest as error:
            found.error(path, error.message, _RULE)
            return False
        return True

    return shape


def _boolean(found: Findings, path: Path, value: Any) -> bool:
    if isinstance(value, bool):
        return True
    found.error(path, f"expected true or false, found {_shown(value)}", _RULE)
    return False


def _source(found: Findings, path: Path, value: Any) -> bool:
    if not shapes.text(found, path, value):
        return False
    if len(value) <= LONGEST_SOURCE and "\0" not in value:
        return True
    found.error(path, f"expected at most {LONGEST_SOURCE} characters", _RULE)
    return False


def _exchange(found: Findings, path: Path, value: Any) -> bool:
    if not _source(found, path, value):
        return False
    try:
        check_exchange(value)
    except BadRequest as error:
        found.error(path, error.message, _RULE)
        return False
    return True


def _time(found: Findings, path: Path, value: Any) -> bool:
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
    if isinstance(moment, datetime) and 1970 <= moment.year <= zones.LAST_YEAR:
        return True
    message = "expected a time such as '2027-01-31 03:00' (of the time zone) or"
    found.error(path, f"{message} '2027-01-31T03:00Z', found {_shown(value)}", _RULE)
    return False


def _values(found: Findings, path: Path, value: Any) -> bool:
    """A mapping of names to JSON; it may be empty."""
    return value == {} or shapes.mapping(found, path, value)


def _input_of_event(found: Findings, path: Path, value: Any) -> bool:
    if isinstance(value, str):
        return shapes.expression(found, path, value)
    return _values(found, path, value)


def _word(found: Findings, path: Path, value: Any) -> bool:
    """A text of a message, or an expression that gives one."""
    if not shapes.text(found, path, value):
        return False
    if contains_expression(value) or len(value) <= LONGEST_WORD:
        return True
    found.error(path, f"expected at most {LONGEST_WORD} characters", _RULE)
    return False


def _key(found: Findings, path: Path, value: Any) -> bool:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return True
    if isinstance(value, str):
        return not value or _word(found, path, value)
    message = "expected a text, a whole number, an expression or null"
    found.error(path, f"{message}, found {_shown(value)}", _RULE)
    return False


def _shown(value: Any) -> str:
    if isinstance(value, str) and value:
        return f"'{shapes.shortened(value, 40)}'"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return shapes.shortened(str(value), 40)
    return shapes.kind_of(value)


_ALL: Final[Mapping[str, Shape]] = {
    "type": shapes.text,
    "description": shapes.anything,
    "params": _values,
    "scope": _one_of("private", "public"),
}
_CRON: Final[Mapping[str, Shape]] = {
    **_ALL,
    "pattern": _accepted(cron.check_pattern),
    "timezone": _accepted(zones.find_zone),
    "input": _values,
    "overlap": _one_of(*schedules.OVERLAP),
    "catch-up": _one_of(*schedules.CATCH_UP),
    "catch-up-window": _number(1, schedules.LONGEST_WINDOW),
    "count": _number(1, MOST_COUNT),
    "first": _time,
    "enabled": _boolean,
    "jitter": _number(0, schedules.LONGEST_JITTER),
}
_PERIODIC_KEYS: Final[Mapping[str, Shape]] = {
    **_CRON,
    "parameters": shapes.mapping,
    "tasks": shapes.text_or_list,
}
_MESSAGE: Final[Mapping[str, Shape]] = {
    "name": _word,
    "key": _key,
    "payload": shapes.json_value,
    "execution-id": _word,
}
_EVENT: Final[Mapping[str, Shape]] = {
    **_ALL,
    "exchange": _exchange,
    "topic": _source,
    "event": _source,
    "input": _input_of_event,
    "message": shapes.mapping,
}
_OF_STARTS: Final = ("input", "params")
"""What says how a workflow is started."""


# -- Judging ------------------------------------------------------------------


def section_of(body: Mapping[Any, Any]) -> str | None:
    """The key under which a definition has triggers."""
    return next((key for key in SECTIONS if key in body), None)


def check_triggers(
    expressions: Expressions,
    path: Path,
    body: Mapping[Any, Any],
    owner: str,
    workflows: Mapping[str, WorkflowSpec | None],
    *,
    of_workbook: bool = False,
) -> tuple[TriggerSpec, ...]:
    """Report what is wrong with the triggers of a definition; those that can be made.

    :param path: of the definition.
    :param owner: its name.
    :param workflows: those that they may start: the workflow itself, or the members
        of the workbook by their short names; None: it is not sound.
    """
    found, section = expressions.found, section_of(body)
    if section is None:
        return ()
    path = (*path, section)
    if all(key in body for key in SECTIONS):
        found.error(path, "'triggers' and 'Triggers' are the same: use one", _RULE)
    given = body[section]
    if not isinstance(given, dict):
        message = f"expected a mapping of triggers, found {shapes.kind_of(given)}"
        found.error(path, message, _RULE)
        return ()
    shapes.names_only(found, path, given)
    made = []
    for name, entry in given.items():
        if not isinstance(name, str) or (name == "version" and _is_scalar(entry)):
            continue
        here = (*path, name)
        _check_name(found, here, owner, name)
        spec = _entry(expressions, here, name, entry, workflows, of_workbook)
        if spec is not None:
            made.append(spec)
    _check_sources(found, path, made)
    _check_times(found, path, made)
    return tuple(made)


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, (dict, list))


def _check_name(found: Findings, path: Path, owner: str, name: str) -> None:
    if not name or "\0" in name:
        found.error(path, "a trigger needs a name", _RULE, at_key=True)
    elif len(owner) + len(name) + 1 > LONGEST_NAME:
        message = f"'{shapes.shortened(owner)}.' and the name have at most"
        found.error(path, f"{message} {LONGEST_NAME} characters", _RULE, at_key=True)


def _entry(
    expressions: Expressions,
    path: Path,
    name: str,
    entry: Any,
    workflows: Mapping[str, WorkflowSpec | None],
    of_workbook: bool,
) -> TriggerSpec | None:
    found = expressions.found
    if not isinstance(entry, dict):
        message = f"expected a trigger, found {shapes.kind_of(entry)}"
        found.error(path, message, _RULE)
        return None
    kind = entry.get("type")
    known = {"cron": _CRON, "event": _EVENT, _PERIODIC: _PERIODIC_KEYS}.get(
        kind if isinstance(kind, str) else ""
    )
    if known is None:
        hint = "" if "type" in entry else "'type' is missing: "
        where = (*path, "type") if "type" in entry else path
        message = f"{hint}expected cron or event, found {_shown(kind)}"
        found.error(where, message, _RULE)
        return None
    if of_workbook:
        known = {**known, "workflow": shapes.text}
    before = len(found.errors)
    sound = shapes.fields(found, path, entry, known)
    workflow = _target(found, path, sound, workflows, of_workbook)
    if kind == _PERIODIC:
        _modernise(found, path, sound)
    if len(found.errors) > before or workflow is None:
        return None
    if isinstance(sound.get("first"), datetime):
        # as a text it keeps its offset
        sound["first"] = sound["first"].isoformat()
    make = _event if kind == "event" else _cron
    sound = to_json(sound)
    declared = make(expressions, path, sound, workflow[1])
    if len(found.errors) > before:
        return None
    declared |= {
        "params": sound.get("params", {}),
        "scope": sound.get("scope", "private"),
        "workflow": workflow[0],
    }
    return TriggerSpec(
        name,
        "event" if kind == "event" else "cron",
        workflow[0] if of_workbook else None,
        declared,
    )


def _target(
    found: Findings,
    path: Path,
    sound: Mapping[str, Any],
    workflows: Mapping[str, WorkflowSpec | None],
    of_workbook: bool,
) -> tuple[str, WorkflowSpec] | None:
    """Name and spec of the workflow that is started; None: it is not known, or not
    sound itself."""
    name = sound.get("workflow")
    if name is None and len(workflows) == 1:
        [name] = workflows
    elif not of_workbook:
        return None
    if name is None:
        message = "'workflow' is missing: which member of the workbook is started"
        found.error(path, message, _RULE)
    elif name not in workflows:
        hint = found.did_you_mean(name, workflows)
        message = f"'{shapes.shortened(name)}' is no workflow of this workbook{hint}"
        found.error((*path, "workflow"), message, _RULE)
    elif (spec := workflows[name]) is not None:
        return name, spec
    return None


def _modernise(found: Findings, path: Path, sound: dict[str, Any]) -> None:
    """The older spelling becomes the present one."""
    parameters = sound.pop("parameters", {})
    if "pattern" not in sound and _OLD_PATTERN in parameters:
        pattern = parameters[_OLD_PATTERN]
        if _CRON["pattern"](found, (*path, "parameters", _OLD_PATTERN), pattern):
            sound["pattern"] = pattern
    for name in parameters:
        if name != _OLD_PATTERN:
            message = f"expected '{_OLD_PATTERN}' alone, found {_shown(name)}"
            found.error((*path, "parameters", name), message, _RULE, at_key=True)
    tasks = sound.pop("tasks", None)
    if isinstance(tasks, list) and len(tasks) != 1:
        found.error((*path, "tasks"), "expected one task, the target", _RULE)
    elif tasks is not None:
        target = tasks[0] if isinstance(tasks, list) else tasks
        sound["params"] = {"task_name": target, **sound.get("params", {})}


def _cron(
    expressions: Expressions, path: Path, sound: Mapping[str, Any], spec: WorkflowSpec
) -> dict[str, Any]:
    """What a cron trigger says, with all that it does not say."""
    found = expressions.found
    pattern, first, count = (sound.get(key) for key in ("pattern", "first", "count"))
    timezone = sound.get("timezone", zones.UTC)
    if pattern is None and first is None:
        found.error(path, "'pattern' is missing, or 'first' for one time", _RULE)
    elif pattern is None and count not in (None, 1):
        message = "without 'pattern' it fires once: 'count' can only be 1"
        found.error((*path, "count"), message, _RULE)
    elif pattern is not None and first is None and schedules.is_never(pattern):
        # with a first time it fires then
        message = "the trigger would never fire: the pattern names no time"
        found.error((*path, "pattern"), message, _RULE)
    given = sound.get("input", {})
    _check_input(found, path, given, spec)
    _check_params(found, path, sound.get("params", {}), spec)
    return {
        "pattern": pattern,
        "timezone": timezone,
        "first": None if first is None else _moment(first, timezone).isoformat(),
        "count": count,
        "input": given,
        "overlap": sound.get("overlap", schedules.OVERLAP[0]),
        "catch_up": sound.get("catch-up", schedules.CATCH_UP[0]),
        "catch_up_window": sound.get("catch-up-window", schedules.WINDOW),
        "enabled": sound.get("enabled", True),
        "jitter": sound.get("jitter", 0),
    }


def _moment(text: str, timezone: str) -> datetime:
    """In UTC; a time without an offset is what clocks of the zone show."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        return moment.astimezone(UTC).replace(tzinfo=None)
    return zones.moment_of(zones.find_zone(timezone), moment)


def _event(
    expressions: Expressions, path: Path, sound: Mapping[str, Any], spec: WorkflowSpec
) -> dict[str, Any]:
    """What an event trigger says, with all that it does not say."""
    found = expressions.found
    for key in ("exchange", "topic", "event"):
        if key not in sound:
            found.error(path, f"'{key}' is missing", _RULE)
    source = {key: sound.get(key) for key in ("exchange", "topic", "event")}
    if "message" in sound:
        return source | {"input": {}, "message": _message(expressions, path, sound)}
    given, here = sound.get("input", {}), (*path, "input")
    if isinstance(given, str):
        expressions.must(here, given)
    else:
        _check_texts(expressions, here, given)
        _check_input(found, path, given, spec)
    _check_params(found, path, sound.get("params", {}), spec)
    return source | {"input": given}


def _message(
    expressions: Expressions, path: Path, sound: Mapping[str, Any]
) -> dict[str, Any]:
    """What is sent instead of starting the workflow, named as over REST."""
    found, here = expressions.found, (*path, "message")
    for key in _OF_STARTS:
        if key in sound:
            why = f"with 'message' nothing is started: '{key}' has no use"
            found.error((*path, key), why, _RULE, at_key=True)
    message = shapes.fields(found, here, sound["message"], _MESSAGE)
    if "name" not in sound["message"]:
        found.error(here, "'name' is missing: which message is sent", _RULE)
    _check_texts(expressions, here, message)
    return {key.replace("-", "_"): value for key, value in message.items()}


def _check_texts(expressions: Expressions, path: Path, tree: Any) -> None:
    if isinstance(tree, str):
        expressions.must(path, tree)
    elif isinstance(tree, dict):
        for key, item in tree.items():
            _check_texts(expressions, (*path, key), item)
    elif isinstance(tree, list):
        for position, item in enumerate(tree):
            _check_texts(expressions, (*path, position), item)


def _check_input(
    found: Findings, path: Path, given: Mapping[str, Any], spec: WorkflowSpec
) -> None:
    """Against what the workflow declares."""
    missing = [
        name
        for name, default in spec.input.items()
        if default is REQUIRED and name not in given
    ]
    if missing:
        message = f"the workflow needs the input {shapes.quoted(missing)}"
        found.error(path, message, _RULE)
    for name in given:
        if name not in spec.input:
            hint = found.did_you_mean(name, spec.input)
            message = f"the workflow declares no input '{shapes.shortened(name)}'{hint}"
            found.error((*path, "input", name), message, _RULE, at_key=True)


def _check_params(
    found: Findings, path: Path, params: Mapping[str, Any], spec: WorkflowSpec
) -> None:
    """They are such as a start can take; of a reverse workflow a target is wanted."""
    for name, fault in start_params.faults(params):
        found.error((*path, "params", name), fault.message, _RULE)
    if spec.type != "reverse":
        return
    target = params.get("task_name")
    if target is None:
        found.error(path, "a reverse workflow needs 'params: {task_name: …}'", _RULE)
    elif target not in spec.tasks:
        message = f"'{shapes.shortened(str(target))}' is no task of the workflow"
        found.error(path, message, _RULE)


def _check_sources(found: Findings, path: Path, made: list[TriggerSpec]) -> None:
    """One of a workflow for an event, whatever comes of it."""
    known: dict[tuple[Any, ...], str] = {}
    for spec in made:
        if spec.type != "event":
            continue
        said = spec.declared
        source = tuple(said[key] for key in ("exchange", "topic", "event", "workflow"))
        if source in known:
            message = f"'{known[source]}' is the workflow's for this event already"
            found.error((*path, spec.name), message, _RULE, at_key=True)
        known.setdefault(source, spec.name)


def _check_times(found: Findings, path: Path, made: list[TriggerSpec]) -> None:
    """With a count and a first time, one of a kind, as over REST (§ 9.4); others may be
    there twice."""
    known: dict[str, str] = {}
    for spec in made:
        said = spec.declared
        if spec.type != "cron" or said["first"] is None:
            continue
        count = 1 if said["pattern"] is None else said["count"]
        if count is None:
            continue
        names = ("pattern", "first", "input", "params", "workflow")
        kind = json.dumps([count, *(said[name] for name in names)], sort_keys=True)
        if kind in known:
            message = (
                f"'{known[kind]}' has the same workflow, input, params, pattern, count"
                " and first time"
            )
            found.error((*path, spec.name), message, _RULE, at_key=True)
        known.setdefault(kind, spec.name)
