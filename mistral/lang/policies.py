"""Policies: when a task waits, repeats, fails or stops (spec/language.md § 18)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mistral.errors import DefinitionFault
from mistral.lang import shapes
from mistral.lang.backoff import seconds_of_all
from mistral.lang.embedded import Expressions
from mistral.lang.inline import parse_inline, warn_ignored
from mistral.lang.shapes import Findings, Path, Shape
from mistral.lang.specs import Policies, Retry

WAITS: Final[Mapping[str, Shape]] = {
    "count": shapes.number_or_expression,
    "delay": shapes.number_or_expression,
    "backoff": shapes.factor_or_expression,
    "max-delay": shapes.number_or_expression,
    "jitter": shapes.share_or_expression,
    "break-on": shapes.expression,
}
"""What ``retry`` of a task and of a workflow have in common."""

_RETRY: Final[Mapping[str, Shape]] = {**WAITS, "continue-on": shapes.expression}


def retry(found: Findings, path: Path, value: Any) -> bool:
    """The shape of ``retry``: a mapping (A.8) or one line; V-14."""
    return _retry(found, path, value, _RETRY)


def retry_of_run(found: Findings, path: Path, value: Any) -> bool:
    """``retry`` of a workflow as a whole (decision 0043): without ``continue-on``, as
    it begins anew after an ERROR alone."""
    return _retry(found, path, value, WAITS)


def _retry(found: Findings, path: Path, value: Any, known: Mapping[str, Shape]) -> bool:
    if isinstance(value, str) and value:
        try:
            call = parse_inline(value)
        except DefinitionFault as fault:
            problem = fault.problems[0]
            found.error(path, problem.message, problem.rule)
            return False
        warn_ignored(found, path, call)
        attributes = call.params
    elif isinstance(value, dict):
        attributes = value
    else:
        message = f"expected a mapping or one line, found {shapes.kind_of(value)}"
        found.error(path, message, "V-06")
        return False
    sound = shapes.fields(found, path, attributes, known, rule="V-14")
    for name in ("count", "delay"):
        if name not in attributes:
            found.error(path, f"'retry' needs '{name}'", "V-14")
    return len(sound) == len(attributes) and {"count", "delay"} <= sound.keys()


SHAPES: Final[Mapping[str, Shape]] = {
    "pause-before": shapes.boolean_or_expression,
    "wait-before": shapes.number_or_expression,
    "wait-after": shapes.number_or_expression,
    "timeout": shapes.number_or_expression,
    "fail-on": shapes.boolean_or_expression,
    "retry": retry,
    "concurrency": shapes.number_or_expression,
}


def check_policies(
    expressions: Expressions, path: Path, body: Mapping[str, Any]
) -> None:
    """The expressions of sound policies, and times that cannot work."""
    for name in SHAPES:
        value = body.get(name)
        if name == "retry" and value is not None:
            for key, item in retry_attributes(value).items():
                if isinstance(item, str):
                    here = (*path, name, key) if isinstance(value, dict) else None
                    expressions.must(here or (*path, name), item)
        elif isinstance(value, str):
            expressions.must((*path, name), value)
    timeout, wait = _literal(body.get("timeout")), _literal(body.get("wait-before"))
    if 0 < timeout <= wait:
        message = "the time is over before 'wait-before' is: the task always fails"
        expressions.found.warn((*path, "timeout"), message, "LINT-22")
    elif 0 < timeout <= wait + _delays(body.get("retry")):
        message = (
            "the time covers all attempts, and the delays of 'retry' alone take it up:"
            " the last one is never made"
        )
        expressions.found.warn((*path, "timeout"), message, "LINT-22")


def _literal(value: Any) -> float:
    return value if isinstance(value, (int, float)) else 0


def _delays(retry: Any) -> float:
    """Seconds of delay between all attempts, as far as the text tells."""
    given = {} if retry is None else retry_attributes(retry)
    jitter, longest = given.get("jitter", 0), given.get("max-delay", 0)
    if isinstance(jitter, str) or isinstance(longest, str):
        return 0
    count, delay = _literal(given.get("count")), _literal(given.get("delay"))
    backoff = _literal(given.get("backoff")) or 1
    all_of_them = seconds_of_all(int(count), delay, backoff, longest)
    return all_of_them * (1 - float(jitter))


def retry_attributes(value: Any) -> Mapping[str, Any]:
    """Of a sound ``retry``, in either form."""
    if isinstance(value, str):
        return parse_inline(value).params
    attributes: Mapping[str, Any] = value
    return attributes


def build_policies(body: Mapping[str, Any], defaults: Mapping[str, Any]) -> Policies:
    """The effective policies: what the task sets, even to 0 or false,
    overrides the default (Q41)."""

    def effective(name: str) -> Any:
        return whole(body[name] if name in body else defaults.get(name))

    return Policies(
        pause_before=effective("pause-before"),
        wait_before=effective("wait-before"),
        wait_after=effective("wait-after"),
        fail_on=effective("fail-on"),
        retry=build_retry(effective("retry")),
        timeout=effective("timeout"),
        concurrency=effective("concurrency"),
    )


def build_retry(value: Any) -> Retry | None:
    if value is None:
        return None
    attributes = retry_attributes(value)
    return Retry(
        count=whole(attributes["count"]),
        delay=whole(attributes["delay"]),
        backoff=attributes.get("backoff", 1),
        max_delay=whole(attributes.get("max-delay", 0)),
        jitter=attributes.get("jitter", 0),
        break_on=attributes.get("break-on"),
        continue_on=attributes.get("continue-on"),
    )


def whole(value: Any) -> Any:
    """``1.0`` is the integer 1 (§ 2)."""
    return int(value) if isinstance(value, float) else value
