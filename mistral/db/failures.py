"""What errors of databases mean: others' locks, an outage, a key that is taken.

And what they may say: databases quote what they refuse, ours quote no values (SEC-08).
"""

from __future__ import annotations

import sys
from typing import Any, Final, TypeGuard

from sqlalchemy import exc
from sqlalchemy.engine import ExceptionContext

from mistral.errors import Unavailable, mark_outage
from mistral.redaction import vouch

# Serialization failures, deadlocks, lock time-outs; connections that are gone,
# refused or too many; a server that starts, stops or has become a standby; one whose
# disk or memory is full, which operators mend while nothing is lost.
_RETRYABLE_SQLSTATES: Final = frozenset(
    ("40001", "40P01", "55P03", "57P01", "57P02", "57P03", "25006", "25P03")
    + ("53000", "53100", "53200", "53300", "53400")
)
_RETRYABLE_MYSQL: Final = frozenset(
    (1020, 1205, 1213)
    + (1040, 1042, 1047, 1053, 1077, 1129, 1158, 1159, 1160, 1161, 1184, 1203)
    + (1021, 1037, 1041, 1114, 1226)
    + (1290, 1792, 1836, 1927, 3101, 4031)
    + (2002, 2003, 2006, 2013, 2014, 2055)
)
# Of these, what other transactions are to blame for.
_CONFLICT_SQLSTATES: Final = frozenset(("40001", "40P01", "55P03"))
_CONFLICT_MYSQL: Final = frozenset((1020, 1205, 1213))
# Access denied, no database, no table, no column: what operators have to mend.
_PLAIN_MYSQL: Final = frozenset((1044, 1045, 1049, 1054, 1130, 1142, 1146, 1698))
# SQLITE_BUSY, SQLITE_LOCKED and SQLITE_FULL; extended codes carry them in the low byte.
_RETRYABLE_SQLITE: Final = frozenset((5, 6, 13))


def is_conflict(error: BaseException) -> bool:
    """Whether it is others' transactions that one could not go with."""
    if not isinstance(error, exc.DBAPIError) or error.orig is None:
        return False
    cause = error.orig
    if _is_psycopg(cause):
        return cause.sqlstate in _CONFLICT_SQLSTATES
    return bool(cause.args) and cause.args[0] in _CONFLICT_MYSQL


def is_lock_timeout(error: BaseException) -> bool:
    """Whether a statement waited in vain for a lock that others hold."""
    if not isinstance(error, exc.DBAPIError) or error.orig is None:
        return False
    cause = error.orig
    if _is_psycopg(cause):
        return bool(cause.sqlstate == "55P03")
    return bool(cause.args) and cause.args[0] == 1205


def is_retryable(error: BaseException) -> bool:
    """Whether the same transaction may succeed when it is run again."""
    if isinstance(error, (Unavailable, exc.TimeoutError)):
        return True
    if not isinstance(error, exc.DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    return _is_retryable_cause(error.orig)


def is_duplicate(error: BaseException) -> bool:
    """Whether a key was there already: somebody created the same thing."""
    if not isinstance(error, exc.IntegrityError):
        return False
    cause = error.orig
    if _is_psycopg(cause):
        return bool(cause.sqlstate == "23505")
    # SQLITE_CONSTRAINT_PRIMARYKEY and SQLITE_CONSTRAINT_UNIQUE.
    if getattr(cause, "sqlite_errorcode", None) in (1555, 2067):
        return True
    return bool(cause is not None and cause.args and cause.args[0] == 1062)


def drop_details(context: ExceptionContext) -> None:
    """Errors of databases show what they refuse; ours hold no values (SEC-08)."""
    cause, error = context.original_exception, context.sqlalchemy_exception
    if error is None:
        return
    text = _without_values(cause)
    error.args = (f"({type(cause).__name__}) {text}".rstrip(),)
    if context.is_disconnect or _is_retryable_cause(cause):
        mark_outage(error)
    vouch(error, error.args[0])
    if isinstance(error, exc.DBAPIError):
        number = [arg for arg in cause.args[:1] if isinstance(arg, int)]
        cause.args = (*number, text)
        vouch(cause, text)


def _without_values(cause: BaseException) -> str:
    """What is known to hold none of what a database, or a driver, said; else its
    number for it."""
    name = getattr(cause, "sqlite_errorname", None)
    if name is not None or _is_retryable_cause(cause):
        # SQLite names tables and columns only.
        return _first_line(cause)
    if _is_psycopg(cause):
        state = cause.sqlstate or "none"
        # Class 22 quotes data, P0 and others what anybody made up; 23 names the
        # constraint, 28 and 3D are about the connection, 42 about the statement.
        told = state[:2] in ("23", "28", "3D", "42", "53", "54", "57", "58")
        return cause.diag.message_primary or "" if told else f"SQLSTATE {state}"
    number = cause.args[0] if cause.args else None
    if not isinstance(number, int):
        return ""
    return str(cause.args[1]) if number in _PLAIN_MYSQL else f"error {number}"


def _first_line(cause: BaseException) -> str:
    text = cause.args[-1] if cause.args else ""
    return str(text).partition("\n")[0]


def _is_retryable_cause(cause: BaseException | None) -> bool:
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _RETRYABLE_SQLITE
    if _is_psycopg(cause):
        sqlstate = cause.sqlstate
        if sqlstate is None:
            # No server spoke: the connection could not be used.
            return isinstance(cause, sys.modules["psycopg"].OperationalError)
        return sqlstate in _RETRYABLE_SQLSTATES or sqlstate.startswith("08")
    number = cause.args[0] if cause is not None and cause.args else None
    return number in _RETRYABLE_MYSQL


def _is_psycopg(cause: Any) -> TypeGuard[Any]:
    """Whether PostgreSQL's driver raised it. A process with another database
    does not load that driver (8 MB)."""
    psycopg = sys.modules.get("psycopg")
    return psycopg is not None and isinstance(cause, psycopg.Error)
