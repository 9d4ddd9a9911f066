"""The small standard actions (spec/engine.md § 9.1)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from mistral_lib.actions import Result
from mistral_lib.exceptions import ActionException

from mistral.actions.builtin import BuiltinAction
from mistral.messages import State

FAIL_TEXT: Final = "Fail action expected exception."

MAX_DICT_SIZE: Final = 1_000_000
"""More entries than any result may have bytes."""


class NoOpAction(BuiltinAction):
    """Does nothing."""

    NAME = "std.noop"

    def run(self, context: Any) -> None:
        return None


class AsyncNoOpAction(BuiltinAction):
    """Does nothing; its result comes from outside."""

    NAME = "std.async_noop"
    SYNC = False

    def run(self, context: Any) -> None:
        return None


class EchoAction(BuiltinAction):
    """Gives back its output, after delay seconds."""

    NAME = "std.echo"

    sleep: ClassVar[Callable[[float], None]] = staticmethod(time.sleep)

    def __init__(self, output: Any, delay: Any = 0) -> None:
        self.output = output
        self.delay = seconds_of(delay)

    def run(self, context: Any) -> Any:
        if self.delay > 0:
            self.sleep(self.delay)
        return self.output


class FailAction(BuiltinAction):
    """Fails, with error_data as its result if given."""

    NAME = "std.fail"

    def __init__(self, error_data: Any = None) -> None:
        self.error_data = error_data

    def run(self, context: Any) -> Result:
        if self.error_data:
            return Result(error=self.error_data)
        raise ActionException(FAIL_TEXT)


class SleepAction(BuiltinAction):
    """Sleeps for whole seconds."""

    NAME = "std.sleep"

    sleep: ClassVar[Callable[[float], None]] = staticmethod(time.sleep)

    def __init__(self, seconds: Any = 1) -> None:
        try:
            self.seconds = max(int(seconds), 0)
        except (TypeError, ValueError, OverflowError):
            self.seconds = 0

    def run(self, context: Any) -> None:
        if self.seconds:
            self.sleep(self.seconds)


class CallFunction(BuiltinAction):
    """Calls a function of a worker (``mistral.worker``), which the ``target`` of the
    task names."""

    NAME = "std.call"

    def __init__(self, function: Any, arguments: Any = None) -> None:
        self.function = function
        self.arguments = arguments

    def run(self, context: Any) -> None:
        raise ActionException(
            "std.call: this executor has no functions; give the task a 'target' that a"
            " worker serves."
        )


class WaitForAction(BuiltinAction):
    """Waits for a message to its workflow execution, whose payload is the result.

    The one of the same name and key that came first; ``timeout`` in seconds. Engines
    do it all: an executor never gets it.
    """

    NAME = "std.wait_for"
    SYNC = False

    def __init__(self, name: Any, key: Any = None, timeout: Any = None) -> None:
        self.name = name
        self.key = key
        self.timeout = timeout

    def run(self, context: Any) -> None:
        raise ActionException("std.wait_for is an engine's: no executor can run it.")


class DictAction(BuiltinAction):
    """Makes a dictionary of size entries."""

    NAME = "std.test_dict"

    def __init__(self, size: Any = 0, key_prefix: str = "", val: Any = "") -> None:
        self.size = int(size)
        self.key_prefix = key_prefix
        self.val = val
        if self.size > MAX_DICT_SIZE:
            raise ActionException(
                f"std.test_dict: expected a size up to {MAX_DICT_SIZE}."
            )

    def run(self, context: Any) -> dict[str, Any]:
        return {f"{self.key_prefix}{i}": self.val for i in range(self.size)}


def seconds_of(value: Any) -> float:
    """Seconds to wait; what is negative, infinite or no number is 0."""
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


# -- Inline: pure, instantaneous, finished by the engine's loop ---------------

Inline = Callable[..., "tuple[State, Any] | None"]
"""``inline(input, action_id="") → (SUCCESS | ERROR, result)``, where ``result``
is what ``output["result"]`` becomes. None: this input needs an executor. The
input has passed ``Registry.check_input``."""


def _noop(given: Mapping[str, Any], action_id: str = "") -> tuple[State, Any]:
    return State.SUCCESS, None


def _echo(given: Mapping[str, Any], action_id: str = "") -> tuple[State, Any] | None:
    if seconds_of(given.get("delay", 0)) > 0:
        return None
    return State.SUCCESS, given["output"]


def _fail(given: Mapping[str, Any], action_id: str = "") -> tuple[State, Any]:
    data = given.get("error_data")
    return State.ERROR, data or raised_text(FailAction.NAME, action_id, FAIL_TEXT)


INLINE: Final[Mapping[str, Inline]] = {
    "std.noop": _noop,
    "std.echo": _echo,
    "std.fail": _fail,
}
"""Actions that the engine may finish itself (without target and timeout)."""


def raised_text(action: object, action_id: str | None, why: object) -> str:
    """The result of an action that raised (§ 8.3, ENG-204)."""
    return (
        f"The action raised an exception [action={action}, "
        f"action_ex_id={action_id}, msg='{why}']"
    )
