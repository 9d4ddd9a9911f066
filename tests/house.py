"""Every role in one process and one thread, on a real database.

The engine, the executors' runner and the clock are ours; the transport is a
list. Nothing happens until ``settle`` turns the crank: timers that are due are
fired, what waits is decided, offers are claimed and run, until all is quiet.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fakes import FakeClock
from servers import make_tables
from sqlalchemy import select

from mistral.actions.registry import Registry
from mistral.callbacks import Callbacks
from mistral.config import DynamicActionSettings, Settings
from mistral.context import DEFAULT_PROJECT, Context
from mistral.db import models
from mistral.db.database import Database
from mistral.db.definitions import create_actions, create_workflows, update_workflows
from mistral.db.owned import Author, Place
from mistral.engine.apart import LOCK_SECONDS
from mistral.engine.core.ports import Rules
from mistral.engine.doctor.examine import examine
from mistral.engine.expiration import Expiration
from mistral.engine.facts import Sources
from mistral.engine.notices import Patience
from mistral.engine.server import EngineOptions, EngineServer
from mistral.engine.steps import Reached, unwatched
from mistral.engine.trusts import End
from mistral.errors import Bug, Unavailable
from mistral.executors.dynamic import CodeTexts, DynamicActions
from mistral.executors.identities import Identities
from mistral.executors.runner import Runner
from mistral.expressions.evaluate import Evaluator
from mistral.lang.parse import parse_actions, parse_workflows
from mistral.messages import (
    ActionFinished,
    Batch,
    CallAction,
    CarryNotices,
    ClaimAction,
    Event,
    Message,
    NoticesCarried,
    Notify,
    StartWorkflow,
    decode,
    encode,
)

CALLER = Context(project_id=DEFAULT_PROJECT, roles=("admin",), is_admin=True)


class Post:
    """The engine's bus: what is sent lies here until somebody takes it."""

    engine_topic = "engine"
    results_topic = "engine.results"
    executor_topic = "executor"

    def __init__(self) -> None:
        self.offers: deque[CallAction] = deque()
        self.notices: list[Notify] = []
        self.notices_sent: deque[CarryNotices] = deque()
        """Those that nobody has carried yet; then they are ``notices``."""
        self.refused: set[str] = set()
        """Runs and types of publishers whose notifications are not taken; "all": the
        broker is away."""
        self.targets: dict[str, str | None] = {}
        """Group that an action was offered to, by the action's id."""
        self.closed: Exception | None = None
        self.away = False

    def hears_itself(self, topic: str) -> bool:
        return not self.away

    def when_back(self, call: Callable[[], object]) -> None:
        raise Bug("The crank asks the engine itself")

    def send(
        self, message: Message, *, topic: str | None = None, target: str | None = None
    ) -> None:
        if self.closed is not None:
            raise self.closed
        if isinstance(message, CarryNotices):
            if "all" in self.refused:
                raise Unavailable("The broker is away.")
            self.notices_sent.append(message)
            return
        assert isinstance(message, Batch)
        for wire in message.events:
            call = decode(wire)
            assert isinstance(call, CallAction)
            self.offers.append(call)
            self.targets[call.action_id] = target

    def carry(self, message: CarryNotices) -> NoticesCarried:
        """Each is offered, until one is not taken."""
        taken = []
        for id, wire in zip(message.ids, message.notices, strict=True):
            notice = decode(wire)
            assert isinstance(notice, Notify)
            [entry] = notice.publishers
            if self.refused & {notice.run_id, entry.get("type")}:
                return NoticesCarried(
                    taken=tuple(taken), refused=id, reason="answered 500"
                )
            self.notices.append(notice)
            taken.append(id)
        return NoticesCarried(taken=tuple(taken))

    def serve(self, topic: str, handler: Callable[[Message], Any]) -> Any:
        raise Bug("The crank asks the engine itself")

    def listen(self, topic: str, on_message: Any, *, prefetch: int = 64) -> Any:
        raise Bug("The crank asks the engine itself")


class House:
    """``House(tmp_path)``; ``house.upload(text)``; ``house.start("w")``."""

    lock_seconds = LOCK_SECONDS
    patience = Patience()

    def __init__(
        self,
        directory: Path,
        *,
        url: str | None = None,
        rules: Rules | None = None,
        database: Callable[..., Database] = Database,
        registry: Registry | None = None,
        expiration: Expiration | None = None,
        evaluator: Callable[[FakeClock], Evaluator] | None = None,
        dynamic: DynamicActionSettings | None = None,
        end_trust: End | None = None,
        callbacks: Callbacks | None = None,
    ) -> None:
        self.callbacks = callbacks
        self.expiration = expiration
        self.end_trust = end_trust
        self.reached: Reached = unwatched
        self.clock = FakeClock()
        self.database = database(
            url or f"sqlite:///{directory / 'house.db'}", clock=self.clock
        )
        make_tables(self.database)
        self.post = Post()
        self.rules = rules or Rules()
        self.evaluator = Evaluator() if evaluator is None else evaluator(self.clock)
        self._numbers = itertools.count(1)
        self.registry = registry or Registry(Settings())
        limit = self.rules.field_limit
        self.runner = Runner(
            self.registry,
            dynamic=DynamicActions(
                CodeTexts(self, self.clock), dynamic or DynamicActionSettings()
            ),
            result_limit_kb=limit // 1024 if limit >= 0 else -1,
            identities=Identities(callbacks=callbacks, now=self.clock.now),
        )
        self.sources: Sources
        self.engine = self.new_engine("one")
        self.longest_turn = 0.0
        """Seconds, of which there are some when expressions let time go on."""
        self.running: list[CallAction] = []
        self.hold: set[str] = set()
        """Names of actions that are claimed and then never end."""

    def new_engine(self, name: str, database: Database | None = None) -> EngineServer:
        """Another engine process on the same database and post.

        :param database: its own connections to it.
        """
        self.sources = Sources(
            self.evaluator,
            self.registry,
            lambda: self.new_id(),
            rules=self.rules,
            callbacks=self.callbacks,
        )
        options = EngineOptions(
            name=name,
            expiration=self.expiration,
            end_trust=self.end_trust,
            reached=lambda step: self.reached(step),
            lock_seconds=self.lock_seconds,
            patience=self.patience,
        )
        return EngineServer(
            database or self.database, self.post, self.sources, self.clock, options
        )

    def new_id(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._numbers):012d}"

    # -- Asking ---------------------------------------------------------------

    def upload(self, text: str, namespace: str = "") -> None:
        place = Place(namespace)
        with self.database.begin() as connection:
            author = Author(CALLER, self.clock.now(), self.new_id)
            create_workflows(connection, author, parse_workflows(text), place)

    def update(self, text: str) -> None:
        with self.database.begin() as connection:
            author = Author(CALLER, self.clock.now(), self.new_id)
            update_workflows(connection, author, parse_workflows(text), Place())

    def upload_actions(self, text: str) -> None:
        with self.database.begin() as connection:
            author = Author(CALLER, self.clock.now(), self.new_id)
            create_actions(connection, author, parse_actions(text), Place())

    def put(self, event: Event) -> Future[Any]:
        return self.engine.intake.put(event)

    def ask(self, event: Event) -> Any:
        """The answer after one turn.

        :raises MistralError: the one that was decided.
        """
        answer = self.put(event)
        self.turn()
        return answer.result(timeout=0)

    def start(
        self, name: str, input: Mapping[str, Any] | None = None, **params: Any
    ) -> str:
        """Start a workflow; answers the id of the run."""
        id = self.new_id()
        self.ask(
            StartWorkflow(
                run_id=id,
                workflow_name=name,
                input=input or {},
                params=params,
                request_id=self.new_id(),
                context=CALLER.to_dict(),
            )
        )
        return id

    def run(self, name: str, input: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Start, settle, and read the header."""
        id = self.start(name, input)
        self.settle()
        return self.header(id)

    def call(self, message: Message, *, timeout: float | None = None) -> Any:
        """What an executor asks besides claims."""
        return self.engine.handle(decode(encode(message)))

    # -- The crank ------------------------------------------------------------

    def turn(self) -> None:
        """Everything that waits is decided, and nothing else happens."""
        while self._turned():
            continue

    def _turned(self) -> bool:
        began = self.clock.monotonic()
        moved = bool(self.engine.loop.run_once(timeout=0))
        self.longest_turn = max(self.longest_turn, self.clock.monotonic() - began)
        return moved

    def settle(self) -> None:
        """Until nothing moves without time going on."""
        while True:
            self.engine.deliver.fire_due()
            moved = self._turned()
            moved = bool(self.engine.deliver.offers.send_waiting()) or moved
            moved = bool(self.engine.deliver.notices.send_waiting()) or moved
            self.carry_notices()
            while self.post.offers:
                self.execute(self.post.offers.popleft())
                moved = True
            if not moved:
                return

    def execute(self, call: CallAction) -> None:
        """What an executor does with one offer."""
        if not self.claim(call):
            return
        if call.name in self.hold:
            self.running.append(call)
            return
        self.put(self.runner.run(call))

    def carry_notices(self, engine: EngineServer | None = None) -> None:
        """What a notifier does; its answers go to that engine.

        :param engine: by default the one that there is.
        """
        while self.post.notices_sent:
            answer = self.post.carry(self.post.notices_sent.popleft())
            (engine or self.engine).result(answer)

    def claim(self, call: CallAction, token: str | None = None) -> bool:
        claim = self.claim_of(call, token)
        return bool(self.call(Batch(events=(encode(claim),)))[0])

    def claim_of(self, call: CallAction, token: str | None = None) -> ClaimAction:
        return ClaimAction(
            action_id=call.action_id,
            attempt=call.attempt,
            token=token or self.new_id(),
            executor_id="executor-1",
        )

    def finish(self, call: CallAction, result: Any = None) -> None:
        self.put(
            ActionFinished(
                run_id=call.run_id,
                action_id=call.action_id,
                attempt=call.attempt,
                result=result,
            )
        )

    def advance(self, seconds: float) -> None:
        """Time goes on, and what was due meanwhile happens."""
        self.clock.advance(seconds)
        self.settle()

    def sweep(self) -> None:
        """One pass of every sweep of the engine, then settle."""
        for sweep in self.engine.sweeps:
            sweep.run_once()
        self.settle()

    def follow_maintenance(self, waiting: list[int] | None = None) -> dict[str, int]:
        """One pass of the sweep of maintenance; this thread decides meanwhile.

        :param waiting: gets how many events were decided in each turn.
        """
        [sweep] = [s for s in self.engine.sweeps if s.name == "engine-maintenance"]
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(sweep.run_once)
            while not done.done():
                counts = self.engine.loop.run_once(timeout=0.01)
                if waiting is not None and counts:
                    waiting.append(counts["events"])
        self.settle()
        return dict(done.result())

    # -- Looking --------------------------------------------------------------

    def examined(self) -> list[str]:
        """What the doctor says of the database; empty: all is well."""
        return [f"{v.check}: {v.text}" for v in examine(self.database)]

    def rows(self, table: Any, **where: Any) -> list[dict[str, Any]]:
        query = select(table).where(*(table.c[n] == v for n, v in where.items()))
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def header(self, run_id: str) -> dict[str, Any]:
        [row] = self.rows(models.workflow_executions, id=run_id)
        return row

    def tasks(self, run_id: str) -> dict[str, str]:
        """State by name."""
        found = self.rows(models.task_executions, workflow_execution_id=run_id)
        return {row["name"]: row["state"] for row in found}

    def close(self) -> None:
        self.database.dispose()
