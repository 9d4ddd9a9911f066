"""How large a value is, and which texts it may hold."""

from __future__ import annotations

from mistral.engine.core.data import size


def test_half_a_character_has_a_size() -> None:
    """ENG 1.6.6: an action may have answered with it; the limit has to be
    checked all the same."""
    assert size("\ud800") == len('"') * 2 + 3
    assert size({"é": 1}) == len('{"é":1}'.encode())
