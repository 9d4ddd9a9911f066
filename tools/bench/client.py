"""What the driver asks of a server: the public REST API and nothing else."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

ENDS = ("SUCCESS", "ERROR", "CANCELLED")
PATIENCE = 600.0
"""Seconds after which what has not ended is taken for lost."""


class Wrong(Exception):
    """A server did not do what the scenario asks for."""


class Client:
    """Calls of one server, from several threads.

    :param url: ends with ``/v2``.
    :param width: requests at the same time.
    """

    def __init__(self, url: str, width: int = 8) -> None:
        self.url = url
        self.width = width
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(width)

    def __call__(
        self, method: str, path: str, timeout: float = 300, **more: Any
    ) -> Any:
        """The answer's JSON, or None for no content.

        :raises Wrong: it was no success.
        """
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
        answer = session.request(method, f"{self.url}/{path}", timeout=timeout, **more)
        if not answer.ok:
            raise Wrong(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json() if answer.content else None

    def upload(self, text: str, namespace: str = "") -> None:
        """New or changed workflows."""
        path = f"workflows?namespace={namespace}"
        headers = {"Content-Type": "text/plain"}
        try:
            self("POST", path, data=text.encode(), headers=headers)
        except Wrong as wrong:
            if " 409 " not in str(wrong):
                raise
            self("PUT", path, data=text.encode(), headers=headers)

    def start(
        self,
        workflow: str,
        input: dict[str, Any],
        params: Any = None,
        namespace: str = "",
    ) -> str:
        body = {
            "workflow_name": workflow,
            "workflow_namespace": namespace,
            "input": input,
            "params": params or {},
        }
        return str(self("POST", "executions", timeout=PATIENCE, json=body)["id"])

    def start_all(
        self, workflow: str, inputs: Iterable[dict[str, Any]], params: Any = None
    ) -> list[str]:
        """Ids in the order of the inputs, ``width`` requests at a time."""
        return list(
            self._pool.map(lambda each: self.start(workflow, each, params), inputs)
        )

    def each(self, work: Callable[[Any], Any], things: Iterable[Any]) -> None:
        """Do it for all, ``width`` at a time."""
        list(self._pool.map(work, things))

    def wait(self, id: str, pause: float = 0.005, share: float = 0.0) -> dict[str, Any]:
        """The execution, once it has ended.

        :param pause: seconds between two questions.
        :param share: of the time that it has taken so far, where that is longer: long
            runs are asked seldom, as answering costs processor time, too.
        """
        begun = time.monotonic()
        until = begun + PATIENCE
        while True:
            row = self("GET", f"executions/{id}?fields=id,state,state_info,output")
            if row["state"] in ENDS:
                return dict(row)
            if time.monotonic() > until:
                raise Wrong(f"execution {id} is still {row['state']}")
            time.sleep(max(pause, share * (time.monotonic() - begun)))

    def succeed(
        self, workflow: str, input: dict[str, Any], namespace: str = ""
    ) -> float:
        """Seconds from the start of an execution to its success.

        :raises Wrong: it ended otherwise.
        """
        begun = time.perf_counter()
        id = self.start(workflow, input, namespace=namespace)
        row = self.wait(id, 0.01, 0.02)
        if row["state"] != "SUCCESS":
            raise Wrong(f"{workflow}: {row['state']}: {row['state_info']}")
        return time.perf_counter() - begun

    def wait_for_all(self, workflow: str, pause: float = 0.05) -> None:
        """Until no execution of that workflow runs."""
        until = time.monotonic() + PATIENCE
        path = f"executions?workflow_name={workflow}&state=RUNNING&limit=1&fields=id"
        while self("GET", path)["executions"]:
            if time.monotonic() > until:
                raise Wrong(f"executions of {workflow} still run")
            time.sleep(pause)

    def all_of(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        return list(self._pool.map(lambda id: self("GET", f"executions/{id}"), ids))

    def tasks(self, id: str) -> list[dict[str, Any]]:
        return list(self("GET", f"executions/{id}/tasks?fields=id,name,state")["tasks"])

    def delete_all(self, ids: Iterable[str]) -> None:
        list(
            self._pool.map(
                lambda id: self("DELETE", f"executions/{id}?force=true"), ids
            )
        )

    def until_it_works(self, text: str, workflow: str) -> None:
        """Until a workflow has run to its end: all roles are up."""
        until = time.monotonic() + 60
        while True:
            try:
                self.upload(text)
                row = self.wait(self.start(workflow, {}))
                if row["state"] == "SUCCESS":
                    return
                raise Wrong(f"{row['state']}: {row['state_info']}")
            except (Wrong, requests.RequestException):
                if time.monotonic() > until:
                    raise
                time.sleep(0.3)


def fresh(name: str) -> str:
    """A name that no workflow has yet."""
    return f"{name}_{uuid.uuid4().hex[:8]}"
