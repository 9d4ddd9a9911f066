"""What the engine reads of definitions, on every database."""

from __future__ import annotations

import uuid
from datetime import datetime

import pytest
from sqlalchemy import select

from mistral.context import Context
from mistral.db import definitions, sharing
from mistral.db.database import Database
from mistral.db.models import frozen_specs
from mistral.db.owned import Author, Place
from mistral.errors import Bug, Conflict
from mistral.lang.parse import parse_actions, parse_workflows, workflow_from_dict

NOON = datetime(2020, 1, 2, 12)
DEFAULT = Place()
TEXT = "version: '2.0'\n{}:\n  tasks:\n    {}: {{action: std.noop}}\n"


def _author(project: str, *, is_admin: bool = False) -> Author:
    context = Context(project_id=project, is_admin=is_admin)
    return Author(context, NOON, lambda: str(uuid.uuid4()))


def _workflow(
    database: Database, project: str, name: str, place: Place = DEFAULT
) -> str:
    parsed = parse_workflows(TEXT.format(name, f"of_{project}"))
    with database.begin() as connection:
        author = _author(project)
        (row,) = definitions.create_workflows(connection, author, parsed, place)
    return str(row["id"])


def test_sec24_own_then_shared_then_public(database: Database) -> None:
    public = _workflow(database, "green", "w", Place(scope="public"))

    def found() -> str:
        with database.read() as connection:
            row = definitions.find_workflow(connection, name="w", project_id="me")
        return "" if row is None else str(row["id"])

    assert found() == public
    shared = _workflow(database, "blue", "w")
    assert found() == public
    with database.begin() as connection:
        sharing.add_member(connection, _author("blue"), shared, "me")
        sharing.answer(connection, _author("me"), shared, "me", "accepted")
    assert found() == shared
    own = _workflow(database, "me", "w")
    assert found() == own


def test_q33_a_name_never_finds_what_is_private_elsewhere(database: Database) -> None:
    other = _workflow(database, "blue", "w")
    with database.read() as connection:

        def by_id(*, is_admin: bool) -> bool:
            row = definitions.find_workflow(
                connection, id=other, project_id="me", is_admin=is_admin
            )
            return row is not None

        assert not definitions.find_workflow(connection, name="w", project_id="me")
        assert not by_id(is_admin=False)
        assert by_id(is_admin=True)


def test_lang_names_are_case_sensitive_and_namespaces_exact(
    database: Database,
) -> None:
    _workflow(database, "me", "w", Place(namespace="n"))
    with database.read() as connection:
        for name, namespace, is_there in [
            ("w", "n", True),
            ("w", "", False),
            ("W", "n", False),
            ("w", "N", False),
        ]:
            row = definitions.find_workflow(
                connection, name=name, namespace=namespace, project_id="me"
            )
            assert (row is not None) is is_there, (name, namespace)


def test_eng018_equal_specs_are_kept_once_and_read_back(database: Database) -> None:
    parsed = parse_workflows(TEXT.format("größe", "t"))
    with database.begin() as connection:
        for project in ("me", "you"):
            definitions.create_workflows(connection, _author(project), parsed, Place())
    with database.read() as connection:
        (spec_id,) = connection.execute(select(frozen_specs.c.id)).scalars()
        body = definitions.spec_body(connection, spec_id)
        assert workflow_from_dict(body) == parsed[0].spec
        with pytest.raises(Bug):
            definitions.spec_body(connection, "0" * 64)


def test_a_conflict_takes_the_whole_document_back_lang028(
    database: Database,
) -> None:
    _workflow(database, "me", "b")
    both = TEXT.format("a", "t") + TEXT.format("b", "t").partition("\n")[2]
    with pytest.raises(Conflict, match="'b'"), database.begin() as connection:
        author = _author("me")
        parsed = parse_workflows(both)
        definitions.create_workflows(connection, author, parsed, Place())
    with database.read() as connection:
        assert definitions.find_workflow(connection, name="a", project_id="me") is None


def test_adhoc_actions_and_environments(database: Database) -> None:
    parsed = parse_actions("version: '2.0'\na: {base: std.noop, input: [x, {y: ü}]}\n")
    with database.begin() as connection:
        author = _author("me")
        place = Place(namespace="n")
        definitions.create_actions(connection, author, parsed, place)
        values = {"name": "e", "variables": {"k": ["ü", 1, None]}}
        definitions.create_environment(connection, author, values)
    with database.read() as connection:
        action = definitions.find_adhoc_action(connection, "a", "n", "me")
        assert action is not None
        assert action["spec"]["base"] == "std.noop"
        assert definitions.find_adhoc_action(connection, "a", "", "me") is None
        environment = definitions.find_environment(connection, "e", "me")
        assert environment is not None
        assert environment["variables"] == {"k": ["ü", 1, None]}
        assert definitions.find_environment(connection, "e", "you") is None
