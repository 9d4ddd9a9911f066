"""JSON on its way in: whatever was let in can be stored and sent on as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mistral.api.types import JsonText, ResourceType, Text, read_json


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


def test_attributes_have_the_order_of_their_declaration_without_their_source() -> None:
    """WSME would parse the file for it, or, without one, sort them by name."""
    made: dict[str, Any] = {"ResourceType": ResourceType, "Text": Text}
    text = "class {}({}):\n    {} = Text\n    {} = Text\n"
    exec(text.format("Base", "ResourceType", "z", "b"), made)
    exec(text.format("Odd", "Base", "d", "a"), made)
    assert made["Base"].attributes() == ("z", "b")
    assert made["Odd"].attributes() == ("d", "a", "z", "b")
