"""The benchmark: start the service, load it, check every result, say what it cost.

``tools/bench/run`` measures PostgreSQL and RabbitMQ, one API, one engine, one
executor, with inline actions and through executors, interleaved. Topologies are
named on the command line. ``--url`` measures a server that already runs beside
them, any that speaks the API::

    tools/bench/run postgresql \\
        --url 'other=http://127.0.0.1:8990/v2;engine=71;api=72;executor=73' \\
        --only dag --only single

Repetitions are interleaved: scenario by scenario, run by run, target by target.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import broker
import ending
import limit
import report
from client import Client, Wrong
from scenarios import QUICK, TINY, Sample, Scenario, Sizes, table
from stack import PROBE, TOPOLOGIES, Servers, Target
from stores import PostgreSql

HISTORY = report.PROJECT / "doc" / "performance-history.jsonl"
SIZES = {"full": Sizes(), "quick": QUICK, "tiny": TINY}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "topologies",
        nargs="*",
        metavar="TOPOLOGY",
        help=f"of: {', '.join(TOPOLOGIES)}",
    )
    parser.add_argument(
        "--url",
        action="append",
        default=[],
        metavar="NAME=URL[;ROLE=PID…][;database=URL]",
        help="a server that runs already, its processes and its PostgreSQL",
    )
    parser.add_argument("--only", action="append", help="scenarios that begin so")
    parser.add_argument("--skip", action="append", default=[])
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--messages", action="store_true", help="count them, too")
    parser.add_argument(
        "--limit",
        action="store_true",
        help="measure a bare loop with the same writes and messages (PostgreSQL)",
    )
    parser.add_argument("--top", type=int, default=0, help="most frequent statements")
    parser.add_argument("--postgresql", help="URL of an administrator; else our own")
    parser.add_argument(
        "--mariadb", default="mariadb+pymysql://root@127.0.0.1:3306/mysql"
    )
    parser.add_argument("--markdown", type=Path, help="file to write it into")
    parser.add_argument("--json", type=Path, help="file to write it into")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    parser.add_argument(
        "--history",
        action="store_true",
        help=f"append the result to {HISTORY.relative_to(report.PROJECT)}",
    )
    given = parser.parse_args()
    given.messages = given.messages or given.limit
    unknown = sorted(set(given.topologies) - set(TOPOLOGIES))
    if unknown:
        parser.error(f"expected {', '.join(TOPOLOGIES)}; found {', '.join(unknown)}")
    if not given.topologies and not given.url:
        given.topologies = ["postgresql", "postgresql-executors"]
    return given


def foreign(text: str) -> Target:
    """A target from ``NAME=URL;ROLE=PID;database=URL``."""
    name, _, rest = text.partition("=")
    url, *more = rest.split(";")
    target = Target(name, url.rstrip("/"))
    for each in more:
        role, _, value = each.partition("=")
        if role == "database":
            target.store = PostgreSql(value)
        else:
            target.tops.setdefault(role, []).append(int(value))
    return target


def chosen(given: argparse.Namespace) -> list[Scenario]:
    return [
        scenario
        for scenario in table(SIZES[given.size])
        if (not given.only or scenario.name.startswith(tuple(given.only)))
        and not scenario.name.startswith(tuple(given.skip) or ("\0",))
    ]


def measure(
    scenario: Scenario,
    targets: dict[Target, Client],
    given: argparse.Namespace,
    servers: Servers,
) -> list[report.Row]:
    samples: dict[str, list[Sample]] = defaultdict(list)
    for _ in range(1 if scenario.once else given.runs):
        for target, client in targets.items():
            samples[target.name].append(scenario.run(target, client))
    rows = []
    for target, client in targets.items():
        messages = bare = None
        if given.messages and target.broker is not None and not scenario.once:
            with target.broker.tracing() as count:
                sample = scenario.run(target, client)
            messages = count[0] / sample.units
            if given.limit and scenario.writes and isinstance(target.store, PostgreSql):
                with servers.spare() as spare:
                    work = limit.work_of(sample, messages)
                    bare = limit.measure(target.store, spare, target.broker, work)
        rows.append(
            report.row(scenario, target.name, samples[target.name], messages, bare)
        )
        if given.top:
            show_top(samples[target.name][-1], given.top)
    return rows


def show_top(sample: Sample, most: int) -> None:
    before = sample.before.top
    found = []
    for text, (calls, spent) in sample.after.top.items():
        known = before.get(text, (0, 0.0))
        if calls > known[0]:
            found.append((calls - known[0], spent - known[1], text))
    for calls, spent, text in sorted(found, reverse=True)[:most]:
        say(f"    {calls / sample.units:8.3f}/unit {spent:9.1f} ms  {text[:150]}")
    for name, after in sorted(sample.after.rows.items()):
        known = sample.before.rows.get(name, (0, 0, 0))
        delta = [a - b for a, b in zip(after, known, strict=True)]
        if any(delta):
            shown = ", ".join(f"{each / sample.units:.2f}" for each in delta)
            say(f"    rows inserted, updated, deleted per unit: {shown}  {name}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    given = arguments()
    scenarios = chosen(given)
    if given.list:
        print("\n".join(scenario.name for scenario in scenarios))
        return 0
    ending.unwind_when_told()
    about = None
    rows: list[report.Row] = []
    with ExitStack() as stack:
        servers = Servers(stack, given.postgresql, given.mariadb)
        found = [servers.start(name) for name in given.topologies]
        found += [foreign(text) for text in given.url]
        targets = {target: Client(target.url) for target in found}
        for target, client in targets.items():
            client.until_it_works(PROBE, "probe")
            say(f"{target.name}: up at {target.url}")
        versions = [t.store.version for t in found if t.store is not None]
        if any(t.broker for t in found):
            versions.append(broker.version())
        time.sleep(1)
        about = report.machine(versions)
        before = {target.name: target.memory() for target in found}
        for scenario in scenarios:
            try:
                mine = measure(scenario, targets, given, servers)
            except Wrong as wrong:
                say(f"{scenario.name}: WRONG: {wrong}")
                return 1
            for row in mine:
                cpu = ", ".join(f"{role} {ms:.2f}" for role, ms in row.cpu.items())
                say(f"{scenario.name:<24} {row.target:<22} {row.rate:8.1f}/s "
                    f"{row.total:7.2f} ms CPU ({cpu}) "
                    f"SQL {row.statements} commits {row.commits} msgs {row.messages} "
                    f"{row.times} {row.figures}")  # fmt: skip
            rows += mine
        memory = {t.name: (before[t.name], t.memory()) for t in found}
        about["load at end"] = round(os.getloadavg()[0], 2)
    page = report.markdown(about, rows, memory)
    found_json = report.as_json(about, rows, memory)
    if given.markdown:
        given.markdown.write_text(page)
    else:
        print(page)
    if given.json:
        given.json.write_text(json.dumps(found_json, indent=1))
    if given.history:
        report.append_history(HISTORY, found_json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
