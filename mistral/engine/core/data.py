"""The decision in progress, and values as it keeps them.

A large value is a document of its run, stored once, and ``{"$ref": id}`` stands in
its place wherever it is kept. A user's own mapping of that form is always stored, so
the form is ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from mistral.engine.core.ports import Facts
from mistral.engine.core.run import Action, Document, Run, Task
from mistral.errors import ExpressionFault, WorkflowFault
from mistral.expressions.facts import View
from mistral.lang.specs import TaskSpec
from mistral.messages import Effect

REF: Final = "$ref"


class Failed(NamedTuple):
    """State of the run before it failed, and who had paused it."""

    state: str
    paused_by: str | None


@dataclass(slots=True)
class Case:
    """One decision in progress: the run, what may be asked, what to do then."""

    run: Run
    facts: Facts
    now: datetime
    effects: list[Effect] = field(default_factory=list)
    # By task: what its outbound context was made of, and that context. A large value
    # that came of merging is stored once, however often it is asked for.
    outbound: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    # Behind what starts now stands a ``fail`` or ``succeed``: it has to be over first.
    ending: bool = False
    # The action whose input is evaluated.
    opening: str | None = None
    # How an attempt of the run was that has failed and is to be repeated.
    failed: Failed | None = None

    def evaluate(self, tree: Any, view: View, at: str = "") -> Any:
        """
        :param at: path of the tree in the task or workflow (``retry.count``).
        :raises ExpressionFault: with that path.
        """
        try:
            return self.facts.evaluate(tree, view)
        except ExpressionFault as fault:
            if not at:
                raise
            raise fault.below(at) from None

    def spec_of(self, task: Task) -> TaskSpec:
        return self.run.spec.tasks[task.name]


def actions_of(case: Case, task: Task) -> list[Action]:
    """All action executions of the task."""
    if not task.is_new:
        case.run.adopt_actions(case.facts.actions(case.run.id, task_ids=[task.id]))
    return list(case.run.actions.of(task.id))


def is_ref(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and REF in value


def merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """``low`` updated with ``high``, mappings recursively; a new mapping."""
    result = dict(low)
    for key, value in high.items():
        old = result.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def resolved(case: Case, value: Any, run_id: str | None = None) -> Any:
    """The value itself, fetched if it is a reference.

    Only what contexts and ``published`` hold may be given: anywhere else a
    mapping of that form is the user's.

    :param run_id: the run that the value belongs to, when it is another.
    """
    if not is_ref(value):
        return value
    return document(case, value[REF], run_id)


def document(case: Case, id: str, run_id: str | None = None) -> Any:
    """What is stored by itself.

    :param run_id: the run that it belongs to, when it is another.
    """
    run = case.run
    if id in run.documents and run_id in (None, run.id):
        return run.documents[id].body
    return case.facts.document(run_id or run.id, id)


class Resolved(Mapping[str, Any]):
    """Variables with their large values, which are fetched when asked for."""

    def __init__(self, case: Case, variables: Mapping[str, Any]) -> None:
        self._case = case
        self._variables = variables

    def __getitem__(self, key: str) -> Any:
        return resolved(self._case, self._variables[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __contains__(self, key: object) -> bool:
        return key in self._variables


def stored(case: Case, value: Any, most: int | None = None) -> Any:
    """The value, or a reference to it when it is large.

    :param most: bytes from which it is; None: as the rules say.
    """
    if most is None:
        most = case.facts.rules.large_value
    if isinstance(value, str):
        if len(value) < most:
            return value
        text = value.encode(errors="surrogatepass")
    elif isinstance(value, (dict, list)):
        text = json_text(value)
        if len(text) < most and (not is_ref(value)):
            return value
    else:
        return value
    return {REF: _keep(case, value, text)}


def keep(case: Case, value: Any) -> str:
    """Store a value with the run; answers its id."""
    return _keep(case, value, json_text(value))


def _keep(case: Case, value: Any, text: bytes) -> str:
    """The id comes of the content: what is kept twice is stored once. The seed is in
    it, so that a run never meets what an earlier one of its id has left behind."""
    run = case.run
    kind = type(value).__name__
    digest = hashlib.blake2b(text, digest_size=16, key=f"{kind}:{run.seed}".encode())
    id = digest.hexdigest()
    if not case.facts.holds(run.id, id):
        run.documents[id] = Document(value, len(text))
    return id


def json_text(value: Any) -> bytes:
    """The value's JSON text.

    :raises WorkflowFault: it is nested so deeply that it has none.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        raise WorkflowFault("A value is nested too deeply to be stored") from None
    # A server that an action asked may answer with half a character.
    return text.encode(errors="surrogatepass")


def size(value: Any) -> int:
    """Bytes of the value's JSON text.

    :raises WorkflowFault: see ``json_text``.
    """
    return len(json_text(value))


def check_size(case: Case, value: Any, kind: str, field: str) -> None:
    """:raises WorkflowFault: the value is above the field limit (§ 1.6.6)."""
    limit = case.facts.rules.field_limit
    if limit >= 0 and (found := size(value)) > limit:
        raise WorkflowFault(
            f"Field size limit exceeded [class={kind}, field={field}, "
            f"size={found // 1024}KB, limit={limit // 1024}KB]"
        )
