"""``mistral code-source-*`` and ``mistral dynamic-action-*`` against a service that
has them switched on (rest-api §§ 8.6, 8.7, 10)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from system.embedded import Embedded

pytestmark = pytest.mark.system

SOURCE = """\
import os
import sys

from mistral_lib import actions


class Doubler(actions.Action):
    def __init__(self, number=1):
        self.number = number

    def run(self, context):
        return self.number * {factor}


class Looker(actions.Action):
    def __init__(self, paths):
        self.paths = paths

    def run(self, context):
        return [self.look(path) for path in self.paths] + [list(os.environ)]

    def look(self, path):
        try:
            open(path).read()
        except OSError as error:
            return type(error).__name__
        return "read"
"""

WORKFLOW = """\
version: '2.0'
double:
  input: [n]
  output: {got: <% task(t).result %>}
  tasks:
    t: {action: calc.double number=<% $.n %>}
"""


def file(service: Embedded, name: str, text: str) -> str:
    path = service.home / name
    path.write_text(text)
    return str(path)


def named(rows: list[dict[str, Any]]) -> list[str]:
    return [row["Name"] for row in rows]


def test_commands_of_the_client(embedded: Embedded) -> None:
    text = file(embedded, "lib.py", SOURCE.replace("{factor}", "2"))
    source = embedded.ok("code-source-create", "mathlib", text)
    assert (source["Name"], source["Scope"]) == ("mathlib", "private")
    assert "mathlib" in named(embedded.ok("code-source-list"))
    assert embedded.ok("code-source-get", "mathlib")["ID"] == source["ID"]
    content = embedded.tells("code-source-get-content", "mathlib")
    assert "class Doubler" in content
    made = embedded.ok("dynamic-action-create", "calc.double", "Doubler", "mathlib")
    assert (made["Class"], made["Code source ID"]) == ("Doubler", source["ID"])
    assert named(embedded.ok("dynamic-action-list")) == ["calc.double"]
    assert embedded.ok("dynamic-action-get", "calc.double")["ID"] == made["ID"]
    assert embedded.ok("action-get", "calc.double")["Input"] == "number=1"
    assert "calc.double" in named(embedded.ok("action-list"))

    embedded.ok("workflow-create", file(embedded, "w.yaml", WORKFLOW))
    assert doubled(embedded) == 8
    changed = file(embedded, "lib3.py", SOURCE.replace("{factor}", "3"))
    assert embedded.ok("code-source-update", "mathlib", changed)["ID"] == source["ID"]
    assert doubled(embedded) == 12
    updated = embedded.ok("dynamic-action-update", "calc.double", "--public")
    assert (updated["Class"], updated["Scope"]) == ("Doubler", "public")
    by_id = embedded.ok("dynamic-action-update", made["ID"], "--class-name", "Nope")
    assert by_id["Class"] == "Nope"
    assert "Broken" in embedded.ok("action-get", "calc.double")["Description"]

    embedded.tells("dynamic-action-delete", "calc.double")
    assert "calc.double" not in named(embedded.ok("dynamic-action-list"))
    embedded.ok("dynamic-action-create", "calc.double", "Doubler", source["ID"])
    embedded.tells("code-source-delete", "mathlib")
    assert "calc.double" in embedded.refuses("dynamic-action-get", "calc.double")


def doubled(service: Embedded) -> Any:
    started = service.ok("execution-create", "double", '{"n": 4}')
    service.reaches(started["ID"], "SUCCESS")
    return json.loads(service.tells("execution-get-output", started["ID"]))["got"]


def test_sec_01_the_service_is_out_of_reach_of_its_code(embedded: Embedded) -> None:
    """Also where API, engine and executor are one process."""
    text = file(embedded, "look.py", SOURCE)
    embedded.ok("code-source-create", "looklib", text)
    embedded.ok("dynamic-action-create", "look", "Looker", "looklib")
    paths = [
        *(str(path) for path in embedded.home.glob("*.conf")),
        *(str(path) for path in embedded.home.glob("*.sqlite")),
        "/proc/self/environ",
    ]
    assert len(paths) > 1
    said = embedded.tells("run-action", "look", json.dumps({"paths": paths}))
    *looks, environment = json.loads(said)["result"]
    assert looks == ["PermissionError"] * len(paths)
    assert set(environment) <= {"LC_CTYPE"}
    embedded.tells("code-source-delete", "looklib")
