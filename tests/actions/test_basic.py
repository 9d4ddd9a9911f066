"""The small actions (spec/engine.md § 9.1) and their inline twins."""

from __future__ import annotations

from typing import Any

import pytest
from mistral_lib.actions import Result
from mistral_lib.exceptions import ActionException

from mistral.actions.basic import (
    INLINE,
    DictAction,
    EchoAction,
    FailAction,
    SleepAction,
    raised_text,
    seconds_of,
)
from mistral.actions.registry import Registry
from mistral.config import Settings
from mistral.messages import State


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("std.noop", {}, None),
        ("std.async_noop", {}, None),
        ("std.echo", {"output": {"a": [1]}}, {"a": [1]}),
        ("std.echo", {"output": None}, None),
        ("std.sleep", {"seconds": 0}, None),
        ("std.test_dict", {}, {}),
        (
            "std.test_dict",
            {"size": 2, "key_prefix": "k", "val": 5},
            {"k0": 5, "k1": 5},
        ),
    ],
)
def test_results(name: str, given: dict[str, Any], expected: Any) -> None:
    """§ 9.1, line by line."""
    assert Registry(Settings()).create(name, given).run(None) == expected


def test_fail_with_data_is_exactly_that_data_eng_218() -> None:
    """ENG-218"""
    data = {"code": 7}
    assert FailAction(data).run(None) == Result(error=data)


@pytest.mark.parametrize("data", [None, "", {}, 0, False])
def test_fail_without_data_raises(data: Any) -> None:
    with pytest.raises(ActionException, match=r"^Fail action expected exception.$"):
        FailAction(data).run(None)


def recording(cls: Any) -> tuple[Any, list[float]]:
    waits: list[float] = []
    return type(cls.__name__, (cls,), {"sleep": staticmethod(waits.append)}), waits


@pytest.mark.parametrize(
    ("delay", "waits"),
    [(0, []), (1.5, [1.5]), ("2", [2.0]), (-1, []), ("soon", []), ("inf", [])],
)
def test_echo_waits_for_its_delay_eng_219(delay: Any, waits: list[float]) -> None:
    """ENG-219"""
    cls, seen = recording(EchoAction)
    assert cls("x", delay).run(None) == "x"
    assert seen == waits


@pytest.mark.parametrize(
    ("seconds", "waits"), [(2, [2]), ("3", [3]), (2.9, [2]), (-5, []), ("x", [])]
)
def test_sleep_waits_for_whole_seconds(seconds: Any, waits: list[float]) -> None:
    cls, seen = recording(SleepAction)
    assert cls(seconds).run(None) is None
    assert seen == waits


def test_test_dict_has_a_bound() -> None:
    with pytest.raises(ActionException, match="expected a size up to"):
        DictAction(size=10**9)


@pytest.mark.parametrize(
    ("name", "given", "outcome"),
    [
        ("std.noop", {}, (State.SUCCESS, None)),
        ("std.echo", {"output": 1}, (State.SUCCESS, 1)),
        ("std.echo", {"output": 1, "delay": "x"}, (State.SUCCESS, 1)),
        ("std.echo", {"output": 1, "delay": 1}, None),
        ("std.fail", {"error_data": [1]}, (State.ERROR, [1])),
        (
            "std.fail",
            {},
            (
                State.ERROR,
                "The action raised an exception [action=std.fail, action_ex_id=a1, "
                "msg='Fail action expected exception.']",
            ),
        ),
    ],
)
def test_inline(name: str, given: dict[str, Any], outcome: Any) -> None:
    """Inline gives what an executor would give, or leaves it to one."""
    assert INLINE[name](given, "a1") == outcome


def test_only_the_three_pure_ones_are_inline() -> None:
    assert set(INLINE) == {"std.noop", "std.echo", "std.fail"}


def test_text_of_a_raised_exception_eng_204() -> None:
    """ENG-204; and the action shows no parameters (SEC-09)."""
    text = raised_text(EchoAction("CANARY"), "a1", "boom")
    assert text == (
        "The action raised an exception [action=std.echo, action_ex_id=a1, msg='boom']"
    )


def test_seconds_of_not_a_number() -> None:
    assert seconds_of(float("nan")) == 0.0
    assert seconds_of(None) == 0.0
