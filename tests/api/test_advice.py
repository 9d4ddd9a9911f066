"""What authors hear of their definitions: problems, and advice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mistral.cli.texts import read_definition

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))

REFUSED = {
    "workflows": (
        """\
version: '2.0'
w:
  tasks:
    build: {acton: std.noop}
    test: {on-success: biuld, publish: {v: <% $.a + %>}}
""",
        [
            "w.tasks.build.acton (line 4, column 13): unknown property 'acton'; did"
            " you mean 'action'?",
            "w.tasks.test.on-success (line 5, column 24): 'biuld' is neither a task"
            " nor a command; did you mean 'build'?",
            "w.tasks.test.publish.v (line 5, column 53): Cannot parse the YAQL"
            " expression '$.a +', position 6: unexpected end of expression",
        ],
    ),
    "workbooks": (
        """\
version: '2.0'
nam: box
actions:
  shout: {bas: std.echo}
workflows:
  run: {tasks: {t: null}}
""",
        [
            "line 1, column 1: a workbook needs 'name'; is it meant by 'nam'?",
            "nam (line 2, column 1): unknown property 'nam'; did you mean 'name'?",
            "actions.shout (line 4, column 10): an action needs 'base'; is it meant"
            " by 'bas'?",
            "actions.shout.bas (line 4, column 11): unknown property 'bas'; did you"
            " mean 'base'?",
            "workflows.run.tasks.t (line 6, column 20): expected a mapping, found null",
        ],
    ),
    "actions": (
        "version: '2.0'\na:\n  base: std.echo\n  inpt: [x]\n  tags: one\n",
        [
            "a.inpt (line 4, column 3): unknown property 'inpt'; did you mean 'input'?",
            "a.tags (line 5, column 9): expected a list of strings, found a string",
        ],
    ),
}


@pytest.mark.parametrize("collection", REFUSED)
def test_every_problem_is_named_with_place_and_suggestion(
    api: Any, collection: str
) -> None:
    text, lines = REFUSED[collection]
    refusal = api.post(f"/v2/{collection}", text)
    assert refusal.status == 400
    assert refusal.fault.splitlines() == lines
    answer = api.post(f"/v2/{collection}/validate", text).json
    assert answer["valid"] is False
    assert answer["error"].splitlines() == lines
    assert len(answer["problems"]) == len(lines)
    assert not [
        one for one in api.get(f"/v2/{collection}").json[collection]
        if one["name"] in ("w", "box", "a")
    ]  # fmt: skip


DOUBTFUL = """\
version: '2.0'
w:
  tasks:
    t: {action: shout txt="a", on-success: u}
    u: {workflow: part}
"""
SHOUT = "version: '2.0'\nshout: {input: [text], base: std.echo}\n"
PART = "version: '2.0'\npart: {tasks: {t: {action: std.noop}}}\n"


def warnings(api: Any, text: str, path: str = "") -> list[tuple[Any, ...]]:
    answer = api.post(f"/v2/workflows/validate{path}", text).json
    assert answer["valid"] is True
    assert "error" not in answer
    return [(w["rule"], w["line"], w["column"]) for w in answer.get("warnings", [])]


def test_advice_comes_with_validate_and_refuses_nothing(projects: Any) -> None:
    api = projects.be("red")
    missing = [("LINT-25", 4, 17), ("LINT-25", 5, 19)]
    assert warnings(api, DOUBTFUL) == missing
    assert api.post("/v2/workflows", DOUBTFUL).status == 201
    api.post("/v2/actions?namespace=n", SHOUT)
    api.post("/v2/workflows", PART)
    assert warnings(api, DOUBTFUL) == missing[:1]
    misspelled = [("LINT-26", 4, 17), ("LINT-26", 4, 17)]
    assert warnings(api, DOUBTFUL, "?namespace=n") == misspelled
    right = DOUBTFUL.replace("txt", "text")
    assert warnings(api, right, "?namespace=n") == []
    # What others have stored is not seen.
    assert warnings(projects.be("blue"), right, "?namespace=n") == missing


def test_strict_turns_advice_into_a_refusal(api: Any) -> None:
    text = "version: '2.0'\nw: {vars: {unused: 1}, tasks: {t: {join: 0}}}\n"
    refusal = api.post("/v2/workflows?strict", text)
    assert refusal.status == 400
    assert refusal.fault == "w.vars.unused (line 2, column 12): 'unused' is never used"
    answer = api.post("/v2/workflows/validate?strict=true", text).json
    assert (answer["valid"], answer["error"]) == (False, refusal.fault)
    assert api.post("/v2/workflows", text).status == 201


@pytest.mark.parametrize(
    ("value", "status"),
    [("", 400), ("=true", 400), ("=1", 400), ("=false", 201), ("=perhaps", 400)],
)
def test_strict_needs_no_value_and_may_be_taken_back(
    api: Any, value: str, status: int
) -> None:
    text = "version: '2.0'\nw: {vars: {unused: 1}, tasks: {t: {join: 0}}}\n"
    assert api.post(f"/v2/workflows?strict{value}", text).status == status


def test_strict_uploads_know_what_exists(projects: Any) -> None:
    """LINT-24 to LINT-26, as the project sees it."""
    api = projects.be("red")
    refusal = api.post("/v2/workflows?strict", DOUBTFUL)
    assert refusal.status == 400
    assert refusal.fault.splitlines() == [
        "w.tasks.t.action (line 4, column 17): there is no action 'shout' now",
        "w.tasks.u.workflow (line 5, column 19): there is no workflow 'part' now",
    ]
    api.post("/v2/actions?namespace=n", SHOUT)
    api.post("/v2/workflows", PART)
    assert "no action 'shout'" in api.post("/v2/workflows?strict", DOUBTFUL).fault
    misspelled = api.post("/v2/workflows?strict&namespace=n", DOUBTFUL)
    assert "'shout' does not take 'txt'" in misspelled.fault
    right = DOUBTFUL.replace("txt", "text")
    assert api.post("/v2/workflows?strict&namespace=n", right).status == 201
    assert api.put("/v2/workflows?strict&namespace=n", right).status == 200
    assert projects.be("blue").post("/v2/workflows?strict", right).status == 400


STRICT = {
    "actions": "version: '2.0'\na: {base: std.ehco}\n",
    "workbooks": "version: '2.0'\nname: b\nactions: {a: {base: std.ehco}}\n",
}


@pytest.mark.parametrize("collection", STRICT)
def test_strict_looks_at_what_actions_are_based_on(api: Any, collection: str) -> None:
    text = STRICT[collection]
    refusal = api.post(f"/v2/{collection}?strict", text)
    assert refusal.status == 400
    assert "did you mean 'std.echo'?" in refusal.fault
    assert api.post(f"/v2/{collection}", text).status == 201


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_nothing_is_said_of_the_examples(api: Any, path: Path) -> None:
    definition = read_definition(path)
    answer = api.post(f"/v2/{definition.kind}/validate", definition.text)
    assert answer.json == {"valid": True}
