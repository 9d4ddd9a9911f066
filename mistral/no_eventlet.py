"""oslo.messaging on threads alone: import this before it.

The library and its thread pools (futurist) take eventlet along if it is
installed, and its base class for servers comes from oslo.service, which loads
eventlet by default: 250 modules and 17 MB that nothing here uses; and when two
threads come to it at once it fails. While both are loaded, eventlet counts as
not installed and that one base class lies ready. Nothing is hidden afterwards:
an action that needs eventlet may import it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Final

_HIDDEN: Final = "eventlet"
_LARGE: Final = "oslo_service.service"


def load() -> None:
    """Load oslo.messaging, unless somebody has done so already."""
    if "oslo_messaging" in sys.modules:
        return
    from oslo_service.backend.base import ServiceBase

    small = ModuleType(_LARGE)
    small.ServiceBase = ServiceBase  # type: ignore[attr-defined]
    stand_ins: dict[str, ModuleType | None] = {_HIDDEN: None, _LARGE: small}
    # what somebody has loaded costs nothing more
    placed = [name for name in stand_ins if name not in sys.modules]
    for name in placed:
        sys.modules[name] = stand_ins[name]  # type: ignore[assignment]
    try:
        # what runs the servers' threads is loaded later otherwise, by the first
        # server that starts, and looks for eventlet then
        import futurist  # noqa: F401
        import oslo_messaging  # noqa: F401
    finally:
        for name in placed:
            del sys.modules[name]


load()
