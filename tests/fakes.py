"""Stand-ins that implement our ports. Each passes the port's own tests."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mistral.errors import Bug, ExpressionFault, Unavailable
from mistral.messages import CallAction, Message, decode, encode


class FakeClock:
    """A clock that moves when told to."""

    def __init__(self, start: datetime = datetime(2020, 1, 2, 3, 4, 5)) -> None:
        self._now = start
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


@dataclass
class MemoryFacts:
    """``Facts`` over plain values.

    ``task_rows`` and ``execution_rows`` are the mappings that functions show,
    oldest first; ``current_task`` is the id of the task that asks.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    environment: Mapping[str, Any] = field(default_factory=dict)
    this_execution: Mapping[str, Any] | None = None
    execution_rows: Sequence[Mapping[str, Any]] = ()
    task_rows: Sequence[Mapping[str, Any]] = ()
    current_task: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    _uuids: int = 0

    def env(self) -> Mapping[str, Any]:
        self.asked.append("env")
        return self.environment

    def execution(self) -> Mapping[str, Any]:
        self.asked.append("execution")
        if self.this_execution is None:
            raise ExpressionFault("There is no execution here")
        return self.this_execution

    def executions(
        self,
        id: str | None = None,
        root_execution_id: str | None = None,
        state: str | None = None,
        from_time: datetime | None = None,
        to_time: datetime | None = None,
    ) -> Sequence[Mapping[str, Any]]:
        self.asked.append("executions")

        def created(row: Mapping[str, Any]) -> datetime:
            return datetime.strptime(row["created_at"], "%Y-%m-%d %H:%M:%S")

        return [
            row
            for row in self.execution_rows
            if (id is None or row["id"] == id)
            and root_execution_id in (None, row.get("root_execution_id"))
            and (state is None or row["state"] == state)
            and (from_time is None or created(row) >= from_time)
            and (to_time is None or created(row) < to_time)
        ]

    def task(self, name: str | None) -> Mapping[str, Any] | None:
        self.asked.append("task")
        current = [row for row in self.task_rows if row["id"] == self.current_task]
        if name is None:
            return current[0] if current else None
        if current and current[0]["name"] == name:
            return current[0]
        named = [row for row in self.task_rows if row["name"] == name]
        return named[-1] if named else None

    def tasks(
        self,
        workflow_execution_id: str | None = None,
        recursive: bool = False,
        state: str | None = None,
        flat: bool = False,
    ) -> Sequence[Mapping[str, Any]]:
        self.asked.append("tasks")
        return [
            row
            for row in self.task_rows
            if workflow_execution_id in (None, row.get("workflow_execution_id"))
            and (state is None or row["state"] == state)
            and (not flat or row.get("type") == "ACTION")
        ]

    def global_variable(self, name: str) -> Any:
        self.asked.append("global")
        return self.variables.get(name)

    def uuid(self) -> str:
        self._uuids += 1
        return str(uuid.UUID(int=self._uuids))

    def now(self) -> datetime:
        return self.clock.now()


class RecordingBus:
    """A bus without threads: whoever speaks runs the one who hears.

    ``called`` and ``sent`` are what was said, after a trip over the wire format.
    ``answers`` are taken, one by one, for calls to a topic that nobody serves;
    an exception among them is raised. ``refuse_sends``: raised by each send.
    ``away``: no broker is heard.
    """

    engine_topic = "mistral_engine"
    results_topic = "mistral_engine.results"
    executor_topic = "mistral_executor"
    run_now_topic = "mistral_executor.now"

    def __init__(self) -> None:
        self.called: list[Message] = []
        self.sent: list[tuple[str | None, Message]] = []
        self.answers: list[Any] = []
        self.refuse_sends: Exception | None = None
        self.away = False
        self.waiting: list[Callable[[], object]] = []
        self.refusal: str | None = None
        self.handlers: dict[str, Callable[[Message], Any]] = {}
        self.listeners: dict[str, Callable[[Message], bool | None]] = {}

    def call(
        self,
        message: Message,
        *,
        timeout: float | None = None,
        topic: str | None = None,
        target: str | None = None,
    ) -> Any:
        message = decode(encode(message))
        self.called.append(message)
        by_class = isinstance(message, CallAction)
        topic = topic or (self.run_now_topic if by_class else self.engine_topic)
        handler = self.handlers.get(f"{topic}.{target}" if target else topic)
        if handler is not None:
            return handler(message)
        if not self.answers:
            raise Unavailable("nobody answers")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def send(
        self,
        message: Message,
        *,
        topic: str | None = None,
        target: str | None = None,
    ) -> None:
        if self.refuse_sends is not None:
            raise self.refuse_sends
        self.sent.append((topic, decode(encode(message))))

    def hears_itself(self, topic: str) -> bool:
        return not self.away

    def when_back(self, call: Callable[[], object]) -> None:
        self.waiting.append(call)

    def come_back(self) -> None:
        """The broker is there again: who waits for it is told."""
        self.away, self.refuse_sends = False, None
        for call in self.waiting:
            call()

    def serve(self, topic: str, handler: Callable[[Message], Any]) -> _Ended:
        self.handlers[topic] = handler
        return _Ended()

    def listen(
        self,
        topic: str,
        on_message: Callable[[Message], bool | None],
        *,
        prefetch: int = 64,
    ) -> _Ended:
        self.listeners[topic] = on_message
        return _Ended()

    def deliver(self, topic: str, message: Message) -> bool | None:
        """Let a listener hear a message; False: handed back."""
        if topic not in self.listeners:
            raise Bug(f"nobody listens to {topic}")
        return self.listeners[topic](message)


class _Ended:
    def quiet(self) -> None:
        """Nothing arrives by itself."""

    def stop(self) -> None:
        """Nothing waits."""
