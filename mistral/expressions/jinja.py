"""Jinja: ``{{ _.a }}``, in a sandbox and on a budget (§ 25, SEC-11, SEC-12).

The data of the view is shown as it is, not copied: only methods could change
it, and methods that change their owner are refused. A template that names one
(``{{ _.l.append(1) }}``) works on a copy of what it reads (Q49).
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import Template, TemplateError, pass_context
from jinja2.exceptions import SecurityError, TemplateSyntaxError, UndefinedError
from jinja2.runtime import (
    BlockReference,
    Context,
    LoopContext,
    Macro,
    StrictUndefined,
    Undefined,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace, generate_lorem_ipsum, missing
from markupsafe import Markup

from mistral.expressions import functions, jinja_filters, jinja_methods, jinja_syntax
from mistral.expressions.cache import TextCache
from mistral.expressions.facts import View
from mistral.expressions.faults import Refused, evaluation_fault, syntax_fault
from mistral.expressions.jinja_compile import (
    RESULT,
    as_assignment,
    counting,
    keys_read,
    mutates,
)
from mistral.expressions.jinja_format import format_text, printf
from mistral.expressions.limits import Budget, budget
from mistral.expressions.recognition import JINJA
from mistral.expressions.values import kind_of, storable_result

MAX_RANGE: Final = 100_000
"""As Jinja's own sandbox (§ 25)."""

MAX_LIPSUM_WORDS: Final = 10_000

RESERVED: Final = ("__env", "__execution", "__task_execution")


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


class _Undefined(StrictUndefined):
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


class _Sandbox(ImmutableSandboxedEnvironment):
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


# -- globals -----------------------------------------------------------------------


def _range(context: Context, *args: int) -> range:
    found = range(*args)
    try:
        size = len(found)
    except OverflowError:
        size = MAX_RANGE + 1
    if size > MAX_RANGE:
        raise Refused(f"'range' gives at most {MAX_RANGE} items")
    return found


def _dict(context: Context, *args: Any, **kwargs: Any) -> dict[Any, Any]:
    spent = budget()
    for arg in args:
        spent.weigh(arg)
        if not isinstance(arg, Mapping):
            for pair in arg:
                spent.hashes(next(iter(pair)))
    return dict(*args, **kwargs)


def _lipsum(
    context: Context, n: int = 5, html: bool = True, min: int = 20, max: int = 100
) -> str:
    if n * max > MAX_LIPSUM_WORDS:
        raise Refused(f"'lipsum' gives at most {MAX_LIPSUM_WORDS} words")
    budget().charge(4 * n * max)
    return str(generate_lorem_ipsum(n, html, min, max))


def _own(name: str, function: Callable[..., Any]) -> Global:
    def invoke(context: Context, *args: Any, **kwargs: Any) -> Any:
        result = functions.call(function, context.parent["#view"], *args, **kwargs)
        return _copied(result) if context.parent["#mutates"] else result

    return Global(name, invoke)


def _foreign(name: str, function: Callable[..., Any]) -> Global:
    def invoke(context: Context, *args: Any, **kwargs: Any) -> Any:
        return functions.call(function, context.parent["_"], *args, **kwargs)

    return Global(name, invoke)


def _own_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """The piped value takes the place of the context (§ 23)."""

    @pass_context
    def call(context: Context, _piped: Any, *args: Any, **kwargs: Any) -> Any:
        result = functions.call(function, context.parent["#view"], *args, **kwargs)
        return _copied(result) if context.parent["#mutates"] else result

    return call


def _foreign_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    @pass_context
    def call(context: Context, piped: Any, *args: Any, **kwargs: Any) -> Any:
        return functions.call(function, piped, *args, **kwargs)

    return call


def _copied(value: Any) -> Any:
    return storable_result(value, budget())


@pass_context
def _finalize(context: Context, value: Any) -> str:
    spent = budget()
    spent.charge()
    return jinja_filters.text_of(value, spent)


def _concat(pieces: Iterable[str]) -> str:
    """Joins what a template or macro has put out."""
    spent = budget()
    found = []
    size = 0
    for piece in pieces:
        size += len(piece)
        spent.charge()
        spent.bytes(size)
        found.append(piece)
    spent.made(size)
    return "".join(found)


# -- the language ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Compiled:
    template: Template
    whole: bool
    mutates: bool
    keys: frozenset[str] | None


class Jinja:
    """The language; built once per process.

    :param extra: functions of plug-ins by name.
    """

    def __init__(self, extra: Mapping[str, Callable[..., Any]]) -> None:
        environment = _Sandbox(
            **jinja_syntax.SYNTAX,
            optimized=False,
            finalize=_finalize,
            cache_size=0,
        )
        environment.undefined = _Undefined
        environment.concat = _concat  # type: ignore[method-assign]
        environment.globals = {
            "range": Global("range", _range),
            "dict": Global("dict", _dict),
            "lipsum": Global("lipsum", _lipsum),
            "cycler": Cycler,
            "joiner": Joiner,
            "namespace": Namespace,
        }
        environment.filters = jinja_filters.FILTERS | jinja_filters.INTERNAL_FILTERS
        environment.tests = dict(jinja_filters.TESTS)
        for name, function in extra.items():
            environment.globals[name] = _foreign(name, function)
            environment.filters[name] = _foreign_filter(function)
        for name, function in functions.FUNCTIONS.items():
            environment.globals[name] = _own(name, function)
            environment.filters[name] = _own_filter(function)
        self._environment = environment
        self._cached = TextCache(self._compile)

    @property
    def names(self) -> frozenset[str]:
        """Names of all global functions, for lint."""
        return frozenset(self._environment.globals)

    @property
    def filters(self) -> frozenset[str]:
        """Names of all filters and tests, for lint."""
        names = (*self._environment.filters, *self._environment.tests)
        return frozenset(name for name in names if not name.startswith("#"))

    def check(self, text: str) -> None:
        """:raises ExpressionFault: V-17."""
        jinja_syntax.parse(text, self._environment)

    def evaluate(self, text: str, view: View) -> Any:
        """The value of a sole expression, or the rendered text."""
        try:
            compiled = self._cached(text)
            context = self._context(compiled, view)
            output = compiled.template.root_render_func(context)
            if not compiled.whole:
                return _concat(output)
            for _piece in output:
                pass
            value = context.vars[RESULT]
            if isinstance(value, Undefined):
                raise _why_undefined(value)
            return storable_result(value, budget())
        except Exception as error:
            if isinstance(error, TemplateSyntaxError):
                cause = (error.message or "syntax error").rstrip(".")
                raise syntax_fault(JINJA, text, cause, None) from None
            raise evaluation_fault(JINJA, text, _cause(error, text)) from None

    def _compile(self, text: str) -> _Compiled:
        environment = self._environment
        tree = jinja_syntax.parse(text, environment)
        changing = mutates(tree)
        keys = keys_read(tree) if changing else None
        whole = jinja_syntax.is_whole(text, environment)
        if whole:
            tree = as_assignment(tree)
        tree.set_environment(environment)
        tree = counting(tree, environment)
        code = environment.compile(tree)
        template = environment.template_class.from_code(
            environment, code, environment.globals
        )
        return _Compiled(template, whole, changing, keys)

    def _context(self, compiled: _Compiled, view: View) -> Context:
        data = view.data
        if isinstance(data, Mapping):
            if compiled.mutates:
                data = _working_copy(data, compiled.keys)
            elif type(data) is not dict:
                data = dict(data)
            variables = {name: data[name] for name in RESERVED if name in data}
        else:
            data = _copied(data) if compiled.mutates else data
            variables = {}
        variables["_"] = data
        variables["#view"] = view
        variables["#mutates"] = compiled.mutates
        return compiled.template.new_context(variables)


def _working_copy(
    data: Mapping[Any, Any], keys: frozenset[str] | None
) -> dict[Any, Any]:
    """A copy of what a template reads; the rest it cannot reach."""
    return {
        key: _copied(value)
        for key, value in data.items()
        if keys is None or key in keys or key in RESERVED
    }


def _why_undefined(value: Undefined) -> Exception:
    if isinstance(value, _Undefined):
        fault: Exception = value._undefined_exception("")
        return fault
    return Refused("an 'if' without 'else' has no value (Q28)")


def _cause(error: Exception, text: str) -> str:
    """Why it failed, without values of the data (SEC-08)."""
    if isinstance(error, Refused):
        return error.within(text)
    if isinstance(error, SecurityError):
        return "it does what templates may not do"
    for kind, cause in _CAUSES:
        if isinstance(error, kind):
            return cause
    return f"it failed with {type(error).__name__}"


_CAUSES: Final[tuple[tuple[Any, str], ...]] = (
    (RecursionError, "it is nested too deeply"),
    (MemoryError, "it takes too much memory"),
    (ZeroDivisionError, "division by zero"),
    (OverflowError, "a number is too large"),
    (LookupError, "a key or index is missing"),
    (TypeError, "a value or argument is of the wrong type"),
    (ValueError, "a value is not of the expected form"),
    (SyntaxError, "it is nested too deeply"),
    (TemplateError, "a template error"),
)
