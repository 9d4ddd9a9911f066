"""The executor: takes offers, claims them, runs actions, returns results.

It never opens the database and never decides about a task. What it promises:

* an offer is acknowledged when its claim is answered, not before: what waits
  here goes back to the broker when this process stops or dies;
* an action runs only after a yes, and only while there is a free worker and
  room for its result;
* a result is held until the engine has committed it (``held``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mistral.clock import Clock
from mistral.errors import BadRequest, MistralError, Unavailable
from mistral.executors.claims import Claims
from mistral.executors.further import Further, Myself
from mistral.executors.heartbeat import Heartbeats
from mistral.executors.held import Delivery, Held
from mistral.executors.identities import NOBODY, Identities
from mistral.executors.runner import (
    Actions,
    Dynamic,
    Outcome,
    Runner,
    failed,
)
from mistral.executors.steps import Reached, Step, unwatched
from mistral.executors.workers import Workers
from mistral.messages import (
    ActionFinished,
    ActionTurnedAsync,
    Batch,
    CallAction,
    Message,
    decode,
)
from mistral.service import Counts, Loop, Service, together

LOG = logging.getLogger(__name__)

MESSAGES_AT_ONCE: Final = 32
"""Messages with offers that wait here. Each keeps a thread, and may bring dozens of
offers: 16 keep the largest pool busy, and what more there is stays with the broker,
where others can take it."""

AGAIN_SECONDS: Final = 0.1
"""Between two questions about the same offers, or results, while this process stops."""

UNCONFIRMED_SECONDS: Final = 1.0
"""Results that no engine has committed so long after they were sent are sent again
while this process stops."""

ANSWERED_SECONDS: Final = 10.0
"""How long this process stays to hear which of its offers were granted."""

HURRIED_SECONDS: Final = 3.0
"""How long an answer is waited for while this process stops: engines may stop, too."""

CONFIRM_SECONDS: Final = 10.0
"""How long this process stays for its results. Without an engine they are lost with it,
and what they belonged to is found by the missing heartbeats."""

FEW: Final = 4
"""Actions that run at the same time. Of more than that results come together, and share
messages and turns, which costs less than a question with each."""

PATIENCE: Final = 600.0
"""Seconds an offer waits here for a free worker before it goes back to the
broker, which closes the channel of a consumer that is silent for 30 minutes."""


class ExecutorBus(Protocol):
    """The part of ``bus.Bus`` that an executor uses."""

    results_topic: str
    executor_topic: str
    run_now_topic: str

    def call(self, message: Message, *, timeout: float | None = None) -> Any: ...

    def send(self, message: Message, *, topic: str | None = None) -> None: ...

    def serve(self, topic: str, handler: Callable[[Message], Any]) -> Any: ...

    def listen(
        self,
        topic: str,
        on_message: Callable[[Message], bool | None],
        *,
        prefetch: int = 64,
    ) -> Any: ...

    def when_back(self, call: Callable[[], object]) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorSettings:
    """What an operator may choose.

    :param host: name of the group that ``target`` of a task names (ENG-209).
    :param any_offer: also takes offers that name no group.
    :param threads: actions that run at the same time.
    :param result_limit_kb: kilobytes of one result, -1: any.
    :param check_interval: seconds between heartbeats.
    :param max_missed: heartbeats after which an executor counts as lost.
    :param stop_seconds: how long running actions may go on after a stop.
    :param held_limit: results that may wait for the engine's commit.
    :param identities: in whose name actions run.
    :param reached: hears of each step that the executor takes.
    """

    host: str = "0.0.0.0"
    any_offer: bool = True
    threads: int = 64
    result_limit_kb: int = 1024
    check_interval: float = 10.0
    max_missed: int = 3
    stop_seconds: float = 30.0
    held_limit: int = 5000
    identities: Identities = NOBODY
    reached: Reached = unwatched


class ExecutorServer(Service):
    """One executor instance.

    :param bus: started before and stopped after this service.
    :param actions: makes action objects (``actions.registry.Registry``).
    :param new_token: makes a text that was never made before, for claims and
        as the id of this instance.
    :param dynamic: runs dynamic actions; None: they fail here.
    """

    def __init__(
        self,
        bus: ExecutorBus,
        actions: Actions,
        settings: ExecutorSettings,
        clock: Clock,
        new_token: Callable[[], str],
        dynamic: Dynamic | None = None,
    ) -> None:
        super().__init__("executor")
        self._clock = clock
        self.executor_id = new_token()
        self._bus = bus
        self._settings = settings
        self._reached = reached = settings.reached
        self._new_token = new_token
        self._runner = runner = Runner(
            actions,
            dynamic=dynamic,
            result_limit_kb=settings.result_limit_kb,
            identities=settings.identities,
        )
        # 0 turns the engine's checks off; results must be confirmed even so
        interval = settings.check_interval or 10.0
        self._workers = Workers(settings.threads, self._run, clock)
        self._immediate = Workers(
            settings.threads, lambda call: runner.run(call, immediate=True), clock
        )
        self._held = Held(clock, bus.results_topic, limit=settings.held_limit)
        self._claims = Claims(
            bus,
            self.executor_id,
            new_token,
            clock,
            trusted_seconds=interval * max(settings.max_missed, 1),
            reached=reached,
        )
        self._delivery = Delivery(self._held, bus, interval, reached)
        anybody: tuple[str | None, ...] = (None,) if settings.any_offer else ()
        self._further = Further(
            bus,
            Myself(executor_id=self.executor_id, targets=(*anybody, settings.host)),
            new_token,
            clock,
            self._claims,
            self._held,
            self._free,
            self._begin_granted,
            self._delivery.wake,
            lambda: self._claiming.wake(),
            lambda: self._heartbeats.wake(),
            trusted_seconds=interval * max(settings.max_missed, 1),
            reached=reached,
        )
        self._heartbeats = Heartbeats(
            bus,
            self.executor_id,
            settings.host,
            self._claims,
            self._workers,
            self._held,
            self._delivery,
            self._further,
            interval,
            clock,
            reached,
        )
        self._claiming = _Claiming(self.claim_once, self._claimable)
        self._stopping = threading.Event()
        self._subscriptions: list[Any] = []

    # -- Offers ---------------------------------------------------------------

    def take(self, message: Message) -> bool:
        """Wait until each offer of a message is answered.

        :returns: False when some of them go back to the broker.
        """
        own = set(self._workers.running()) | set(self._held.listed())
        calls = [
            call
            for call in _calls(message)
            if (call.action_id, call.attempt) not in own
        ]
        offers = self._claims.add(calls)
        self._reached(Step.RECEIVED)
        self._claiming.wake()
        if self._stopping.is_set():
            # what was asked about is handed back when nobody asks any more
            for offer in offers:
                self._claims.hand_back(offer)
        for offer in offers:
            while not offer.settled.wait(PATIENCE):
                self._claims.hand_back(offer)
        self._reached(Step.ACKNOWLEDGING)
        return not any(offer.handed_back for offer in offers)

    def claim_once(self) -> int:
        """Claim as many waiting offers as can run now, and begin them.

        :returns: how many may run.
        :raises MistralError: no usable answer; nothing was begun.
        """
        idle = not self._workers.running()
        begun = self._claims.ask(self._free, self._begin)
        if begun and idle:
            # what has just begun is known to the engine from its first second
            self._heartbeats.wake_soon()
        return begun

    def _free(self) -> int:
        return min(self._workers.free(), self._held.room())

    def _begin(self, call: CallAction) -> None:
        done = self._keeper(call)
        if not self._workers.begin((call.action_id, call.attempt), call, done):
            # it was claimed, so nobody else can run it
            done(failed(call, "No worker of the executor was free"))

    def _begin_granted(self, call: CallAction) -> None:
        self._begin(call)
        self._heartbeats.wake_soon()

    def _run(self, call: CallAction) -> Outcome:
        self._reached(Step.RUNNING)
        outcome = self._runner.run(call)
        self._reached(Step.RAN)
        return outcome

    def _claimable(self) -> bool:
        return bool(len(self._claims) and self._free() > self._claims.reserved)

    def _keeper(self, call: CallAction) -> Callable[[Outcome], None]:
        def keep(outcome: Outcome) -> None:
            asks = call.hand_in and len(self._workers.running()) <= FEW
            asks = asks and isinstance(outcome, ActionFinished)
            self._held.keep(outcome, call.reply_to, due=not asks)
            if asks and not self._further.take(outcome):
                self._held.unsend((outcome.action_id, outcome.attempt))
                asks = False
            if not asks:
                self._delivery.wake()
            if self._held.crowded():
                self._heartbeats.wake()
            elif not self._held.room():
                self._heartbeats.wake_soon()
            self._claiming.wake()

        return keep

    def send_again(self) -> None:
        """The broker was away and is back: results that were not sent, or may be lost
        there, and questions about offers need not wait any longer."""
        self._held.send_again((), unconfirmed_for=0.0)
        for loop in (self._delivery, self._heartbeats, self._claiming):
            loop.wake()

    # -- Immediate runs -------------------------------------------------------

    def run_now(self, message: Message) -> dict[str, Any]:
        """Run an action for somebody who waits; nothing is stored (§ 7.9).

        :returns: ``{"state", "result"}``.
        :raises BadRequest: the instance says that it is asynchronous (ENG-203).
        :raises Unavailable: no worker is free.
        """
        if not isinstance(message, CallAction):
            raise BadRequest(f"A CallAction is run, not a {type(message).__name__}")
        outcome: Future[Outcome] = Future()
        key = (self._new_token(), message.attempt)
        if not self._immediate.begin(key, message, outcome.set_result):
            raise Unavailable("All workers of this executor are busy")
        result = outcome.result()
        if isinstance(result, ActionTurnedAsync):
            raise BadRequest("Action does not support synchronous execution.")
        return {"state": str(result.state), "result": result.result}

    # -- Life -----------------------------------------------------------------

    def _start(self) -> None:
        bus, host = self._bus, self._settings.host
        prefetch = min(self._settings.threads, MESSAGES_AT_ONCE)
        bus.when_back(self.send_again)
        for loop in (
            self._delivery,
            self._heartbeats,
            self._claiming,
            self._further,
        ):
            loop.when_failed(self.fail)
            loop.start()
        subscriptions = self._subscriptions
        try:
            groups = ("", f".{host}") if self._settings.any_offer else (f".{host}",)
            for group in groups:
                topic = f"{bus.executor_topic}{group}"
                subscriptions.append(bus.listen(topic, self.take, prefetch=prefetch))
            for group in groups:
                topic = f"{bus.run_now_topic}{group}"
                subscriptions.append(bus.serve(topic, self.run_now))
        except BaseException:
            self._stop()
            raise

    def _hear_answers(self) -> bool:
        """Ask again about offers whose answer is missing: if it was a yes, nobody else
        can run them, and they would fail because this instance has left.

        :returns: whether any engine answers.
        """
        until = self._clock.monotonic() + ANSWERED_SECONDS
        pause = threading.Event()
        while self._claims.asking() and self._clock.monotonic() < until:
            try:
                if not self.claim_once():
                    pause.wait(AGAIN_SECONDS)
            except MistralError as error:
                LOG.info("Asked again while stopping: %s", error)
                pause.wait(AGAIN_SECONDS)
        return not self._claims.asking()

    def _confirm_results(self, seconds: float) -> None:
        """Wait until an engine has committed what is held. The one that made the offer
        may be stopping, too, and hear nothing more: then any engine has to.

        :param seconds: at most; what is held is sent in any case.
        """
        until = self._clock.monotonic() + seconds
        pause = threading.Event()
        while self._held.listed():
            try:
                self._delivery.run_once()
                self._heartbeats.run_once()
            except MistralError as error:
                LOG.info("Results wait while stopping: %s", error)
            if self._held.listed():
                if self._clock.monotonic() >= until:
                    return
                pause.wait(AGAIN_SECONDS)
                self._held.send_again((), UNCONFIRMED_SECONDS)

    def _stop(self) -> None:
        together(subscription.quiet for subscription in self._subscriptions)
        self._stopping.set()
        self._claims.hurry(HURRIED_SECONDS)
        self._heartbeats.hurry(HURRIED_SECONDS)
        self._further.hurry(HURRIED_SECONDS)
        self._claiming.stop()
        self._further.end()
        self._claims.hand_back_unasked()
        answered = self._hear_answers()
        self._claims.hand_back_all()
        # after the claims: whatever was granted has begun
        self._workers.close()
        self._immediate.close()
        if not self._workers.wait_idle(self._settings.stop_seconds):
            LOG.warning("Stopping although actions run: %s", self._workers.running())
        self._immediate.cut_off()
        together(subscription.stop for subscription in self._subscriptions)
        self._delivery.stop()
        self._heartbeats.stop()
        self._confirm_results(CONFIRM_SECONDS if answered else 0.0)
        try:
            self._heartbeats.leave()
        except MistralError as error:
            LOG.warning("The engine was not told of the end: %s", error)


class _Claiming(Loop):
    """Claims whenever offers come or workers become free."""

    LONGEST_PAUSE = 0.5
    """A question without an answer has taken its time already, and what was offered
    here can run nowhere else meanwhile."""

    def __init__(self, claim: Callable[[], int], claimable: Callable[[], bool]) -> None:
        super().__init__("executor-claims", interval=30.0)
        self._claim = claim
        self._claimable = claimable

    def run_once(self) -> Counts:
        """Claim until nothing more can be.

        :raises MistralError: no usable answer; asked again after a pause.
        """
        claimed = 0
        while self._claimable() and not self.stopping:
            claimed += self._claim()
        return {"claimed": claimed}


def _calls(message: Message) -> list[CallAction]:
    if isinstance(message, Batch):
        messages = [decode(event) for event in message.events]
    else:
        messages = [message]
    calls = [found for found in messages if isinstance(found, CallAction)]
    if len(calls) != len(messages):
        LOG.warning("Messages that are no offers came to an executor's topic")
    return calls
