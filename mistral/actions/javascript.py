"""std.javascript: a script of a user, in a limited process of its own (SEC-21)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Final

from mistral_lib.exceptions import ActionException

from mistral.actions.builtin import BuiltinAction
from mistral.actions.child_process import ask
from mistral.config import JavaScriptSettings

_CHILD: Final = Path(__file__).with_name("javascript_child.py")

_GRACE: Final = 2.0
"""Seconds for the child to start; the script has its own time-out in there."""

_MAX_ERROR: Final = 1000


class JavaScriptAction(BuiltinAction):
    """Runs script, the body of a function; its context is the global $."""

    NAME = "std.javascript"
    SETTINGS = "javascript"

    child: ClassVar[Path] = _CHILD

    settings: JavaScriptSettings = JavaScriptSettings()

    def __init__(self, script: str, context: Any = None) -> None:
        self.script = script
        self.context = context

    def run(self, context: Any) -> Any:
        """What the script returns (JSON; ``undefined`` is null).

        :raises ActionException: ``JavaScriptAction failed: …``.
        """
        if not self.settings.enabled:
            raise _failed("scripts are switched off ([javascript] enabled).")
        try:
            answer = json.loads(self._ask_child())
            if "result" in answer:
                return json.loads(answer["result"])
        except (ValueError, TypeError, RecursionError) as error:
            raise _failed("the script gave no readable result.") from error
        raise _failed(str(answer.get("error"))[:_MAX_ERROR])

    def _ask_child(self) -> bytes:
        settings = self.settings
        question = json.dumps(
            {
                "script": str(self.script),
                "context": json.dumps(self.context),
                "timeout": settings.timeout,
                "memory": settings.memory_limit_mb * 1024 * 1024,
                "output": settings.max_output_bytes,
            }
        ).encode()
        limit = 2 * settings.max_output_bytes + 2 * _MAX_ERROR
        answer = ask(
            self.child, question, seconds=settings.timeout + _GRACE, most=limit
        )
        if len(answer) > limit:
            raise _failed("the result is too large.")
        if not answer:
            raise _failed("the script exceeded its time or memory.")
        return answer


def _failed(why: str) -> ActionException:
    return ActionException(f"JavaScriptAction failed: {why}")
