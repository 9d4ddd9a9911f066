"""YAQL: ``<% $.a + task().result %>``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, timedelta
from typing import Any, Final

from yaql.language import (  # type: ignore[import-untyped]
    exceptions,
    expressions,
    specs,
    utils,
    yaqltypes,
)
from yaql.standard_library import date_time  # type: ignore[import-untyped]

from mistral.expressions import functions, yaql_syntax
from mistral.expressions.cache import TextCache
from mistral.expressions.facts import View
from mistral.expressions.faults import Refused, evaluation_fault
from mistral.expressions.limits import Budget, budget
from mistral.expressions.recognition import YAQL
from mistral.expressions.settings import ExpressionSettings
from mistral.expressions.values import (
    Form,
    final_result,
    native_result,
    storable_result,
    to_yaql,
)
from mistral.expressions.yaql_library import budgeted, standard_layers
from mistral.expressions.yaql_operators import NO_VALUE
from mistral.expressions.yaql_runtime import StepContext

Root = Callable[[], StepContext]
"""Makes, or has made, the context in which ``$`` is the view's data."""

Path = tuple[str | None, tuple[str, ...]]
"""(task name or, for ``$``, the empty string or, for ``task()``, None; keys)."""


class Yaql:
    """The language with one set of options; built once per process.

    :param extra: functions of plug-ins by name.
    """

    def __init__(
        self, settings: ExpressionSettings, extra: Mapping[str, Callable[..., Any]]
    ) -> None:
        self._engine = yaql_syntax.engine(
            settings.keyword_operator or "",
            settings.allow_delegates,
            (
                ("yaql.convertTuplesToLists", settings.convert_tuples_to_lists),
                ("yaql.iterableDicts", settings.iterable_dicts),
                ("yaql.limitIterators", settings.limit_iterators),
                ("yaql.memoryQuota", settings.memory_quota),
            ),
        )
        limit = settings.limit_iterators
        self._base = standard_layers(settings.allow_delegates, limit)
        _add_functions(self._base, functions.FUNCTIONS.items(), _own_payload, limit)
        _add_functions(self._base, extra.items(), _foreign_payload, limit)
        _add_functions(self._base, _VIEW_FUNCTIONS, _own_payload, limit)
        self._form = Form(
            lazy=settings.convert_output_data,
            tuples=settings.convert_output_data and settings.convert_tuples_to_lists,
            sets=settings.convert_sets_to_lists,
            max_items=limit,
        )
        self._cached = TextCache(self._parse)

    @property
    def names(self) -> frozenset[str]:
        """Names of all functions and methods, for lint."""
        found = set()
        layer = self._base
        while layer is not None:
            found |= {name for name in layer._functions if name.isidentifier()}
            layer = layer.parent
        return frozenset(found)

    def _parse(self, text: str) -> tuple[Any, Path | None]:
        tree = yaql_syntax.parse(text, self._engine)
        return tree, None if self._engine.options["yaql.iterableDicts"] else _path(tree)

    def value(self, text: str, view: View, root: Root) -> Any:
        """The result as it is stored."""
        return self._evaluate(text, view, root, final_result)

    def text(self, text: str, view: View, root: Root) -> str:
        """The text form of the result (§ 21.3)."""
        return str(self._evaluate(text, view, root, native_result))

    def root(self, view: View) -> StepContext:
        """The context in which ``$`` is the view's data; may serve many texts."""
        context = StepContext(self._base, budget(), view)
        context["$"] = to_yaql(view.data)
        return context

    def _evaluate(
        self,
        text: str,
        view: View,
        root: Root,
        convert: Callable[[Any, Budget, Form], Any],
    ) -> Any:
        tree, path = self._cached(text)
        spent = budget()
        try:
            if path is not None:
                found = _follow(path, view)
                if found is not _NOT_FOUND:
                    return convert(found, spent, self._form)
            context = StepContext(root())
            return convert(tree(NO_VALUE, context, self._engine), spent, self._form)
        except Exception as error:
            raise evaluation_fault(YAQL, text, _cause(error, text)) from None


# -- paths -------------------------------------------------------------------------

_NOT_FOUND: Final = object()


def _path(tree: Any) -> Path | None:
    """The keys of ``$.a.b`` or ``task(t).a.b``; None for anything else."""
    keys: list[str] = []
    while isinstance(tree, expressions.BinaryOperator) and tree.operator == ".":
        receiver, key = tree.args
        if not isinstance(key, expressions.KeywordConstant):
            return None
        keys.append(key.value)
        tree = receiver
    names = tuple(reversed(keys))
    if isinstance(tree, expressions.GetContextValue):
        return ("", names) if tree.path.value == "$" and names else None
    if type(tree) is not expressions.Function or tree.name != "task":
        return None
    if not tree.args:
        return (None, names)
    if len(tree.args) == 1 and type(tree.args[0]) in _CONSTANTS:
        name = tree.args[0].value
        return (name, names) if isinstance(name, str) and name else None
    return None


_CONSTANTS: Final = frozenset({expressions.Constant, expressions.KeywordConstant})


def _follow(path: Path, view: View) -> Any:
    """Walk plain mappings, as the operator ``.`` does for every step of them.

    Anything else (a list, a missing key, nothing to look at) is left to the
    language, which also words the error.
    """
    start, keys = path
    if start == "":
        found = view.data
    elif view.facts is None:
        return _NOT_FOUND
    else:
        found = functions.task(view, start)
    for key in keys:
        if type(found) is not dict and not isinstance(found, Mapping):
            return _NOT_FOUND
        if key not in found:
            return _NOT_FOUND
        found = found[key]
    return found


# -- functions ---------------------------------------------------------------------


def _add_functions(
    layer: Any,
    found: Iterable[tuple[str, Callable[..., Any]]],
    payload_of: Callable[[Callable[..., Any]], Callable[..., Any]],
    limit: int,
) -> None:
    """The first parameter is hidden: it becomes the view, or its data."""
    for name, function in found:
        definition = specs.FunctionDefinition(name, function)
        spec = inspect.getfullargspec(function)
        hidden, *shown = spec.args
        definition.set_parameter(hidden, yaqltypes.Context())
        for parameter in (*shown, *spec.kwonlyargs, spec.varargs, spec.varkw):
            if parameter:
                definition.set_parameter(parameter)
        for parameter in definition.parameters.values():
            parameter.alias = specs.convert_parameter_name(
                parameter.name, layer.convention
            )
        definition.payload = budgeted(payload_of(function), None, limit)
        layer.register_function(definition)


def _own_payload(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(context: StepContext, *args: Any, **kwargs: Any) -> Any:
        return to_yaql(functions.call(function, context.view, *args, **kwargs))

    return call


def _foreign_payload(function: Callable[..., Any]) -> Callable[..., Any]:
    """Plug-ins get plain data, and the data of the view in the place of it."""

    def call(context: StepContext, *args: Any, **kwargs: Any) -> Any:
        spent = budget()
        plain = [storable_result(arg, spent) for arg in args]
        named = {key: storable_result(arg, spent) for key, arg in kwargs.items()}
        return to_yaql(functions.call(function, context.view.data, *plain, **named))

    return call


def _now(view: View, offset: timedelta = utils.NO_VALUE) -> Any:
    zone = UTC if offset is utils.NO_VALUE else date_time._get_tz(offset)
    return functions.now(view).astimezone(zone)


def _random(view: View) -> float:
    return functions.random_fraction(view)


def _random_between(view: View, from_: int, to_: int) -> int:
    if to_ < from_:
        raise Refused("random(from, to): 'to' is less than 'from'")
    return from_ + int(functions.random_fraction(view) * (to_ - from_ + 1))


_VIEW_FUNCTIONS: Final = (
    ("now", _now),
    ("random", _random),
    ("random", _random_between),
)


# -- causes ------------------------------------------------------------------------


def _cause(error: Exception, text: str) -> str:
    """Why it failed, without values of the data (SEC-08): a name is told only
    if the author wrote it."""
    if isinstance(error, exceptions.WrappedException):
        error = error.wrapped
    if isinstance(error, Refused):
        return error.within(text)
    if isinstance(error, KeyError):
        key = error.args[0] if error.args else None
        if isinstance(key, str) and key in text:
            return f"there is no key '{key}'"
        return "there is no such key"
    if isinstance(error, AssertionError):
        message = str(error)
        return message if message in text else "an assertion failed"
    for kind, cause in _CAUSES:
        if isinstance(error, kind):
            return cause
    return f"it failed with {type(error).__name__}"


_CAUSES: Final[tuple[tuple[Any, str], ...]] = (
    (IndexError, "an index is out of range"),
    (StopIteration, "a collection has too few or too many items"),
    (ZeroDivisionError, "division by zero"),
    (RecursionError, "it is nested too deeply"),
    (MemoryError, "it takes too much memory"),
    (exceptions.CollectionTooLargeException, "a collection has too many items"),
    (exceptions.MemoryQuotaExceededException, "it takes too much memory"),
    (OverflowError, "a number is too large"),
    (TypeError, "a value is of the wrong type"),
    (ValueError, "a value is not of the expected form"),
    (exceptions.YaqlException, "a function does not take these arguments"),
)
