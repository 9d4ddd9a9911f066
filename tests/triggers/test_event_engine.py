"""The event engine on a real database; notifications are handed to it by the
test, and the engine of the house starts what it asked for (ENG § 10.4)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from house import House
from sqlalchemy.exc import OperationalError

from mistral.bus import Notification
from mistral.context import DEFAULT_PROJECT, Context
from mistral.db import event_triggers, models
from mistral.db.owned import Author
from mistral.errors import BadRequest, Unavailable
from mistral.expressions.evaluate import Evaluator
from mistral.messages import DeleteWorkflow
from mistral.triggers.converter import Converter, read
from mistral.triggers.server import EventEngine, EventEngineOptions

WORKFLOW = """\
version: '2.0'
react:
  input: [{who: nobody}]
  output: {of: <% $.of %>, who: <% $.who %>}
  tasks:
    look:
      action: std.echo output=<% execution().params.event_params %>
      publish: {of: <% task().result %>}
"""
DEFINITIONS = "[{event_types: '*', properties: {id: <% $.payload.id %>}}]"


class Ears:
    """The event engine's bus: who listens where."""

    def __init__(self) -> None:
        self.listening: dict[tuple[str, str], tuple[str, Any]] = {}
        self.left: list[tuple[str, str]] = []
        self.wrong: set[str] = set()
        self.asked = 0

    def hear(self, exchange: str, topic: str, pool: str, on_notification: Any) -> Any:
        self.asked += 1
        if exchange in self.wrong:
            raise BadRequest("It is of another kind.")
        source = (exchange, topic)
        assert source not in self.listening, "one listener for each source"
        self.listening[source] = (pool, on_notification)
        return _Listening(self, source)

    def tell(self, event: Notification) -> None:
        """:raises Unavailable: it has to come again."""
        self.listening[event.exchange, event.topic][1](event)


class _Listening:
    def __init__(self, ears: Ears, source: tuple[str, str]) -> None:
        self._ears, self._source = ears, source

    def stop(self) -> None:
        del self._ears.listening[self._source]

    def leave(self) -> None:
        self.stop()
        self._ears.left.append(self._source)


class World:
    """A house, an event engine, and what tests do with them."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.house = House(directory)
        self.house.upload(WORKFLOW)
        [workflow] = self.house.rows(models.workflows)
        self.workflow_id = workflow["id"]
        self.ears = Ears()
        self.engine = self.new_engine(**options)

    def new_engine(self, ears: Ears | None = None, **options: Any) -> EventEngine:
        return EventEngine(
            self.house.database,
            ears or self.ears,
            Converter(Evaluator(), read(DEFINITIONS, ("yaql", "jinja"))),
            EventEngineOptions(**options),
        )

    def trigger(self, project: str = DEFAULT_PROJECT, **values: Any) -> str:
        """A new trigger's id."""
        given = {
            "name": "mine",
            "scope": "private",
            "workflow_id": self.workflow_id,
            "workflow_input": {},
            "workflow_params": {},
            "exchange": "nova",
            "topic": "notes",
            "event": "made",
        }
        with self.house.database.begin() as connection:
            context = Context(project_id=project, user_id="ada", roles=("member",))
            author = Author(context, self.house.clock.now(), lambda: str(uuid.uuid4()))
            row = event_triggers.create(connection, author, given | values, 1000)
        return str(row["id"])

    def change(self, trigger_id: str, **values: Any) -> None:
        with self.house.database.begin() as connection:
            [row] = self.house.rows(models.event_triggers, id=trigger_id)
            author = Author(Context(), self.house.clock.now(), self.house.new_id)
            event_triggers.change(connection, author, row, values)

    def remove(self, trigger_id: str) -> None:
        with self.house.database.begin() as connection:
            statement = models.event_triggers.delete()
            connection.execute(
                statement.where(models.event_triggers.c.id == trigger_id)
            )

    def tell(self, event: str = "made", **fields: Any) -> None:
        self.ears.tell(notification(event, **fields))

    def set_maintenance(self, status: str) -> None:
        with self.house.database.begin() as connection:
            connection.execute(models.maintenance.update().values(status=status))

    def runs(self) -> list[dict[str, Any]]:
        """Executions, once all that was asked for has happened."""
        self.house.sweep()
        return self.house.rows(models.workflow_executions)

    def output(self, run: dict[str, Any]) -> Any:
        return self.house.header(run["id"])["output"]


def notification(event: str = "made", **fields: Any) -> Notification:
    given: dict[str, Any] = {
        "id": "m1",
        "exchange": "nova",
        "topic": "notes",
        "event_type": event,
        "publisher": "p",
        "payload": {"id": 7},
        "timestamp": "t",
        "context": {"project_id": "red"},
    }
    return Notification(**(given | fields))


@pytest.fixture
def new_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(**options: Any) -> World:
        made.append(World(tmp_path, **options))
        return made[-1]

    yield make
    for world in made:
        world.house.close()


@pytest.fixture
def world(new_world: Callable[..., World]) -> World:
    return new_world()


# -- What is started ----------------------------------------------------------


def test_eng_226_an_event_starts_the_workflow_with_its_data(world: World) -> None:
    world.trigger(workflow_input={"who": "Ada"}, workflow_params={"env": {"a": 1}})
    world.engine.run_once()
    world.tell()
    [run] = world.runs()
    assert run["state"] == "SUCCESS"
    assert run["params"]["event_params"] == {"id": 7}
    assert run["params"]["env"] == {"a": 1}
    assert world.output(run) == {"of": {"id": 7}, "who": "Ada"}


@pytest.mark.parametrize(
    ("mapping", "who"),
    [
        ({"who": "<% $.payload.id %>"}, 7),
        ({"who": "{{ _.event_type }} by {{ _.publisher }}"}, "made by p"),
        ({"who": {"deep": ["<% $.payload.id %>", 1]}}, {"deep": [7, 1]}),
        ("<% dict(who => $.payload.id + 1) %>", 8),
        # what fails is null, and in the log
        ({"who": "<% $.payload.nothing.at.all %>"}, None),
        # no mapping: no input
        ("<% $.payload.id %>", "Ada"),
    ],
)
def test_the_input_follows_from_the_event(world: World, mapping: Any, who: Any) -> None:
    """Of triggers in definitions (decision 0040); it goes before what is given."""
    world.trigger(workflow_input={"who": "Ada"}, input_mapping=mapping)
    world.engine.run_once()
    world.tell()
    [run] = world.runs()
    assert world.output(run)["who"] == who


def test_a_trigger_of_a_definition_hears_its_event(world: World) -> None:
    """From the text to the run, and no more when the text is another one."""
    text = (
        WORKFLOW
        + """\
  triggers:
    hears: {type: event, exchange: nova, topic: notes, event: made, scope: public,
            input: {who: <% $.payload.id %>}}
"""
    )
    house = world.house
    house.upload(text.replace("react:", "told:"))
    world.engine.run_once()
    world.tell()
    [run] = world.runs()
    assert (run["workflow_name"], world.output(run)["who"]) == ("told", 7)
    house.update(WORKFLOW.replace("react:", "told:"))
    world.tell(id="m2")
    assert len(world.runs()) == 1


def test_eng_224_the_description_names_the_trigger(world: World) -> None:
    id = world.trigger(name="on boot")
    world.engine.run_once()
    world.tell()
    [run] = world.runs()
    assert json.loads(run["description"]) == {
        "description": f"Workflow execution created by event trigger '({id})'.",
        "triggered_by": {"type": "event_trigger", "id": id, "name": "on boot"},
    }
    assert run["internals"]["triggered_by"]["id"] == id, "where no user changes it"


def test_it_belongs_to_the_project_of_the_trigger(new_world: Any) -> None:
    """In the name of who made it (§ 10.3), not of who caused the event."""
    world = new_world(authenticated=True)
    with world.house.database.begin() as connection:
        connection.execute(models.workflows.update().values(project_id="red"))
    world.trigger("red")
    world.engine.run_once()
    world.tell(context={"project_id": "red", "user_id": "eve", "roles": ["admin"]})
    [run] = world.runs()
    assert run["project_id"] == "red"
    assert run["internals"]["security"]["user_id"] == "ada"
    assert run["internals"]["security"]["roles"] == ["member"]


def test_a_message_that_comes_again_starts_nothing(world: World) -> None:
    """ENG-236 for events: before the run began, while it is there, and when it is
    gone."""
    world.trigger()
    world.engine.run_once()
    world.tell()
    world.tell()
    [run] = world.runs()
    world.tell()
    assert [r["id"] for r in world.runs()] == [run["id"]]
    caller = {"project_id": DEFAULT_PROJECT}
    world.house.ask(DeleteWorkflow(run_id=run["id"], request_id="d", context=caller))
    assert world.runs() == []
    world.tell()
    assert world.runs() == []


def test_another_message_starts_another(world: World) -> None:
    world.trigger()
    world.engine.run_once()
    for number in range(3):
        world.tell(id=f"m{number}", payload={"id": number})
    found = sorted(run["params"]["event_params"]["id"] for run in world.runs())
    assert found == [0, 1, 2]


def test_two_event_engines_start_one(world: World) -> None:
    """Both heard it: the broker gave it to the other when the first one died
    before its acknowledgement."""
    world.trigger()
    others = Ears()
    other = world.new_engine(others)
    for engine in (world.engine, other):
        engine.run_once()
    world.tell()
    others.tell(notification())
    assert len(world.runs()) == 1


def test_parameters_do_not_leak_into_later_starts(world: World) -> None:
    """Of the trigger, of the same event's other triggers, of the next event."""
    id = world.trigger(workflow_params={"env": {"a": 1}})
    world.engine.run_once()
    world.tell(id="1", payload={"id": 1})
    world.tell(id="2", payload={})
    found = {json.dumps(run["params"]["event_params"]) for run in world.runs()}
    assert found == {'{"id": 1}', '{"id": null}'}
    [row] = world.house.rows(models.event_triggers, id=id)
    assert row["workflow_params"] == {"env": {"a": 1}}


def test_what_cannot_start_is_told_and_harms_nobody(world: World, caplog: Any) -> None:
    """The input fitted when the trigger was made; the workflow has changed."""
    wrong = world.trigger(workflow_input={"other": "hunter2"})
    world.engine.run_once()
    world.tell()
    assert world.runs() == []
    assert wrong in caplog.text
    assert "hunter2" not in caplog.text
    world.remove(wrong)
    world.trigger()
    world.tell(id="m2")
    assert len(world.runs()) == 1


# -- Which triggers -----------------------------------------------------------


def test_exchange_topic_and_type_have_to_fit(world: World) -> None:
    world.trigger()
    world.trigger(topic="others", event="else")
    world.trigger(exchange="heat")
    world.engine.run_once()
    for event in ("made.end", "mad", "Made", "else", "*", ""):
        world.tell(event)
    world.tell("made", topic="others")
    assert world.runs() == []
    world.ears.listening["nova", "others"][1](notification("made"))
    assert len(world.runs()) == 1, "listeners of a pool hear each other's topics"


@pytest.mark.parametrize(
    ("project", "fired"),
    [("red", ["public", "red"]), ("blue", ["blue", "public"]), ("green", ["public"]),
     ("", ["public"])],
)  # fmt: skip
def test_own_triggers_and_public_ones_are_called(
    new_world: Any, project: str, fired: list[str]
) -> None:
    world = new_world(authenticated=True)
    with world.house.database.begin() as connection:
        connection.execute(models.workflows.update().values(scope="public"))
    for name in ("red", "blue"):
        world.trigger(name, name=name)
    world.trigger("yellow", name="public", scope="public")
    world.engine.run_once()
    world.tell(context={"project_id": project} if project else {})
    told = [json.loads(run["description"]) for run in world.runs()]
    assert sorted(each["triggered_by"]["name"] for each in told) == fired


def test_without_authentication_all_belongs_to_one_project(world: World) -> None:
    world.trigger()
    world.engine.run_once()
    for number, context in enumerate(({}, {"project_id": "red"}, {"tenant": "x"})):
        world.tell(id=str(number), context=context)
    assert len(world.runs()) == 3


# -- Changes ------------------------------------------------------------------


def test_listeners_follow_the_triggers(world: World) -> None:
    assert world.engine.run_once() == {"opened": 0, "closed": 0}
    first = world.trigger()
    second = world.trigger(event="other")
    third = world.trigger(exchange="heat")
    assert world.engine.run_once() == {"opened": 2, "closed": 0}
    pools = {source: pool for source, (pool, _) in world.ears.listening.items()}
    assert pools == {
        ("nova", "notes"): "mistral-nova-events",
        ("heat", "notes"): "mistral-heat-events",
    }
    world.remove(first)
    world.remove(third)
    assert world.engine.run_once() == {"opened": 0, "closed": 1}
    assert set(world.ears.listening) == {("nova", "notes")}
    world.tell("made")
    assert world.runs() == []
    world.remove(second)
    world.engine.run_once()
    assert world.ears.left == [("heat", "notes"), ("nova", "notes")]


def test_the_pool_has_the_name_of_the_options(new_world: Any) -> None:
    world = new_world(pool="night")
    world.trigger()
    world.engine.run_once()
    assert world.ears.listening["nova", "notes"][0] == "mistral-nova-night"


def test_changes_count_at_once_where_a_source_is_heard(world: World) -> None:
    """The next event sees new parameters, and a trigger that is gone is gone."""
    id = world.trigger()
    world.engine.run_once()
    world.change(id, workflow_input={"who": "Bo"})
    world.tell(id="1")
    [run] = world.runs()
    assert run["input"] == {"who": "Bo"}
    world.remove(id)
    world.tell(id="2")
    assert len(world.runs()) == 1


def test_an_exchange_of_another_kind_harms_nobody(world: World, caplog: Any) -> None:
    """It is tried again, and told once."""
    world.ears.wrong = {"odd"}
    world.trigger(exchange="odd")
    world.trigger()
    for _ in range(3):
        world.engine.run_once()
    assert set(world.ears.listening) == {("nova", "notes")}
    assert caplog.text.count("of another kind") == 1
    world.ears.wrong.clear()
    world.engine.run_once()
    assert ("odd", "notes") in world.ears.listening


def test_the_oldest_sources_are_listened_to_where_there_are_too_many(
    new_world: Any,
) -> None:
    world = new_world(most_sources=2)
    for name in ("zebra", "yak", "ape"):
        world.trigger(exchange=name)
        world.house.clock.advance(1)
    world.engine.run_once()
    assert {exchange for exchange, _ in world.ears.listening} == {"zebra", "yak"}


def test_the_end_keeps_what_waits_for_the_pool(world: World) -> None:
    world.trigger()
    world.engine.start()
    world.engine.stop()
    assert world.ears.listening == {}
    assert world.ears.left == []


# -- When things fail ---------------------------------------------------------


def test_acknowledged_only_when_it_is_in_the_database(tmp_path: Path) -> None:
    """ENG-235 for events: the database goes away, the event comes again."""
    world = World(tmp_path)
    world.trigger()
    world.engine.run_once()
    database, begin = world.house.database, world.house.database.begin

    class Away:
        def __getattr__(self, name: str) -> Any:
            return getattr(database, name)

        def replay(self, work: Any) -> Any:
            with begin() as connection:
                work(connection)
                raise OperationalError("", {}, Exception(), connection_invalidated=True)

    world.engine._events._database = Away()  # type: ignore[assignment]
    with pytest.raises(Unavailable):
        world.tell()
    world.engine._events._database = database
    assert world.runs() == [], "nothing of it was committed"
    world.tell()
    assert len(world.runs()) == 1
    world.house.close()


@pytest.mark.parametrize(
    "fields",
    [
        {"payload": None},
        {"payload": "x" * 100_000},
        {"context": {"project_id": ["red"]}},
        {"event_type": "made", "publisher": "", "timestamp": ""},
        {"payload": {"id": "\ud800"}},
    ],
    ids=["null", "long", "odd project", "empty", "half a character"],
)
def test_odd_events_harm_nobody(world: World, fields: dict[str, Any]) -> None:
    world.trigger()
    world.engine.run_once()
    fields = {"event_type": "made", **fields}
    world.ears.tell(notification(fields.pop("event_type"), id="odd", **fields))
    world.tell(id="good", payload={"id": "good"})
    found = [run["params"]["event_params"]["id"] for run in world.runs()]
    assert "good" in found


@pytest.mark.parametrize("status", ["PAUSING", "PAUSED"])
def test_eng_225_during_maintenance_events_are_dropped(
    world: World, status: str
) -> None:
    """Dropped, not kept: afterwards only new events count."""
    world.trigger()
    world.engine.run_once()
    world.set_maintenance(status)
    world.tell(id="1")
    assert world.house.rows(models.outbox) == []
    world.set_maintenance("RUNNING")
    assert world.runs() == []
    world.tell(id="2")
    assert len(world.runs()) == 1


def test_eng_225_an_event_that_was_accepted_before_waits(world: World) -> None:
    """Maintenance began between its acknowledgement and its start: it is neither
    started nor lost."""
    world.trigger()
    world.engine.run_once()
    world.tell()
    world.set_maintenance("PAUSED")
    assert world.runs() == []
    world.set_maintenance("RUNNING")
    world.house.advance(60)
    assert len(world.runs()) == 1
