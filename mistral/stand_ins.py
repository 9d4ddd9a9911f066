"""Modules that a library loads and nobody here needs: something small, or nothing,
stands in their place while it is imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def standing_in(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """
    :param modules: by name; None: to import it fails. What somebody has loaded
        already costs nothing more and stays.
    """
    placed = [name for name in modules if name not in sys.modules]
    for name in placed:
        sys.modules[name] = modules[name]  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in placed:
            del sys.modules[name]
