"""YAQL's standard functions on our budget.

The library's own definitions are kept (names, overloads, types of parameters);
what they call is wrapped: a step per call, more for long arguments, a check
before what could grow or walk without end, a check of the result. Functions
that cannot be bounded from outside are replaced.
"""

from __future__ import annotations

import collections.abc
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import yaql  # type: ignore[import-untyped]
from yaql.language import (  # type: ignore[import-untyped]
    contexts,
    utils,
    yaqltypes,
)

from mistral.expressions import yaql_regex, yaql_replacements
from mistral.expressions.faults import Refused
from mistral.expressions.limits import budget
from mistral.expressions.regex import Regex
from mistral.expressions.yaql_guards import GUARDS
from mistral.expressions.yaql_streams import Memory, Stream

_REPLACEMENTS: Final = yaql_replacements.REPLACEMENTS | yaql_regex.REPLACEMENTS

_FROM_THE_VIEW: Final = frozenset({"now", "random_", "random__"})
"""They ask the machine; ``functions.py`` has those that ask the run's facts."""

_ALREADY_BUDGETED: Final = frozenset({Stream, Memory})
_SIZED: Final = (collections.abc.Sequence, Mapping, collections.abc.Set)
_MADE: Final = (tuple, list, dict, frozenset)
_PATTERN: Final = type(re.compile(""))


class BudgetedIterable(yaqltypes.Iterable):  # type: ignore[misc]
    """Sequences that come in as arguments are charged for what they hold, lazy
    ones for each item that is taken."""

    __slots__ = ()

    def convert(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        engine = args[3]
        found = yaqltypes.PythonType.convert(self, value, *args, **kwargs)
        if found is None or type(found) in _ALREADY_BUDGETED:
            return found
        limit = utils.get_max_collection_size(engine)
        if isinstance(found, _SIZED):
            if 0 <= limit < len(found):
                raise Refused(f"a collection has more than {limit} items")
            budget().charge(len(found) // 8)
            return found
        return Stream(found, limit, budget())


def standard_layers(delegates: bool, limit: int) -> Any:
    """The layers of functions below every expression's own.

    :param limit: ``limit_iterators``.
    :return: the topmost ``yaql`` context; its ``overloads`` is the cache that
        ``StepContext`` fills.
    """
    layers = []
    source = yaql.create_context(delegates=delegates, yaqlized=False)
    while source is not None:
        layers.append(source)
        source = source.parent
    adapted: Any = None
    for source in reversed(layers):
        adapted = contexts.Context(adapted, convention=source.convention)
        for definitions in source._functions.values():
            for definition in definitions:
                if definition.payload.__name__ not in _FROM_THE_VIEW:
                    adapted.register_function(_adapt(definition, limit))
    adapted.overloads = {}
    return adapted


def _adapt(definition: Any, limit: int) -> Any:
    adapted = definition.clone()
    payload = definition.payload
    key = (payload.__module__.rpartition(".")[2], payload.__name__)
    adapted.payload = budgeted(_REPLACEMENTS.get(key, payload), GUARDS.get(key), limit)
    for parameter in adapted.parameters.values():
        kind = parameter.value_type
        if type(kind) is yaqltypes.Iterable:
            counted = BudgetedIterable(nullable=kind.nullable)
            counted.checker = kind.checker
            parameter.value_type = counted
        elif getattr(kind, "python_type", None) is _PATTERN:
            parameter.value_type = yaqltypes.PythonType(Regex, kind.nullable)
    return adapted


def budgeted(
    payload: Callable[..., Any], guard: Callable[..., object] | None, limit: int
) -> Callable[..., Any]:
    """The function on the budget of the evaluation that calls it.

    :param guard: called with the budget and the function's arguments before.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        spent = budget()
        spent.charge()
        for arg in args:
            if type(arg) is str:
                spent.charge(len(arg) // 256)
            elif isinstance(arg, tuple | list | Mapping):
                spent.charge(len(arg) // 256)
        if guard is not None:
            guard(spent, *args, **kwargs)
        result = payload(*args, **kwargs)
        kind = type(result)
        if kind is int:
            spent.number(result)
        elif kind is str:
            spent.made(len(result))
        elif isinstance(result, _MADE):
            spent.made(8 * len(result))
        elif isinstance(result, Iterator) and kind not in _ALREADY_BUDGETED:
            return Stream(result, limit, spent)
        return result

    return call
