"""The process of one dynamic action: reads a question from stdin, prints an answer.

Runs as a file, without the package and with an empty environment. Before the
code of a user is loaded the process gives up, for ever:

* files, but for reading Python's own and what names of hosts and certificates are
  looked up in (Landlock): neither the service's configuration nor ``/proc`` can be
  opened, nothing can be written or executed;
* signals to processes outside;
* memory and processor time beyond the limits, and processes of its own.

The network stays: what actions do is mostly there. It ends with the executor.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import math
import os
import resource
import signal
import stat
import struct
import sys
import types
from pathlib import Path
from typing import Any

from mistral_lib import actions
from mistral_lib.actions import context as lib_context

_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""Numbers of Landlock's system calls, on every architecture."""

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3

_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""Version of Landlock → how many rights on files it knows from then on."""

_LOOKED_UP = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/services",
    "/etc/protocols",
    "/dev/null",
    "/dev/urandom",
)

_FILES = 256
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


class Unconfined(Exception):
    """The kernel cannot do what is asked of it."""


def restrict(question: dict[str, Any]) -> None:
    """:raises Unconfined: the operator wants Landlock, and there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux":
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if question["confine"]:
        confine(libc, [*_LOOKED_UP, *_python(), *question["readable"]])
    seconds = math.ceil(question["seconds"]) + 1
    limits = {
        resource.RLIMIT_AS: _USED + question["memory"],
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _FILES,
    }
    for limit, value in limits.items():
        most = resource.getrlimit(limit)[1]
        if most != resource.RLIM_INFINITY:
            value = min(value, most)
        resource.setrlimit(limit, (value, value))


def _python() -> list[str]:
    """Libraries alone: an installation may hold configuration, too."""
    roots = (sys.prefix, sys.base_prefix)
    libraries = [f"{root}/{name}" for root in roots for name in ("lib", "lib64")]
    return [*libraries, *(path for path in sys.path if path)]


def _used() -> int:
    """Bytes of address space that this process has by now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()


_USED = _used()


def confine(libc: Any, readable: list[str]) -> None:
    """Only reading, and only below these paths.

    :raises Unconfined: there is no Landlock.
    """
    if sys.platform != "linux":
        raise Unconfined(f"{sys.platform} has no Landlock")
    version = libc.syscall(_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        raise Unconfined("this kernel has no Landlock")
    known = max(count for since, count in _RIGHTS.items() if since <= version)
    words = [(1 << known) - 1]
    if version >= 6:
        # no rule about ports; neither abstract sockets nor signals outside
        words += [0, 3]
    wanted = struct.pack(f"={len(words)}Q", *words)
    rules = libc.syscall(_CREATE, wanted, ctypes.c_size_t(len(wanted)), 0)
    if rules < 0:
        raise Unconfined(os.strerror(ctypes.get_errno()))
    for path in readable:
        _let_read(libc, rules, path)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.syscall(_RESTRICT, rules, 0):
        raise Unconfined(os.strerror(ctypes.get_errno()))
    os.close(rules)


def _let_read(libc: Any, rules: int, path: str) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        is_directory = stat.S_ISDIR(os.fstat(opened).st_mode)
        rights = _READ_FILE | _READ_DIR if is_directory else _READ_FILE
        rule = struct.pack("=Qi", rights, opened)
        if libc.syscall(_ADD, rules, 1, rule, 0):
            raise Unconfined(os.strerror(ctypes.get_errno()))
    finally:
        os.close(opened)


def load(question: dict[str, Any]) -> Any:
    """The action, made; raises whatever the user's code raises."""
    name = "code_source"
    module = types.ModuleType(name)
    sys.modules[name] = module
    code = compile(question["content"], question["file"], "exec", dont_inherit=True)
    exec(code, module.__dict__)
    cls = getattr(module, question["class_name"], None)
    if not isinstance(cls, type):
        raise LookupError(f"there is no class '{question['class_name']}' in it")
    return cls(**question["input"])


def context_of(action: Any, given: dict[str, Any]) -> Any:
    """As for any action: plain classes get None (spec/engine.md § 8.4)."""
    if not isinstance(action, actions.Action):
        return None
    return lib_context.ActionContext(
        security_ctx=lib_context.SecurityContext(**given["security"]),
        execution_ctx=lib_context.ExecutionContext(**given["execution"]),
    )


def _told(stage: str, error: BaseException) -> dict[str, Any]:
    return {"stage": stage, "error": str(error) or type(error).__name__}


def answer_to(question: dict[str, Any], to_json: Any) -> dict[str, Any]:
    """``{"stage": "done", "is_sync", "result"}``, or the stage at which it failed
    (load, run, value) and its ``error``."""
    try:
        restrict(question)
    except Unconfined as error:
        why = f"the process cannot be confined: {error} ([dynamic_actions] confine)"
        return {"stage": "load", "error": why}
    try:
        action = load(question)
        asked = getattr(action, "is_sync", None)
        is_sync = True if asked is None else bool(asked())
    except BaseException as error:
        return _told("load", error)
    if question["immediate"] and not is_sync:
        return {"stage": "done", "is_sync": False, "result": None}
    try:
        result = action.run(context_of(action, question["context"]))
    except BaseException as error:
        return _told("run", error)
    try:
        if not isinstance(result, actions.Result):
            result = actions.Result(data=result)
        made = {
            "data": to_json(result.data),
            "error": to_json(result.error),
            "cancel": bool(result.cancel),
        }
        if len(json.dumps(made).encode()) > question["output"]:
            raise ValueError("it is too large")
    except BaseException as error:
        return _told("value", error)
    return {"stage": "done", "is_sync": is_sync, "result": made}


def _conversion() -> Any:
    """``outcome.to_json``, from the file beside this one."""
    spec = importlib.util.spec_from_file_location(
        "outcome", Path(__file__).with_name("outcome.py")
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.to_json


def main() -> None:
    question = json.load(sys.stdin)
    # what the code prints is no answer
    answers = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    answer = answer_to(question, _conversion())
    text = json.dumps(answer).encode()
    while text:
        text = text[os.write(answers, text) :]
    # No destructor and no thread of the user's code has another word.
    os._exit(0)


if __name__ == "__main__":
    main()
