"""The plain ``yaql`` library beside our evaluator: the same text, the same data,
the outcomes in one notation.

An outcome is JSON text, or ``!`` and the class of the failure.
"""

from __future__ import annotations

import collections.abc  # noqa: F401  (yaql needs it imported)
import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any, Final

import yaql
from yaql.language import exceptions, utils, yaqltypes

from mistral.errors import ExpressionFault
from mistral.expressions.evaluate import Evaluator, to_storable
from mistral.expressions.facts import View
from mistral.expressions.settings import ExpressionSettings

LIMIT: Final = 50
"""Items of one sequence: what has no end, ends here in both."""

DATA: Final[dict[str, Any]] = {
    "d": {"a": 1, "b": {"c": [1, 2]}, "items": 5},
    "l": [3, 1, 2, 1],
    "ld": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 1, "b": "z"}],
    "s": "b a",
    "n": None,
}

_ADDRESSED: Final = re.compile("<[^<>]*(<[^<>]*>)?[^<>]* at 0x[0-9a-f]+>")
"""How the library prints what is lazy; ours says what it is."""

_LIBRARY: Final[tuple[tuple[Any, str], ...]] = (
    (exceptions.YaqlParsingException, "syntax"),
    (exceptions.CollectionTooLargeException, "limit"),
    (exceptions.MemoryQuotaExceededException, "limit"),
    (exceptions.YaqlException, "arguments"),
    (re.error, "pattern"),
    (IndexError, "index"),
    (KeyError, "key"),
    (StopIteration, "items"),
    (ZeroDivisionError, "zero"),
    (OverflowError, "large"),
    (AssertionError, "assertion"),
    (TypeError, "type"),
    (ValueError, "form"),
    (ExpressionFault, "store"),
)

_OURS: Final = (
    ("Cannot parse", "syntax"),
    ("there is no (function|method|property|operator)|has no attribute", "arguments"),
    ("does not (work|take)", "arguments"),
    ("more (items )?than|more items|too much memory|larger than", "limit"),
    ("regular expression|replacement", "pattern"),
    ("index is out", "index"),
    ("there is no (such )?key", "key"),
    ("too few", "items"),
    ("division by zero", "zero"),
    ("number is too large", "large"),
    ("of the wrong type", "type"),
    ("not of the expected form", "form"),
    (r"value( at \S+)? is |value( at \S+)? has a list|a set cannot hold", "store"),
    ("it failed with AttributeError", "AttributeError"),
)


class Plain:
    """The library with these options of ``[yaql]`` and nothing of ours."""

    def __init__(
        self, settings: ExpressionSettings, data: dict[str, Any] = DATA
    ) -> None:
        self._data = data
        factory = yaql.YaqlFactory(
            settings.keyword_operator, allow_delegates=settings.allow_delegates
        )
        self._engine = factory.create(
            {
                "yaql.limitIterators": settings.limit_iterators,
                "yaql.memoryQuota": settings.memory_quota,
                "yaql.convertTuplesToLists": settings.convert_tuples_to_lists,
                "yaql.convertSetsToLists": settings.convert_sets_to_lists,
                "yaql.iterableDicts": settings.iterable_dicts,
            }
        )
        self.context = yaql.create_context(delegates=settings.allow_delegates)

    def raw(self, text: str) -> Any:
        """The value as an argument would be, nothing converted."""
        context = self.context.create_child_context()
        context["$"] = utils.convert_input_data(self._data)
        return self._engine(text).expression(utils.NO_VALUE, context, self._engine)

    def accepts(self, kind: Any, value: Any) -> bool:
        return bool(kind.check(value, self.context, self._engine))

    def converted(self, text: str) -> Any:
        """The result as the library gives it.

        :raises Exception: whatever the library raises.
        """
        context = self.context.create_child_context()
        return self._engine(text).evaluate(self._data, context)

    def outcome(self, text: str) -> str:
        try:
            found = to_storable(self.converted(text))
        except Exception as error:
            return "!" + _library_class(error)
        return _ADDRESSED.sub("<lazy>", json.dumps(found))


def _library_class(error: BaseException) -> str:
    if isinstance(error, exceptions.WrappedException):
        error = error.wrapped
    if isinstance(error, TypeError) and "unhashable" in str(error):
        # its own result cannot be converted; ours says that it cannot be stored
        return "store"
    if "group" in str(error) and isinstance(error, IndexError):
        return "pattern"
    for kind, name in _LIBRARY:
        if isinstance(error, kind):
            return name
    return type(error).__name__


class Ours:
    """The service's evaluator."""

    def __init__(
        self, settings: ExpressionSettings, data: dict[str, Any] = DATA
    ) -> None:
        self._view = View(data)
        self._evaluator = Evaluator(settings)

    def outcome(self, text: str) -> str:
        try:
            found = json.dumps(self._evaluator.evaluate(f"<% {text} %>", self._view))
        except ExpressionFault as fault:
            return "!" + _our_class(fault.message)
        return re.sub("<(sequence|context)>", "<lazy>", found)


def _our_class(message: str) -> str:
    cause = message[message.rfind("': ") + 3 :]
    for pattern, name in _OURS:
        if re.search(pattern, message if name == "syntax" else cause):
            return name
    return "assertion" if "assert(" in message else cause


def same(library: str, ours: str) -> bool:
    """Whether these are one outcome. A mapping or set that cannot be hashed is a
    wrong type at the call or cannot be stored at the end."""
    return library == ours or {library, ours} == {"!store", "!type"}


# -- calls of every function of the library ------------------------------------------

VALUES: Final = (
    "null",
    "'b a'",
    *"true false 0 1 -1 3 1.5 '' a aXbXa '12' '%Y-%m' [] [1,2,3] [b,a,b]".split(),
    "[[1,2],[3,4]]",
    "[null]",
    "[1,null,a]",
    "{}",
    "{a=>1,b=>[1]}",
    *"$.d $.ld set() set(1,2) range(3) [1,2].select($+1) [2,1].orderBy($)".split(),
    *"$.d.keys() $.d.values() $.d.items() regex(a) regex('(.)X')".split(),
    "datetime(2020,1,2,3)",
    "timespan(hours=>1)",
)
LAMBDAS: Final = (
    *"$ true false null $.a $[0] -$ str($) $.len()".split(),
    *("$ + 1", "$ > 1", "$1 + $2", "[$, $]", "[$1, $2]", "$ = a", "$ mod 2"),
)
_DOUBLING: Final = ("[$, $]", "[$1, $2]")
_REPEATED: Final = ("generate", "generateMany", "aggregate", "reduce", "accumulate")
RULES: Final = ("a => 1", "true => b", "false => 2", "[1] => null")
NAMES: Final = ("a", "b", "nope", "items", "year", "days")

_OF_THE_MACHINE: Final = frozenset({"now", "random"})
_INNER: Final = frozenset({"#finalize", "#iter", "#get_context_data"})


class Calls:
    """Calls of the functions of the library, by their own signatures."""

    def __init__(self, plain: Plain) -> None:
        self._plain = plain
        self._values = [(text, plain.raw(text)) for text in VALUES]
        self.definitions: dict[str, list[Any]] = {}
        layer = plain.context
        while layer is not None:
            for name, found in layer._functions.items():
                if name not in _OF_THE_MACHINE | _INNER and "yaqlized" not in str(
                    [d.payload.__module__ for d in found]
                ):
                    ordered = sorted(found, key=lambda d: d.payload.__name__)
                    self.definitions.setdefault(name, []).extend(ordered)
            layer = layer.parent

    def of(self, name: str, count: int) -> Iterator[str]:
        """``count`` random calls of each overload: mostly with arguments that it
        takes, some with any."""
        random = Random(name)
        for definition in self.definitions[name]:
            for _ in range(count):
                yield from self._call(name, definition, random)

    def _call(self, name: str, definition: Any, random: Random) -> Iterator[str]:
        shown = [
            parameter
            for parameter in definition.parameters.values()
            if not isinstance(parameter.value_type, yaqltypes.HiddenParameterType)
        ]
        fixed = sorted(
            (p for p in shown if p.position is not None and p.name != "*"),
            key=lambda parameter: int(parameter.position),
        )
        most = len(fixed)
        given = fixed[: most if random.random() < 0.5 else random.randint(0, most)]
        texts = [self._argument(name, p, random) for p in given]
        names = [p.alias or p.name for p in given]
        if "*" in definition.parameters:
            rest = definition.parameters["*"]
            for _ in range(random.randint(0, 3)):
                texts.append(self._argument(name, rest, random))
                names.append("")
        by_name = [
            f"{p.alias or p.name} => {self._argument(name, p, random)}"
            for p in shown
            if p.position is None and p.name not in "**" and random.random() < 0.3
        ]
        if not definition.no_kwargs and random.random() < 0.4:
            cut = random.randint(1, len(texts)) if texts else 0
            for at in range(cut, len(texts)):
                if names[at]:
                    texts[at] = f"{names[at]} => {texts[at]}"
        yield from _texts(name, definition, texts, by_name)

    def _argument(self, name: str, parameter: Any, random: Random) -> str:
        kind = parameter.value_type
        if isinstance(kind, yaqltypes.Lambda):
            left = _DOUBLING if name in _REPEATED else ()
            return random.choice([text for text in LAMBDAS if text not in left])
        if isinstance(kind, yaqltypes.YaqlExpression):
            return random.choice([*NAMES, "len()", "select($)"])
        if isinstance(kind, yaqltypes.MappingRule) or kind is utils.MappingRule:
            return random.choice(RULES)
        if isinstance(kind, yaqltypes.Constant):
            return random.choice(NAMES)
        if kind is None or random.random() < 0.1:
            return random.choice(VALUES)
        fitting = [t for t, value in self._values if self._plain.accepts(kind, value)]
        return random.choice(fitting or VALUES)


def _texts(
    name: str, definition: Any, texts: list[str], by_name: list[str]
) -> Iterator[str]:
    """How an author writes the call."""
    if name == "#list":
        yield f"[{', '.join(texts)}]"
    elif name == "#map":
        yield "{" + ", ".join(texts) + "}"
    elif not texts and name.startswith(("#", "*")):
        return
    elif name == "#indexer":
        yield f"({texts[0]})[{', '.join(texts[1:])}]"
    elif name.startswith("#property#"):
        yield f"({texts[0]}).{name.removeprefix('#property#')}"
    elif name.startswith("#unary_operator_"):
        yield f"{name.removeprefix('#unary_operator_')} ({texts[0]})"
    elif name.startswith(("#operator_", "*")):
        operator = {"*equal": "=", "*not_equal": "!="}.get(
            name, name.removeprefix("#operator_")
        )
        if len(texts) == 2:
            right = texts[1] if operator in (".", "?.") else f"({texts[1]})"
            yield f"({texts[0]}) {operator} {right}"
    elif not name.startswith("#"):
        if definition.is_function:
            yield f"{name}({', '.join([*texts, *by_name])})"
        if definition.is_method and texts:
            yield f"({texts[0]}).{name}({', '.join([*texts[1:], *by_name])})"
