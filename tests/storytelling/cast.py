"""Actions that answer by the script of a story.

They come to engines and executors as a user's plug-in does: by a provider.

* ``story.do``: an ordinary action; its result is the script's;
* ``story.ask``: an asynchronous one: without a script somebody has to answer
  it (the step ``answer``); a scripted error ends it at once.

Both take any parameters. Without a script ``story.do`` succeeds, with its
parameter ``result``. Every call and every answer is noted: ``log``.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mistral_lib import actions

Scripts = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Part:
    """Whose action it is, as the story names it: ``task`` or ``task[index]``."""

    task: str
    index: int | None = None

    def __str__(self) -> str:
        return self.task if self.index is None else f"{self.task}[{self.index}]"


class Failure(Exception):
    """What a script makes an action raise."""


class Cast:
    """The actors of one story at a time.

    :param part_of: tells by the id of an action execution whose it is.
    """

    def __init__(self, part_of: Callable[[str], Part]) -> None:
        self._part_of = part_of
        self._lock = threading.Lock()
        self.learn({})
        self.provider = _Provider(
            {
                "story.do": type("Do", (_Do,), {"cast": self}),
                "story.ask": type("Ask", (_Ask,), {"cast": self}),
            }
        )

    def learn(self, script: Scripts) -> None:
        """Begin a new story."""
        self._script = script
        self._calls: Counter[str] = Counter()
        self.log: list[tuple[str, Part]] = []

    def play(self, action_id: str) -> Mapping[str, Any] | None:
        """What the script says for this call; None: nothing."""
        part = self._part_of(action_id)
        with self._lock:
            number = self._calls[str(part)]
            self._calls[str(part)] += 1
            self.log.append(("called", part))
            outcomes = self._script.get(str(part)) or self._script.get(part.task)
            if not outcomes:
                outcome = None
            else:
                outcome = outcomes[min(number, len(outcomes) - 1)]
            if outcome is None or "later" not in outcome:
                self.log.append(("ended", part))
            return outcome

    def note_answer(self, action_id: str) -> None:
        part = self._part_of(action_id)
        with self._lock:
            self.log.append(("ended", part))


class _Actor(actions.Action):  # type: ignore[misc]
    cast: Cast

    def __init__(self, **given: Any) -> None:
        self.given = given

    def run(self, context: Any) -> Any:
        outcome = self.cast.play(context.execution.action_execution_id)
        if outcome is None:
            return self.given.get("result")
        if "raise" in outcome:
            raise Failure(outcome["raise"])
        if "cancel" in outcome:
            return actions.Result(cancel=True)
        if "error" in outcome:
            error = outcome["error"]
            return actions.Result(error="broken" if error is None else error)
        return outcome.get("success")


class _Do(_Actor):
    pass


class _Ask(_Actor):
    def is_sync(self) -> bool:
        return False


class _Provider(actions.ActionProvider):  # type: ignore[misc]
    def __init__(self, classes: Mapping[str, type]) -> None:
        super().__init__("stories")
        self._found = {
            name: actions.PythonActionDescriptor(name, cls)
            for name, cls in classes.items()
        }

    def find(self, action_name: str, namespace: str | None = None) -> Any:
        return self._found.get(action_name)

    def find_all(
        self, namespace: str | None = None, limit: Any = None, sort_fields: Any = None,
        sort_dirs: Any = None, **filters: Any,
    ) -> Any:  # fmt: skip
        return list(self._found.values())
