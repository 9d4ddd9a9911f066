"""Every error that the service raises on purpose, by whose fault it is.

::

    MistralError
    ├── CallerError            the request cannot be done as it was put
    │   ├── BadRequest         what was sent makes no sense here
    │   │   ├── InvalidInput   missing or unexpected names; lists both
    │   │   └── TransitionRefused   this state change does not exist
    │   ├── Unauthorized
    │   ├── Forbidden
    │   ├── NotFound
    │   ├── Conflict
    │   ├── TooLarge           a body, field or result above its limit
    │   └── Locked             maintenance: nothing may change now
    ├── AuthorError            the text of a workflow is wrong
    │   ├── DefinitionFault    at upload: carries every Problem found
    │   ├── ExpressionFault    at evaluation: expression, position, cause
    │   └── WorkflowFault      at run time: fails the task, perhaps the run
    └── ServiceError           our side
        ├── Unavailable        try again later (overload, broker, database)
        ├── StaleSchema        the database has another schema version
        └── Bug                an invariant of ours does not hold

No HTTP number stands here: the API maps classes to statuses in one place.
``code`` is stable and never changes its meaning; clients may compare it.
A message never contains values from a workflow's data (SEC-08).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar


class MistralError(Exception):
    """Root of the tree.

    :param message: a sentence: what was expected, what was found, where.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def details(self) -> dict[str, Any]:
        """What :func:`to_wire` keeps beside the message (JSON values)."""
        return {}

    @classmethod
    def rebuild(cls, message: str, details: Mapping[str, Any]) -> MistralError:
        """The inverse of ``(message, details())``."""
        return cls(message)


class CallerError(MistralError):
    """The request cannot be done as it was put."""

    code = "caller"


class BadRequest(CallerError):
    code = "bad-request"


class InvalidInput(BadRequest):
    """Names given to a workflow or action do not match its declaration."""

    code = "invalid-input"

    @classmethod
    def listing(
        cls,
        name: str,
        kind: str,
        missing: Sequence[str],
        unexpected: Sequence[str],
    ) -> InvalidInput:
        """The text of spec/engine.md § 1.7.

        :param kind: class of what was called: ``WorkflowSpec``, ``AdHocAction``.
        """
        parts = [f"name={name}", f"class={kind}"]
        if missing:
            parts.append(f"missing={list(missing)}")
        if unexpected:
            parts.append(f"unexpected={list(unexpected)}")
        return cls(f"Invalid input [{', '.join(parts)}]")


class TransitionRefused(BadRequest):
    """The state table has no such move."""

    code = "transition-refused"


class Unauthorized(CallerError):
    code = "unauthorized"


class Forbidden(CallerError):
    code = "forbidden"


class NotFound(CallerError):
    code = "not-found"


class Conflict(CallerError):
    code = "conflict"


class PreconditionFailed(CallerError):
    """``If-Match``: what it names is not what is there."""

    code = "precondition-failed"


class TooMany(CallerError):
    """The same request may succeed a little later."""

    code = "too-many"


class TooLarge(CallerError):
    code = "too-large"


class Locked(CallerError):
    code = "locked"


class AuthorError(MistralError):
    """The text of a workflow is wrong.

    Whoever knows the definition can say where it is (not sent to others):

    :ivar text: the whole scalar that holds the expression, as it was written; empty
        when it is about no expression.
    :ivar path: where that scalar is in what was looked at (``servers[0].name``).
    :ivar offset: characters of ``text`` before the place; None if unknown.
    :ivar item: which item of a with-items task it is about; None: of no one.
    :ivar handled: name of the action whose result was being handled when it
        was found; None: of no one.
    """

    code = "author"

    def __init__(
        self,
        message: str,
        *,
        text: str = "",
        path: str = "",
        offset: int | None = None,
    ) -> None:
        super().__init__(f"{message} (at {path})" if path else message)
        self.text = text
        self.path = path
        self.offset = offset
        self.item: int | None = None
        self.handled: str | None = None

    @property
    def sentence(self) -> str:
        """The message without the path."""
        return self.message.removesuffix(f" (at {self.path})")

    def below(self, path: str) -> AuthorError:
        """The same fault as it is seen from further out.

        :param path: of what was looked at.
        """
        inner = self.path if self.path[:1] in ("", "[") else f".{self.path}"
        return self._again(type(self), self.sentence, path + inner)

    def retold(self, kind: type[Fault], message: str = "") -> Fault:
        """The same fault of another class, and perhaps in other words."""
        return self._again(kind, message or self.sentence, self.path)

    def _again(self, kind: type[Fault], sentence: str, path: str) -> Fault:
        made = kind(sentence, text=self.text, path=path, offset=self.offset)
        made.item, made.handled = self.item, self.handled
        return made


Fault = TypeVar("Fault", bound=AuthorError)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a definition.

    ``path`` is an attribute path such as ``my_wf.tasks.t1.retry.count``;
    ``line`` and ``column`` count from 1; ``rule`` is the rule of the
    language that is broken (``V-24``, ``LINT-03``), empty if none has a name.
    """

    message: str
    path: str = ""
    line: int | None = None
    column: int | None = None
    rule: str = ""

    def __str__(self) -> str:
        where = self.path
        if self.line is not None:
            position = f"line {self.line}, column {self.column}"
            where = f"{where} ({position})" if where else position
        return f"{where}: {self.message}" if where else self.message

    def to_dict(self) -> dict[str, Any]:
        return {
            "message": self.message,
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "rule": self.rule,
        }


class DefinitionFault(AuthorError):
    """A definition was refused; nothing of it was stored.

    :param problems: all that was found, in the order of the text.
    """

    code = "definition"

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        if isinstance(problems, str):
            problems = (Problem(problems),)
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def details(self) -> dict[str, Any]:
        return {"problems": [problem.to_dict() for problem in self.problems]}

    @classmethod
    def rebuild(cls, message: str, details: Mapping[str, Any]) -> DefinitionFault:
        return cls(tuple(Problem(**problem) for problem in details["problems"]))


class ExpressionFault(AuthorError):
    """An expression could not be read or evaluated (never with values, Q56)."""

    code = "expression"


class WorkflowFault(AuthorError):
    """The text of a workflow fails while it runs; with ``text``: what an expression
    gave is of the wrong kind."""

    code = "workflow"


class ServiceError(MistralError):
    """Our side."""

    code = "service"


class Unavailable(ServiceError):
    """Try again later.

    :param retry_after: seconds after which a repeat makes sense.
    """

    code = "unavailable"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def details(self) -> dict[str, Any]:
        return {"retry_after": self.retry_after}

    @classmethod
    def rebuild(cls, message: str, details: Mapping[str, Any]) -> Unavailable:
        return cls(message, details.get("retry_after", 1.0))


_OUTAGE: Final = "_mistral_outage"


def mark_outage(error: BaseException) -> None:
    """Say that this error of a library tells of something that is away for now, or of a
    clash that a repeat may not meet."""
    setattr(error, _OUTAGE, True)


def is_outage(error: BaseException) -> bool:
    """Whether the same may succeed later, without anybody mending anything of ours."""
    return isinstance(error, Unavailable) or hasattr(error, _OUTAGE)


def as_told(error: BaseException) -> MistralError:
    """What who asked may hear of an error: of one that is none of ours only whether a
    repeat may help."""
    if isinstance(error, MistralError):
        return error
    if is_outage(error):
        return Unavailable("The database is away.")
    return Bug("The request could not be handled")


class StaleSchema(ServiceError):
    code = "stale-schema"


class Bug(ServiceError):
    code = "bug"


def _tree(root: type[MistralError]) -> dict[str, type[MistralError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


def to_wire(error: MistralError) -> dict[str, Any]:
    """``{"code", "message", "details"}``: JSON that :func:`from_wire` reads."""
    return {
        "code": error.code,
        "message": error.message,
        "details": error.details(),
    }


def from_wire(wire: Mapping[str, Any]) -> MistralError:
    """The error that was sent; an unknown code (a newer peer's) becomes a
    :class:`ServiceError` with the same message."""
    cls = _tree(MistralError).get(wire.get("code", ""), ServiceError)
    return cls.rebuild(wire.get("message", ""), wire.get("details") or {})
