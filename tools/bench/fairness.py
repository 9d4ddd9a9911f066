"""How long small executions take while something large goes on.

``python tools/bench/fairness.py`` starts a topology with tokens of its own issuer, so
that there are projects, and measures one after the other:

* *burst*: 500 executions from 50 clients at once: how they were answered, when the last
  one had ended;
* *large*: executions of one task, one after the other from one client, before and
  during one execution of 10,000 items, of the same project;
* *flood*: the same from nine projects at once, before and while a tenth has 50 clients
  that start executions as fast as they are answered.

Every action goes through executors. p50 and p95 in seconds, from the POST to SUCCESS as
its client sees it; the peak of the resident memory by role. A benchmark, never a test.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import ending
import jwt
import requests
import stores
from client import ENDS, PATIENCE, Wrong
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import rsa
from loud import burning, starting
from sqlalchemy import create_engine, func, select
from stack import TOPOLOGIES, Servers, Target

from mistral.db.models import history

BUSY = (429, 503)
ISSUER = "https://issuer.example.org"
WORKFLOWS = """\
version: '2.0'
one: {tasks: {t: {action: std.sleep seconds=0}}}
large:
  input: [n]
  tasks: {t: {with-items: "i in <% range($.n) %>", action: std.sleep seconds=0}}
"""
AUTHENTICATED = """\
[DEFAULT]
auth_type = oidc
[pecan]
auth_enable = true
[oidc]
issuer = {issuer}
audience = bench
jwks_url = {keys}
[engine]
secret_key = {secret}
"""


class Issuer:
    """Makes tokens and shows its key."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def token(self, project: str) -> str:
        claims = {
            "iss": ISSUER,
            "aud": "bench",
            "sub": project,
            "project_id": project,
            "roles": ["member"],
            "exp": int(time.time()) + 7200,
        }
        return jwt.encode(claims, self._key, "RS256", headers={"kid": "1"})

    @contextmanager
    def keys(self) -> Iterator[str]:
        """The URL of the key set."""
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        body = json.dumps({"keys": [{**key, "kid": "1", "use": "sig"}]}).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/keys"
        server.shutdown()


@dataclass(frozen=True)
class Small:
    """A small execution as its client saw it; seconds since the epoch.

    :param posted: when its start was asked for.
    :param started: when that was answered.
    :param ended: when its end was known.
    """

    id: str
    posted: float
    started: float
    ended: float

    @property
    def total(self) -> float:
        return self.ended - self.posted


class Project:
    """Calls in the name of a project, from any thread."""

    def __init__(self, url: str, token: str) -> None:
        self.token = token
        self._url = url
        self._headers = {"X-Auth-Token": token}
        self._local = threading.local()

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.headers.update(self._headers)
        url = f"{self._url}/{path}"
        answer: requests.Response = self._local.session.request(method, url, **more)
        return answer

    def start(self, workflow: str, **input: Any) -> requests.Response:
        body = {"workflow_name": workflow, "input": input}
        return self.ask("POST", "executions", json=body)

    def started(self, workflow: str, **input: Any) -> str:
        while True:
            answer = self.start(workflow, **input)
            if answer.status_code == 201:
                return str(answer.json()["id"])
            if answer.status_code not in BUSY:
                raise Wrong(f"{answer.status_code} {answer.text[:300]}")
            time.sleep(float(answer.headers["Retry-After"]))

    def wait(self, id: str) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            path = f"executions/{id}?wait=20&fields=id,state"
            answer = self.ask("GET", path)
            if answer.status_code in BUSY:
                time.sleep(float(answer.headers["Retry-After"]))
                continue
            found = answer.json()
            if found["state"] in ENDS:
                if found["state"] != "SUCCESS":
                    raise Wrong(f"{id}: {found}")
                return
        raise Wrong(f"{id} has not ended")

    def small(self) -> Small:
        begun, at = time.perf_counter(), time.time()
        id = self.started("one")
        answered = time.perf_counter()
        self.wait(id)
        return Small(id, at, at + answered - begun, at + time.perf_counter() - begun)


def p95(seconds: list[float]) -> float:
    return sorted(seconds)[int(0.95 * (len(seconds) - 1))]


def shown(seconds: list[float]) -> str:
    middle = statistics.median(seconds)
    return f"p50 {middle:.3f}  p95 {p95(seconds):.3f}  ({len(seconds)} executions)"


def stages(url: str, found: list[Small]) -> Iterator[str]:
    """Where the time of small executions went, by the history of their turns."""
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(
            select(
                history.c.run_id, history.c.kind, history.c.at, history.c.turn_id
            ).where(history.c.run_id.in_([small.id for small in found]))
        ).all()
        turns = dict(
            connection.execute(
                select(history.c.turn_id, func.count())
                .where(history.c.turn_id.in_({row.turn_id for row in rows}))
                .group_by(history.c.turn_id)
            ).all()
        )
    engine.dispose()
    at: dict[tuple[str, str], float] = {}
    for row in rows:
        at[row.run_id, row.kind] = row.at.replace(tzinfo=UTC).timestamp()
    parts: dict[str, list[float]] = {}
    for small in found:
        past, last = small.posted, "POST"
        for name, now in (
            ("start", at.get((small.id, "StartWorkflow"))),
            ("claim", at.get((small.id, "ClaimAction"))),
            ("result", at.get((small.id, "ActionFinished"))),
            ("known", small.ended),
        ):
            if now is None:
                continue
            parts.setdefault(f"{last} to {name}", []).append(now - past)
            past, last = now, name
        parts.setdefault("POST answered", []).append(small.started - small.posted)
    for name, seconds in parts.items():
        yield f"{name:17} {shown(seconds)}"
    sizes = sorted(turns.values())
    yield f"events in its turns: p50 {sizes[len(sizes) // 2]}, most {sizes[-1]}"


def burst(projects: list[Project]) -> None:
    first = projects[0]
    begun = time.perf_counter()
    answers: Counter[str] = Counter()
    ids: list[str] = []

    def one(_: int) -> None:
        answer = first.start("one")
        kind = str(answer.status_code)
        if answer.status_code in BUSY:
            kind += " with" + ("" if "Retry-After" in answer.headers else "out")
            kind += " Retry-After"
        answers[kind] += 1
        ids.append(answer.json()["id"] if answer.status_code == 201 else "")

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(one, range(500)))
        answered = time.perf_counter() - begun
        list(pool.map(first.wait, filter(None, ids)))
    ended = time.perf_counter() - begun
    print(f"burst    answers {dict(answers)} in {answered:.1f} s, ended {ended:.1f} s")


def large(projects: list[Project], items: int) -> None:
    first = projects[0]
    print("large    before ", shown([first.small().total for _ in range(50)]))
    id = first.started("large", n=items)
    begun = time.perf_counter()
    seconds: list[float] = []
    state = "RUNNING"
    while state == "RUNNING":
        seconds.append(first.small().total)
        state = first.ask("GET", f"executions/{id}?fields=id,state").json()["state"]
    took = time.perf_counter() - begun
    print("         during ", shown(seconds), f"of {took:.0f} s; {state}")


def paced(projects: list[Project], each: int, pace: float) -> list[Small]:
    """Small executions of all projects, in each one after the other, at most one in
    ``pace`` seconds: as many beside a flood as before it."""

    def one(number: int) -> list[Small]:
        found = []
        at = time.perf_counter() + pace * number / len(projects)
        for _ in range(each):
            time.sleep(max(0.0, at - time.perf_counter()))
            at = max(at, time.perf_counter()) + pace
            found.append(projects[number].small())
        return found

    with ThreadPoolExecutor(len(projects)) as pool:
        return [each for one in pool.map(one, range(len(projects))) for each in one]


def flood(
    target: Target, projects: list[Project], each: int, pace: float, clients: int
) -> None:
    loud, *quiet = projects

    def spent(what: Callable[[], list[Small]]) -> list[Small]:
        begun, cpu = time.perf_counter(), target.cpu()
        found = what()
        took = time.perf_counter() - begun
        shares = {k: v - cpu[k] for k, v in target.cpu().items()}
        cores = ", ".join(f"{k} {v / took:.2f}" for k, v in shares.items())
        print("         cores ", cores, f"load {os.getloadavg()[0]:.1f}")
        return found

    def measure() -> list[Small]:
        return paced(quiet, each, pace)

    before = spent(measure)
    show("flood    before ", target, before)
    with starting(target.url, loud.token, "one", clients) as heard:
        time.sleep(2.0)
        during = spent(measure)
    print("         started by the tenth:", heard)
    show("         during ", target, during)
    left = [s.total for s in before], [s.total for s in during]
    print(f"         p95 {p95(left[1]) / p95(left[0]):.2f} times")


def burner(target: Target, projects: list[Project], each: int, pace: float) -> None:
    """What as much computing outside of the service does to the others."""
    for number in (1, 2, 4):
        with burning(number):
            show(f"burners {number}", target, paced(projects[1:], each, pace))


def show(what: str, target: Target, found: list[Small]) -> None:
    print(what, shown([small.total for small in found]))
    if not isinstance(target.store, stores.Sqlite) and target.store is not None:
        for line in stages(target.store.url, found):
            print("             ", line)


def main() -> None:
    ending.unwind_when_told()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--topology", default="postgresql-executors", choices=TOPOLOGIES
    )
    parser.add_argument("--postgresql", help="URL of an administrator")
    parser.add_argument("--mariadb", default="mysql+pymysql://root@127.0.0.1/")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--each", type=int, default=20, help="per project in a flood")
    parser.add_argument(
        "--pace", type=float, default=1.0, help="seconds between two of a project"
    )
    parser.add_argument("--clients", type=int, default=50, help="of the flood")
    parser.add_argument("--only", choices=("burst", "large", "flood", "burners"))
    given = parser.parse_args()
    issuer = Issuer()
    with ExitStack() as stack:
        keys = stack.enter_context(issuer.keys())
        secret = Fernet.generate_key().decode()
        more = AUTHENTICATED.format(issuer=ISSUER, keys=keys, secret=secret)
        servers = Servers(stack, given.postgresql, given.mariadb)
        target: Target = servers.start(given.topology, more=more)
        names = [f"project-{number}" for number in range(10)]
        projects = [Project(target.url, issuer.token(name)) for name in names]
        print(
            f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]}"
        )
        for project in projects:
            headers = {"Content-Type": "text/plain"}
            answer = project.ask("POST", "workflows", data=WORKFLOWS, headers=headers)
            if answer.status_code != 201:
                raise SystemExit(answer.text)
            project.small()
        only = given.only
        if only in (None, "burst"):
            burst(projects)
        if only in (None, "large"):
            large(projects, given.items)
        if only in (None, "flood"):
            flood(target, projects, given.each, given.pace, given.clients)
        if only in (None, "burners"):
            burner(target, projects, given.each, given.pace)
        print("memory  ", {k: round(v) for k, v in target.peaks().items()}, "MB")


if __name__ == "__main__":
    main()
