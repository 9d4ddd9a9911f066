"""Code of users runs in a child that holds nothing of the service (SEC-01)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeClock

from mistral.config import DynamicActionSettings
from mistral.errors import NotFound, Unavailable
from mistral.executors import dynamic_child
from mistral.executors.dynamic import (
    PATIENCE,
    CodeTexts,
    DynamicActions,
    DynamicFault,
    NoJson,
    Raised,
)
from mistral.executors.runner import Runner
from mistral.messages import ActionFinished, ActionTurnedAsync, CallAction, State

ON = DynamicActionSettings(enabled=True, timeout=20, max_output_bytes=10_000)
HEAD = "import os, sys\nfrom mistral_lib import actions\n"


class Engine:
    """Answers every question for a text."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    def call(self, message: Any, *, timeout: float | None = None) -> Any:
        self.asked.append((message.source_id, message.version))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"content": answer, "checksum": "not looked at"}


def code(text: str, version: int = 1) -> dict[str, Any]:
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return {"id": "s", "version": version, "checksum": checksum, "class_name": "X"}


def made(text: str, **more: Any) -> CallAction:
    return CallAction(
        action_id="a", run_id="r", name="x.act", **{"code": code(text), **more}
    )


def run(
    body: str,
    *,
    settings: DynamicActionSettings = ON,
    immediate: bool = False,
    **more: Any,
) -> Any:
    """What the runner says of class X with this body."""
    text = HEAD + body
    texts = CodeTexts(Engine(text), FakeClock())
    runner = Runner(None, dynamic=DynamicActions(texts, settings))  # type: ignore[arg-type]
    return runner.run(made(text, **more), immediate=immediate)


def action(body: str) -> str:
    return f"class X(actions.Action):\n  def run(self, context):\n    {body}\n"


def test_a_result_comes_back() -> None:
    said = run(
        "class X(actions.Action):\n"
        "  def __init__(self, n): self.n = n\n"
        "  def run(self, context):\n"
        "    print('no answer')\n"
        "    e, s = context.execution, context.security\n"
        "    return {'n': self.n * 2, 'set': {1}, 'id': e.action_execution_id,\n"
        "            'url': e.callback_url, 'task': e.task_execution_id,\n"
        "            'project': s.project_id}\n",
        input={"n": 4},
        execution={"task_execution_id": "t"},
        security={"project_id": "p"},
    )
    assert isinstance(said, ActionFinished)
    assert (said.state, said.result) == (
        State.SUCCESS,
        {
            "n": 8,
            "set": [1],
            "id": "a",
            "url": "/v2/action_executions/a",
            "task": "t",
            "project": "p",
        },
    )


def test_plain_classes_get_no_context() -> None:
    said = run("class X:\n  def run(self, context): return [context]")
    assert said.result == [None]


@pytest.mark.parametrize(
    ("body", "state", "result"),
    [
        ("return actions.Result(error={'why': 1})", State.ERROR, {"why": 1}),
        ("return actions.Result(cancel=True)", State.CANCELLED, None),
        ("return actions.Result(data=[1])", State.SUCCESS, [1]),
    ],
)
def test_results_keep_their_kind(body: str, state: State, result: Any) -> None:
    said = run(action(body))
    assert (said.state, said.result) == (state, result)


RAISED = "The action raised an exception [action=x.act, action_ex_id=a, msg='{}']"
NOT_MADE = "Failed to instantiate an action [action_desc=x.act, error={}]"
ENDED = (
    "The process of the action ended without a result: it ran out of time or memory,"
    " or ended itself"
)
NO_JSON = (
    "Failed to complete action due to a Mistral exception [action=x.act,"
    " action_ex_id=a, msg='The result has no JSON form: {}']"
)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (action("raise ValueError('boo')"), RAISED.format("boo")),
        (action("sys.exit('bye')"), RAISED.format("bye")),
        (action("os._exit(0)"), RAISED.format(ENDED)),
        (action("return len('x' * 10**10)"), RAISED.format("MemoryError")),
        (action("return 'x' * 20_000"), NO_JSON.format("it is too large")),
        (
            action("return b'\\xff'"),
            NO_JSON.format("it has bytes that are not UTF-8"),
        ),
        ("class Y: pass", NOT_MADE.format("there is no class 'X' in it")),
        ("X = 1", NOT_MADE.format("there is no class 'X' in it")),
        ("import nowhere", NOT_MADE.format("No module named 'nowhere'")),
        ("raise OSError('early')", NOT_MADE.format("early")),
        (
            "class X:\n  def __init__(self): raise OSError('made')",
            NOT_MADE.format("made"),
        ),
    ],
)
def test_q45_what_fails_fails_the_task_with_a_clear_text(body: str, text: str) -> None:
    said = run(body)
    assert (said.state, said.result) == (State.ERROR, text)


def test_a_call_without_a_process_is_answered_too() -> None:
    class Broken:
        def run(self, call: Any, context: Any, *, immediate: bool) -> Any:
            raise BlockingIOError("no more processes")

    runner = Runner(None, dynamic=Broken())  # type: ignore[arg-type]
    said = runner.run(made("pass"))
    assert isinstance(said, ActionFinished)
    assert said.result == NOT_MADE.format("BlockingIOError: no more processes")


def test_no_python_is_told_with_its_place() -> None:
    said = run("class X(:")
    assert said.state == State.ERROR
    assert "(<code source s version 1>, line 3)" in said.result


def test_a_loop_is_ended() -> None:
    said = run(action("\n    while True: pass"), settings=replace(ON, timeout=0.1))
    assert said.result == RAISED.format(ENDED)


def test_eng_206_asynchronous_actions() -> None:
    waits = "class X(actions.Action):\n  def is_sync(self): return False\n"
    assert isinstance(
        run(waits + "  def run(self, context): return 1"), ActionTurnedAsync
    )
    failed = run(waits + "  def run(self, context): return actions.Result(error=7)")
    assert (failed.state, failed.result) == (State.ERROR, 7)


def test_eng_203_an_asynchronous_action_is_not_run_for_who_waits() -> None:
    body = (
        "class X(actions.Action):\n  def is_sync(self): return False\n"
        "  def run(self, context): return actions.Result(error='it ran')"
    )
    assert isinstance(run(body, immediate=True), ActionTurnedAsync)


# -- What it cannot do (SEC-01) -----------------------------------------------


def attempt(statement: str, settings: DynamicActionSettings = ON) -> Any:
    """``done``, or the name of the error."""
    body = (
        f"\n    try:\n      {statement}\n      return 'done'"
        "\n    except BaseException as error:\n      return type(error).__name__"
    )
    return run(action(body), settings=settings).result


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "mistral.conf"
    file.write_text("connection = …")
    return file


def test_sec_01_no_files_of_the_service(secret: Path) -> None:
    assert attempt(f"open({str(secret)!r}).read()") == "PermissionError"
    assert attempt(f"os.listdir({str(secret.parent)!r})") == "PermissionError"
    assert attempt(f"os.unlink({str(secret)!r})") == "PermissionError"
    assert attempt(f"open({str(secret) + '2'!r}, 'w')") == "PermissionError"
    assert attempt("open('/etc/passwd')") == "PermissionError"
    assert secret.exists()
    allowed = replace(ON, readable_paths=(str(secret.parent),))
    assert attempt(f"open({str(secret)!r}).read()", allowed) == "done"
    assert attempt(f"open({str(secret)!r}, 'w')", allowed) == "PermissionError"


def test_sec_01_nothing_of_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_PASSWORD", "canary")
    said = run(action("return [dict(os.environ), sys.argv, os.getcwd()]")).result
    assert "canary" not in str(said)
    assert said[2] == "/"
    parent = os.getpid()
    assert attempt(f"open('/proc/{parent}/environ').read()") == "PermissionError"
    assert attempt(f"open('/proc/{parent}/mem', 'rb')") == "PermissionError"
    assert attempt(f"os.kill({parent}, 0)") == "PermissionError"


def test_sec_01_no_other_programs() -> None:
    assert attempt("os.execv('/bin/true', ['true'])") == "PermissionError"


def test_sec_01_libraries_and_names_of_hosts_are_there() -> None:
    assert attempt("import requests, yaml, ssl; ssl.create_default_context()") == "done"
    assert attempt("import socket; socket.getaddrinfo('localhost', 80)") == "done"
    assert attempt("import socket; socket.socket().close()") == "done"


def test_sec_01_off_by_default() -> None:
    said = run(action("return 1"), settings=DynamicActionSettings())
    assert said.state == State.ERROR
    assert "switched off on this executor ([dynamic_actions] enabled)" in said.result


class NoLandlock:
    """The C library of a kernel that answers every such call with ENOSYS."""

    def syscall(self, *arguments: Any) -> int:
        return -1


def test_sec_01_without_landlock_it_is_not_run_unless_that_is_wanted() -> None:
    with pytest.raises(dynamic_child.Unconfined, match="no Landlock"):
        dynamic_child.confine(NoLandlock(), [])
    assert attempt("open('/etc/passwd')", replace(ON, confine=False)) == "done"


# -- Texts --------------------------------------------------------------------


def texts_of(engine: Engine, clock: FakeClock | None = None) -> CodeTexts:
    clock = clock or FakeClock()
    pause: Callable[[float], None] = clock.advance
    return CodeTexts(engine, clock, pause)


def test_a_text_is_asked_for_once_per_version() -> None:
    engine = Engine("text")
    texts = texts_of(engine)
    for version in (1, 1, 2, 1):
        assert texts.text(code("text", version)) == "text"
    assert engine.asked == [("s", 1), ("s", 2)]


def test_another_text_than_the_one_offered_is_not_run() -> None:
    engine = Engine("changed")
    texts = texts_of(engine)
    with pytest.raises(DynamicFault, match="not the one that was offered"):
        texts.text(code("text"))
    with pytest.raises(DynamicFault):
        texts.text(code("text"))
    assert len(engine.asked) == 2, "it must not be kept"


def test_engines_may_restart_meanwhile() -> None:
    engine = Engine(Unavailable("away"), Unavailable("away"), "text")
    assert texts_of(engine).text(code("text")) == "text"


def test_without_engines_it_fails_at_last() -> None:
    clock = FakeClock()
    start = clock.monotonic()
    with pytest.raises(DynamicFault, match="No code source: away"):
        texts_of(Engine(Unavailable("away")), clock).text(code("text"))
    assert clock.monotonic() - start == pytest.approx(PATIENCE, abs=2)


def test_a_version_that_is_gone_fails_at_once() -> None:
    with pytest.raises(DynamicFault, match="gone"):
        texts_of(Engine(NotFound("gone"))).text(code("text"))


def test_faults_say_where_they_belong() -> None:
    """Loading, running and the value are told apart by the port's errors."""
    actions = DynamicActions(texts_of(Engine(HEAD + "X = 1")), ON)
    context: dict[str, Any] = {"execution": {}, "security": {}}
    with pytest.raises(DynamicFault):
        actions.run(made(HEAD + "X = 1"), context, immediate=False)
    text = HEAD + action("raise ValueError")
    with pytest.raises(Raised, match="ValueError"):
        DynamicActions(texts_of(Engine(text)), ON).run(
            made(text), context, immediate=False
        )
    text = HEAD + action("return object()")
    with pytest.raises(NoJson):
        DynamicActions(texts_of(Engine(text)), ON).run(
            made(text), context, immediate=False
        )
