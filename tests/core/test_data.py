"""How large a value is, and which texts it may hold."""

from __future__ import annotations

import pytest

from mistral.engine.core.data import size
from mistral.errors import WorkflowFault


def test_what_has_no_json_text_is_refused() -> None:
    """§ 2.8: a fault of the author, not of ours."""
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(WorkflowFault, match="nested too deeply"):
        size(value)


def test_half_a_character_has_a_size() -> None:
    """ENG 1.6.6: an action may have answered with it; the limit has to be
    checked all the same."""
    assert size("\ud800") == len('"') * 2 + 3
    assert size({"é": 1}) == len('{"é":1}'.encode())
