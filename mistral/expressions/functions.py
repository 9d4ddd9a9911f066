"""The functions of § 23, the same in both languages.

Each takes the view and its own arguments, and asks the view's facts: a
variable that shadows a reserved name changes nothing (Q07). Values go in and
out as plain data; the languages convert.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from stevedore import ExtensionManager

from mistral.errors import ExpressionFault
from mistral.expressions.facts import Facts, View
from mistral.expressions.faults import Refused
from mistral.expressions.limits import budget
from mistral.expressions.values import kind_of, storable_result
from mistral.expressions.yaml_text import dump_yaml, load_yaml

LOG = logging.getLogger(__name__)

ENTRY_POINTS: Final = "mistral.expression.functions"

_BYTES_PER_NODE: Final = 64
_CHARACTERS_PER_STEP: Final = 16

_STEPS_PER_YAML_NODE: Final = 8
"""YAML is read and written in Python, ten microseconds for each node."""

_TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S"


class LookupFailed(BaseException):
    """The facts failed, by nobody's fault who writes expressions (a database
    is away): no part of a language may take it for an error of the text.

    :param error: what the facts raised; the evaluator raises it again.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


@contextmanager
def asking(view: View) -> Iterator[Facts]:
    """The facts, for one question.

    :raises Refused: where nothing can be looked up.
    :raises LookupFailed: the facts failed.
    """
    if view.facts is None:
        raise Refused("this function has nothing to look at here")
    try:
        yield view.facts
    except ExpressionFault:
        raise
    except Exception as error:
        raise LookupFailed(error) from error


def env(view: View) -> Any:
    with asking(view) as facts:
        return facts.env()


def execution(view: View) -> Any:
    with asking(view) as facts:
        return facts.execution()


def executions(
    view: View,
    id: str | None = None,
    root_execution_id: str | None = None,
    state: str | None = None,
    from_time: Any = None,
    to_time: Any = None,
) -> Any:
    after = _time("from_time", from_time)
    before = _time("to_time", to_time)
    with asking(view) as facts:
        found = facts.executions(id, root_execution_id, state, after, before)
    budget().charge(len(found))
    return found


def _time(name: str, value: Any) -> datetime | None:
    """Q52: a time that cannot be read is an error, not an empty answer."""
    if value is None:
        return None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value
        return value.astimezone(UTC).replace(tzinfo=None)
    try:
        return datetime.strptime(value, _TIME_FORMAT)
    except (TypeError, ValueError):
        raise Refused(f"'{name}' is not of the form YYYY-MM-DD hh:mm:ss") from None


def task(view: View, task_name: str | None = None) -> Any:
    with asking(view) as facts:
        return facts.task(task_name)


def tasks(
    view: View,
    workflow_execution_id: str | None = None,
    recursive: bool = False,
    state: str | None = None,
    flat: bool = False,
) -> Any:
    with asking(view) as facts:
        found = facts.tasks(workflow_execution_id, recursive, state, flat)
    budget().charge(len(found))
    return found


def global_(view: View, var_name: str) -> Any:
    with asking(view) as facts:
        return facts.global_variable(var_name)


def uuid(view: View) -> str:
    with asking(view) as facts:
        return facts.uuid()


def callback_url(view: View) -> str:
    with asking(view) as facts:
        return facts.callback_url()


def now(view: View) -> datetime:
    """The time of the turn, UTC."""
    with asking(view) as facts:
        return facts.now().replace(tzinfo=UTC)


def json_parse(view: View, data: str) -> Any:
    _afford_parsing(data, 1)
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Refused(f"the text is not JSON ({where})") from None
    except RecursionError:
        raise Refused("the JSON text is nested too deeply") from None
    except ValueError:
        raise Refused("the text is not JSON: a number has too many digits") from None


def json_dump(view: View, data: Any) -> str:
    text = json.dumps(_plain(data), indent=4)
    budget().bytes(len(text))
    return text


def yaml_parse(view: View, data: str) -> Any:
    _afford_parsing(data, _STEPS_PER_YAML_NODE)
    return load_yaml(data)


def yaml_dump(view: View, data: Any) -> str:
    plain = _plain(data)
    budget().charge(_STEPS_PER_YAML_NODE * budget().weigh(plain))
    text = dump_yaml(plain)
    budget().bytes(len(text))
    return text


def _afford_parsing(data: Any, steps_per_node: int) -> None:
    """Every node of a text begins after one of a few characters."""
    if not isinstance(data, str):
        raise Refused(f"expected a string, found a value of type '{kind_of(data)}'")
    spent = budget()
    spent.charge(1 + len(data) // _CHARACTERS_PER_STEP)
    nodes = sum(map(data.count, "[{,:\n"))
    spent.made(nodes * _BYTES_PER_NODE)
    spent.charge(nodes * steps_per_node)


def _plain(data: Any) -> Any:
    return storable_result(data, budget())


def random_fraction(view: View) -> float:
    """From the run's own source of ids, so that a replay decides the same."""
    digest = hashlib.sha256(uuid(view).encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "env": env,
    "execution": execution,
    "executions": executions,
    "task": task,
    "tasks": tasks,
    "global": global_,
    "uuid": uuid,
    "json_parse": json_parse,
    "json_dump": json_dump,
    "yaml_parse": yaml_parse,
    "yaml_dump": yaml_dump,
    "callback_url": callback_url,
}


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """One call of a function of ours or of a plug-in.

    :raises Refused: it failed. What a plug-in's exception says may hold values,
        so only its type is told.
    """
    budget().charge(8)
    try:
        return function(*args, **kwargs)
    except (Refused, RecursionError, MemoryError):
        raise
    except ExpressionFault as error:
        raise Refused(error.message[:1].lower() + error.message[1:]) from None
    except Exception as error:
        name = getattr(function, "__name__", "?").rstrip("_")
        if isinstance(error, TypeError) and _is_own(function):
            raise Refused(f"function '{name}' does not take these arguments") from None
        raise Refused(f"function '{name}' failed ({type(error).__name__})") from error


def _is_own(function: Callable[..., Any]) -> bool:
    return getattr(function, "__module__", "") == __name__


def load_functions() -> dict[str, Callable[..., Any]]:
    """Functions that installed packages add (``mistral.expression.functions``).

    Each takes the evaluation context (what ``$`` and ``_`` show) and then the
    author's arguments. One that cannot be imported is logged and left out.
    """

    def report(_manager: Any, entry_point: Any, error: BaseException) -> None:
        LOG.error(
            "expression function %s cannot be loaded: %s", entry_point.name, error
        )

    manager = ExtensionManager(ENTRY_POINTS, on_load_failure_callback=report)
    return {
        extension.name: extension.plugin
        for extension in manager
        if extension.name not in FUNCTIONS
    }
