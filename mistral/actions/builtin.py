"""What our own actions have in common, and their list."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from mistral_lib.actions import Action

BUILTIN: Final[dict[str, str]] = {
    "std.call": "mistral.actions.basic:CallFunction",
    "std.async_noop": "mistral.actions.basic:AsyncNoOpAction",
    "std.echo": "mistral.actions.basic:EchoAction",
    "std.email": "mistral.actions.mail:EmailAction",
    "std.fail": "mistral.actions.basic:FailAction",
    "std.http": "mistral.actions.http:HttpAction",
    "std.javascript": "mistral.actions.javascript:JavaScriptAction",
    "std.js": "mistral.actions.javascript:JavaScriptAction",
    "std.mistral_http": "mistral.actions.http:MistralHttpAction",
    "std.noop": "mistral.actions.basic:NoOpAction",
    "std.sleep": "mistral.actions.basic:SleepAction",
    "std.test_dict": "mistral.actions.basic:DictAction",
    "std.wait_for": "mistral.actions.basic:WaitForAction",
}
"""Name → class; the entry points of the package repeat it."""


class BuiltinAction(Action):
    """Root of our actions.

    :cvar NAME: shown where a class would be: in error texts.
    :cvar SYNC: what ``is_sync`` of every instance answers, for those who must
        know it without an instance.
    :cvar SETTINGS: the group of ``config.Settings`` that the executor's registry
        puts into ``settings`` after construction; empty: none.
    """

    NAME: ClassVar[str] = ""
    SYNC: ClassVar[bool] = True
    SETTINGS: ClassVar[str] = ""

    settings: Any = None

    def is_sync(self) -> bool:
        return self.SYNC

    def __repr__(self) -> str:
        """The name alone: parameters may hold secrets (SEC-09)."""
        return self.NAME
