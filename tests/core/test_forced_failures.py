"""How the text of a forced failure begins: what was being done (engine § 1.7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from simulator import ERROR, SUCCESS, Simulator

from mistral.engine.core.ports import Rules

RUN, COMPLETE = "Failed to run task [error=", "Failed to complete task [error="
HANDLE = "Failed to handle action completion [error="
BAD = "<% $.nope %>"
PUBLISH = f"publish: {{x: {BAD}}}"
ON_ERROR = f"publish-on-error: {{x: {BAD}}}"
KID = "\nkid: {tasks: {k: {join: 0}}}\nbad: {tasks: {k: {on-success: fail}}}"

CASES = [
    # tasks, the first words, the name of what ended
    (f"t: {{action: std.echo, input: {{output: {BAD}}}}}", RUN, None),
    (f"t: {{wait-before: {BAD}}}", RUN, None),
    (f"t: {{with-items: 'i in {BAD}'}}", RUN, None),
    ("t: {action: no.such}", RUN, None),
    (f"t: {{with-items: 'i in <% [] %>', publish: {{x: {BAD}}}}}", RUN, None),
    (f"t: {{with-items: 'i in <% [] %>', on-success: [{{u: {BAD}}}]}}", RUN, None),
    (f"t: {{publish: {{x: {BAD}}}}}", HANDLE, "std.noop"),
    (f"t: {{with-items: 'i in [1]', publish: {{x: {BAD}}}}}", HANDLE, "std.noop"),
    (f"t: {{action: std.fail, publish-on-error: {{x: {BAD}}}}}", HANDLE, "std.fail"),
    (f"t: {{fail-on: {BAD}}}", HANDLE, "std.noop"),
    (f"t: {{retry: {{count: 1, delay: 0, break-on: {BAD}}}}}", HANDLE, "std.noop"),
    (f"t: {{on-success: [{{u: {BAD}}}]}}", HANDLE, "std.noop"),
    (f"t: {{on-complete: 'fail msg={BAD}'}}", HANDLE, "std.noop"),
    (f"t: {{workflow: kid, publish: {{x: {BAD}}}}}", HANDLE, "kid"),
    (f"t: {{workflow: bad, publish-on-error: {{x: {BAD}}}}}", HANDLE, "bad"),
    (f"t: {{workflow: kid, on-success: [{{u: {BAD}}}]}}", HANDLE, "kid"),
    (f"t: {{action: wrap, on-success: [{{u: {BAD}}}]}}", HANDLE, "wrap"),
    ("t: {action: odd}", HANDLE + "Failed to complete action [error=", "odd"),
    (f"t: {{wait-after: 5, on-success: [{{u: {BAD}}}]}}", COMPLETE, None),
    (
        f"t: {{timeout: 5, wait-before: 9, publish-on-error: {{x: {BAD}}}}}",
        COMPLETE,
        None,
    ),
    (
        f"a: {{on-success: t}}\n    t: {{join: 1, publish: {{x: {BAD}}}}}",
        HANDLE,
        "std.noop",
    ),
    (
        "a: {on-success: t}\n    b: {on-success: [{t: <% false %>}]}\n"
        f"    t: {{join: all, publish-on-error: {{x: {BAD}}}}}",
        COMPLETE,
        None,
    ),
    (
        "a: {on-success: t}\n    b: {on-success: [{t: <% false %>}]}\n"
        f"    t: {{join: all, on-error: [{{u: {BAD}}}]}}",
        COMPLETE,
        None,
    ),
]
ADHOC = """version: '2.0'
wrap: {base: std.echo output=1}
odd: {base: std.echo output=1, output: <% $.x.y %>}
"""


@pytest.mark.parametrize("inline", [True, False], ids=["inline", "by-executor"])
@pytest.mark.parametrize(("tasks", "words", "name"), CASES, ids=[c[0] for c in CASES])
def test_it_says_what_was_being_done(
    tasks: str, words: str, name: str | None, inline: bool
) -> None:
    text = f"version: '2.0'\nw:\n  tasks:\n    {tasks}\n    u: {{join: 0}}{KID}\n"

    def script(call: Mapping[str, Any]) -> tuple[str, object]:
        return (ERROR, "no") if call["name"] == "std.fail" else (SUCCESS, 1)

    rules = Rules(inline_actions=inline)
    sim = Simulator(text, actions=ADHOC, script=script, rules=rules)
    row = sim.run("w")
    info = row["state_info"]
    assert row["state"] == ERROR
    assert info.startswith(words), info
    shown = f", wf=w, task=t, action={name}]" if name else ", wf=w, task=t]"
    assert info.endswith(shown), info
    [task] = [each for each in sim.tasks(row["id"]) if each.name == "t"]
    assert task.state_info == info
