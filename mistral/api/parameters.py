"""What may stand in a query string: each parameter reads its value and says what
it takes.

::

    FORCE = Flag("force", "Delete the execution in whatever state it is.")

    Route("DELETE", "{id}", "delete", "things:delete", 204, query=(FORCE,))

    if FORCE.of(call.query): ...
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mistral.api.types import JsonSchema
from mistral.db.listing import MOST, OPERATORS_OF, Kind
from mistral.errors import BadRequest

TRUE: Final = frozenset({"true", "1", "yes", "on"})
FALSE: Final = frozenset({"false", "0", "no", "off", ""})

LONGEST_NAME: Final = 255

_UUID: Final = "[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}"
_DIGITS: Final = re.compile("[+-]?[0-9]{1,4000}")

Query = Mapping[str, str]


def parse_bool(name: str, value: str) -> bool:
    """A boolean of a query string (Q-06).

    :raises BadRequest: it is neither.
    """
    if value.lower() in TRUE:
        return True
    if value.lower() in FALSE:
        return False
    raise BadRequest(f"Expected true or false for '{name}', found '{value}'.")


def items(text: str) -> tuple[str, ...]:
    """A comma list: trimmed, lower-cased, without blanks and repeats (§ 1.5)."""
    found = (part.strip().lower() for part in text.split(","))
    return tuple(dict.fromkeys(item for item in found if item))


@dataclass(frozen=True, slots=True)
class Parameter:
    """A text; the handler judges it.

    :param meaning: one sentence for the documentation.
    :param required: without it the request is refused, by the handler.
    """

    name: str
    meaning: str
    required: bool = False
    example: Any = None

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string"}

    def of(self, query: Query) -> Any:
        """The value; None: it was not sent."""
        return query.get(self.name)


@dataclass(frozen=True, slots=True)
class ShortText(Parameter):
    """A text of a bounded length; not sent, it is empty."""

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "maxLength": LONGEST_NAME, "default": ""}

    def of(self, query: Query) -> str:
        """:raises BadRequest: it is too long."""
        value = query.get(self.name, "")
        if len(value) > LONGEST_NAME:
            raise BadRequest(f"A {self.name} has at most {LONGEST_NAME} characters.")
        return value


@dataclass(frozen=True, slots=True)
class Choice(Parameter):
    """One of some words; an empty one counts as not sent."""

    words: tuple[str, ...] = ()

    @property
    def schema(self) -> JsonSchema:
        words = list(self.words)
        return {"type": "string", "enum": [*words, ""]}

    def of(self, query: Query) -> str | None:
        """:raises BadRequest: another word."""
        value = query.get(self.name) or None
        if value is not None and value not in self.words:
            words = " or ".join(self.words)
            raise BadRequest(f"Expected {self.name} {words}, found '{value}'.")
        return value


@dataclass(frozen=True, slots=True)
class Flag(Parameter):
    """True or false; not sent or empty, it is false."""

    @property
    def schema(self) -> JsonSchema:
        words = ["", *sorted((TRUE | FALSE) - {"true", "false", ""})]
        either = [{"type": "boolean"}, {"type": "string", "enum": words}]
        return {"anyOf": either, "default": False}

    def of(self, query: Query) -> bool:
        """:raises BadRequest: neither."""
        return parse_bool(self.name, query.get(self.name, ""))


@dataclass(frozen=True, slots=True)
class Switch(Flag):
    """A flag that needs no value: ``?strict``."""

    def of(self, query: Query) -> bool:
        """:raises BadRequest: neither."""
        given = query.get(self.name)
        return given == "" or parse_bool(self.name, given or "")


@dataclass(frozen=True, slots=True)
class Presence(Parameter):
    """It counts that it is there, whatever it says (§ 6.6)."""

    def of(self, query: Query) -> bool:
        return self.name in query


@dataclass(frozen=True, slots=True)
class Number(Parameter):
    """A whole number; not sent or empty, it is the default.

    :param least: None: any.
    :param most: what a larger one means; None: itself.
    """

    least: int | None = None
    most: int | None = None
    default: int | None = None

    @property
    def schema(self) -> JsonSchema:
        bounds = {} if self.least is None else {"minimum": self.least}
        default = {} if self.default is None else {"default": self.default}
        return {"type": "integer", **bounds, **default}

    def of(self, query: Query) -> int | None:
        """:raises BadRequest: none, or too small."""
        text = query.get(self.name)
        if not text:
            return self.default
        if not _DIGITS.fullmatch(text):
            raise BadRequest(f"Expected a number for '{self.name}', found '{text}'.")
        value = int(text)
        if self.least is not None and value < self.least:
            word = "positive" if self.least else "zero or more"
            raise BadRequest(f"{self.name.capitalize()} must be {word}.")
        return value if self.most is None else min(value, self.most)


@dataclass(frozen=True, slots=True)
class Words(Parameter):
    """A comma list.

    :param known: words that may stand in it.
    """

    known: Sequence[str] = field(default=())

    @property
    def schema(self) -> JsonSchema:
        return {"type": "array", "items": {"enum": [*self.known, ""]}}

    def of(self, query: Query) -> tuple[str, ...]:
        return items(query.get(self.name, ""))


_OF_KIND: Final[Mapping[Kind, JsonSchema]] = {
    Kind.TEXT: {"type": "string"},
    Kind.ID: {"type": "string"},
    Kind.UUID: {
        "type": "string",
        "pattern": f"^((eq|neq|in|nin):)?{_UUID}(,{_UUID})*$",
    },
    Kind.JSON: {"type": "string"},
    Kind.BOOL: {
        "type": "string",
        "pattern": "^((eq|neq):)?([tT][rR][uU][eE]|1|[yY][eE][sS]|[oO][nN]"
        "|[fF][aA][lL][sS][eE]|0|[nN][oO]|[oO][fF][fF]|)$",
    },
    Kind.COUNT: {"type": "string", "pattern": "^((eq|neq):)?0*[1-9][0-9]{0,9}$"},
    Kind.DATE: {"type": "string"},
    Kind.TAGS: {"type": "string"},
    Kind.PROJECT: {"type": "string"},
    Kind.RUN: {"type": "string"},
    Kind.RESULT: {"type": "string"},
}

_NEEDS: Final[Mapping[Kind, str]] = {
    Kind.TEXT: "",
    Kind.ID: " Needs an id.",
    Kind.UUID: " Needs a UUID.",
    Kind.JSON: " Needs JSON text, compared as a whole.",
    Kind.BOOL: " Needs true or false.",
    Kind.COUNT: f" Needs a whole number from 1 to {MOST}.",
    Kind.DATE: " Needs YYYY-MM-DD HH:MM:SS (UTC) or ISO 8601.",
    Kind.TAGS: " A comma list: eq, and no operator: all of them; in: any of them.",
    Kind.PROJECT: " Needs the id of a project.",
    Kind.RUN: " Needs a UUID, or the id of an execution that is there.",
    Kind.RESULT: " JSON text; of a task over items, the result of one of them.",
}


@dataclass(frozen=True, slots=True)
class Filter(Parameter):
    """A filter of a list, which the database compares (§ 3.5)."""

    kind: Kind = Kind.TEXT

    @property
    def operators(self) -> tuple[str, ...]:
        return OPERATORS_OF[self.kind]

    @property
    def schema(self) -> JsonSchema:
        return dict(_OF_KIND[self.kind])


def filters(kinds: Mapping[str, Kind]) -> tuple[Filter, ...]:
    """The filters of a list."""
    return tuple(
        Filter(name, f"Compares `{name}`.{_NEEDS[kind]}", kind=kind)
        for name, kind in kinds.items()
    )


NAMESPACE: Final = ShortText("namespace", "Namespace of the definition.")
SCOPE: Final = Choice(
    "scope",
    "Who sees the object: its project, or all (which takes a policy of its own). Left"
    " out, a new object is private, and another one stays as it is.",
    words=("private", "public"),
)
STRICT: Final = Switch(
    "strict", "Refuse also what is advised against (see the advice page)."
)
SKIP_VALIDATION: Final = Presence(
    "skip_validation",
    "Store the text even if it is not valid, whatever the value says; has an effect "
    "where `[api] validation_mode` is `enabled`. Using what is not valid fails.",
)
ALL_PROJECTS: Final = Flag("all_projects", "Ask for the objects of all projects.")
INCLUDE_OUTPUT: Final = Flag("include_output", "Show `output`, too.")
ERRORS_ONLY: Final = Flag("errors_only", "Only tasks in ERROR, and what is below them.")
MAX_DEPTH: Final = Number(
    "max_depth", "Levels of sub-workflows; negative: all.", default=-1
)
