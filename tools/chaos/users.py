"""Who uses the service: starts, pauses, answers, resumes and reruns.

A user says a thing again until it is answered, as the service asks of those whose
request was lost; each request may be repeated without harm.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

from system.processes import ENDS, until

from chaos.cluster import ChaosCluster
from chaos.flows import ACTIONS, FLOWS, TEXTS
from chaos.ledger import Ledger

ANSWER = {"answer": 42}
RERUNS = 9
"""Of one run; each may lose its action with its executor."""

LOOK_SECONDS = 0.5
GIVE_UP_SECONDS = 120


@dataclass
class Run:
    """One accepted execution.

    :param touched: somebody paused it.
    """

    id: str
    flow: str
    accepted_at: float
    touched: bool = False
    reruns: int = 0
    resume_at: float = 0.0


@dataclass
class Users:
    """:param open_runs: how many executions are under way at most.
    :ivar runs: all that were accepted.
    :ivar faults: what no user should see.
    """

    cluster: ChaosCluster
    ledger: Ledger
    seed: str
    open_runs: int
    runs: dict[str, Run] = field(default_factory=dict)
    waiting: dict[str, Run] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    starting: bool = True
    _ending: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._roots = itertools.cycle(self.cluster.roots.values())

    def upload(self) -> None:
        for path, content in (("actions", ACTIONS), ("workflows", TEXTS)):
            status, answer = self.cluster.ask(
                "POST", f"/v2/{path}", content.encode(), "text/plain"
            )
            assert status == 201, answer

    @contextmanager
    def busy(self, starters: int = 3) -> Iterator[None]:
        """Start runs as long as ``starting``, and look after them until the end."""
        work = [
            *(lambda n=n: self._start_many(n) for n in range(starters)),
            self._look_after,
            *[self._answer_calls] * 2,
        ]
        threads = [threading.Thread(target=each, daemon=True) for each in work]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ending.set()
            for thread in threads:
                thread.join(GIVE_UP_SECONDS)

    def all_ended(self) -> bool:
        """Whether nothing is under way, once nothing is started any more."""
        return not self.waiting

    # -- Requests -----------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The answer of an API that is there."""
        data = None if body is None else json.dumps(body).encode()
        last: Any = None
        end = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < end:
            with self._lock:
                root = next(self._roots)
            try:
                last = self.cluster.ask(method, path, data, "application/json", root)
            except OSError as error:
                last = type(error).__name__, str(error)
            else:
                if last[0] < 500 and last[0] != 429:
                    return last
                if last[0] == 500:
                    self.refused.append(f"{method} {path}: {last}")
            threading.Event().wait(0.2)
        self.refused.append(f"{method} {path}: no answer, the last was {last}")
        return 599, None

    # -- Starting -----------------------------------------------------------------

    def _start_many(self, number: int) -> None:
        rng = random.Random(f"{self.seed} start {number}")
        names = list(FLOWS)
        weights = [FLOWS[name].weight for name in names]
        while not self._ending.is_set():
            if not self.starting or len(self.waiting) >= self.open_runs:
                self._ending.wait(0.05)
                continue
            flow = rng.choices(names, weights)[0]
            id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
            self.start(Run(id, flow, time.time()))

    def start(self, run: Run) -> None:
        """Once it is accepted it is one of ``runs``."""
        input = {"url": self.ledger.url}
        body = {"id": run.id, "workflow_name": run.flow, "input": input}
        status, answer = self.ask("POST", "/v2/executions", body)
        if status == 201:
            run.accepted_at = time.time()
            self.runs[run.id] = self.waiting[run.id] = run
        else:
            self.refused.append(f"start of {run.flow}: {status} {answer}")

    # -- Looking after ------------------------------------------------------------

    def _look_after(self) -> None:
        rng = random.Random(f"{self.seed} look")
        while not self._ending.is_set():
            self._look(rng)
            self._ending.wait(LOOK_SECONDS)

    def _look(self, rng: random.Random) -> None:
        runs = dict(self.waiting)
        states = self._states()
        if states is None:
            return
        for id, run in runs.items():
            state = states.get(id)
            if state is None:
                status, found = self.ask("GET", f"/v2/executions/{id}")
                if status == 404:
                    self.refused.append(f"{run.flow} {id} was accepted and is gone")
                    del self.waiting[id]
                    continue
                state = found["state"] if status == 200 else "?"
            if state == "PAUSED":
                self._resume(rng, run)
            elif state == "ERROR" and run.flow == "mended" and run.reruns < RERUNS:
                self._rerun(run)
            elif state in ENDS:
                del self.waiting[id]
            elif state == "RUNNING" and self.starting and rng.random() < 0.02:
                run.touched = True
                self.ask("PUT", f"/v2/executions/{id}", {"state": "PAUSED"})

    def _states(self) -> dict[str, str] | None:
        """Of those that run or are paused."""
        path = "/v2/executions?limit=1000&fields=id,state&state=in:IDLE,RUNNING,PAUSED"
        status, found = self.ask("GET", path)
        if status != 200:
            return None
        return {row["id"]: row["state"] for row in found["executions"]}

    def _resume(self, rng: random.Random, run: Run) -> None:
        if not run.resume_at:
            run.resume_at = time.monotonic() + rng.random()
        if time.monotonic() >= run.resume_at:
            run.resume_at = 0.0
            self.ask("PUT", f"/v2/executions/{run.id}", {"state": "RUNNING"})

    def _rerun(self, run: Run) -> None:
        status, found = self.ask("GET", f"/v2/executions/{run.id}/tasks")
        for task in found["tasks"] if status == 200 else ():
            if task["state"] == "ERROR":
                run.reruns += 1
                body = {"state": "RUNNING", "reset": True}
                self.ask("PUT", f"/v2/tasks/{task['id']}", body)

    def _answer_calls(self) -> None:
        while not self._ending.is_set():
            try:
                call = self.ledger.asked.get(timeout=0.2)
            except Empty:
                continue
            path = f"/v2/action_executions/{call.action_id}"
            body = {"state": "SUCCESS", "output": json.dumps(ANSWER)}
            self.ask("PUT", path, body)

    def wait_until_all_ended(self, seconds: float) -> None:
        """:raises AssertionError: some run has not ended."""
        until(self.all_ended, seconds, "all executions end")
