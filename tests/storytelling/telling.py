"""Tell a story on a stage: start, steps, end, and what is found then."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from house import CALLER

from mistral.errors import MistralError
from mistral.messages import (
    DeleteWorkflow,
    PauseWorkflow,
    Request,
    RerunTask,
    ResumeWorkflow,
    SkipTask,
    StartWorkflow,
    State,
    StopWorkflow,
    UpdateAction,
    UpdateWorkflow,
)
from storytelling.findings import Tree, of_run, of_value
from storytelling.stages import TABLES, Row, Stage, part_of
from storytelling.story import Step, Story


class WrongEnd(AssertionError):
    """The story went another way: says where, what was expected and found."""


def tell(story: Story, stage: Stage) -> None:
    """:raises WrongEnd: with every difference and the tree as it was."""
    __tracebackhide__ = True
    _Telling(story, stage).go()


class _Telling:
    def __init__(self, story: Story, stage: Stage) -> None:
        self.story = story
        self.stage = stage
        self.root = stage.new_id()

    def go(self) -> None:
        __tracebackhide__ = True
        story, stage = self.story, self.stage
        stage.open(story.rules)
        stage.cast.learn(story.script)
        for name, variables in story.environments.items():
            stage.environment(name, variables)
        for namespace, texts in story.uploads:
            stage.upload(namespace, texts)
        start = StartWorkflow(
            workflow_name=story.workflow,
            namespace=story.namespace,
            input=story.input,
            params=story.params,
            description=story.description,
            **self._asked(self.root),
        )
        if "refused" in story.expect:
            self._refused("at the start", story.expect["refused"], start)
            if stage.rows("run"):
                raise WrongEnd(self._report("at the start", ["a run is stored"]))
            return
        stage.ask(start)
        for step in story.steps:
            self._step(step)
        stage.advance(None)
        self._compare("at the end", story.expect)

    def _step(self, step: Step) -> None:
        __tracebackhide__ = True
        where = f"step {step.number} ({step.verb}: {step.whom})"
        if step.verb == "advance":
            self.stage.advance(float(step.whom))
        elif step.verb == "upload":
            self.stage.upload(step.whom or "", step.more)
        elif step.verb == "environment":
            self.stage.environment(step.whom, step.more["variables"])
        elif step.verb != "see":
            request = _REQUESTS[step.verb](self, step)
            if step.refused is not None:
                self._refused(where, step.refused, request)
            else:
                self.stage.ask(request)
        if step.then is not None:
            self._compare(f"after {where}", step.then)

    def _refused(self, where: str, expected: Any, request: Request) -> None:
        __tracebackhide__ = True
        try:
            self.stage.ask(request)
        except MistralError as error:
            found = f"{error.code} {error.message}" if hasattr(error, "code") else ""
            lines = list(of_value("refused", expected, found or error.message))
            if lines:
                raise WrongEnd(self._report(where, lines)) from None
            self.stage.settle()
        else:
            lines = [f"refused: expected {expected!r}, found that it was done"]
            raise WrongEnd(self._report(where, lines))

    # -- Looking --------------------------------------------------------------

    def tree(self) -> Tree:
        runs = self.stage.rows("run", id=self.root)
        if not runs:
            raise LookupError("the workflow execution is gone")
        return Tree(self.stage, runs[0])

    def _compare(self, where: str, expected: Mapping[str, Any]) -> None:
        __tracebackhide__ = True
        if expected.get("gone"):
            rows = [row for kind in TABLES for row in self.stage.rows(kind)]
            lines = [f"gone: found {row['id']} in {row['state']}" for row in rows]
        else:
            lines = list(of_run(expected, self.tree(), self.stage.cast))
        if lines:
            raise WrongEnd(self._report(where, lines))

    def _report(self, where: str, lines: Iterable[str]) -> str:
        story = self.story
        try:
            tree = list(self.tree().lines())
        except LookupError as nothing:
            tree = [str(nothing)]
        log = ", ".join(f"{what} {part}" for what, part in self.stage.cast.log)
        return "\n".join(
            [
                f'"{story.name}" ({story.file}) on {self.stage.kind}, {where}:',
                *(f"  {line}" for line in lines),
                "All that was found:",
                *(f"  {line}" for line in tree),
                f"  actions: {log or 'none'}",
                f"Covers {', '.join(story.covers)}.",
            ]
        )

    # -- Who is meant ---------------------------------------------------------

    def _asked(self, run_id: str) -> dict[str, Any]:
        return {
            "run_id": run_id,
            "request_id": self.stage.new_id(),
            "context": CALLER.to_dict(),
        }

    def run(self, whom: Any) -> Row:
        """``name``: the newest run of it; ``name[1]``: that of item 1."""
        name, index = _named(whom)
        found = [
            tree.run
            for tree in self.tree().all()
            if tree.run["workflow_name"] == name
            and index in (None, (tree.run["params"] or {}).get("index"))
        ]
        if not found:
            raise LookupError(f"there is no run of {whom}")
        return found[-1]

    def task(self, whom: str, of: str | None) -> Row:
        """The newest task execution of that name."""
        found = [
            task
            for tree in self.tree().all()
            for task in tree.tasks
            if task["name"] == whom
            and (of is None or tree.run["id"] == self.run(of)["id"])
        ]
        if not found:
            raise LookupError(f"there is no task {whom}")
        return found[-1]

    def action(self, whom: str, of: str | None) -> Row:
        """The newest open action execution of a task; if none is open, the
        newest."""
        found = [
            action
            for tree in self.tree().all()
            if of is None or tree.run["id"] == self.run(of)["id"]
            for task in tree.tasks
            if task["type"] == "ACTION"
            for action in tree.children(task)
            if str(part_of(self.stage.rows, action["id"])) == whom
        ]
        open_ = [a for a in found if a["state"] in (State.RUNNING, State.PAUSED)]
        if not found:
            raise LookupError(f"there is no action execution of {whom}")
        return (open_ or found)[-1]

    # -- Requests -------------------------------------------------------------

    def pause(self, step: Step) -> Request:
        run = self.run(step.whom)
        return PauseWorkflow(message=step.more.get("message"), **self._asked(run["id"]))

    def resume(self, step: Step) -> Request:
        run = self.run(step.whom)
        return ResumeWorkflow(env=step.more.get("env"), **self._asked(run["id"]))

    def stop(self, step: Step) -> Request:
        run = self.run(step.whom)
        return StopWorkflow(
            state=step.more["state"],
            message=step.more.get("message"),
            **self._asked(run["id"]),
        )

    def update(self, step: Step) -> Request:
        run = self.run(step.whom)
        return UpdateWorkflow(**step.more, **self._asked(run["id"]))

    def delete(self, step: Step) -> Request:
        run = self.run(step.whom)
        force = bool(step.more.get("force"))
        return DeleteWorkflow(force=force, **self._asked(run["id"]))

    def rerun(self, step: Step) -> Request:
        task = self.task(step.whom, step.more.get("of"))
        return RerunTask(
            task_id=task["id"],
            reset=step.more.get("reset", True),
            env=step.more.get("env"),
            **self._asked(task["workflow_execution_id"]),
        )

    def skip(self, step: Step) -> Request:
        task = self.task(step.whom, step.more.get("of"))
        return SkipTask(
            task_id=task["id"],
            env=step.more.get("env"),
            **self._asked(task["workflow_execution_id"]),
        )

    def answer(self, step: Step) -> Request:
        action, more = self.action(step.whom, step.more.get("of")), step.more
        state, result = more.get("state", "SUCCESS"), more.get("success")
        if "error" in more:
            state, result = "ERROR", more["error"]
        elif "cancel" in more:
            state = "CANCELLED"
        if state in ("SUCCESS", "ERROR", "CANCELLED"):
            self.stage.cast.note_answer(action["id"])
        return UpdateAction(
            action_id=action["id"],
            state=state,
            result=result,
            **self._asked(action["workflow_execution_id"]),
        )


def _named(whom: Any) -> tuple[str, int | None]:
    found = re.fullmatch(r"([^\[]+)\[(\d+)\]", str(whom))
    return (found[1], int(found[2])) if found else (str(whom), None)


_REQUESTS: Mapping[str, Callable[[_Telling, Step], Request]] = {
    "pause": _Telling.pause,
    "resume": _Telling.resume,
    "stop": _Telling.stop,
    "update": _Telling.update,
    "delete": _Telling.delete,
    "rerun": _Telling.rerun,
    "skip": _Telling.skip,
    "answer": _Telling.answer,
}
