"""A client of the REST interface for tests: it waits for what it asks about."""

from __future__ import annotations

import json
from typing import Any

from system.processes import Cluster, until

SECONDS = 60
"""How long something may take that is being waited for; the machine may be
busy with other tests."""


class Client:
    """Speaks JSON and finds what a run has.

    :param cluster: a running service.
    :param name: of one of its APIs; empty: the first.
    """

    def __init__(self, cluster: Cluster, name: str = "") -> None:
        self.cluster = cluster
        self._root = cluster.roots[name] if name else ""

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        if body is None or isinstance(body, str):
            data = None if body is None else body.encode()
            kind = "text/plain" if data else ""
            return self.cluster.ask(method, path, data, kind, self._root)
        data = json.dumps(body).encode()
        return self.cluster.ask(method, path, data, "application/json", self._root)

    def get(self, path: str) -> Any:
        status, answer = self("GET", path)
        assert status == 200, answer
        return answer

    def start(self, name: str, **fields: Any) -> str:
        status, answer = self(
            "POST", "/v2/executions", {"workflow_name": name, **fields}
        )
        assert status == 201, answer
        return str(answer["id"])

    def state(self, run: str, **asked: Any) -> Any:
        status, answer = self("PUT", f"/v2/executions/{run}", asked)
        assert status == 200, answer
        return answer

    def rerun(self, task: str, **more: Any) -> None:
        body = {"state": "RUNNING", "reset": True, **more}
        status, answer = self("PUT", f"/v2/tasks/{task}", body)
        assert status == 200, answer

    def answer(self, action: str, state: str = "SUCCESS", **more: Any) -> int:
        body = {"state": state, **more}
        return self("PUT", f"/v2/action_executions/{action}", body)[0]

    def tasks(self, run: str) -> list[dict[str, Any]]:
        return list(self.get(f"/v2/executions/{run}/tasks")["tasks"])

    def names(self, run: str) -> list[str]:
        return sorted(task["name"] for task in self.tasks(run))

    def task(self, run: str, name: str, *states: str) -> dict[str, Any]:
        """With its result, when it is in one of the states."""

        def found() -> Any:
            for task in self.tasks(run):
                if task["name"] == name and (not states or task["state"] in states):
                    return task
            return None

        task = until(found, SECONDS, f"{name} is in {states}")
        return dict(self.get(f"/v2/tasks/{task['id']}"))

    def actions(self, run: str, name: str, count: int = 1) -> list[dict[str, Any]]:
        path = f"/v2/tasks/{self.task(run, name)['id']}/action_executions"

        def found() -> Any:
            actions = self.get(path)["action_executions"]
            return actions if len(actions) >= count else None

        return list(until(found, SECONDS, f"{name} has {count} actions"))

    def running(self, run: str, name: str, count: int = 1) -> list[str]:
        """Ids of its actions that wait for an answer, when there are so many."""

        def found() -> Any:
            actions = self.actions(run, name)
            ids = [each["id"] for each in actions if each["state"] == "RUNNING"]
            return ids if len(ids) == count else None

        return list(until(found, SECONDS, f"{count} actions of {name} run"))

    def tree(self, run: str, count: int) -> list[str]:
        """Ids of a run and those below, when there are so many."""

        def found() -> Any:
            rows = self.get(f"/v2/executions/{run}/executions")["executions"]
            return [row["id"] for row in rows] if len(rows) == count else None

        return list(until(found, SECONDS, f"there are {count} runs"))

    def run(self, run: str, *states: str) -> dict[str, Any]:
        last: dict[str, Any] = {}

        def found() -> Any:
            last.update(self.get(f"/v2/executions/{run}"))
            return dict(last) if last["state"] in states else None

        return dict(until(found, SECONDS, f"{run} is in {states}"))

    def pages(self, path: str) -> list[dict[str, Any]]:
        """All pages, following ``next`` as it stands."""
        found: list[dict[str, Any]] = []
        while path:
            body = self.get(path)
            path = body.pop("next", "").removeprefix(self.cluster.root)
            [rows] = body.values()
            found += rows
        return found
