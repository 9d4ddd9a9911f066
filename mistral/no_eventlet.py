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

from mistral.stand_ins import standing_in

_HIDDEN: Final = "eventlet"
_LARGE: Final = "oslo_service.service"


def load() -> None:
    """Load oslo.messaging, unless somebody has done so already."""
    if "oslo_messaging" in sys.modules:
        return
    from oslo_service.backend.base import ServiceBase

    small = ModuleType(_LARGE)
    small.ServiceBase = ServiceBase  # type: ignore[attr-defined]
    with standing_in({_HIDDEN: None, _LARGE: small}):
        # what runs the servers' threads is loaded later otherwise, by the first
        # server that starts, and looks for eventlet then
        import futurist  # noqa: F401
        import oslo_messaging  # noqa: F401


load()
