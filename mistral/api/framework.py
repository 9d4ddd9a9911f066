"""What the API takes from pecan, which comes without template engines.

Pecan imports each engine that is installed: Mako is, for alembic, and brings
Pygments along: 6 MB of each process that nothing here uses. While pecan is loaded
Mako counts as not installed and its page for developers, which needs Mako, is
replaced. Nothing is hidden afterwards.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from mistral.stand_ins import standing_in

_HIDDEN: Final = "mako"
_LARGE: Final = "pecan.middleware.debug"


def _load() -> Any:
    small = ModuleType(_LARGE)
    small.DebugMiddleware = None  # type: ignore[attr-defined]
    with standing_in({_HIDDEN: None, _LARGE: small}):
        import pecan
        import pecan.hooks
    return pecan


_pecan = _load()

PecanHook = _pecan.hooks.PecanHook
expose = _pecan.expose
make_pecan_app = _pecan.make_app
