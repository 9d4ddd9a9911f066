"""What a log may say of an exception: its class, where it was raised, and its text
only when that is known to hold no values (SEC-06, SEC-08).

Libraries put what they stumbled over into the texts of their errors: a database the
value that it refuses, a parser the input, a dictionary the key. All of these may be
an author's, and secret. Texts that are known: those of our own errors, of the
operating system by its number, and what somebody who knows has vouched for.
"""

from __future__ import annotations

import errno
import os
from functools import lru_cache
from typing import Final

from mistral.errors import MistralError

_VOUCHED: Final = "_mistral_vouched_text"

_LONGEST: Final = 50
"""Exceptions of a chain; who reads the log of a longer one has seen enough."""


class StandIn(Exception):
    """Stands where an exception stood: another class of the same name for each."""


def vouch(error: BaseException, text: str) -> None:
    """Say that this text, about this error, holds no values."""
    setattr(error, _VOUCHED, text)


def redacted(error: BaseException) -> StandIn:
    """The same exception without its text, with traceback, causes and contexts."""
    made = {id(error): _stand_in(error)}
    waiting = [error]
    for each in waiting:
        mine = made[id(each)]
        for name in ("__cause__", "__context__"):
            other = getattr(each, name)
            if other is None or (id(other) not in made and len(made) >= _LONGEST):
                continue
            if id(other) not in made:
                made[id(other)] = _stand_in(other)
                waiting.append(other)
            setattr(mine, name, made[id(other)])
        # after the cause, which sets it
        mine.__suppress_context__ = each.__suppress_context__
    return made[id(error)]


def _stand_in(error: BaseException) -> StandIn:
    text = _known_text(error)
    made = _like(type(error))(*[text] if text else [])
    return made.with_traceback(error.__traceback__)


@lru_cache(maxsize=256)
def _like(kind: type[BaseException]) -> type[StandIn]:
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (StandIn,), names)


def _known_text(error: BaseException) -> str:
    vouched = error.__dict__.get(_VOUCHED)
    if vouched is not None:
        return str(vouched)
    if isinstance(error, MistralError):
        return error.message
    # what a library passes on as its own OSError has any text, but no number
    if isinstance(error, OSError) and error.errno in errno.errorcode:
        return f"[Errno {error.errno}] {os.strerror(error.errno)}"
    return ""
