"""Workflows on the core, run to their end in one go."""

from __future__ import annotations

from typing import Any

from simulator import ERROR, SUCCESS, Simulator

HEAD = "version: '2.0'\n\n"


def standard(call: Any) -> tuple[str, Any]:
    """What an executor would say."""
    if call["name"] == "std.fail":
        return ERROR, call.get("error_data") or "failed"
    return SUCCESS, call.get("output")


def play(body: str, input: Any = None, **params: Any) -> dict[str, Any]:
    """The header of a run that ended well."""
    row = Simulator(HEAD + body, script=standard).run("w", input, **params)
    assert row["state"] == SUCCESS, row["state_info"]
    return row


def output(body: str, input: Any = None, **params: Any) -> Any:
    return play(body, input, **params)["output"]
