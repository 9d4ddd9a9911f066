"""Cases of the acceptance as data: what is uploaded, asked, answered and seen.

A case is a mapping. It has a namespace of its own, whose name is ``@{space}``;
``§`` stands for a name that is this case's alone, for what lies in the default
namespace.

* ``text``, ``actions``, ``workbook``: uploads to its namespace, without their
  version; ``shared``, ``shared-actions``: to the default one; ``environment``:
  name → variables.
* ``start``: fields of the start, of the workflow ``w`` if they name none; null:
  nothing is started. ``refused``: words of the refusal of the last upload,
  ``start-refused``: status and words of that of the start.
* ``steps``: what ``Flow.do_…`` do, one after the other.
* How it ends: ``ends`` (SUCCESS; null: it need not), ``output``, ``info``,
  ``tasks`` (states of all, by name), ``order`` (their names as listed), and of
  single tasks ``infos``, ``published``, ``runtime`` (of ``runtime_context``, at
  least); ``hides``: what nothing may show.

Words begin with ``~`` where they are regular expressions.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import Any
from urllib.parse import quote

from system.client import SECONDS, Client
from system.processes import ENDS, until

V = "version: '2.0'\n"
KEYS = frozenset(
    "case text actions workbook shared shared-actions environment namespace "
    "refused start start-refused steps ends output info tasks order infos "
    "published runtime hides".split()
)
TEXTS = (
    ("shared-actions", "actions", False, V),
    ("shared", "workflows", False, V),
    ("actions", "actions", True, V),
    ("workbook", "workbooks", True, V),
    ("text", "workflows", True, V),
)
"""Key, resource, whether it lies in the case's namespace, what begins it."""

_INSIDE = ("input", "output", "params", "published", "published_global", "result")
_INSIDE += ("runtime_context", "variables")
_REFERENCE = re.compile(r"(?:(.+)/)?([^/]+?)(?:\[(\d+)\])?")


def alike(wanted: Any, found: Any, whole: bool = True) -> bool:
    """Equal with types; text that begins with ``~`` is a regular expression.

    :param whole: whether a mapping must have no other keys than those wanted.
    """
    if isinstance(wanted, str) and wanted.startswith("~"):
        return isinstance(found, str) and re.search(wanted[1:], found) is not None
    if isinstance(wanted, dict) and isinstance(found, dict):
        same = not whole or wanted.keys() == found.keys()
        return same and all(
            (value == "~absent" and key not in found)
            or (key in found and alike(value, found[key], whole))
            for key, value in wanted.items()
        )
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(
            alike(one, other, whole) for one, other in zip(wanted, found, strict=True)
        )
    return type(wanted) is type(found) and bool(wanted == found)


def opened(value: Any) -> Any:
    """The answer with the JSON texts of its attributes read (REST § 1.3)."""
    if isinstance(value, list):
        return [opened(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _read(each) if key in _INSIDE else opened(each)
        for key, each in value.items()
    }


def _read(value: Any) -> Any:
    """``input`` of a definition is no JSON (REST § 8.2)."""
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return opened(value)


class Flow:
    """One case on its way.

    :param client: a running service.
    :param case: as it stands in the file.
    """

    def __init__(self, client: Client, case: dict[str, Any]) -> None:
        assert case.keys() <= KEYS, case.keys() - KEYS
        self.client = client
        self.space = uuid.uuid4().hex
        self.case: dict[str, Any] = self._own(case)
        self.run = ""

    def _own(self, value: Any) -> Any:
        """With ``§`` replaced; file-wide texts, so cases never meet."""
        if isinstance(value, str):
            return value.replace("§", self.space[:12])
        if isinstance(value, list):
            return [self._own(each) for each in value]
        if isinstance(value, dict):
            return {self._own(key): self._own(each) for key, each in value.items()}
        return value

    # -- Beginning ----------------------------------------------------------------

    def begin(self) -> None:
        """Upload all and start; an answer that is not wanted fails."""
        case = self.case
        for name, variables in case.get("environment", {}).items():
            body = {"name": name, "variables": variables}
            self._expect(self.client("POST", "/v2/environments", body), 201)
        for key, resource, own, head in TEXTS:
            if key not in case:
                continue
            path = f"/v2/{resource}" + (f"?namespace={self.space}" if own else "")
            answer = self.client("POST", path, head + case[key])
            if "refused" in case and key == [k for k, *_ in TEXTS if k in case][-1]:
                self._expect(answer, 400, *case["refused"])
                return
            self._expect(answer, 201)
        if case.get("start", {}) is None:
            return
        body = {"workflow_name": "w", "workflow_namespace": self.space}
        body |= self.fill(case.get("start", {}))
        answer = self.client("POST", "/v2/executions", body)
        if "start-refused" in case:
            status, *words = case["start-refused"]
            self._expect(answer, status, *words)
            return
        self.run = self._expect(answer, 201)["id"]

    def _expect(self, answer: tuple[int, Any], status: int, *words: Any) -> Any:
        found, body = answer
        assert found == status, body
        if status >= 400:
            assert set(body) == {"faultcode", "faultstring", "debuginfo"}
            text = body["faultstring"]
            for word in map(str, words):
                assert alike(word, text) or word in text, text
        return opened(body)

    # -- What is meant ------------------------------------------------------------

    def _tree(self) -> list[dict[str, Any]]:
        path = f"/v2/executions/{self.run}/executions?include_output=true"
        return sorted(
            self.client.get(path)["executions"], key=lambda row: row["id"] != self.run
        )

    def find_run(self, word: str) -> dict[str, Any] | None:
        """``run``: the one that was started; ``kid`` or ``kid[1]``: below it."""
        _, name, place = _parts(word)
        if name == "run":
            return dict(self.client.get(f"/v2/executions/{self.run}"))
        rows = [row for row in self._tree()[1:] if row["workflow_name"] == name]
        rows.sort(key=lambda row: (row["created_at"], _index(row)))
        return rows[place] if place < len(rows) else None

    def find_tasks(self, word: str) -> list[dict[str, Any]]:
        """``t`` of the run, ``kid/t`` of a run below; oldest first."""
        below, name, _ = _parts(word)
        run = self.find_run(below or "run")
        rows = self.client.tasks(run["id"]) if run else []
        return [row for row in rows if row["name"] == name]

    def task(self, word: str) -> str:
        """The id of ``t``, ``t[1]``, ``kid/t``, when it exists."""
        place = _parts(word)[2]

        def found() -> str | None:
            rows = self.find_tasks(word)
            return str(rows[place]["id"]) if place < len(rows) else None

        return str(until(found, SECONDS, f"there is a task {word}"))

    def action(self, word: str) -> str:
        """The id of an action of a task: ``t``, or ``t[1]`` for its second one."""
        below, name, place = _parts(word)
        task = self.task(f"{below}/{name}" if below else name)

        def found() -> str | None:
            path = f"/v2/tasks/{task}/action_executions"
            rows = self.client.get(path)["action_executions"]
            return str(rows[place]["id"]) if place < len(rows) else None

        return str(until(found, SECONDS, f"there is an action {word}"))

    def run_id(self, word: str) -> str:
        row = until(lambda: self.find_run(word), SECONDS, f"there is {word}")
        return str(row["id"]) if row else ""

    def fill(self, value: Any) -> Any:
        """Ids for ``@{run}``, ``@{run:kid}``, ``@{task:t}``, ``@{action:t[1]}``."""
        if isinstance(value, str):
            return re.sub(
                r"@\{(run|task|action|space)(?::([^}]+))?\}", self._one, value
            )
        if isinstance(value, list):
            return [self.fill(each) for each in value]
        if isinstance(value, dict):
            return {self.fill(key): self.fill(each) for key, each in value.items()}
        return value

    def _one(self, found: re.Match[str]) -> str:
        kind, word = found[1], found[2]
        if kind == "space":
            return self.space
        if kind == "run":
            return self.run_id(word) if word else self.run
        return self.task(word) if kind == "task" else self.action(word)

    # -- Steps --------------------------------------------------------------------

    def step(self, step: dict[str, Any]) -> None:
        """The first key is what is done, others belong to it."""
        verb = next(iter(step))
        getattr(self, f"do_{verb}")(**{"what": step[verb]}, **_rest(step, verb))

    def do_see(self, what: dict[str, Any]) -> None:
        """Wait until runs (``run``, ``run kid``) and tasks have these states."""

        def all_seen() -> bool:
            last.clear()
            for word, wanted in what.items():
                if word.split(" ")[0] == "run":
                    row = self.find_run(word.split(" ")[-1])
                    last[word] = row["state"] if row else None
                else:
                    states = [row["state"] for row in self.find_tasks(word)]
                    place = _parts(word)[2]
                    single = states[place] if place < len(states) else None
                    last[word] = states if isinstance(wanted, list) else single
                if last[word] != wanted:
                    return False
            return True

        last: dict[str, Any] = {}
        try:
            until(all_seen, SECONDS, f"{what} is seen")
        except AssertionError:
            raise AssertionError(f"wanted {what}, last seen {last}") from None

    def do_answer(self, what: str, status: int = 200, **more: Any) -> None:
        """PUT to an action; ``state`` SUCCESS if not given, ``output``."""
        more.setdefault("state", "SUCCESS")
        words = more.pop("words", [])
        path = f"/v2/action_executions/{self.action(what)}"
        self._expect(self.client("PUT", path, more), status, *words)

    def do_put(self, what: str, status: int = 200, **more: Any) -> None:
        """PUT to a run."""
        words, gives = more.pop("words", []), more.pop("gives", None)
        path = f"/v2/executions/{self.run_id(what)}"
        answer = self._expect(self.client("PUT", path, more), status, *words)
        assert gives is None or alike(gives, answer, whole=False), answer

    def do_task(self, what: str, status: int = 200, **more: Any) -> None:
        """PUT to a task: ``state: RUNNING`` with ``reset``, or ``SKIPPED``."""
        words, gives = more.pop("words", []), more.pop("gives", None)
        path = f"/v2/tasks/{self.task(what)}"
        answer = self._expect(self.client("PUT", path, more), status, *words)
        assert gives is None or alike(gives, answer, whole=False), answer

    def do_ask(
        self,
        what: list[Any],
        status: int = 200,
        words: list[str] | None = None,
        gives: Any = None,
        whole: bool = False,
        lacks: str = "",
    ) -> None:
        """Any request: [method, path, body]; ``gives`` is what its answer has."""
        method, path, *body = self.fill(what)
        path = quote(path, safe="/?&=,:+%")
        answer = self.client(method, path, *body)
        found = self._expect(answer, status, *(words or []))
        wanted = self.fill(gives)
        assert wanted is None or alike(wanted, found, whole), json.dumps(found)
        assert not lacks or lacks not in json.dumps(found), found

    def do_refuse(self, what: list[Any]) -> None:
        """A text of workflows, without its version, and words of the refusal."""
        text, *words = what
        self._expect(self.client("POST", "/v2/workflows", V + text), 400, *words)

    def do_upload(self, what: str, text: str, method: str = "POST") -> None:
        """``what``: a resource with its query."""
        kind = f"/v2/{self.fill(what)}"
        self._expect(
            self.client(method, kind, V + text), 201 if method == "POST" else 200
        )

    # -- The end ------------------------------------------------------------------

    def check(self) -> None:
        """Steps in their order, then the end of the execution."""
        for number, step in enumerate(self.case.get("steps", [])):
            try:
                self.step(step)
            except AssertionError as error:
                raise AssertionError(f"step {number} {step}: {error}") from None
        if self.run and self.case.get("ends", "") is not None:
            self._check_end(self.case)

    def _check_end(self, case: dict[str, Any]) -> None:
        run = self.client.run(self.run, *ENDS)
        assert run["state"] == case.get("ends", "SUCCESS"), run["state_info"]
        if "output" in case:
            assert alike(case["output"], json.loads(run["output"])), run["output"]
        if "info" in case:
            assert alike(case["info"], run["state_info"]), run["state_info"]
        tasks = self._settled()
        if "tasks" in case:
            found: dict[str, list[str]] = {}
            for task in tasks:
                found.setdefault(task["name"], []).append(task["state"])
            wanted = {
                name: each if isinstance(each, list) else [each]
                for name, each in case["tasks"].items()
            }
            assert wanted == found
        if "order" in case:
            assert case["order"] == [task["name"] for task in tasks]
        named = {task["name"]: task for task in tasks}
        for key, column in (("infos", "state_info"), ("published", "published")):
            for name, wanted_ in case.get(key, {}).items():
                shown = opened(named[name])[column]
                assert alike(wanted_, shown), (name, shown)
        for name, wanted_ in case.get("runtime", {}).items():
            shown = opened(named[name])["runtime_context"]
            assert alike(wanted_, shown, whole=False), (name, shown)
        if "hides" in case:
            shown = json.dumps([run["state_info"], run["output"], tasks])
            assert case["hides"] not in shown

    def _settled(self) -> list[dict[str, Any]]:
        """Its tasks when all have ended: ``fail`` lets go on what was begun."""

        def found() -> Any:
            rows = self.client.tasks(self.run)
            done = (*ENDS, "SKIPPED")
            return (rows,) if all(row["state"] in done for row in rows) else None

        [tasks] = until(found, SECONDS, "every task has ended")
        return list(tasks)


def _parts(word: str) -> tuple[str | None, str, int]:
    found = _REFERENCE.fullmatch(word)
    assert found, word
    return found[1], found[2], int(found[3] or 0)


def _index(row: dict[str, Any]) -> int:
    return int(json.loads(row["params"]).get("index", 0))


def _rest(step: dict[str, Any], verb: str) -> dict[str, Any]:
    return {key: value for key, value in step.items() if key != verb}
