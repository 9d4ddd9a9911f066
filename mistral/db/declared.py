"""Triggers that a definition has: made, changed and removed with it, in the same
transaction (decision 0040).

A row remembers of its text a digest, and apart what says when it fires. What the text
says as before leaves the row as it is: next time, count, and that it has fired for the
last time. Only then is it as if its text were not uploaded again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, Table, select, update

from mistral.db import bulk, event_triggers, outbox, owned, triggers
from mistral.db.models import cron_triggers
from mistral.db.models import event_triggers as event_rows
from mistral.db.owned import Author, Row
from mistral.errors import BadRequest, Conflict, Forbidden
from mistral.lang import schedules, zones
from mistral.lang.schedules import Schedule
from mistral.lang.specs import TriggerSpec

Kind = Literal["workflow", "workbook"]

TIMES: Final = ("pattern", "timezone", "first", "count")
"""What says when a cron trigger fires: if one of these changes it begins anew."""

SOURCE: Final = ("exchange", "topic", "event")

LONGEST_NAME: Final = 200

MOST_SOURCES: Final = 100


@dataclass(frozen=True, slots=True)
class Making:
    """How triggers are made for an author.

    :param own: the columns ``id`` and ``context`` of a new one.
    :param kept: ``params`` as they are stored, and those that they replace → the same
        without open secrets.
    :param most_sources: as for ``event_triggers.create``.
    """

    own: Callable[[], Mapping[str, Any]]
    kept: Callable[[Mapping[str, Any], Any], Mapping[str, Any]] = lambda new, old: new
    most_sources: int = MOST_SOURCES


@dataclass(frozen=True, slots=True)
class _Definition:
    """What has triggers.

    :param workflows: rows of what they start, by the names that the text has.
    """

    kind: Kind
    row: Row
    workflows: Mapping[str, Row]

    def values(self, spec: TriggerSpec) -> dict[str, Any]:
        """Columns that say whose a trigger is."""
        namespace = self.row["namespace"]
        name = f"{self.row['name']}.{spec.name}"
        name = f"{name}@{namespace}" if namespace else name
        if len(name) > LONGEST_NAME:
            raise BadRequest(
                f"The name of a trigger, with those of its {self.kind} and namespace,"
                f" has at most {LONGEST_NAME} characters: '{name[:80]}…'."
            )
        said = spec.declared
        text = json.dumps({**said, "type": spec.type}, sort_keys=True)
        times = {key: said.get(key) for key in TIMES}
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return {
            "name": name,
            "definition_type": self.kind,
            "definition_id": self.row["id"],
            "declared": {"name": spec.name, "digest": digest, "times": times},
        }

    def target(self, spec: TriggerSpec) -> Row:
        return self.workflows[spec.declared["workflow"]]


def sync(
    connection: Connection,
    author: Author,
    kind: Kind,
    row: Row,
    specs: Sequence[TriggerSpec],
    workflows: Mapping[str, Row],
) -> None:
    """Let a definition have the triggers that its text says, and no others.

    :param row: of the definition, as it is stored now.
    :param workflows: what the triggers start, by the names in ``specs``.
    :raises Conflict: the project has a trigger of that name, or for that event.
    :raises BadRequest: one names no time any more, or a source too many.
    :raises Forbidden: one is public, and the author may not make it so; or the
        definition belongs to another project.
    """
    definition = _Definition(kind, row, workflows)
    there = {table: _of(connection, table, kind, row["id"]) for table in _TABLES}
    if not specs and not any(there.values()):
        return
    wanted = {table: {s.name: s for s in specs if s.type == type_} for table, type_ in
              _TABLES.items()}  # fmt: skip
    for table, rows in there.items():
        for name in [name for name in rows if name not in wanted[table]]:
            _REMOVE[table](connection, rows.pop(name))
    _free_sources(connection, there[event_rows], wanted[event_rows])
    for table, by_name in wanted.items():
        for name, spec in by_name.items():
            old = there[table].get(name)
            if old is None:
                _create(connection, author, definition, spec)
            elif table is cron_triggers:
                _change_cron(connection, author, definition, old, spec)
            else:
                _change_event(connection, author, definition, old, spec)


def remove_all(connection: Connection, kind: Kind, row: Row) -> None:
    """The triggers of a definition that goes."""
    for table in _TABLES:
        for found in _of(connection, table, kind, row["id"]).values():
            _REMOVE[table](connection, found)


_TABLES: Final[Mapping[Table, str]] = {cron_triggers: "cron", event_rows: "event"}
_REMOVE: Final[Mapping[Table, Callable[[Connection, Row], None]]] = {
    cron_triggers: triggers.remove,
    event_rows: event_triggers.remove,
}


def _of(
    connection: Connection, table: Table, kind: Kind, definition_id: str
) -> dict[str, Row]:
    """Rows of a definition, locked, by the names in its text."""
    query = select(table.c.id).where(
        table.c.definition_id == definition_id, table.c.definition_type == kind
    )
    rows = bulk.lock(connection, table, list(connection.scalars(query)))
    return {row["declared"]["name"]: row for row in rows}


def _create(
    connection: Connection, author: Author, definition: _Definition, spec: TriggerSpec
) -> None:
    if definition.row["project_id"] != author.context.project_id:
        raise Forbidden(
            f"The trigger '{spec.name}' would act for another project: only its own"
            " members can make it."
        )
    making = _making(author)
    said = spec.declared
    values = definition.values(spec) | {
        "scope": said["scope"],
        "workflow_params": _params(author, said["params"], None),
    }
    target = definition.target(spec)
    try:
        if spec.type == "cron":
            values |= _policies(said) | _times(spec, author.now)
            values["workflow_input"] = said["input"]
            triggers.create(connection, author, target, values | dict(making.own()))
            return
        values |= _event_values(spec, target) | dict(making.own())
        event_triggers.create(connection, author, values, making.most_sources)
    except Conflict as error:
        raise _named(values["name"], error) from None


def _making(author: Author) -> Making:
    return author.triggers or Making(lambda: {})


def _params(author: Author, params: Mapping[str, Any], before: Any) -> dict[str, Any]:
    return dict(_making(author).kept(params, before))


def _named(name: str, error: Conflict) -> Conflict:
    return Conflict(f"The trigger '{name}' cannot be made: {error.message}")


# -- Cron triggers ------------------------------------------------------------


def _policies(said: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        "timezone", "overlap", "catch_up", "catch_up_window", "enabled", "jitter",
    )  # fmt: skip
    return {name: said[name] for name in names}


def _times(spec: TriggerSpec, now: datetime) -> dict[str, Any]:
    """When and how often, from the beginning.

    :raises BadRequest: there is no such time to come.
    """
    said = spec.declared
    pattern, count = said["pattern"], said["count"]
    first = None if said["first"] is None else datetime.fromisoformat(said["first"])
    if pattern is None:
        pattern, count = schedules.ONCE, 1
    planned = first
    if first is None or first <= now:
        planned = Schedule(pattern, zones.find_zone(said["timezone"])).following(now)
    if planned is None:
        raise BadRequest(
            f"The trigger '{spec.name}' would never fire: its times have passed, or"
            " there are none."
        )
    return {
        "pattern": pattern,
        "first_execution_time": first,
        "next_execution_time": planned,
        "remaining_executions": count,
        "finished": False,
    }


def _change_cron(
    connection: Connection,
    author: Author,
    definition: _Definition,
    old: Row,
    spec: TriggerSpec,
) -> None:
    """What is as it was stays as it is, but for names."""
    said, target = spec.declared, definition.target(spec)
    values = definition.values(spec) | {
        "workflow_id": target["id"],
        "workflow_name": target["name"],
        "workflow_namespace": target["namespace"],
    }
    before = old["declared"]
    if before["digest"] != values["declared"]["digest"]:
        values |= _policies(said) | {
            "scope": said["scope"],
            "workflow_input": said["input"],
            "workflow_params": _params(author, said["params"], old["workflow_params"]),
        }
    if before["times"] != values["declared"]["times"]:
        values |= _times(spec, author.now)
    elif values.get("enabled") and not old["enabled"]:
        values |= _from_now(old, author.now)
    try:
        new = owned.change(connection, cron_triggers, author, old, values)
    except Conflict as error:
        raise _named(values["name"], error) from None
    if new is not old:
        _arm_anew(connection, author, new)


def _from_now(old: Row, now: datetime) -> dict[str, Any]:
    """It was paused: what was missed is not made up for."""
    if old["next_execution_time"] > now or old["finished"]:
        return {}
    planned = Schedule.of(old).following(now)
    return {"finished": True} if planned is None else {"next_execution_time": planned}


def _arm_anew(connection: Connection, author: Author, row: Row) -> None:
    outbox.disarm(connection, [row["id"]])
    if row["enabled"] and not row["finished"]:
        triggers.arm(connection, author, row, row["next_execution_time"])
    triggers.look_at_queue(connection, author, row)


# -- Event triggers -----------------------------------------------------------


def _event_values(spec: TriggerSpec, target: Row) -> dict[str, Any]:
    said = spec.declared
    return {
        **{key: said[key] for key in SOURCE},
        "workflow_id": target["id"],
        "workflow_input": {},
        "input_mapping": said["input"] or None,
        "message": said.get("message"),
    }


def _free_sources(
    connection: Connection, there: Mapping[str, Row], wanted: Mapping[str, TriggerSpec]
) -> None:
    """Two triggers may change places: nobody has a source that another one gets."""
    for name, row in there.items():
        said = wanted[name].declared
        if any(row[key] != said[key] for key in SOURCE):
            statement = update(event_rows).where(event_rows.c.id == row["id"])
            connection.execute(statement.values(event=f"~{row['id']}"))


def _change_event(
    connection: Connection,
    author: Author,
    definition: _Definition,
    old: Row,
    spec: TriggerSpec,
) -> None:
    said, target = spec.declared, definition.target(spec)
    values = definition.values(spec) | {"workflow_id": target["id"]}
    making = _making(author)
    if old["declared"]["digest"] != values["declared"]["digest"]:
        values |= _event_values(spec, target) | {
            "scope": said["scope"],
            "workflow_params": _params(author, said["params"], old["workflow_params"]),
        }
    try:
        event_triggers.change_declared(
            connection, author, old, values, making.most_sources
        )
    except Conflict as error:
        raise _named(values["name"], error) from None
