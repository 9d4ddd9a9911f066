"""A whole service per test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from whole import Whole


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path)
    yield whole
    whole.close()
