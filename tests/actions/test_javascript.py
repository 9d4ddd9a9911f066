"""std.javascript: off by default, in a limited process (SEC-21)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mistral_lib.exceptions import ActionException

from mistral.actions.javascript import JavaScriptAction
from mistral.config import JavaScriptSettings

ON = JavaScriptSettings(enabled=True, timeout=0.5, max_output_bytes=10_000)


def run(script: str, context: Any = None, settings: JavaScriptSettings = ON) -> Any:
    action = JavaScriptAction(script, context)
    action.settings = settings
    return action.run(None)


def test_off_by_default_sec_21() -> None:
    """SEC-21"""
    with pytest.raises(ActionException, match=r"^JavaScriptAction failed: .*off"):
        JavaScriptAction("return 1").run(None)


@pytest.mark.parametrize(
    ("script", "context", "expected"),
    [
        ("return $.a + 1", {"a": 1}, 2),
        ("return {x: [1, 'ü', null]}", None, {"x": [1, "ü", None]}),
        ("let a = 1", None, None),
        ("return $", None, None),
        ("return $.text.length", {"text": "'\"\\\u2028"}, 4),
        ("return JSON.stringify($)", [1, 2], "[1,2]"),
    ],
)
def test_results(script: str, context: Any, expected: Any) -> None:
    """§ 9.1: the body of a function, context as ``$``."""
    assert run(script, context) == expected


ENDLESS = "(interrupted|exceeded its time)"
"""The interpreter counts processor time, its keeper the clock: on a busy machine the
keeper may be first."""


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("throw new Error('boo')", "Error: boo"),
        ("not a script", "SyntaxError"),
        ("return missing", "ReferenceError"),
        ("while (true) {}", ENDLESS),
        ("return /(a+)+$/.test('a'.repeat(40) + 'b')", ENDLESS),
        ("return 'x'.repeat(1e9)", "out of memory"),
        ("let a = []; while (true) a.push('x' + a.length)", "out of memory"),
        ("return 'x'.repeat(20000)", "too large"),
        ("function f() { return f() } f()", "stack"),
        ("let a = {}; a.a = a; return a", "TypeError"),
    ],
)
def test_limits_and_failures_sec_21(script: str, why: str) -> None:
    """SEC-21: time, memory, output and stack; one text for every failure."""
    with pytest.raises(ActionException, match=f"^JavaScriptAction failed: .*{why}"):
        run(script)


def test_nothing_of_the_machine_is_there_sec_21() -> None:
    """SEC-21: no modules, files, network, environment."""
    names = ["std", "os", "fetch", "require", "process", "XMLHttpRequest", "WebSocket"]
    for name in names:
        assert run(f"return typeof {name}") == "undefined"


HOSTILE = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("child", {child!r})
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
question = json.load(sys.stdin)
child.restrict(question["timeout"], question["memory"])
{code}
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import socket; socket.socket()", "time or memory"),
        ("open('/etc/hostname')", "time or memory"),
        ("bytearray(1 << 30)", "time or memory"),
        ("while True: pass", "time or memory"),
        ("while True: print('x' * 1000)", "too large"),
        ("print('no JSON')", "no readable result"),
        ("import os; print(json.dumps({'error': sorted(os.environ)}))", r"\[.*\]"),
    ],
)
def test_a_broken_interpreter_leads_nowhere_sec_21(
    tmp_path: Path, code: str, expected: str
) -> None:
    """SEC-21: even code in the child itself gets no socket, file, memory or time,
    and cannot drown the executor."""
    child = tmp_path / "child.py"
    child.write_text(HOSTILE.format(child=str(JavaScriptAction.child), code=code))
    cls = type("Hostile", (JavaScriptAction,), {"child": child})
    action = cls("return 1")
    action.settings = ON
    with pytest.raises(ActionException, match=expected) as caught:
        action.run(None)
    assert "PATH" not in str(caught.value)
