"""What the API takes from pecan, which comes without template engines and looks at
nothing that one root controller does not need.

Pecan imports each engine that is installed: Mako is, for alembic, and brings
Pygments along: 6 MB of each process that nothing here uses. While pecan is loaded
Mako counts as not installed and its page for developers, which needs Mako, is
replaced. Nothing is hidden afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

from webob import Request

from mistral.stand_ins import standing_in

_HIDDEN: Final = "mako"
_LARGE: Final = "pecan.middleware.debug"


def _load() -> Any:
    small = ModuleType(_LARGE)
    small.DebugMiddleware = None  # type: ignore[attr-defined]
    with standing_in({_HIDDEN: None, _LARGE: small}):
        import pecan
        import pecan.core
        import pecan.hooks
    return pecan


_pecan = _load()

PecanHook = _pecan.hooks.PecanHook
expose = _pecan.expose


class OneController(_pecan.core.PecanBase):  # type: ignore[misc]
    """Pecan's application for a root controller that takes every path.

    Its ``route(request)`` answers with the method that will make the response, which
    takes request and response. Any controller could be anywhere for pecan, and take
    any parameters; finding that out for each request, from the signatures and the
    body, took a tenth of a worker's time.

    :param root: the controller.
    :param hooks: ``PecanHook`` objects.
    """

    def __init__(self, root: Any, hooks: Sequence[Any]) -> None:
        # Pecan's own request would translate errors of decoding at each attribute.
        super().__init__(root, hooks=hooks, request_cls=Request)

    def find_controller(
        self, state: Any
    ) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """Where a request goes, with what; hooks have seen it."""
        self.handle_hooks(self.hooks, "on_route", state)
        state.controller = self.root.route(state.request)
        self.handle_hooks(self.determine_hooks(state.controller), "before", state)
        return state.controller, (state.request, state.response), {}

    def invoke_controller(
        self, controller: Any, args: Any, kwargs: Any, state: Any
    ) -> None:
        """Make the response."""
        state.response = controller(*args, **kwargs)
