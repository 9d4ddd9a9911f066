"""An engine says yes to a claim and dies before its answer arrives: the executor asks
again, and until then nobody takes the action for lost (ENG-235, ENG-236)."""

from __future__ import annotations

import itertools
import threading
from queue import SimpleQueue
from typing import Any

import pytest
from fakes import RecordingBus
from house import House
from mistral_lib.actions import Action

from mistral.errors import Unavailable
from mistral.executors.server import ExecutorServer, ExecutorSettings
from mistral.messages import Heartbeat, Message

SECONDS = 20

WORKFLOW = """
version: '2.0'
call:
  tasks:
    t: {action: std.sleep seconds=1}
"""


class Gated(Action):
    def __init__(self, actions: Actions) -> None:
        super().__init__()
        self._actions = actions

    def run(self, context: Any) -> Any:
        self._actions.began.put("t")
        assert self._actions.gate.wait(SECONDS)
        return "ran"


class Actions:
    def __init__(self) -> None:
        self.began: SimpleQueue[str] = SimpleQueue()
        self.gate = threading.Event()

    def create(self, *about: Any, **more: Any) -> Any:
        return Gated(self)

    def post_process(self, name: str, result: Any, *about: Any, **more: Any) -> Any:
        return result


class Pair:
    """An executor whose threads do not run, and the engine of a house.

    :ivar dying: how many engines die after the next commits of claims.
    """

    def __init__(self, house: House) -> None:
        self.house = house
        self.dying = 0
        self.actions = Actions()
        bus = RecordingBus()
        bus.serve(bus.engine_topic, self._hear)
        numbers = itertools.count()
        self.executor = ExecutorServer(
            bus,
            self.actions,
            ExecutorSettings(threads=2),
            house.clock,
            lambda: f"executor-{next(numbers)}",
        )
        # its results go their ordinary way: nobody decides while it would wait
        self.executor._further.end()

    def _hear(self, message: Message) -> Any:
        answer = self.house.engine.handle(message)
        if isinstance(message, Heartbeat):
            self.house.turn()
        elif self.dying:
            self.dying -= 1
            self.house.engine = self.house.new_engine(f"after-{self.dying}")
            raise Unavailable("nobody answers")
        return answer

    def offered(self) -> str:
        """Start a run whose offer waits at the executor; its id."""
        self.house.upload(WORKFLOW)
        id = self.house.start("call")
        self.house.engine.deliver.offers.send_waiting()
        offer = self.house.post.offers.popleft()
        threading.Thread(target=self.executor.take, args=(offer,), daemon=True).start()
        while not len(self.executor._claims):
            threading.Event().wait(0.001)
        return id

    def beat(self) -> None:
        self.executor._heartbeats.run_once()


def test_an_action_is_not_lost_while_its_executor_asks_again(house: House) -> None:
    pair = Pair(house)
    id = pair.offered()
    pair.beat()
    pair.dying = 1
    with pytest.raises(Unavailable):
        pair.executor.claim_once()
    for _ in range(5):
        house.clock.advance(10)
        pair.beat()
    assert house.header(id)["state"] == "RUNNING"
    assert pair.executor.claim_once() == 1
    assert pair.actions.began.get(timeout=SECONDS) == "t"
    for _ in range(5):
        pair.beat()
        house.clock.advance(10)
    assert len(pair.executor._workers.running()) == 1, "no beat gave it up"
    pair.actions.gate.set()
    assert pair.executor._workers.wait_idle(SECONDS)
    [(outcome,)] = [outcomes for _, outcomes in pair.executor._held.due()]
    house.put(outcome)
    house.turn()
    assert house.header(id)["state"] == "SUCCESS"
    assert pair.actions.began.empty()


def test_an_action_is_lost_when_its_executor_asks_no_more(house: House) -> None:
    """A stop hands the offer back: nobody will run what was granted."""
    pair = Pair(house)
    id = pair.offered()
    pair.dying = 1
    with pytest.raises(Unavailable):
        pair.executor.claim_once()
    pair.executor._claims.hand_back_all()
    for _ in range(5):
        house.clock.advance(10)
        pair.beat()
    assert house.header(id)["state"] == "ERROR"
