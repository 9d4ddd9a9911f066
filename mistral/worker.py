"""Functions of your own that workflows call: a worker serves a target with them.

::

    from mistral.worker import Worker, action

    @action
    def resize(image: str, width: int = 100) -> dict:
        return {"image": image, "width": width}

    if __name__ == "__main__":
        Worker("images", [resize]).main()

A task calls it by the name of the function, and names the worker as its target::

    tasks:
      small:
        action: std.call
        target: images
        input:
          function: resize
          arguments: {image: <% $.image %>, width: 50}

A worker is an executor that takes calls of its target alone and knows nothing but its
functions. All that holds of executors holds of it: an action starts once, its result is
kept until an engine has it, and one whose worker dies ends in ERROR, or is called again
with ``safe-rerun: true``. Several workers may serve one target.
"""

from __future__ import annotations

import inspect
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, overload

from mistral_lib import actions as mistral_lib

from mistral.bus import Bus
from mistral.clock import SystemClock
from mistral.cmd.messaging import make_bus
from mistral.cmd.names import new_id
from mistral.cmd.secrets import make_identities
from mistral.config import Settings, load
from mistral.errors import InvalidInput, MistralError, NotFound
from mistral.executors.server import ExecutorServer, ExecutorSettings

__all__ = ["Worker", "action"]

LOG = logging.getLogger(__name__)

CALL: Final = "std.call"
CONTEXT: Final = "context"
"""A parameter of this name gets the context of the call, not an argument."""

_MARK: Final = "__mistral_action__"

F = TypeVar("F", bound=Callable[..., Any])


@overload
def action(function: F) -> F: ...
@overload
def action(
    function: None = None, *, name: str | None = None, later: bool = False
) -> Callable[[F], F]: ...
def action(
    function: Any = None, *, name: str | None = None, later: bool = False
) -> Any:
    """Mark a function as one that workflows may call.

    Its arguments are those of the call, what it returns is the result (any JSON value,
    or a ``mistral_lib.actions.Result``), and what it raises fails the action. A
    parameter ``context`` gets the ``mistral_lib`` context of the call.

    :param name: that workflows use; default: the function's.
    :param later: what it returns is ignored: the action goes on until somebody
        completes it, for example with ``context.execution.signed_callback_url``.
    """

    def mark(marked: F) -> F:
        setattr(marked, _MARK, (name or marked.__name__, later))
        return marked

    return mark if function is None else mark(function)


class Worker:
    """Serves one target with functions.

    ``main`` is a whole program; with ``start`` and ``stop`` a worker lives in yours.

    :param target: what tasks name; several workers may share it.
    :param functions: those that were marked with ``action``.
    :param settings: ``mistral.config.load([...])``; default: as the command line, the
        environment and the files of the service say. ``[DEFAULT] transport_url`` and
        the topics have to be those of the service, and ``[engine] secret_key`` where
        functions need tokens or addresses to be called back.
    :param threads: functions that run at the same time.
    :param bus: default: one of its own, which ``stop`` closes.
    :raises ValueError: a function is not marked, or two have one name.
    """

    def __init__(
        self,
        target: str,
        functions: Iterable[Callable[..., Any]],
        settings: Settings | None = None,
        *,
        threads: int = 8,
        bus: Bus | None = None,
    ) -> None:
        if not target:
            raise ValueError("A worker needs a target.")
        found = load(sys.argv[1:]) if settings is None else settings
        self.target = target
        self._functions = _Functions(functions)
        self._url = found.messaging.transport_url
        self._own = make_bus(found, f"worker-{target}") if bus is None else None
        self._bus = bus or self._own
        self._executor = ExecutorServer(
            self._bus,  # type: ignore[arg-type]
            self._functions,
            ExecutorSettings(
                host=target,
                any_offer=False,
                threads=threads,
                result_limit_kb=found.engine.execution_field_size_limit_kb,
                check_interval=float(found.heartbeat.check_interval),
                max_missed=found.heartbeat.max_missed_heartbeats,
                identities=make_identities(found),
            ),
            SystemClock(),
            new_id,
        )

    def start(self) -> None:
        """
        :raises Unavailable: the broker is not there.
        """
        if self._own is not None:
            self._own.start()
        self._executor.start()
        LOG.info("Worker for %s: %s", self.target, ", ".join(self._functions.names))

    def stop(self) -> None:
        """Take nothing more, and wait some seconds for what runs and its results."""
        self._executor.stop()
        if self._own is not None:
            self._own.stop()

    def main(self) -> None:
        """Serve until SIGTERM or SIGINT; a line on standard output says that it has
        begun.

        :raises SystemExit: with ``memory://`` no call would ever come.
        """
        if self._own is not None and self._url.startswith("memory:"):
            sys.exit(
                f"worker for '{self.target}': [DEFAULT] transport_url is memory://,"
                " which reaches nobody outside of this process. Name the broker of the"
                " service, with --config-file FILE or in OS_DEFAULT__TRANSPORT_URL."
            )
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        self.start()
        names = ", ".join(self._functions.names)
        print(f"The worker for '{self.target}' is up: {names}", flush=True)
        try:
            ended.wait()
        finally:
            self.stop()


class _Functions:
    """Makes an action of a call: ``executors.runner.Actions``."""

    def __init__(self, functions: Iterable[Callable[..., Any]]) -> None:
        self._known: dict[str, tuple[Callable[..., Any], bool]] = {}
        for function in functions:
            marked = getattr(function, _MARK, None)
            if marked is None:
                raise ValueError(f"{function!r} is not marked with @action.")
            name, later = marked
            if name in self._known:
                raise ValueError(f"Two functions have the name {name!r}.")
            self._known[name] = (function, later)

    @property
    def names(self) -> Sequence[str]:
        return sorted(self._known)

    def create(
        self,
        name: str,
        given: Mapping[str, Any],
        namespace: str = "",
        *,
        project_id: str | None = None,
    ) -> mistral_lib.Action:
        """
        :raises NotFound: there is no such function.
        :raises InvalidInput: it does not take these arguments.
        """
        if name != CALL:
            raise NotFound(f"A worker takes calls of {CALL} alone, not of {name}.")
        wanted, arguments = given.get("function"), given.get("arguments")
        if not isinstance(wanted, str) or wanted not in self._known:
            known = ", ".join(self.names)
            raise NotFound(f"This worker has no such function; it has: {known}.")
        if arguments is not None and not isinstance(arguments, Mapping):
            raise InvalidInput(f"{CALL}: 'arguments' is expected to be a mapping.")
        function, later = self._known[wanted]
        return _Call(function, wanted, dict(arguments or {}), later)

    def post_process(
        self,
        name: str,
        result: mistral_lib.Result,
        namespace: str = "",
        *,
        project_id: str | None = None,
    ) -> mistral_lib.Result:
        """As it is."""
        return result


class _Call(mistral_lib.Action):  # type: ignore[misc]
    """One call of a function."""

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        arguments: dict[str, Any],
        later: bool,
    ) -> None:
        super().__init__()
        self._function = function
        self._name = name
        self._arguments = arguments
        self._later = later
        signature = inspect.signature(function)
        self._with_context = CONTEXT in signature.parameters
        if self._with_context and CONTEXT in arguments:
            raise InvalidInput(f"{name}: '{CONTEXT}' is given by the worker.")
        given = {**arguments, CONTEXT: None} if self._with_context else arguments
        try:
            signature.bind(**given)
        except TypeError as error:
            raise InvalidInput(f"{name}: {error}") from None

    def run(self, context: Any) -> Any:
        more = {CONTEXT: context} if self._with_context else {}
        try:
            return self._function(**self._arguments, **more)
        except MistralError:
            raise
        except Exception:
            LOG.exception("The function %s failed", self._name)
            raise

    def is_sync(self) -> bool:
        return not self._later

    def __repr__(self) -> str:
        """The name alone: arguments may hold secrets (SEC-09)."""
        return self._name
