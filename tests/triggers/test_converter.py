"""From a notification to event parameters (ENG § 10.4, step 5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mistral.bus import Notification
from mistral.errors import ExpressionFault, ServiceError
from mistral.expressions.evaluate import Evaluator
from mistral.triggers.converter import Converter, read, read_file

BOTH = ("yaql", "jinja")
SAMPLE = Path(__file__).parents[2] / "etc" / "event_definitions.yml.sample"


def event(event_type: str = "compute.instance.create.end", **fields: Any) -> Any:
    given: dict[str, Any] = {
        "id": "m1",
        "exchange": "nova",
        "topic": "notifications",
        "event_type": event_type,
        "publisher": "compute.host-1",
        "payload": {"instance_id": "i-1", "size": 3},
        "timestamp": "2026-01-02 03:04:05",
        "context": {"project_id": "red", "user_id": "ada"},
    }
    return Notification(**(given | fields))


def convert(text: str, *given: Any, languages: tuple[str, ...] = BOTH) -> Any:
    return Converter(Evaluator(), read(text, languages)).convert(*given or (event(),))


def test_without_a_definition_there_are_four_properties() -> None:
    assert convert("") == {
        "service": "compute.host-1",
        "project_id": "red",
        "user_id": "ada",
        "timestamp": "2026-01-02 03:04:05",
    }


def test_older_names_of_the_context_and_none_at_all() -> None:
    old = convert("", event(context={"tenant": "red", "user": "ada"}))
    assert (old["project_id"], old["user_id"]) == ("red", "ada")
    nobody = convert("", event(context={"project_id": 5, "user_id": None}))
    assert (nobody["project_id"], nobody["user_id"]) == ("", "")


def test_properties_are_expressions_in_both_languages() -> None:
    text = """
    - event_types: compute.instance.*
      properties:
        id: <% $.payload.instance_id %>
        twice: "{{ _.payload.size * 2 }}"
        where: <% $.publisher.split('.').last() %>
        who: [<% $.context.user_id %>, "{{ _.context.project_id }}"]
        what: <% $.event_type %> at <% $.timestamp %>
        plain: 7
    """
    assert convert(text) == {
        "id": "i-1",
        "twice": 6,
        "where": "host-1",
        "who": ["ada", "red"],
        "what": "compute.instance.create.end at 2026-01-02 03:04:05",
        "plain": 7,
    }


@pytest.mark.parametrize(
    ("event_type", "found"),
    [
        ("compute.instance.create.end", "last"),
        ("compute.instance.delete.end", "list"),
        ("image.delete", "list"),
        ("compute.x", "first"),
        ("Compute.x", None),
        ("volume1", "class"),
        ("volume9", None),
    ],
)
def test_the_last_definition_that_matches_counts(
    event_type: str, found: str | None
) -> None:
    text = """
    - event_types: compute.*
      properties: {by: first}
    - event_types: [image.delete, "compute.*.delete.*"]
      properties: {by: list}
    - event_types: "*.create.*"
      properties: {by: last}
    - event_types: volume[1-3]
      properties: {by: class}
    """
    assert convert(text, event(event_type)).get("by") == found


@pytest.mark.parametrize("payload", [None, 5, "text", [1], {}, {"instance_id": {}}])
def test_a_property_that_is_not_there_is_null(payload: Any) -> None:
    """Events come from anybody: none of them ends the event engine."""
    text = "[{event_types: '*', properties: {id: <% $.payload.a.b %>, x: 1}}]"
    assert convert(text, event(payload=payload)) == {"id": None, "x": 1}


def test_values_of_an_event_are_not_in_the_log(caplog: Any) -> None:
    text = "[{event_types: '*', properties: {id: <% int($.payload.secret) %>}}]"
    assert convert(text, event(payload={"secret": "hunter2"})) == {"id": None}
    assert "Property id" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "a: b",
        "5",
        "[a]",
        "[{event_types: a}]",
        "[{properties: {}}]",
        "[{event_types: a, properties: {}, more: 1}]",
        "[{event_types: [], properties: {}}]",
        "[{event_types: [1], properties: {}}]",
        "[{event_types: '', properties: {}}]",
        "[{event_types: a, properties: [b]}]",
        "[{event_types: a, properties: {1: b}}]",
        "[{event_types: a, properties: {b: <% $. %>}}]",
        "[{event_types: a, properties: {b: [{c: '{{ x + }}'}]}}]",
        "[{event_types: a, properties: {b: '{{ 1 }}<% 1 %>'}}]",
        "[",
        "- !!python/object/apply:os.system [ls]",
    ],
)
def test_a_wrong_file_is_told_at_the_start(text: str, tmp_path: Path) -> None:
    with pytest.raises((ServiceError, ExpressionFault)):
        read(text, BOTH)
    file = tmp_path / "definitions.yml"
    file.write_text(text)
    with pytest.raises(ServiceError) as told:
        read_file(str(file), BOTH)
    assert str(file) in told.value.message


def test_a_disabled_language_is_refused() -> None:
    with pytest.raises(ServiceError, match="entry 1, property b"):
        read("[{event_types: a, properties: {b: '{{ 1 }}'}}]", ("yaql",))


def test_no_file_is_no_definitions(tmp_path: Path) -> None:
    assert read_file(str(tmp_path / "none.yaml"), BOTH) == []
    with pytest.raises(ServiceError):
        read_file(str(tmp_path), BOTH)


def test_the_sample_works() -> None:
    definitions = read_file(str(SAMPLE), BOTH)
    found = Converter(Evaluator(), definitions).convert(event())
    assert found["instance_id"] == "i-1"
    assert None in found.values(), "not all events tell all of it"
