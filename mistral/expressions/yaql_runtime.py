"""How YAQL expressions run here: a context that counts, operators that are quick.

``yaql`` resolves every operator by trying all overloads of all layers, some
forty microseconds each. For the few operations that make up nearly all
expressions, on operands of exactly the built-in types, only one overload can
win, and :class:`StepContext` computes its result directly. Whatever is not
provably that case takes the library's way, with operands evaluated once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from yaql.language import (  # type: ignore[import-untyped]
    contexts,
    exceptions,
    expressions,
    runner,
    utils,
)

from mistral.expressions.facts import View
from mistral.expressions.faults import Refused
from mistral.expressions.limits import Budget
from mistral.expressions.values import LazyMapping, kind_of

NO_VALUE: Final = utils.NO_VALUE

_NUMBERS: Final = frozenset({int, float})
_MAPPINGS: Final = frozenset({LazyMapping, utils.FrozenDict, dict})
_PLAIN: Final = frozenset({str, int, float, bool})
_LISTS: Final = frozenset({tuple, list})


class Stream:
    """A lazy sequence that charges for each item and ends at the limit.

    A Python object stands between any two lazy sequences of the library, so
    that neither walking nor freeing a tower of them overflows the C stack.
    """

    __slots__ = ("_budget", "_left", "_next")

    def __init__(self, source: Iterable[Any], limit: int, budget: Budget) -> None:
        self._next = iter(source).__next__
        self._left = limit
        self._budget = budget

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        item = self._next()
        self._budget.charge()
        if self._left == 0:
            raise Refused("a collection has more items than allowed")
        self._left -= 1
        return item


class Memory:
    """A lazy sequence that remembers, so that it can be walked again."""

    __slots__ = ("_budget", "_items", "_source", "_turn")

    def __init__(self, source: Iterator[Any], budget: Budget) -> None:
        self._source = source
        self._budget = budget
        self._items: list[Any] = []
        self._turn: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        position = 0
        while True:
            if position == len(self._items):
                try:
                    item = next(self._source)
                except StopIteration:
                    return
                self._items.append(item)
                self._budget.items(len(self._items))
            self._budget.charge()
            yield self._items[position]
            position += 1

    def __next__(self) -> Any:
        if self._turn is None:
            self._turn = iter(self)
        return next(self._turn)


def remembered(collection: Any, budget: Budget) -> Any:
    """The collection, walkable more than once (``memorize``)."""
    if isinstance(collection, Iterator) and not isinstance(collection, Memory):
        return Memory(collection, budget)
    return collection


class Unsuitable(Refused, exceptions.NoMatchingFunctionException):  # type: ignore[misc]
    """No overload takes these arguments. (``groupBy`` expects the library's type.)"""

    def __init__(self, message: str, name: str | None = None) -> None:
        Refused.__init__(self, message, name)


class StepContext(contexts.ContextBase):  # type: ignore[misc]
    """A layer of variables; making one is a step.

    The layers below the first are the library's and never change, except
    that ``def`` adds functions: then the quick ways are closed.
    """

    def __init__(
        self,
        parent_context: Any,
        budget: Budget | None = None,
        view: View | None = None,
    ) -> None:
        self._parent_context = parent_context
        self._convention = parent_context._convention
        self._data: dict[str, Any] = {}
        self._functions: dict[str, set[Any]] | None = None
        if budget is None:
            self.budget: Budget = parent_context.budget
            self.view: View = parent_context.view
            self.overloads: dict[Any, Any] = parent_context.overloads
            self.defines: bool = parent_context.defines
            self.budget.charge()
        elif view is not None:
            self.budget = budget
            self.view = view
            self.overloads = parent_context.overloads
            self.defines = False

    def create_child_context(self) -> StepContext:
        return StepContext(self)

    def register_function(self, spec: Any, *args: Any, **kwargs: Any) -> None:
        """``def``: a function of the expression's own."""
        if self._functions is None:
            self._functions = {}
        layer = contexts.Context(convention=self._convention)
        layer.register_function(spec, *args, **kwargs)
        for name, found in layer._functions.items():
            self._functions.setdefault(name, set()).update(found)
        self.defines = True

    def get_functions(
        self, name: str, predicate: Any = None, use_convention: bool = False
    ) -> tuple[set[Any], bool]:
        if self._functions is None:
            return set(), False
        name = name.rstrip("_")
        if use_convention and self._convention is not None:
            name = self._convention.convert_function_name(name)
        found = self._functions.get(name, set())
        return {fd for fd in found if predicate is None or predicate(fd)}, False

    def delete_function(self, spec: Any) -> None:
        if self._functions is not None:
            self._functions.get(spec.name, set()).discard(spec)

    def get_data(self, name: str, default: Any = None, ask_parent: bool = True) -> Any:
        name = _variable(name)
        layer = self
        while isinstance(layer, StepContext):
            if name in layer._data:
                return layer._data[name]
            if not ask_parent:
                break
            layer = layer._parent_context
        return default

    def __setitem__(self, name: str, value: Any) -> None:
        self._data[_variable(name)] = value

    def __delitem__(self, name: str) -> None:
        self._data.pop(_variable(name))

    def __contains__(self, item: object) -> bool:
        if isinstance(item, str):
            return _variable(item) in self._data
        name = getattr(item, "name", "")
        return self._functions is not None and item in self._functions.get(name, ())

    def keys(self) -> Any:
        return self._data.keys()

    def __call__(
        self,
        name: str,
        engine: Any,
        receiver: Any = NO_VALUE,
        data_context: Any = None,
        use_convention: bool = False,
        function_filter: Any = None,
    ) -> Callable[..., Any]:
        if receiver is NO_VALUE and not self.defines:
            quick = _QUICK.get(name)
            if quick is not None:
                return partial(quick, self, engine)
        return partial(
            self.resolve, name, engine, receiver, data_context or self, use_convention
        )

    def resolve(
        self,
        name: str,
        engine: Any,
        receiver: Any,
        data_context: Any,
        use_convention: bool,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """The library's way: choose among all overloads, then call.

        :raises Refused: there is no such function, or none takes these
            arguments. (What the library says then contains the receiver.)
        """
        found = self._overloads(name, receiver, use_convention)
        if not found:
            raise Refused(*_unknown(name, receiver))
        try:
            delegate = runner.choose_overload(
                name, found, engine, receiver, data_context, args, kwargs
            )
        except exceptions.ResolutionError:
            raise Unsuitable(*_unsuitable(name, receiver, args)) from None
        try:
            result = delegate()
        except StopIteration as error:
            raise exceptions.WrappedException(error) from error
        utils.limit_memory_usage(engine, (1, result))
        return result

    def _overloads(self, name: str, receiver: Any, use_convention: bool) -> Any:
        function = receiver is NO_VALUE
        key = (name, function, use_convention)
        if not self.defines:
            found = self.overloads.get(key)
            if found is not None:
                return found
        found = self.collect_functions(
            name,
            lambda fd, _layer: fd.is_function if function else fd.is_method,
            use_convention=use_convention,
        )
        if not self.defines and found:
            self.overloads[key] = found
        return found


def _variable(name: str) -> str:
    if not name.startswith("$"):
        name = "$" + name
    return "$1" if name == "$" else name


_OPERATOR_NAMES: Final = {"*equal": "=", "*not_equal": "!=", "#indexer": "[]"}


def _title(name: str) -> tuple[str, str | None]:
    """What an author calls a function: a sentence's subject, and the name."""
    for prefix in ("#unary_operator_", "#operator_"):
        if name.startswith(prefix):
            return f"operator '{name.removeprefix(prefix)}'", None
    if name in _OPERATOR_NAMES:
        return f"operator '{_OPERATOR_NAMES[name]}'", None
    if name.startswith("#property#"):
        return "property {name}", name.removeprefix("#property#")
    return "function {name}", name


def _unknown(name: str, receiver: Any) -> tuple[str, str | None]:
    title, name_alone = _title(name)
    if receiver is NO_VALUE:
        return f"there is no {title}", name_alone
    kind = kind_of(receiver)
    return f"there is no method {{name}} of a value of type '{kind}'", name_alone


def _unsuitable(
    name: str, receiver: Any, args: tuple[Any, ...]
) -> tuple[str, str | None]:
    title, name_alone = _title(name)
    if receiver is not NO_VALUE:
        kind = kind_of(receiver)
        return f"method {{name}} does not work so on type '{kind}'", name_alone
    if args and not any(isinstance(arg, expressions.Expression) for arg in args):
        kinds = " and ".join(kind_of(arg) for arg in args)
        return f"{title} does not work on {kinds}", name_alone
    return f"{title} does not take these arguments", name_alone


# -- quick ways ------------------------------------------------------------------


def _value(arg: Any, context: StepContext, engine: Any) -> Any:
    if isinstance(arg, expressions.Expression):
        return arg(NO_VALUE, context, engine)
    return arg


def _slow(name: str, context: StepContext, engine: Any, *args: Any) -> Any:
    return context.resolve(name, engine, NO_VALUE, context, False, *args)


def _is_plain(args: tuple[Any, ...], count: int) -> bool:
    """Whether these are positional arguments, all given."""
    if len(args) != count:
        return False
    return not any(
        arg is NO_VALUE or isinstance(arg, expressions.MappingRuleExpression)
        for arg in args
    )


def _get_variable(context: StepContext, engine: Any, *args: Any) -> Any:
    if len(args) == 1 and isinstance(args[0], expressions.Constant):
        name = args[0].value
        if isinstance(name, str):
            return context.get_data(name)
    return _slow("#get_context_data", context, engine, *args)


def _dot(context: StepContext, engine: Any, *args: Any) -> Any:
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


def _safe_dot(context: StepContext, engine: Any, *args: Any) -> Any:
    if not _is_plain(args, 2) or not isinstance(args[1], expressions.Expression):
        return _slow("#operator_?.", context, engine, *args)
    receiver = _value(args[0], context, engine)
    if receiver is None:
        return None
    return _dot(context, engine, receiver, args[1])


def _index(context: StepContext, engine: Any, *args: Any) -> Any:
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


def _list(context: StepContext, engine: Any, *args: Any) -> Any:
    if not _is_plain(args, len(args)):
        return _slow("#list", context, engine, *args)
    context.budget.charge(1 + len(args) // 8)
    return tuple([_value(arg, context, engine) for arg in args])


def _and(context: StepContext, engine: Any, *args: Any) -> Any:
    if not _is_plain(args, 2):
        return _slow("#operator_and", context, engine, *args)
    return _value(args[0], context, engine) and _value(args[1], context, engine)


def _or(context: StepContext, engine: Any, *args: Any) -> Any:
    if not _is_plain(args, 2):
        return _slow("#operator_or", context, engine, *args)
    return _value(args[0], context, engine) or _value(args[1], context, engine)


def _not(context: StepContext, engine: Any, *args: Any) -> Any:
    if not _is_plain(args, 1):
        return _slow("#unary_operator_not", context, engine, *args)
    context.budget.charge()
    return not _value(args[0], context, engine)


def _equality(
    name: str,
    compute: Callable[[Any, Any], Any],
    context: StepContext,
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
    context: StepContext,
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
    context: StepContext,
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


_QUICK: Final[dict[str, Callable[..., Any]]] = {
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
