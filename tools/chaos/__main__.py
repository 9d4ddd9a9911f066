"""``tools/chaos/run``: rounds of load and faults, each judged when all has ended."""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from servers import NoServer

from chaos import clocks, disks, report
from chaos.broker import Broker
from chaos.cluster import ChaosCluster, running
from chaos.faults import Injector
from chaos.hops import HOPS, Lost, Scenario
from chaos.judge import Judge, settle
from chaos.ledger import Ledger
from chaos.private import Servers, servers
from chaos.schedule import KINDS, OF_OWN_SERVERS, SHARED, schedule
from chaos.stores import Store
from chaos.users import Users
from chaos.wire import Wires

SETTLE_SECONDS = 180.0
SAID = 20
"""Sentences about what is wrong that are said after a round."""

WARM_SECONDS = 3.0
"""Of load before the first fault of a round."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/chaos/run",
        description="Load real services, break them, and check that nothing is lost"
        " and nothing done twice. Ends with 1 where something is wrong.",
        epilog="Faults: "
        + "; ".join(f"{name}: {kind.about}" for name, kind in KINDS.items()),
    )
    parser.add_argument(
        "--topology",
        choices=("postgresql", "mariadb"),
        default="postgresql",
        help="database beside RabbitMQ",
    )
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="of faults, in all"
    )
    parser.add_argument("--hours", type=float, help="the same in hours")
    parser.add_argument(
        "--round",
        type=float,
        default=120.0,
        help="seconds of faults after which all has to end",
    )
    parser.add_argument("--seed", default=str(random.randrange(10**6)))
    parser.add_argument(
        "--faults",
        help="kinds, with commas between; a kind behind a minus sign is left out",
    )
    parser.add_argument(
        "--weight",
        action="append",
        default=[],
        metavar="KIND=N",
        help="how often a kind happens, compared with the others",
    )
    parser.add_argument(
        "--gap", type=float, default=2.0, help="seconds between two faults, on average"
    )
    parser.add_argument("--open", type=int, default=40, help="executions under way")
    parser.add_argument("--apis", type=int, default=2)
    parser.add_argument("--engines", type=int, default=2)
    parser.add_argument("--executors", type=int, default=2)
    parser.add_argument(
        "--private",
        action="store_true",
        help="on a database and a broker of the campaign's own, which may die",
    )
    parser.add_argument(
        "--hop",
        help="lose all messages of these hops for a while, one hop after the other,"
        " in place of faults: " + ", ".join(HOPS) + "; or all",
    )
    parser.add_argument(
        "--executions", type=int, default=500, help="that run meanwhile"
    )
    parser.add_argument(
        "--lost-for", type=float, default=10.0, help="seconds of each hop"
    )
    for name in SHARED:
        parser.add_argument(
            f"--{name}",
            metavar="COMMAND",
            help="lets faults of this kind happen; the command does it",
        )
    parser.add_argument("--json", type=Path, help="where the report goes as JSON")
    parser.add_argument(
        "--markdown", type=Path, help="and as Markdown; else it is said"
    )
    parser.add_argument("--logs", type=Path, help="where logs stay; else they go")
    parser.add_argument(
        "--go-on",
        action="store_true",
        help="after a round in which something was wrong",
    )
    found = parser.parse_args(words)  # fmt: skip
    if found.hours is not None:
        found.seconds = 3600 * found.hours
    given = {name: getattr(found, name.replace("-", "_")) for name in SHARED}
    found.commands = {name: word for name, word in given.items() if word}
    found.kinds = _kinds(parser, found.faults, _able(found))
    found.hops = _hops(parser, found.hop)
    found.weights = _weights(parser, found.weight)
    return found


def _able(asked: argparse.Namespace) -> list[str]:
    """Kinds that can happen here."""
    lacking = set(OF_OWN_SERVERS) - asked.commands.keys()
    if asked.private:
        lacking = {"fail-over"} if asked.topology == "mariadb" else set()
    if not clocks.able():
        lacking.add("clock")
    if not disks.able():
        lacking.add("full-disk")
    return [name for name in KINDS if name not in lacking]


def _kinds(
    parser: argparse.ArgumentParser, wanted: str | None, able: list[str]
) -> list[str]:
    words = wanted.split(",") if wanted else []
    for word in words:
        if word.removeprefix("-") not in able:
            parser.error(f"--faults: {word!r} is none of {', '.join(able)}")
    chosen = [word for word in words if not word.startswith("-")] or able
    return [name for name in chosen if f"-{name}" not in words]


def _hops(parser: argparse.ArgumentParser, wanted: str | None) -> list[str]:
    if wanted == "all":
        return list(HOPS)
    found = wanted.split(",") if wanted else []
    for name in found:
        if name not in HOPS:
            parser.error(f"--hop: {name!r} is none of {', '.join(HOPS)}, all")
    return found


def _weights(parser: argparse.ArgumentParser, words: list[str]) -> dict[str, int]:
    found = {}
    for word in words:
        name, _, number = word.partition("=")
        if name not in KINDS or not number.isdecimal():
            parser.error(f"--weight: {word!r} is no KIND=N")
        found[name] = int(number)
    return found


class Field:
    """Where a campaign takes place."""

    def __init__(
        self,
        stack: ExitStack,
        cluster: ChaosCluster,
        asked: Any,
        own: Servers | None,
    ) -> None:
        self.cluster = cluster
        self._own = own
        self._asked = asked
        self._store = Store(cluster.database, cluster.kind)
        stack.callback(self._store.close)
        self._broker = Broker(cluster.virtual_host)
        stack.callback(self._broker.close)
        self._ledger = Ledger()
        stack.callback(self._ledger.close)
        self._judge = Judge(self._store.engine, cluster.database)

    def upload(self) -> None:
        Users(self.cluster, self._ledger, "", 0).upload()

    def round(self, seed: str, seconds: float) -> report.Round:
        """Load, faults, and what came of it."""
        asked = self._asked
        users = Users(self.cluster, self._ledger, seed, asked.open)
        before = len(self._ledger.calls)
        injector = Injector(
            self.cluster, self._store, self._broker, asked.commands, self._own
        )
        names = self.cluster.names
        faults = schedule(seed, seconds, names, asked.kinds, asked.gap, asked.weights)
        with users.busy():
            time.sleep(WARM_SECONDS)
            injector.play(faults)
            users.starting = False
            ended = time.monotonic()
            settle(users.all_ended, SETTLE_SECONDS)
            settle(self._judge.quiet, SETTLE_SECONDS / 3)
            took = time.monotonic() - ended
        calls = self._ledger.calls[before:]
        verdict = self._judge.judge(list(users.runs.values()), calls)
        return report.Round(seed, injector.happened, verdict, took, users.refused)

    def hops(self) -> Iterator[Lost]:
        """What comes of the loss of each hop."""
        asked = self._asked
        play = Scenario(self.cluster, self._ledger, self._judge, asked.executions)
        play.alone()  # what is slow the first time
        alone = play.alone()
        for name in asked.hops:
            yield play.lose(name, asked.lost_for, alone)

    def processes(self) -> list[str]:
        """What must not be of processes."""
        return [*self.cluster.died(), *self.cluster.strange()]


@contextmanager
def a_field(asked: argparse.Namespace, directory: Path) -> Iterator[Field]:
    """Started, and with workflows; gone afterwards.

    :raises NoServer: the database or the broker is missing.
    """
    counts = {name: getattr(asked, name) for name in ("apis", "engines", "executors")}
    with ExitStack() as stack:
        wires = Wires()
        stack.callback(wires.close)
        own = None
        if asked.private:
            own = stack.enter_context(servers(asked.topology, wires))
        cluster = stack.enter_context(
            running(
                asked.topology,
                directory,
                wires=wires,
                kinds=() if asked.hops else asked.kinds,
                **counts,
            )
        )
        field = Field(stack, cluster, asked, own)
        field.upload()
        yield field


def campaign(asked: argparse.Namespace, directory: Path) -> report.Campaign:
    """:raises NoServer: the database or the broker is missing."""
    shown = ("topology", "seconds", "round", "seed", "gap", "open", "apis", "engines",
             "executors", "private")  # fmt: skip
    found = report.Campaign({**{name: getattr(asked, name) for name in shown},
                             "faults": ",".join(asked.kinds),
                             "weights": asked.weights})  # fmt: skip
    with a_field(asked, directory) as field:
        for lost in field.hops() if asked.hops else ():
            found.lost.append(lost)
            _say(f"{lost.hop}: {lost.lost} messages lost, {lost.after:.1f} s")
            _write(asked, found)
        left = 0.0 if asked.hops else asked.seconds
        while left > 0:
            seed = f"{asked.seed}.{len(found.rounds) + 1}"
            done = field.round(seed, min(left, asked.round))
            found.rounds.append(done)
            found.processes = field.processes()
            left -= asked.round
            _say(f"round {seed}: {len(done.happened)} faults, {done.verdict.runs}"
                 f" executions, {len(found.wrong())} wrong in all")  # fmt: skip
            for what in [*done.verdict.wrong, *done.users][:SAID]:
                _say(f"    {what}")
            _write(asked, found)
            if found.wrong() and not asked.go_on:
                break
        codes = field.cluster.stop()
        found.processes = [
            *field.processes(),
            *(f"{name} ended with {code} when it was told to end"
              for name, code in codes.items() if code),
        ]  # fmt: skip
    return found


def _write(asked: argparse.Namespace, found: report.Campaign) -> None:
    """After each round, so that what is known stays whatever happens."""
    if asked.json:
        asked.json.write_text(json.dumps(report.as_json(found), indent=1))
    if asked.markdown:
        asked.markdown.write_text(report.markdown(found))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    asked = arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory() as temporary:
        directory = asked.logs or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        try:
            found = campaign(asked, directory)
        except NoServer as missing:
            raise SystemExit(str(missing)) from None
        _write(asked, found)
        if not asked.markdown:
            print(report.markdown(found))
    return 1 if found.wrong() else 0


if __name__ == "__main__":
    sys.exit(main())
