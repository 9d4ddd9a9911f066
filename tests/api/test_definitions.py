"""Workbooks, workflows, actions, environments, members over the API.

Numbers such as ``M24`` are rows of the matrix in spec/rest-api.md § 13.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from definitions import WORKBOOK

ONE = "# a comment\nversion: '2.0'\n\n{}:\n  tasks:\n    t: {{action: std.noop}}\n"
TWO = """\
version: '2.0'
alpha:
  tasks:
    a: {action: std.noop}
beta:
  input: [x, {y: 5}, {z: null}, {l: [1, 2]}, {d: {k: v}}, {b: true}]
  output: {sum: 1, rest: 2}
  tags: [blue]
  tasks:
    b: {action: std.noop}
"""
ACTION = """\
version: '2.0'
{}:
  description: Echo with manners
  tags: [polite]
  base: std.echo
  base-input: {{output: <% $.what %>}}
  input: [what, {{volume: 3}}]
"""
STANDARD = WORKBOOK.format("std").replace("shout", "echo")
UNKNOWN = "00000000-0000-4000-8000-000000000000"


# -- Statuses of the matrix ---------------------------------------------------


@pytest.mark.parametrize(
    ("row", "method", "path", "body", "status"),
    [
        ("M12", "POST", "/v2/workflows", ONE.format("a"), 409),
        ("M13", "POST", "/v2/workflows?namespace=n", ONE.format("a"), 201),
        ("M14 no version", "POST", "/v2/workflows", "x: {tasks: {t: {}}}", 400),
        ("M14 no mapping", "POST", "/v2/workflows", "[1]", 400),
        ("M14 empty", "POST", "/v2/workflows", "", 400),
        ("M15", "POST", "/v2/workflows", ONE.format("a b"), 400),
        ("M16", "POST", "/v2/workflows?scope=weird", ONE.format("b"), 400),
        ("6.5", "POST", f"/v2/workflows?namespace={'n' * 256}", ONE.format("b"), 400),
        ("LANG-030", "POST", "/v2/workflows", ONE.format(UNKNOWN), 400),
        ("M18", "POST", "/v2/workflows/validate", "a: [", 200),
        ("M19", "PUT", "/v2/workflows", ONE.format("missing"), 404),
        ("M20", "PUT", "/v2/workflows/a", TWO, 400),
        ("M21", "DELETE", "/v2/workflows/missing", None, 404),
        ("M21 id", "DELETE", f"/v2/workflows/{UNKNOWN}", None, 404),
        ("M23", "GET", "/v2/workflows/a?namespace=other", None, 404),
        ("8.2", "GET", "/v2/workflows/a?bogus=1", None, 400),
        ("Q-40", "PUT", "/v2/workflows/a", ONE.format("taken"), 409),
        ("M34", "POST", "/v2/workbooks", WORKBOOK.format("new"), 201),
        ("M34", "POST", "/v2/workbooks", WORKBOOK.format("box"), 409),
        ("M34", "POST", "/v2/workbooks", ONE.format("b"), 400),
        ("8.1", "POST", "/v2/workbooks", WORKBOOK.format("a b"), 400),
        ("8.1", "POST", "/v2/workbooks?scope=weird", WORKBOOK.format("b"), 400),
        ("M35", "PUT", "/v2/workbooks", WORKBOOK.format("missing"), 404),
        ("M35", "PUT", "/v2/workbooks?namespace=n", WORKBOOK.format("box"), 404),
        ("8.1", "GET", "/v2/workbooks/missing", None, 404),
        ("8.1", "DELETE", "/v2/workbooks/missing", None, 404),
        ("Q-47", "POST", "/v2/workbooks", STANDARD, 400),
        ("M36", "POST", "/v2/actions", ACTION.format("new"), 201),
        ("M36", "POST", "/v2/actions", ACTION.format("polite"), 409),
        ("M36", "POST", "/v2/actions", WORKBOOK.format("b"), 400),
        ("8.5", "POST", "/v2/actions", ACTION.format("a b"), 400),
        ("8.5", "POST", "/v2/actions?scope=weird", ACTION.format("b"), 400),
        ("M37", "GET", "/v2/actions/unknown", None, 404),
        ("8.5", "GET", "/v2/actions/polite?fields=id", None, 400),
        ("M38", "PUT", "/v2/actions/std.echo", ACTION.format("b"), 404),
        ("M38", "PUT", "/v2/actions/std.echo", ACTION.format("std.echo"), 404),
        ("M38", "PUT", "/v2/actions", ACTION.format("std.echo"), 404),
        ("Q-47", "PUT", "/v2/actions/polite", ACTION.format("std.echo"), 400),
        ("Q-19", "GET", "/v2/actions?created_at=gt:yesterday", None, 400),
        ("Q-12", "GET", "/v2/actions?is_system=perhaps", None, 400),
        *(
            (
                "Q-19",
                "GET",
                f"/v2/{name}?created_at=0001-01-01T00:00%2B14:00",
                None,
                400,
            )
            for name in ("actions", "workflows")
        ),
        ("Q-19", "GET", "/v2/workflows?created_at=9999-12-31%2023:59:59", None, 200),
        ("M38", "DELETE", "/v2/actions/std.echo", None, 404),
        ("M39", "POST", "/v2/actions", ACTION.format("std.echo"), 400),
        ("Q-46", "DELETE", "/v2/actions/polite?namespace=n", None, 404),
        ("Q-46", "PUT", "/v2/actions?namespace=n", ACTION.format("polite"), 404),
        ("8.5", "PUT", "/v2/actions/polite", ONE.format("x"), 400),
        ("8.3", "GET", "/v2/actions/validate", None, 405),
        ("M43", "POST", "/v2/environments", {"name": "n", "id": "x"}, 400),
        ("M43", "POST", "/v2/environments", {"name": "n", "variables": [1]}, 400),
        ("M43", "POST", "/v2/environments", {"name": "n", "variables": "[1]"}, 400),
        ("M43", "POST", "/v2/environments", {"name": "n", "variables": "a"}, 400),
        ("M43", "POST", "/v2/environments", {"name": "n", "variables": ""}, 400),
        ("1.2", "POST", "/v2/environments", {"name": "n", "project_id": "x"}, 400),
        ("1.2", "POST", "/v2/environments", {"name": 7}, 400),
        ("1.2", "POST", "/v2/environments", {"name": "n", "scope": "all"}, 400),
        ("1.2", "POST", "/v2/environments?x=1", {"name": "n"}, 400),
        ("Q-36", "POST", "/v2/environments", {"variables": {}}, 400),
        ("Q-35", "POST", "/v2/environments", {"name": "n" * 201}, 400),
        ("8.9", "POST", "/v2/environments", {"name": "env"}, 409),
        ("half", "POST", "/v2/environments", {"name": "\ud800"}, 400),
        ("M44", "PUT", "/v2/environments", {"variables": {}}, 400),
        ("M44", "PUT", "/v2/environments", {"name": "missing"}, 404),
        ("8.9", "PUT", "/v2/environments/env", {"variables": {}}, 400),
        ("M45", "GET", f"/v2/environments/{UNKNOWN}", None, 404),
        ("8.9", "DELETE", "/v2/environments/missing", None, 404),
        ("M88", "GET", f"/v2/workflows/{UNKNOWN}/members", None, 400),
        ("M88", "POST", f"/v2/workflows/{UNKNOWN}/members", {"member_id": "x"}, 400),
    ],
)
def test_rest_status(
    api: Any, row: str, method: str, path: str, body: Any, status: int
) -> None:
    for text in (ONE.format("a"), ONE.format("taken")):
        assert api.post("/v2/workflows", text).status == 201
    assert api.post("/v2/workbooks", WORKBOOK.format("box")).status == 201
    assert api.post("/v2/actions", ACTION.format("polite")).status == 201
    assert api.post("/v2/environments", {"name": "env"}).status == 201
    answer = api.request(method, path, body)
    assert answer.status == status, (row, answer.body)
    if status >= 400:
        assert answer.fault, row


# -- Workflows ----------------------------------------------------------------


def test_m11_lang029_one_workflow_is_kept_byte_for_byte(api: Any) -> None:
    text = ONE.format("größe")
    answer = api.post("/v2/workflows", text)
    assert answer.status == 201
    (workflow,) = answer.json["workflows"]
    assert workflow["definition"] == text
    assert workflow["checksum"] == hashlib.md5(text.encode()).hexdigest()
    assert workflow["interface"] == {"input": [], "output": []}
    assert "updated_at" not in workflow
    assert workflow["created_at"] == "2020-01-02 03:04:05"
    answer.body.decode("ascii")
    got = api.get(f"/v2/workflows/{workflow['id']}?namespace=whatever").json
    assert got["updated_at"] is None
    assert got["interface"] == '{"input": [], "output": []}'
    assert got == api.get("/v2/workflows/größe").json


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("input=x", "one"),
        ('input=has:y="5"', "beta"),
        ("input=", "alpha"),
        ("input=neq:", "beta one"),
        ("input=in:x,z&sort_keys=input", "one"),
    ],
)
def test_q12_workflows_by_their_input(api: Any, query: str, names: str) -> None:
    """What is compared is the summary that is shown."""
    api.post("/v2/workflows", TWO)
    api.post("/v2/workflows", ONE.format("one") + "  input: [x]\n")
    found = api.get(f"/v2/workflows?{query}&sort_keys=name").json["workflows"]
    assert [w["name"] for w in found] == names.split()


def test_checklist19_input_summary_and_interface(api: Any) -> None:
    alpha, beta = api.post("/v2/workflows", TWO).json["workflows"]
    assert alpha["input"] == ""
    assert beta["input"] == (
        'x, y="5", z="None", l="[1, 2]", d="{\'k\': \'v\'}", b="True"'
    )
    assert beta["interface"]["output"] == ["sum", "rest"]
    assert beta["tags"] == ["blue"]
    assert beta["definition"].startswith("version: '2.0'\nbeta:\n")


def test_lang028_one_bad_or_taken_workflow_refuses_all(api: Any) -> None:
    assert api.post("/v2/workflows", ONE.format("beta")).status == 201
    assert api.post("/v2/workflows", TWO).status == 409
    assert api.post("/v2/workflows", TWO + "bad: {tasks: 7}\n").status == 400
    names = [w["name"] for w in api.get("/v2/workflows").json["workflows"]]
    assert names == ["beta"]


def test_m19_put_of_several_changes_nothing_if_one_is_missing(api: Any) -> None:
    api.post("/v2/workflows", ONE.format("alpha"))
    assert api.put("/v2/workflows", TWO).status == 404
    assert "comment" in api.get("/v2/workflows/alpha").json["definition"]


def test_eng017_put_keeps_the_id_and_freezes_another_spec(
    api: Any, clock: Any, database: Any
) -> None:
    from sqlalchemy import select

    from mistral.db import definitions
    from mistral.db.models import workflows

    def spec_id() -> str:
        with database.read() as connection:
            return str(connection.execute(select(workflows.c.spec_id)).scalar_one())

    first = api.post("/v2/workflows", ONE.format("a")).json["workflows"][0]
    before = spec_id()
    clock.advance(60)
    same = api.put("/v2/workflows", ONE.format("a")).json["workflows"][0]
    assert same["updated_at"] is None
    text = "version: '2.0'\na:\n  tasks:\n    u: {action: std.echo output=1}\n"
    changed = api.put("/v2/workflows", text).json["workflows"][0]
    assert changed["id"] == first["id"]
    assert changed["created_at"] == first["created_at"]
    assert changed["updated_at"] == "2020-01-02 03:05:05"
    assert spec_id() != before
    with database.read() as connection:
        assert list(definitions.spec_body(connection, before)["tasks"]) == ["t"]
        assert list(definitions.spec_body(connection, spec_id())["tasks"]) == ["u"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("workflows", ONE.format("a")),
        ("workbooks", WORKBOOK.format("a")),
        ("actions", ACTION.format("a")),
    ],
)
def test_q32_put_without_scope_keeps_it(api: Any, kind: str, text: str) -> None:
    """Decision 0018: nobody makes something private without saying so."""

    def scopes() -> set[str]:
        found = [*api.get("/v2/workflows").json["workflows"]]
        found += api.get("/v2/actions?is_system=false").json["actions"]
        found += api.get("/v2/workbooks").json["workbooks"]
        return {each["scope"] for each in found}

    api.post(f"/v2/{kind}?scope=public", text)
    for query, scope in (
        ("", "public"),
        ("?scope=", "public"),
        ("?scope=private", "private"),
        ("", "private"),
        ("?scope=public", "public"),
    ):
        assert api.put(f"/v2/{kind}{query}", text).status == 200
        assert scopes() == {scope}, query


def test_q40_put_by_id_renames_and_keeps_the_namespace(api: Any) -> None:
    created = api.post("/v2/workflows?namespace=n", ONE.format("a")).json
    workflow_id = created["workflows"][0]["id"]
    for path in (
        f"/v2/workflows/{workflow_id}",
        f"/v2/workflows?identifier={workflow_id}",
    ):
        answer = api.put(path, ONE.format("b"))
        assert answer.status == 200
        assert answer.json["id"] == workflow_id
        assert (answer.json["name"], answer.json["namespace"]) == ("b", "n")
    moved = api.put(f"/v2/workflows/{workflow_id}?namespace=m", ONE.format("b"))
    assert moved.json["namespace"] == "m"


def test_names_with_dots_are_names_sec20(api: Any) -> None:
    api.post("/v2/workflows", ONE.format("a.json"))
    assert api.get("/v2/workflows/a.json").json["name"] == "a.json"
    assert api.get("/v2/workflows/a.json/").status == 200
    assert api.delete("/v2/workflows/a.json").status == 204
    assert api.get("/v2/workflows/a.json").status == 404


def test_names_with_slashes_are_names(api: Any) -> None:
    """§ 1.1: percent-decoding applies to each segment of a path."""
    name = "a/b?c"
    assert api.post("/v2/environments", {"name": name}).status == 201
    assert api.get("/v2/environments/a%2Fb%3Fc").json["name"] == name
    assert api.get("/v2/environments/a/b").status == 404
    assert api.delete("/v2/environments/a%2fb%3Fc/").status == 204
    assert api.post("/v2/actions?namespace=n/m", ACTION.format("a/b")).status == 201
    assert api.get("/v2/actions/a%2Fb/n%2Fm").json["namespace"] == "n/m"


def test_not_found_names_workflow_and_namespace(api: Any) -> None:
    fault = api.get("/v2/workflows/nightly?namespace=staging").fault
    assert "nightly" in fault
    assert "staging" in fault


def test_delete_answers_nothing(api: Any) -> None:
    api.post("/v2/workflows", ONE.format("a"))
    answer = api.delete("/v2/workflows/a")
    assert (answer.status, answer.body) == (204, b"")


# -- Validation ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("collection", "good", "bad"),
    [
        ("workflows", ONE.format("a"), "version: '2.0'\na: {tasks: {t: {x: 1}}}"),
        ("workbooks", WORKBOOK.format("a"), "version: '2.0'\n"),
        ("actions", ACTION.format("a"), "version: '2.0'\na: {}\n"),
    ],
)
def test_m18_validate(api: Any, collection: str, good: str, bad: str) -> None:
    path = f"/v2/{collection}/validate"
    assert api.post(path, good).json == {"valid": True}
    for text in (bad, "", "{", "a b: 1"):
        answer = api.post(path, text)
        assert answer.status == 200
        assert answer.json["valid"] is False
        assert answer.json["error"]
    assert api.get(f"/v2/{collection}").json[collection] is not None


def test_validate_tells_where_and_warns(api: Any) -> None:
    text = "version: '2.0'\na:\n  tasks:\n    t:\n      retri: 1\n"
    (problem,) = api.post("/v2/workflows/validate", text).json["problems"]
    assert problem["line"] == 5
    assert "retri" in problem["message"] + problem["path"]
    doubled = ONE.format("a") + ONE.format("a").split("\n", 3)[3]
    answer = api.post("/v2/workflows/validate", doubled).json
    assert answer["valid"] is True
    assert answer["warnings"][0]["rule"] == "LINT-29"


def test_faults_of_uploads_say_what_and_where(api: Any) -> None:
    text = "version: '2.0'\na:\n  tasks:\n    t: {on-success: nowhere}\n"
    fault = api.post("/v2/workflows", text).fault
    assert "nowhere" in fault
    assert "line 4" in fault


# -- Actions ------------------------------------------------------------------


def test_actions_of_the_registry_are_read_only_entries_q42(api: Any) -> None:
    echo = api.get("/v2/actions/std.echo").json
    assert echo["is_system"] is True
    assert echo["id"] == "std.echo"
    assert echo["input"] == "output, delay=0"
    assert (echo["tags"], echo["scope"], echo["created_at"]) == (None, None, "")


def test_adhoc_action_is_shaped_like_one(api: Any) -> None:
    answer = api.post("/v2/actions", ACTION.format("polite"))
    assert answer.status == 201
    (made,) = answer.json["actions"]
    assert made["input"] == "what, volume=3"
    assert made["definition"] == ACTION.format("polite")
    assert "updated_at" not in made
    got = api.get("/v2/actions/polite").json
    assert got == {**made, "updated_at": None}
    (changed,) = api.put("/v2/actions", ACTION.format("polite")).json["actions"]
    assert changed["created_at"] == made["created_at"]
    assert "updated_at" in changed


def test_action_without_parameters(api: Any) -> None:
    text = "version: '2.0'\nbare: {base: std.noop}\n"
    (made,) = api.post("/v2/actions", text).json["actions"]
    assert made["input"] is None
    assert api.get("/v2/actions/bare").json["input"] == ""


def test_action_in_a_namespace_falls_back_to_the_default_one(api: Any) -> None:
    api.post("/v2/actions", ACTION.format("polite"))
    assert api.get("/v2/actions/polite/elsewhere").json["namespace"] == ""
    assert api.get("/v2/actions/polite/").status == 200
    assert api.get("/v2/actions/std.echo?namespace=n").status == 200


def test_action_renamed_by_id_is_answered_as_a_list(api: Any) -> None:
    (made,) = api.post("/v2/actions", ACTION.format("one")).json["actions"]
    answer = api.put(f"/v2/actions/{made['id']}", ACTION.format("two"))
    assert [a["name"] for a in answer.json["actions"]] == ["two"]
    assert api.get("/v2/actions/one").status == 404
    assert api.delete(f"/v2/actions/{made['id']}").status == 204


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=has:mine", "mine1 mine2"),
        ("is_system=false", "mine1 mine2"),
        ("is_system=0", "mine1 mine2"),
        ("tags=polite", "mine1 mine2"),
        ("name=in:mine1,std.echo", "mine1 std.echo"),
        ("name=in:mine1,std.echo&sort_keys=name&sort_dirs=desc", "std.echo mine1"),
        ("namespace=n", "hidden"),
        ("scope=private", "mine1 mine2"),
        ("created_at=gt:2019-01-01", "mine1 mine2"),
        ("created_at=gt:2019-01-01T00:00:00%2B02:00", "mine1 mine2"),
        ("name=gte:mine1&name=lt:mine2", "hidden-is-not mine1"),
    ],
)
def test_action_lists_q12_q43(api: Any, query: str, names: str) -> None:
    for name in ("mine1", "mine2"):
        api.post("/v2/actions", ACTION.format(name))
    api.post("/v2/actions?namespace=n", ACTION.format("hidden"))
    found = [a["name"] for a in api.get(f"/v2/actions?{query}").json["actions"]]
    if "hidden-is-not" in names:
        assert "mine1" in found
        assert "hidden" not in found
    else:
        assert found == names.split()


def test_action_pages_q44(api: Any) -> None:
    api.post("/v2/actions", ACTION.format("mine"))
    everything = [a["name"] for a in api.get("/v2/actions").json["actions"]]
    assert everything == sorted(everything)
    assert "next" not in api.get("/v2/actions").json
    seen, path = [], "/v2/actions?limit=3"
    while path:
        body = api.get(path).json
        seen += [a["name"] for a in body["actions"]]
        path = body.get("next", "").removeprefix("http://localhost")
    assert seen == everything
    after = api.get("/v2/actions?marker=mine&limit=1").json["actions"]
    assert after[0]["name"] == everything[1]
    assert api.get("/v2/actions?marker=nobody").status == 404
    (short,) = api.get("/v2/actions?fields=name&limit=1").json["actions"]
    assert set(short) == {"id", "name"}


# -- Environments -------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"a": "ü"}, '{"a": "\\u00fc"}'),
        ('{"a": 1}', '{"a": 1}'),
        ("{}", "{}"),
        ("null", "{}"),
        ("0", "{}"),
        ("false", "{}"),
        ("[]", "{}"),
    ],
)
def test_checklist3_json_in_a_string(api: Any, sent: Any, shown: str) -> None:
    answer = api.post("/v2/environments", {"name": "e", "variables": sent})
    assert answer.status == 201
    assert answer.json["variables"] == shown
    assert api.get("/v2/environments/e").json["variables"] == shown


def test_environment_update_replaces_what_was_sent(api: Any, clock: Any) -> None:
    made = api.post(
        "/v2/environments",
        {"name": "e", "description": "old", "variables": {"a": 1, "b": 2}},
    ).json
    clock.advance(1)
    changed = api.put("/v2/environments", {"name": "e", "variables": {"c": 3}}).json
    assert json.loads(changed["variables"]) == {"c": 3}
    assert changed["description"] == "old"
    assert changed["id"] == made["id"]
    assert changed["updated_at"] == "2020-01-02 03:04:06"


def test_environment_answers_leave_out_what_was_not_sent(api: Any) -> None:
    made = api.post("/v2/environments", {"name": "e"}).json
    assert set(made) == {"id", "name", "scope", "project_id", "created_at"}
    got = api.get("/v2/environments/e").json
    assert got["description"] is None
    assert got["updated_at"] is None
    assert got["variables"] is None


def test_environment_without_variables_is_one_with_none(api: Any) -> None:
    """§ 1.3: null stays null, and its text is the empty object."""
    sent = {"name": "e", "variables": None}
    assert api.post("/v2/environments", sent).json["variables"] is None
    listed = api.get("/v2/environments?variables=null").json["environments"]
    assert [(e["name"], e["variables"]) for e in listed] == [("e", None)]
    sent["variables"] = "null"
    assert api.put("/v2/environments", sent).json["variables"] == "{}"
    sent["variables"] = None
    assert api.put("/v2/environments", sent).json["variables"] is None


def test_environment_filter_by_variables(api: Any) -> None:
    api.post("/v2/environments", {"name": "a", "variables": {"k": 1}})
    api.post("/v2/environments", {"name": "b", "variables": {"k": 2}})
    found = api.get('/v2/environments?variables={"k": 2}').json["environments"]
    assert [e["name"] for e in found] == ["b"]
    assert api.get("/v2/environments?variables=nojson").status == 400


def test_m37_an_ad_hoc_action_is_found_by_uuid(projects: Any) -> None:
    """The dashboard links to it so; whose it is counts as for a name."""
    red, blue, admin = (projects.be(who) for who in ("red", "blue", "admin:ops"))
    made = red.post("/v2/actions", "version: '2.0'\na: {base: std.noop}\n")
    path = f"/v2/actions/{made.json['actions'][0]['id']}"
    for ours in (path, f"{path}/", path.upper().replace("/V2/ACTIONS", "/v2/actions")):
        assert red.get(ours).json["name"] == "a"
    assert blue.get(path).status == 404
    assert admin.get(path).status == 200
    assert red.get("/v2/actions/00000000-0000-4000-8000-000000000000").status == 404
