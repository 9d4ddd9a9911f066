"""Run one action: instantiate, call, map what came out to a message.

The runner never raises: whatever an action does ends as a message for the
engine (ENG § 8.2, § 8.3).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from mistral_lib import actions as mistral_lib
from mistral_lib.actions import context as lib_context

from mistral.executors.dynamic import (
    Answer,
    DynamicFault,
    NoJson,
    Raised,
)
from mistral.executors.identities import NOBODY, Identities
from mistral.executors.outcome import Unserialisable, size_of, to_json
from mistral.messages import ActionFinished, ActionTurnedAsync, CallAction, State

LOG = logging.getLogger(__name__)

Outcome = ActionFinished | ActionTurnedAsync


class Actions(Protocol):
    """Where action objects come from (``actions.registry.Registry``)."""

    def post_process(
        self,
        name: str,
        result: mistral_lib.Result,
        namespace: str = "",
        *,
        project_id: str | None = None,
    ) -> mistral_lib.Result:
        """What the action's descriptor makes of a result; raises what it raises."""

    def create(
        self,
        name: str,
        given: Mapping[str, Any],
        namespace: str = "",
        *,
        project_id: str | None = None,
    ) -> Any:
        """An object with ``run``; raises when name or input are wrong."""


class Dynamic(Protocol):
    """Who runs dynamic actions (``dynamic.DynamicActions``)."""

    def run(
        self, call: CallAction, context: Mapping[str, Any], *, immediate: bool
    ) -> Answer: ...


class Runner:
    """Runs calls, each in the thread that asks.

    :param actions: makes action objects.
    :param dynamic: runs what has no object here; None: nobody does.
    :param result_limit_kb: kilobytes of JSON that a result may have; -1: any.
    :param identities: in whose name actions run; default: nobody has secrets.
    """

    def __init__(
        self,
        actions: Actions,
        *,
        dynamic: Dynamic | None = None,
        result_limit_kb: int = 1024,
        identities: Identities = NOBODY,
    ) -> None:
        self._actions = actions
        self._dynamic = dynamic
        self._result_limit_kb = result_limit_kb
        self._identities = identities

    def run(self, call: CallAction, *, immediate: bool = False) -> Outcome:
        """What the engine is told about this call.

        ``ActionTurnedAsync``: the instance says that it is not synchronous and
        gave no error; its result comes from outside (ENG-206).

        :param immediate: somebody waits for the result itself; an asynchronous
            action is not run then, and ``ActionTurnedAsync`` is the answer.
        """
        if call.code is not None:
            return self._run_dynamic(call, immediate)
        try:
            action = self._actions.create(
                call.name,
                call.input,
                call.namespace,
                project_id=call.security.get("project_id"),
            )
        except BaseException as error:
            return _not_made(call, str(error))
        try:
            is_sync = _is_sync(action)
            if immediate and not is_sync:
                return turned_async(call)
            result = _as_result(action.run(self._context(action, call)))
        # exits and interrupts that an action raises end the action, not us
        except BaseException as error:
            LOG.info(
                "Action %s raised %s",
                call.name,
                type(error).__name__,
                extra={"action": "action-raised", "action_id": call.action_id},
            )
            return failed(call, str(error))
        if not is_sync and not result.is_error():
            return turned_async(call)
        try:
            result = self._post_processed(call, result)
        except BaseException as error:
            return _fault(
                call, f"Failed to complete action [error={error}, action={call.name}]"
            )
        return self._finished(call, result)

    def _context(
        self, action: Any, call: CallAction
    ) -> lib_context.ActionContext | None:
        """The two-part context of § 8.4; plain classes get None."""
        if not isinstance(action, mistral_lib.Action):
            return None
        return self._identities.context(call)

    def _run_dynamic(self, call: CallAction, immediate: bool) -> Outcome:
        """The same for code of a user: made and run elsewhere, and nobody
        post-processes it."""
        if self._dynamic is None:
            return _not_made(call, "this executor runs no dynamic actions")
        try:
            # code of users gets no secrets (SEC-01)
            given = self._identities.plain(call)
            answer = self._dynamic.run(call, given, immediate=immediate)
        except DynamicFault as fault:
            return _not_made(call, str(fault))
        except Raised as raised:
            return failed(call, str(raised))
        except NoJson as fault:
            return _unserialisable(call, str(fault))
        except Exception as error:
            # no process could be made, or it was asked for what is no JSON
            LOG.exception("The dynamic action %s could not be run", call.name)
            return _not_made(call, f"{type(error).__name__}: {error}")
        result = answer.result
        if result is None or (not answer.is_sync and not result.is_error()):
            return turned_async(call)
        return self._finished(call, result)

    def _post_processed(
        self, call: CallAction, result: mistral_lib.Result
    ) -> mistral_lib.Result:
        """§ 12.3: not for cancelled results, like any transformation."""
        if result.is_cancel():
            return result
        return _as_result(
            self._actions.post_process(
                call.name,
                result,
                call.namespace,
                project_id=call.security.get("project_id"),
            )
        )

    def _finished(self, call: CallAction, result: mistral_lib.Result) -> Outcome:
        try:
            data = to_json(result.to_dict()["result"])
            size = size_of(data)
        except Unserialisable as fault:
            return _unserialisable(call, str(fault))
        except Exception as error:
            # attributes and iterators of a result are code of the action too
            return _unserialisable(call, f"{type(error).__name__}: {error}")
        limit = self._result_limit_kb
        if limit >= 0 and size > limit * 1024:
            return _fault(
                call,
                "Field size limit exceeded [class=ActionExecution, field=output, "
                f"size={size // 1024}KB, limit={limit}KB]",
            )
        return ActionFinished(
            run_id=call.run_id,
            action_id=call.action_id,
            attempt=call.attempt,
            state=_state(result),
            result=data,
        )


def failed(call: CallAction, reason: str) -> ActionFinished:
    """The error of an action that raised, or ran too long (ENG-204)."""
    return _error(
        call,
        f"The action raised an exception [action={call.name}, "
        f"action_ex_id={call.action_id or None}, msg='{reason}']",
    )


def timed_out(call: CallAction) -> ActionFinished:
    """The error of an action that is still running at its deadline (§ 5.4)."""
    return failed(call, f"Timeout after {call.timeout} seconds")


def turned_async(call: CallAction) -> ActionTurnedAsync:
    return ActionTurnedAsync(
        run_id=call.run_id, action_id=call.action_id, attempt=call.attempt
    )


def _not_made(call: CallAction, reason: str) -> ActionFinished:
    text = f"Failed to instantiate an action [action_desc={call.name}, error={reason}]"
    return replace(_error(call, text), unmade=True)


def _unserialisable(call: CallAction, reason: str) -> ActionFinished:
    return _error(
        call,
        "Failed to complete action due to a Mistral exception "
        f"[action={call.name}, action_ex_id={call.action_id or None}, "
        f"msg='The result has no JSON form: {reason}']",
    )


def _error(call: CallAction, text: str, *, fault: bool = False) -> ActionFinished:
    return ActionFinished(
        run_id=call.run_id,
        action_id=call.action_id,
        attempt=call.attempt,
        state=State.ERROR,
        result=text,
        fault=fault,
    )


def _fault(call: CallAction, text: str) -> ActionFinished:
    """A result that cannot be kept ends the run (§ 1.6.6, ENG-022)."""
    return _error(call, text, fault=True)


def _is_sync(action: Any) -> bool:
    ask = getattr(action, "is_sync", None)
    return True if ask is None else bool(ask())


def _as_result(value: Any) -> mistral_lib.Result:
    if isinstance(value, mistral_lib.Result):
        return value
    return mistral_lib.Result(data=value)


def _state(result: mistral_lib.Result) -> State:
    if result.is_cancel():
        return State.CANCELLED
    return State.ERROR if result.is_error() else State.SUCCESS
