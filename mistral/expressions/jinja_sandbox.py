"""The sandbox: what templates may look up, call and compute (SEC-11, SEC-12).

Calls are decided where they happen, by what is called, however it was got
hold of; nothing can be called that is not listed.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.runtime import (
    BlockReference,
    Context,
    LoopContext,
    Macro,
    StrictUndefined,
    Undefined,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace, missing
from markupsafe import Markup

from mistral.expressions import jinja_filters, jinja_methods
from mistral.expressions.faults import Refused
from mistral.expressions.jinja_format import format_text, printf
from mistral.expressions.limits import Budget, budget
from mistral.expressions.values import kind_of


class Global:
    """A function that templates call by name; gets the context."""

    __slots__ = ("__name__", "_function")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.__name__ = name
        self._function = function

    def invoke(self, context: Context, *args: Any, **kwargs: Any) -> Any:
        return self._function(context, *args, **kwargs)


class Missing(Refused, UndefinedError):
    """Something that is not there was used."""

    # a read-only property of the library's class
    message = ""


class StrictlyUndefined(StrictUndefined):
    """Says what is missing without showing the value it was looked up in."""

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[Exception] = UndefinedError,
    ) -> None:
        if exc is SecurityError:
            cause = "access to attribute {name} is not allowed"
        elif obj is missing:
            cause = hint or "{name} is undefined"
        else:
            cause = f"a value of type '{kind_of(obj)}' has no key or attribute {{name}}"
        shown = None if name is None else str(name)

        def fault(_message: str) -> Missing:
            return Missing(cause, shown or "")

        super().__init__(hint, obj, name, fault)  # type: ignore[arg-type]

    @property
    def _undefined_message(self) -> str:
        return ""


class Sandbox(ImmutableSandboxedEnvironment):
    """What templates may do; anything not listed is refused."""

    intercepted_binops: frozenset[str] = frozenset(
        {"+", "-", "*", "/", "//", "**", "%"}
    )

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping):
            # methods first, then keys (Q48); no other attribute of a mapping
            if attribute in _MAPPING_METHODS:
                return getattr(dict(obj) if type(obj) is not dict else obj, attribute)
            if attribute in obj:
                return obj[attribute]
            return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, tuple):
            budget().hashes(argument)
        return super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        # what may be called is decided in call()
        return not attr.startswith("_") and super(
            ImmutableSandboxedEnvironment, self
        ).is_safe_attribute(obj, attr, value)

    def call_filter(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """``map('name')``: by a computed name, so not one of ours."""
        if name.startswith("#"):
            raise Refused("there is no filter {name}", name)
        return super().call_filter(name, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """``str.format`` stays what it is; call() does it safely."""
        return None

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        spent = budget()
        spent.charge()
        check = _BINARY_CHECKS.get(operator)
        if check is not None:
            check(spent, left, right)
        if operator == "%" and isinstance(left, str):
            return printf(str(left), right)
        return jinja_filters.settled(self.binop_table[operator](left, right), spent)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        spent = budget()
        spent.charge(4)
        if type(__obj) is Global:
            result = __obj.invoke(__context, *args, **kwargs)
        elif isinstance(__obj, types.BuiltinMethodType | types.MethodType):
            result = __self._call_method(__context, __obj, args, kwargs)
        elif isinstance(__obj, LoopContext):
            counted = [jinja_filters.Counted(arg, spent) for arg in args]
            result = __context.call(__obj, *counted, **kwargs)
        elif isinstance(__obj, _CALLABLE) or any(
            __obj is kind for kind in _CALLABLE_TYPES
        ):
            result = __context.call(__obj, *args, **kwargs)
        elif isinstance(__obj, Undefined):
            result = __obj()
        else:
            raise Refused(f"a value of type '{kind_of(__obj)}' cannot be called")
        return jinja_filters.settled(result, spent)

    def _call_method(
        self,
        context: Context,
        method: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        owner, name = method.__self__, method.__name__
        spent = budget()
        if isinstance(owner, Cycler | LoopContext):
            for arg in args:
                spent.weigh(arg)
            return method(*args, **kwargs)
        if isinstance(owner, Markup):
            owner = str.__str__(owner)
            method = getattr(owner, name)
        if isinstance(owner, str) and name in {"format", "format_map"}:
            if name == "format_map":
                kwargs = dict(*args)
                args = ()
            return format_text(self, owner, args, kwargs)
        if not jinja_methods.is_allowed(owner, name):
            raise Refused(
                f"method {{name}} of a value of type '{kind_of(owner)}' is not allowed",
                name,
            )
        if name in jinja_methods.MUTATORS and isinstance(owner, list | dict):
            if not context.parent["#mutates"]:
                raise Refused("methods that change a value are called by name here")
        if kwargs and name not in _NAMED_ARGUMENTS:
            raise Refused("method {name} takes no named arguments here", name)
        jinja_methods.check(owner, name, args, kwargs, spent)
        return method(*args, **kwargs)


_MAPPING_METHODS: Final = frozenset(
    name for name in dir(dict) if not name.startswith("_")
)
_CALLABLE: Final = (Macro, Joiner, BlockReference)
_CALLABLE_TYPES: Final = (Cycler, Joiner, Namespace)
_NAMED_ARGUMENTS: Final = frozenset(
    {"isoformat", "replace", "split", "rsplit", "sort", "splitlines"}
)


# -- arithmetic --------------------------------------------------------------------


def _check_sum(spent: Budget, left: Any, right: Any) -> None:
    if isinstance(left, str) and isinstance(right, str):
        size = len(left) + len(right)
        spent.bytes(size)
        spent.charge(size // 1024)
    elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
        size = len(left) + len(right)
        spent.bytes(8 * size)
        spent.charge(size // 64)


def _check_product(spent: Budget, left: Any, right: Any) -> None:
    for owner, times in ((left, right), (right, left)):
        if isinstance(times, int):
            if isinstance(owner, str | bytes):
                spent.bytes(len(owner) * times)
            elif isinstance(owner, list | tuple):
                spent.bytes(8 * len(owner) * times)


def _check_power(spent: Budget, left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int) and right > 0:
        spent.bits((abs(left) - 1).bit_length() * right)


def _check_remainder(spent: Budget, left: Any, right: Any) -> None:
    if isinstance(left, bytes):
        raise Refused("bytes are not formatted here")


_BINARY_CHECKS: Final[dict[str, Callable[[Budget, Any, Any], None]]] = {
    "+": _check_sum,
    "*": _check_product,
    "**": _check_power,
    "%": _check_remainder,
}
