"""The process of one script: reads a question from stdin, prints an answer.

Runs as a file, without the package: it must hold nothing of the service. Before
the script starts the process gives up opening anything (no file, no socket), making
processes, and memory and processor time beyond the script's limits, so that a hole
in the interpreter leads nowhere.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
from typing import Any

import quickjs

_OVERHEAD = 32 * 1024 * 1024

_STACK = 512 * 1024

_CALL = """
(function (text, context) {
    globalThis.$ = JSON.parse(context);
    const value = new Function(text)();
    const printed = JSON.stringify(value);
    return printed === undefined ? 'null' : printed;
})
"""


def restrict(timeout: float, memory: int) -> None:
    """Give up what a script does not need, for ever."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    seconds = math.ceil(timeout) + 1
    limits = {
        resource.RLIMIT_AS: used + 3 * memory + _OVERHEAD,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 3,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


def evaluate(question: dict[str, Any]) -> dict[str, Any]:
    """``{"result": JSON text}`` or ``{"error": text}``."""
    context = quickjs.Context()
    context.set_memory_limit(question["memory"])
    context.set_time_limit(question["timeout"])
    context.set_max_stack_size(_STACK)
    try:
        text = context.eval(_CALL)(question["script"], question["context"])
    except quickjs.JSException as error:
        # An error object itself needs memory: without it there is only ``null``.
        why = str(error).strip()
        return {"error": "out of memory" if why in ("", "null") else why}
    if len(text.encode("utf-8", "replace")) > question["output"]:
        return {"error": "the result is too large."}
    return {"result": text}


def main() -> None:
    question = json.load(sys.stdin)
    restrict(question["timeout"], question["memory"])
    try:
        answer = evaluate(question)
    except MemoryError:
        answer = {"error": "out of memory"}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    # Tearing down an interpreter in whatever state the script left it is a risk
    # without use.
    os._exit(0)


if __name__ == "__main__":
    main()
