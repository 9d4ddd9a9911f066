"""What keeps the service busy in the name of one project, in a process of its own: what
is measured beside it must not wait for the interpreter that makes the noise.

Cheap calls, too: on a machine that client and service share, what the client spends is
missing elsewhere.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

BUSY = (429, 503)
STOP_SECONDS = 30.0

_PROCESSES = multiprocessing.get_context("spawn")


@contextmanager
def starting(url: str, token: str, workflow: str, clients: int) -> Iterator[Any]:
    """Clients that start executions as fast as they are answered.

    :returns: a list; at the end the answers by status stand in it.
    """
    with _beside(_start_all, url, token, workflow, clients) as found:
        yield found


@contextmanager
def burning(processes: int) -> Iterator[None]:
    """As many processes that only compute, and ask the service for nothing."""
    with _beside_all([(_burn, ())] * processes):
        yield


@contextmanager
def _beside(work: Any, *given: Any) -> Iterator[list[Any]]:
    with _beside_all([(work, given)]) as found:
        yield found


@contextmanager
def _beside_all(works: list[tuple[Any, tuple[Any, ...]]]) -> Iterator[list[Any]]:
    found: list[Any] = []
    over = _PROCESSES.Event()
    begun = _PROCESSES.Barrier(len(works) + 1)
    ours, theirs = _PROCESSES.Pipe(duplex=False)
    started = [
        _PROCESSES.Process(target=_run, args=(work, given, begun, over, theirs))
        for work, given in works
    ]
    for process in started:
        process.start()
    try:
        begun.wait(STOP_SECONDS)
        yield found
    finally:
        over.set()
        for _ in started:
            if ours.poll(STOP_SECONDS):
                found.append(ours.recv())
        for process in started:
            process.join(STOP_SECONDS)
            if process.is_alive():
                process.kill()


def _run(work: Any, given: tuple[Any, ...], begun: Any, over: Any, told: Any) -> None:
    begun.wait(STOP_SECONDS)
    told.send(work(over, *given))


def _burn(over: Any) -> float:
    begun = time.process_time()
    while not over.is_set():
        sum(range(100_000))
    return time.process_time() - begun


def _start_all(
    over: Any, url: str, token: str, workflow: str, clients: int
) -> dict[str, Any]:
    counts: dict[str, int] = {}
    lock = threading.Lock()
    threads = [
        threading.Thread(
            target=_start, args=(over, url, token, workflow, counts, lock), daemon=True
        )
        for _ in range(clients)
    ]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    over.wait()
    took = time.perf_counter() - begun
    with lock:
        found = dict(counts)
    for thread in threads:
        thread.join(STOP_SECONDS)
    return {"answers": found, "seconds": took, "cpu": time.process_time()}


def _start(
    over: Any,
    url: str,
    token: str,
    workflow: str,
    counts: dict[str, int],
    lock: threading.Lock,
) -> None:
    where = urlsplit(url)
    body = json.dumps({"workflow_name": workflow, "input": {}})
    headers = {"X-Auth-Token": token, "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(where.netloc, timeout=300)
    while not over.is_set():
        connection.request("POST", f"{where.path}/executions", body, headers)
        answer = connection.getresponse()
        answer.read()
        with lock:
            counts[str(answer.status)] = counts.get(str(answer.status), 0) + 1
        if answer.status in BUSY:
            # The server does not keep idle connections for so long.
            connection.close()
            over.wait(float(answer.headers["Retry-After"]))
    connection.close()
