"""How YAQL expressions run here: a context that counts the layers it makes."""

from __future__ import annotations

from collections.abc import Callable
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
from mistral.expressions.values import kind_of
from mistral.expressions.yaql_operators import NO_VALUE, QUICK


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

    def __repr__(self) -> str:
        return "<context>"

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
            quick = QUICK.get(name)
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
