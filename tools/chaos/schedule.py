"""Which fault happens when: the same seed and arguments give the same list."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from system.processes import role_of


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    :param about: what it does, in a few words.
    :param shortest: seconds that it lasts; ``longest``: the most.
    :param roles: of processes that it may befall; none: it befalls all of them.
    :param link: ``database`` or ``broker``, where a wire is meant.
    :param weight: how often it happens, compared with the others.
    """

    about: str
    shortest: float = 0.0
    longest: float = 0.0
    roles: Sequence[str] = ()
    link: str = ""
    weight: int = 2


ALL = ("api", "engine", "executor")
WITH_DATABASE = ("api", "engine")

KINDS: Mapping[str, Kind] = {
    "kill": Kind("kill -9, and a new process some time later", 0, 3, ALL, weight=6),
    "end": Kind("SIGTERM, and a new process when it has ended", 0, 2, ALL, weight=2),
    "stop": Kind("SIGSTOP, and SIGCONT after leases ended", 5, 14, ALL, weight=3),
    "database-cut": Kind(
        "the process's connections to the database end", 0, 0, WITH_DATABASE, "database"
    ),
    "broker-cut": Kind(
        "the process's connections to the broker end", 0, 0, ALL, "broker"
    ),
    "database-refuses": Kind(
        "the same, and new ones are refused", 1, 8, WITH_DATABASE, "database"
    ),
    "broker-refuses": Kind("the same, and new ones are refused", 1, 8, ALL, "broker"),
    "database-stalls": Kind(
        "no byte goes through, connections live", 1, 12, WITH_DATABASE, "database"
    ),
    "broker-stalls": Kind(
        "no byte goes through, connections live", 1, 12, ALL, "broker"
    ),
    "database-slow": Kind(
        "each packet is late by 10 to 60 ms", 3, 10, WITH_DATABASE, "database"
    ),
    "broker-slow": Kind("each packet is late by 10 to 60 ms", 3, 10, ALL, "broker"),
    "database-half": Kind(
        "connections are closed one way", 1, 3, WITH_DATABASE, "database"
    ),
    "broker-half": Kind("connections are closed one way", 1, 3, ALL, "broker"),
    "commit-unsent": Kind(
        "the connection is reset when COMMIT is sent", 3, 3, WITH_DATABASE, "database"
    ),
    "commit-unheard": Kind(
        "COMMIT is done, and its answer lost", 3, 3, WITH_DATABASE, "database", 4
    ),
    "backends": Kind("the database ends all connections of all processes"),
    "no-connections": Kind(
        "all connections to the database end, and at most three more are given", 2, 8,
        weight=1,
    ),
    "clock": Kind(
        "the process's clock on the wall is an hour fast or slow, and right again",
        3, 12, ALL,
    ),
    "full-disk": Kind("the disk under the process is full", 3, 10, ("executor",)),
    "hold-locks": Kind("somebody else locks the headers of open runs", 1, 5),
    "broker-closes": Kind("the broker ends all connections of all processes"),
    "lose": Kind("the next message to the process is lost", 3, 3, ALL, "broker", 6),
    "late": Kind(
        "the next message to the process comes 0.1 to 4 s late; others overtake it",
        3, 3, ALL, "broker", 6,
    ),
    "again": Kind("one message of the last minutes comes again", weight=6),
    "purge": Kind("all messages that wait in queues are gone"),
    "drop": Kind(
        "all messages to engines, or to executors, are gone, with those that were "
        "delivered and not acknowledged",
        0, 0, ("engine", "executor"),
    ),
    "repeat": Kind("40 messages of the last minutes come again, in any order"),
    "hoard": Kind(
        "somebody else takes messages from all queues and gives them back late", 2, 6
    ),
    "empty": Kind(
        "the broker comes back empty: the virtual host is made anew", 0, 3, weight=1
    ),
    "restart-broker": Kind("the broker itself restarts", weight=1),
    "kill-broker": Kind("the broker itself is killed, and comes back", weight=1),
    "restart-database": Kind("the database server restarts", weight=1),
    "kill-database": Kind("the database server crashes, and comes back"),
    "fail-over": Kind(
        "the database server crashes, and its standby takes its place (PostgreSQL)"
    ),
}  # fmt: skip

LOSES = frozenset(["purge", "drop", "empty", "restart-broker", "kill-broker"])
"""Kinds that take messages away: what was in them is sent again."""

SHARED = ("restart-broker", "restart-database")
"""Kinds that touch everybody on the machine: they happen where the servers are the
campaign's own, or where the command for it is given."""

OF_OWN_SERVERS = (*SHARED, "kill-broker", "kill-database", "fail-over")
"""Kinds that happen where the servers are the campaign's own."""


@dataclass(frozen=True)
class Fault:
    """:param at: seconds after the round began.
    :param victim: a process, a role, or ``all``.
    :param seconds: that it lasts.
    :param dice: of its own, for what is decided when it happens.
    """

    at: float
    kind: str
    victim: str
    seconds: float
    dice: int


def schedule(
    seed: str,
    seconds: float,
    names: Sequence[str],
    kinds: Collection[str],
    gap: float,
    weights: Mapping[str, int] = MappingProxyType({}),
) -> list[Fault]:
    """Faults of one round, in time order.

    :param names: of all processes.
    :param weights: of kinds, in place of their own.
    :param gap: seconds between two faults, on average.
    """
    rng = random.Random(seed)
    order = [name for name in KINDS if name in kinds]
    shares = [weights.get(name, KINDS[name].weight) for name in order]
    found = []
    at = rng.expovariate(1 / gap)
    while at < seconds:
        name = rng.choices(order, shares)[0]
        kind = KINDS[name]
        if name == "drop":
            victim = rng.choice(kind.roles)
        else:
            able = [each for each in names if role_of(each) in kind.roles]
            victim = rng.choice(able) if able else "all"
        lasts = rng.uniform(kind.shortest, kind.longest)
        found.append(Fault(at, name, victim, lasts, rng.getrandbits(32)))
        at += rng.expovariate(1 / gap)
    return found
