"""What a class of a code source takes is read from its text (SEC-01, Q-45)."""

from __future__ import annotations

from typing import Any

import pytest

from mistral import errors
from mistral.actions.descriptors import Descriptor
from mistral.actions.signatures import describe_dynamic, read_classes

HEAD = "from mistral_lib import actions\nfrom mistral_lib.actions import Action as A\n"


def described(text: str, class_name: str = "X") -> Descriptor:
    return describe_dynamic(
        {
            "name": "x.act",
            "class_name": class_name,
            "code_source_id": "1",
            "code_source_name": "lib",
            "version": 3,
            "checksum": "c",
            "classes": read_classes(HEAD + text),
        }
    )


@pytest.mark.parametrize(
    ("text", "shown", "is_open"),
    [
        ("class X(actions.Action): pass", "", False),
        ("class X(A):\n  def __init__(self): pass", "", False),
        ("class X: pass", "", False),
        ("class X(A):\n  def __init__(self, a, b=1): pass", "a, b=1", False),
        (
            "class X(A):\n  def __init__(self, a={'k': [None, True]}): pass",
            'a={"k": [null, true]}',
            False,
        ),
        ("class X(A):\n  def __init__(self, *, a, b='t'): pass", 'a, b="t"', False),
        ("class X(A):\n  def __init__(self, a=[], *more, **kw): pass", "a=[]", True),
        ("class X(A):\n  def __init__(self, a=make()): pass", "a=null", False),
        ("class P(A):\n  def __init__(self, p): pass\nclass X(P): pass", "p", False),
        ("if 1:\n  class X(A):\n    def __init__(self, q): pass", "q", False),
        ("import lib\nclass X(lib.Base): pass", "", True),
        ("class X(A, dict): pass", "", True),
        ("@wrap\nclass X(A): pass", "", True),
        ("class X(A):\n  @wrap\n  def __init__(self, a): pass", "", True),
        ("class X(A):\n  __init__ = other", "", True),
        ("class X(Y): pass\nclass Y(X): pass", "", True),
        ("from lib import X", "", True),
        ("X = make(2)", "", True),
    ],
)
def test_parameters_of_a_constructor(text: str, shown: str, is_open: bool) -> None:
    found = described(text)
    assert (found.input_text, found.open) == (shown, is_open)
    assert "Broken" not in found.description


def test_missing_and_unexpected_names_are_told_apart() -> None:
    found = described("class X(A):\n  def __init__(self, a, b=1): pass")
    found.check_input({"a": 1})
    with pytest.raises(errors.InvalidInput) as caught:
        found.check_input({"c": 1})
    assert caught.value.message == (
        "Invalid input [name=x.act, class=X, missing=['a'], unexpected=['c']]"
    )


@pytest.mark.parametrize(
    ("body", "is_sync"),
    [
        ("pass", True),
        ("def is_sync(self): return False", False),
        ("def is_sync(self):\n    'Never.'\n    return True", True),
        ("def is_sync(self): return self.wait", None),
        ("is_sync = other", None),
    ],
)
def test_whether_it_is_synchronous(body: str, is_sync: bool | None) -> None:
    assert described(f"class X(A):\n  {body}").is_sync is is_sync


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("class X(:", "Broken: the code source 'lib' is no Python: line 3: "),
        ("\0", "Broken: the code source 'lib' is no Python: "),
        ("-" * 60_000 + "1", "it cannot be parsed (MemoryError)"),
        ("class Y: pass", "Broken: the code source 'lib' has no class 'X'."),
        ("def X(): pass", "Broken: the code source 'lib' has no class 'X'."),
        ("import X.y as z\nx = 1", "has no class 'X'."),
    ],
)
def test_q45_what_is_broken_is_told_and_takes_anything(text: str, why: str) -> None:
    found = described(text)
    assert why in found.description
    found.check_input({"any": 1})


@pytest.mark.parametrize("text", ["from lib import *", "globals()['X'] = 1"])
def test_names_that_may_come_from_anywhere_are_not_called_broken(text: str) -> None:
    assert described(text).description == ""


@pytest.mark.parametrize("name", ["", "*"])
def test_marks_are_no_classes(name: str) -> None:
    assert described("class (", name).open
    assert described("from lib import *", name).open


def test_sec_01_reading_runs_nothing(capsys: Any) -> None:
    text = (
        "print('ran')\nclass X(A):\n  print('ran')\n"
        "  def __init__(self, a=print('ran')): pass"
    )
    assert described(text).input_text == "a=null"
    assert capsys.readouterr().out == ""


def test_the_offer_names_the_version() -> None:
    assert described("class X: pass").code == {
        "id": "1",
        "version": 3,
        "checksum": "c",
        "class_name": "X",
    }
