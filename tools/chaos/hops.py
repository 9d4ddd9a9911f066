"""Every message of one hop is lost for a while, and many executions run meanwhile.

A message is lost on its last way, to the process that it is for: who sent it, and the
broker, think that it came.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from system.processes import role_of

from chaos.cluster import ChaosCluster
from chaos.frames import Delivery
from chaos.judge import Judge, settle
from chaos.ledger import Ledger
from chaos.users import Run, Users

BOUND_SECONDS = 30.0
"""After the last loss, beside what the executions take by themselves."""

CLIENTS = 16
SETTLE_SECONDS = 240.0
FLOW = "single"

_REQUESTS, _RESULTS, _OFFERS = (
    "mistral_engine", "mistral_engine.results", "mistral_executor.",
)  # fmt: skip

_HANDED_IN = b'kind\\": \\"HandIn'


@dataclass(frozen=True)
class Hop:
    """:param role: of the processes that hear these messages.
    :param is_of: whether a message to such a process goes this way.
    :param most: seconds for which it may be cut; more would be another fault.
    """

    about: str
    role: str
    is_of: Callable[[Delivery], bool]
    most: float = 60.0


def _asks(*kinds: bytes) -> Callable[[Delivery], bool]:
    def is_of(message: Delivery) -> bool:
        asked = message.key == _REQUESTS and message.exchange == "mistral"
        return asked and any(kind in message.body for kind in kinds)

    return is_of


def _is_request(message: Delivery) -> bool:
    executors = _asks(b"ClaimAction", b"Heartbeat", _HANDED_IN)(message)
    return message.key == _REQUESTS and not executors


def _is_reply(message: Delivery) -> bool:
    return message.key.startswith("reply_")


HOPS: Mapping[str, Hop] = {
    "requests": Hop("APIs ask engines", "engine", _is_request),
    "answers": Hop("engines answer APIs", "api", _is_reply),
    "offers": Hop(
        "engines offer actions to executors", "executor",
        lambda message: message.key.startswith(_OFFERS),
    ),
    "claims": Hop("executors ask for actions", "engine", _asks(b"ClaimAction")),
    "grants": Hop(
        "engines answer that", "executor",
        lambda message: _is_reply(message)
        and (b'answer\\": [' in message.body or b'answer\\": {\\"call' in message.body),
    ),
    "results": Hop(
        "executors send results", "engine",
        lambda message: message.key.startswith(_RESULTS)
        or _asks(_HANDED_IN)(message),
    ),
    "signs": Hop(
        "executors say that they live, until they would be taken for lost", "engine",
        _asks(b"Heartbeat"), 2.5,
    ),
    "confirmations": Hop(
        "engines answer that, and which results they have", "executor",
        lambda message: _is_reply(message) and b'{\\"over' in message.body,
    ),
}  # fmt: skip


@dataclass
class Lost:
    """What came of it.

    :param lost: messages; ``seconds``: how long they were lost.
    :param alone: seconds that as many executions took without any loss.
    :param after: seconds from the last loss until all was over.
    """

    hop: str
    about: str
    executions: int
    lost: int
    seconds: float
    alone: float
    after: float
    wrong: list[str] = field(default_factory=list)

    def line(self) -> dict[str, Any]:
        return asdict(self)


class Scenario:
    """Bursts of executions, the first one undisturbed."""

    def __init__(
        self, cluster: ChaosCluster, ledger: Ledger, judge: Judge, executions: int
    ) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._judge = judge
        self._executions = executions

    def alone(self) -> float:
        """Seconds without any loss."""
        begun = time.monotonic()
        users = self._burst("alone")
        return self._settle(users, begun)[0]

    def lose(self, name: str, seconds: float, alone: float) -> Lost:
        hop = HOPS[name]
        seconds = min(seconds, hop.most)
        lost: list[str] = []

        def falls(message: Delivery) -> float:
            if not hop.is_of(message):
                return 0.0
            lost.append(message.key)
            return -1.0

        wires = [
            self._cluster.wires[each, "broker"]
            for each in self._cluster.names
            if role_of(each) == hop.role
        ]
        for wire in wires:
            wire.befall(falls)
        healed = threading.Timer(seconds, lambda: [wire.mend() for wire in wires])
        begun = time.monotonic()
        healed.start()
        users = self._burst(name)
        healed.join()
        took, wrong = self._settle(users, begun)
        found = Lost(name, hop.about, len(users.runs), len(lost), seconds, alone,
                     took - seconds, wrong)  # fmt: skip
        if not lost:
            found.wrong.append("no message was lost")
        if found.after > alone + BOUND_SECONDS:
            found.wrong.append(
                f"all was over {found.after:.1f} s after the last loss, and"
                f" {alone:.1f} s without any"
            )
        return found

    def _burst(self, seed: str) -> Users:
        users = Users(self._cluster, self._ledger, seed, self._executions)
        with ThreadPoolExecutor(CLIENTS) as clients:
            rng = random.Random(f"{seed} {time.time()}")
            ids = [
                str(uuid.UUID(int=rng.getrandbits(128), version=4))
                for _ in range(self._executions)
            ]
            list(clients.map(lambda id: users.start(Run(id, FLOW, time.time())), ids))
        return users

    def _settle(self, users: Users, begun: float) -> tuple[float, list[str]]:
        """Seconds from the beginning; what is wrong."""
        settle(self._judge.quiet, SETTLE_SECONDS)
        took = time.monotonic() - begun
        calls = [call for call in self._ledger.calls if call.key[0] in users.runs]
        verdict = self._judge.judge(list(users.runs.values()), calls)
        wrong = [*verdict.wrong, *users.refused]
        if verdict.lost:
            wrong.append(f"{len(verdict.lost)} actions were lost with executors")
        return took, wrong
