"""Engines and executors that die: each step of each process may be its last.

The processes are the real ones, without their threads; the broker and the clock are
ours. The broker gives an offer that was not acknowledged to whoever comes next; a
client asks again while it has no answer.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from house import House
from mistral_lib.actions import Action

from mistral.db import models
from mistral.engine.steps import Step as EngineStep
from mistral.errors import Unavailable
from mistral.executors.server import ExecutorServer, ExecutorSettings
from mistral.executors.steps import Step
from mistral.messages import (
    Batch,
    CallAction,
    Event,
    HandIn,
    Message,
    decode,
    encode,
)

SECONDS = 3.0
"""That time goes on by: beats, leases and the patience with executors last longer."""

ROUNDS = 100


Place = tuple[str, int]
"""A step, and how often it was taken before; threads have no common order."""


class Died(SystemExit):
    """A process is no more; what it was doing ends without a word."""


class Mortals(House):
    """A house whose actions run in executors that can die, as its engine can."""

    def __init__(self, directory: Path, **more: Any) -> None:
        super().__init__(directory, **more)
        self.steps: list[str] = []
        self._taken: Counter[str] = Counter()
        self._guard = threading.Lock()
        self.doomed: set[Place] = set()
        self.died: list[str] = []
        self.ran: Counter[str] = Counter()
        """By id of the action execution."""
        self.results: list[tuple[Event, Future[Any]]] = []
        self.engines = self.executors = 1
        self.reached = lambda step: self.step(f"engine {step}")
        self.executor = Executor(self)

    def begin_anew(self, *places: Place) -> None:
        """:param places: the last of whoever takes them."""
        self.steps, self.died = [], []
        self._taken.clear()
        self.doomed = set(places)
        self.ran.clear()

    def step(self, step: str) -> None:
        with self._guard:
            self.steps.append(step)
            place = step, self._taken[step]
            self._taken[step] += 1
            if place not in self.doomed:
                return
            self.doomed.discard(place)
            self.died.append(step)
        raise Died(step)

    def places(self) -> list[Place]:
        """What was taken, in its order."""
        taken: Counter[str] = Counter()
        found = []
        for step in self.steps:
            found.append((step, taken[step]))
            taken[step] += 1
        return found

    # -- Engines --------------------------------------------------------------

    def next_engine(self) -> None:
        self.engines += 1
        self.engine.loop._own.close()
        self.engine.claims.close()
        self.engine = self.new_engine(f"engine-{self.engines}")
        self.results = [
            (event, self.put(event))
            for event, answer in self.results
            if not answer.done()
        ]

    def told(self, event: Event) -> Any:
        """The answer to a request, which is sent until there is one."""
        while True:
            try:
                return self.ask(event)
            except Died:
                self.next_engine()

    def answered(self, message: Message) -> Any:
        """What an executor hears.

        :raises Unavailable: the engine died before it had answered.
        """
        message = decode(encode(message))
        try:
            if isinstance(message, HandIn):
                return self._handed_in(message)
            return self.engine.handle(message)
        except Died:
            self.next_engine()
            raise Unavailable("Nobody answers.") from None

    def _handed_in(self, message: HandIn) -> Any:
        """This thread decides while another one waits for that; when the engine dies
        it is left."""
        engine, heard = self.engine, Future[Any]()

        def hear() -> None:
            try:
                heard.set_result(engine.handle(message))
            except Unavailable as error:
                heard.set_exception(error)

        threading.Thread(target=hear, daemon=True).start()
        while not heard.done():
            engine.loop.run_once(timeout=0.002)
        return heard.result()

    def _engine_works(self) -> None:
        engine = self.engine
        try:
            engine.deliver.fire_due()
            self.turn()
            engine.overdue.run_once()
            engine.deliver.offers.send_waiting()
            engine.deliver.notices.send_waiting()
            self.carry_notices()
            self._look_for_lost()
            self.turn()
        except Died:
            self.next_engine()

    def _look_for_lost(self) -> None:
        [sweep] = [s for s in self.engine.sweeps if s.name == "engine-lost-executors"]
        looking = threading.Thread(target=_quietly(sweep.run_once), daemon=True)
        looking.start()
        # It waits for what this thread decides; when the engine dies it is left.
        while looking.is_alive() or len(self.engine.intake):
            self.engine.loop.run_once(timeout=0.002)

    # -- All of it ------------------------------------------------------------

    def round(self) -> None:
        self._engine_works()
        self.executor.works()
        if self.executor.dead:
            self.executors += 1
            left = self.executor.leave()
            self.post.offers.extend(left)
            self.executor = Executor(self)
        self._engine_works()

    def lives(self, run_id: str) -> dict[str, Any]:
        """The run when it and all that it led to is over."""
        for _ in range(ROUNDS):
            self.round()
            header = self.header(run_id)
            over = header["state"] in ("SUCCESS", "ERROR")
            waits = self.rows(models.outbox) or not all(
                answer.done() for _, answer in self.results
            )
            if over and not waits:
                return header
            self.clock.advance(SECONDS)
        raise AssertionError(f"stuck: {self.examined()} {self.tasks(run_id)}")

    def close(self) -> None:
        self.executor.leave()
        super().close()


class Executor:
    """One executor process: its server, and its end of the bus."""

    results_topic = "engine.results"
    executor_topic = "executor"
    run_now_topic = "executor.now"

    def __init__(self, world: Mortals) -> None:
        self.dead = False
        self._world = world
        self._received = threading.Event()
        self._messages: dict[threading.Thread, CallAction] = {}
        self.server = ExecutorServer(
            self,
            Recorded(world),
            ExecutorSettings(threads=1, reached=self._reached),
            world.clock,
            world.new_id,
        )

    def works(self) -> None:
        """Whatever it has to do now, in one thread but for the actions."""
        try:
            self._takes()
            self._sends()
        except (Died, Unavailable):
            # Dead, or it tries again later.
            return

    def _takes(self) -> None:
        offers = self._world.post.offers
        while offers and not self.dead:
            self._receive(offers.popleft())
        while self.server.claim_once() and not self.dead:
            self._hands_in()
            self.server._delivery.run_once()
        self._hands_in()
        if not len(self.server._claims):
            for thread in list(self._messages):
                thread.join()

    def _sends(self) -> None:
        self.server._delivery.run_once()
        self.server._heartbeats.run_once()
        self.server._delivery.run_once()

    def _hands_in(self) -> None:
        """What has run, as long as something more comes back."""
        self._runs_out()
        while self.server._further.run_once().get("begun"):
            self._runs_out()

    def _runs_out(self) -> None:
        while not self.server._workers.wait_idle(0.01):
            if self.dead:
                raise Died

    def _receive(self, call: CallAction) -> None:
        self._received.clear()
        thread = threading.Thread(target=self._deliver, args=(call,), daemon=True)
        self._messages[thread] = call
        thread.start()
        self._received.wait()

    def _deliver(self, call: CallAction) -> None:
        """A thread of the broker's library: it acknowledges what was taken."""
        try:
            taken = self.server.take(call)
        except Died:
            return
        finally:
            self._received.set()
        if not self.dead:
            del self._messages[threading.current_thread()]
            if not taken:
                self._world.post.offers.append(call)

    def leave(self) -> list[CallAction]:
        """It is gone; what the broker delivers again."""
        self.dead = True
        self.server._claims.hand_back_all()
        for thread in list(self._messages):
            thread.join()
        return list(self._messages.values())

    def _reached(self, step: Step) -> None:
        if self.dead:
            raise Died(step)
        try:
            self._world.step(f"executor {step}")
        except Died:
            self.dead = True
            raise
        finally:
            if step is Step.RECEIVED:
                self._received.set()

    # -- The bus --------------------------------------------------------------

    def call(self, message: Message, *, timeout: float | None = None) -> Any:
        return self._world.answered(message)

    def send(self, message: Message, *, topic: str | None = None) -> None:
        assert isinstance(message, Batch)
        for wire in message.events:
            event = decode(wire)
            assert isinstance(event, Event)
            self._world.results.append((event, self._world.put(event)))

    def serve(self, topic: str, handler: Callable[[Message], Any]) -> Any:
        raise AssertionError("it is not started")

    listen = when_back = serve  # type: ignore[assignment]


class Recorded:
    """The actions of the registry, and who of them ran."""

    def __init__(self, world: Mortals) -> None:
        self._world = world

    def create(
        self, name: str, given: Mapping[str, Any], *more: Any, **and_: Any
    ) -> Any:
        return _Noted(
            self._world, self._world.registry.create(name, given, *more, **and_)
        )

    def post_process(self, *given: Any, **more: Any) -> Any:
        return self._world.registry.post_process(*given, **more)


class _Noted(Action):
    def __init__(self, world: Mortals, action: Any) -> None:
        super().__init__()
        self._world = world
        self._action = action

    def run(self, context: Any) -> Any:
        self._world.ran[context.execution.action_execution_id] += 1
        return self._action.run(context)

    def is_sync(self) -> bool:
        return True


def _quietly(work: Callable[[], object]) -> Callable[[], None]:
    def done() -> None:
        try:
            work()
        except Exception:
            # Its engine died meanwhile.
            return

    return done


ENGINE_STEPS = {f"engine {step}" for step in EngineStep}
EXECUTOR_STEPS = {f"executor {step}" for step in Step}
