"""Quick ways for the operators that make up nearly all expressions.

``yaql`` resolves every operator by trying all overloads of all layers, some
forty microseconds each. On operands of exactly the built-in types only one
overload can win; its result is computed here directly. Whatever is not provably
that case takes the library's way, with operands evaluated once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from yaql.language import expressions, utils  # type: ignore[import-untyped]

from mistral.expressions.faults import Refused
from mistral.expressions.values import LazyMapping, kind_of

NO_VALUE: Final = utils.NO_VALUE

_NUMBERS: Final = frozenset({int, float})
_MAPPINGS: Final = frozenset({LazyMapping, utils.FrozenDict, dict})
_PLAIN: Final = frozenset({str, int, float, bool})
_LISTS: Final = frozenset({tuple, list})


def _value(arg: Any, context: Any, engine: Any) -> Any:
    if isinstance(arg, expressions.Expression):
        return arg(NO_VALUE, context, engine)
    return arg


def _slow(name: str, context: Any, engine: Any, *args: Any) -> Any:
    return context.resolve(name, engine, NO_VALUE, context, False, *args)


def _is_plain(args: tuple[Any, ...], count: int) -> bool:
    """Whether these are positional arguments, all given."""
    if len(args) != count:
        return False
    return not any(
        arg is NO_VALUE or isinstance(arg, expressions.MappingRuleExpression)
        for arg in args
    )


def _get_variable(context: Any, engine: Any, *args: Any) -> Any:
    if len(args) == 1 and isinstance(args[0], expressions.Constant):
        name = args[0].value
        if isinstance(name, str):
            return context.get_data(name)
    return _slow("#get_context_data", context, engine, *args)


def _dot(context: Any, engine: Any, *args: Any) -> Any:
    """``mapping.key`` and ``anything.method()``."""
    if not _is_plain(args, 2):
        return _slow("#operator_.", context, engine, *args)
    receiver = _value(args[0], context, engine)
    right = args[1]
    if isinstance(right, expressions.KeywordConstant):
        if type(receiver) in _MAPPINGS and not engine.options["yaql.iterableDicts"]:
            return receiver[right.value]
        if receiver is None or type(receiver) in _PLAIN:
            kind = kind_of(receiver)
            message = f"a value of type '{kind}' has no attribute {{name}}"
            raise Refused(message, right.value)
    elif isinstance(right, expressions.Expression) and right.uses_receiver:
        return right(receiver, context.create_child_context(), engine)
    return _slow("#operator_.", context, engine, receiver, right)


def _safe_dot(context: Any, engine: Any, *args: Any) -> Any:
    if not _is_plain(args, 2) or not isinstance(args[1], expressions.Expression):
        return _slow("#operator_?.", context, engine, *args)
    receiver = _value(args[0], context, engine)
    if receiver is None:
        return None
    return _dot(context, engine, receiver, args[1])


def _index(context: Any, engine: Any, *args: Any) -> Any:
    if not _is_plain(args, 2):
        return _slow("#indexer", context, engine, *args)
    left = _value(args[0], context, engine)
    right = _value(args[1], context, engine)
    kind = type(left)
    if kind in _LISTS and type(right) is int:
        return left[right]
    if kind in _MAPPINGS and type(right) is str:
        return left[right]
    return _slow("#indexer", context, engine, left, right)


def _list(context: Any, engine: Any, *args: Any) -> Any:
    if not _is_plain(args, len(args)):
        return _slow("#list", context, engine, *args)
    context.budget.charge(1 + len(args) // 8)
    return tuple([_value(arg, context, engine) for arg in args])


def _and(context: Any, engine: Any, *args: Any) -> Any:
    if not _is_plain(args, 2):
        return _slow("#operator_and", context, engine, *args)
    return _value(args[0], context, engine) and _value(args[1], context, engine)


def _or(context: Any, engine: Any, *args: Any) -> Any:
    if not _is_plain(args, 2):
        return _slow("#operator_or", context, engine, *args)
    return _value(args[0], context, engine) or _value(args[1], context, engine)


def _not(context: Any, engine: Any, *args: Any) -> Any:
    if not _is_plain(args, 1):
        return _slow("#unary_operator_not", context, engine, *args)
    context.budget.charge()
    return not _value(args[0], context, engine)


def _equality(
    name: str,
    compute: Callable[[Any, Any], Any],
    context: Any,
    engine: Any,
    *args: Any,
) -> Any:
    if not _is_plain(args, 2):
        return _slow(name, context, engine, *args)
    left = _value(args[0], context, engine)
    right = _value(args[1], context, engine)
    budget = context.budget
    budget.charge()
    if isinstance(left, _DEEP) and isinstance(right, _DEEP):
        budget.weigh(left)
        budget.weigh(right)
    return compute(left, right)


_DEEP: Final = (tuple, list, Mapping, frozenset, set)


def _arithmetic(
    name: str,
    compute: Callable[[Any, Any], Any],
    context: Any,
    engine: Any,
    *args: Any,
) -> Any:
    """Two numbers; anything else the slow way."""
    if not _is_plain(args, 2):
        return _slow(name, context, engine, *args)
    left = _value(args[0], context, engine)
    right = _value(args[1], context, engine)
    if type(left) in _NUMBERS and type(right) in _NUMBERS:
        budget = context.budget
        budget.charge()
        result = compute(left, right)
        budget.number(result)
        return result
    return _slow(name, context, engine, left, right)


def _ordering(
    name: str,
    compute: Callable[[Any, Any], Any],
    context: Any,
    engine: Any,
    *args: Any,
) -> Any:
    """Two numbers or two strings; anything else the slow way."""
    if not _is_plain(args, 2):
        return _slow(name, context, engine, *args)
    left = _value(args[0], context, engine)
    right = _value(args[1], context, engine)
    if (type(left) in _NUMBERS and type(right) in _NUMBERS) or (
        type(left) is str and type(right) is str
    ):
        context.budget.charge()
        return compute(left, right)
    return _slow(name, context, engine, left, right)


def _divide(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    return left / right


def _pairs(
    kind: Callable[..., Any], table: Mapping[str, Callable[[Any, Any], Any]]
) -> dict[str, Callable[..., Any]]:
    return {name: partial(kind, name, compute) for name, compute in table.items()}


QUICK: Final[dict[str, Callable[..., Any]]] = {
    "#get_context_data": _get_variable,
    "#operator_.": _dot,
    "#operator_?.": _safe_dot,
    "#indexer": _index,
    "#list": _list,
    "#operator_and": _and,
    "#operator_or": _or,
    "#unary_operator_not": _not,
    **_pairs(_equality, {"*equal": operator.eq, "*not_equal": operator.ne}),
    **_pairs(
        _arithmetic,
        {
            "#operator_+": operator.add,
            "#operator_-": operator.sub,
            "#operator_*": operator.mul,
            "#operator_/": _divide,
            "#operator_mod": operator.mod,
        },
    ),
    **_pairs(
        _ordering,
        {
            "#operator_<": operator.lt,
            "#operator_<=": operator.le,
            "#operator_>": operator.gt,
            "#operator_>=": operator.ge,
        },
    ),
}
