"""Jinja: ``{{ _.a }}``, in a sandbox and on a budget (§ 25, SEC-11, SEC-12).

The data of the view is shown as it is, not copied: only methods could change
it, and methods that change their owner are refused. A template that names one
(``{{ _.l.append(1) }}``) works on a copy of what it reads (Q49).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import Template, TemplateError, pass_context
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.runtime import (
    Context,
    Undefined,
)
from jinja2.utils import Cycler, Joiner, Namespace, generate_lorem_ipsum

from mistral.expressions import functions, jinja_filters, jinja_syntax
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
from mistral.expressions.jinja_sandbox import Global, Sandbox, StrictlyUndefined
from mistral.expressions.limits import budget
from mistral.expressions.recognition import JINJA
from mistral.expressions.values import final_result, storable_result

MAX_RANGE: Final = 100_000
"""As Jinja's own sandbox (§ 25)."""

MAX_LIPSUM_WORDS: Final = 10_000

RESERVED: Final = ("__env", "__execution", "__task_execution")


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
        environment = Sandbox(
            **jinja_syntax.SYNTAX,
            optimized=False,
            finalize=_finalize,
            cache_size=0,
        )
        environment.undefined = StrictlyUndefined
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

    def evaluate(self, text: str, view: View) -> Any:
        """The value of a sole expression, or the rendered text."""
        try:
            compiled = self._cached(text)
            context = self._context(compiled, view)
            output = compiled.template.root_render_func(context)
            if not compiled.whole:
                rendered = _concat(output)
                budget().holds(len(rendered))
                return rendered
            for _piece in output:
                pass
            value = context.vars[RESULT]
            if isinstance(value, Undefined):
                raise _why_undefined(value)
            return final_result(value, budget())
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
    if isinstance(value, StrictlyUndefined):
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
