"""JSON on its way in: whatever was let in can be stored and sent on as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mistral.api.types import JsonText, read_json


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e999", "1e999"),
        ('{"a": ["\\ud800"]}', "surrogate"),
        ('{"\\uDFFF": 1}', "surrogate"),
        ("9" * 5000, "4000 digits"),
        ("[" * 200_000, "nested too deeply"),
    ],
)
def test_what_json_cannot_hold_is_refused(text: str, reason: str) -> None:
    """1.2 malformed JSON: told apart from a fault of the service."""
    with pytest.raises(ValueError, match=reason):
        read_json(text)


@pytest.mark.parametrize("value", ["\U0001f600", 10**3000, -1.5e300, {"\0": None}])
def test_what_json_can_hold_is_kept(value: Any) -> None:
    assert read_json(json.dumps(value)) == value


def test_text_inside_of_json_is_read_as_strictly() -> None:
    """1.3: the inner text hides nothing that the outer one may not hold."""
    with pytest.raises(ValueError, match="text of an object: a text holds half"):
        JsonText.frombasetype('{"a": "\\ud800"}')
