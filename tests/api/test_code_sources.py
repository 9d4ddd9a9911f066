"""Code sources and dynamic actions over REST (rest-api §§ 8.5 – 8.7).

``M40``–``M42``: rows of the matrix of § 13.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg
from rest import Client

from mistral.api.app import Services, make_app
from mistral.config import Settings

MATH = """\
from mistral_lib import actions

raise RuntimeError("it ran")


class Doubler(actions.Action):
    "Twice as much."

    def __init__(self, number=1):
        self.number = number

    def run(self, context):
        return self.number * 2
"""

CODE = "/v2/code_sources"
DYNAMIC = "/v2/dynamic_actions"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(
        settings, dynamic_actions=replace(settings.dynamic_actions, enabled=True)
    )


def upload(api: Client, name: str = "mathlib", more: str = "", text: str = MATH) -> Any:
    answer = api.post(f"{CODE}?name={name}{more}", text)
    assert answer.status == 201, answer.body
    return answer.json


def act(api: Client, name: str = "calc.double", **more: Any) -> Any:
    body = {"name": name, "class_name": "Doubler", "code_source_name": "mathlib"}
    answer = api.post(DYNAMIC, body | more)
    assert answer.status == 201, answer.body
    return answer.json


# -- Code sources -------------------------------------------------------------


def test_a_code_source_as_the_client_sees_it(api: Client) -> None:
    answer = api.post(f"{CODE}?name=mathlib&scope=private&namespace=", MATH)
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/json", "1.6: no charset"
    made = answer.json
    assert made == {
        "id": str(uuid.UUID(made["id"])),
        "name": "mathlib",
        "namespace": "",
        "content": MATH,
        "version": 1,
        "scope": "private",
        "project_id": "<default-project>",
        "created_at": "2020-01-02 03:04:05",
    }
    for path in ("mathlib", made["id"], "mathlib?namespace=", f"{made['id']}/"):
        assert api.get(f"{CODE}/{path}").json == made | {"updated_at": None}, path
    assert api.get(CODE).json == {"code_sources": [made | {"updated_at": None}]}


def test_every_put_is_a_version_even_an_identical_one(api: Client) -> None:
    made = upload(api, more="&namespace=n")
    same = api.put(f"{CODE}?identifier=mathlib&namespace=n", MATH)
    assert (same.status, same.json["version"]) == (200, 2)
    assert same.json["updated_at"] == "2020-01-02 03:04:05"
    other = api.put(f"{CODE}/{made['id']}?scope=public", "pass")
    assert (other.json["version"], other.json["content"]) == (3, "pass")
    assert other.json["scope"] == "public"
    assert api.put(f"{CODE}/mathlib/n", "pass").json["scope"] == "public", "Q-32"
    assert api.put(f"{CODE}?identifier=mathlib", "pass").status == 404


@pytest.mark.parametrize(
    ("query", "body", "status", "fault"),
    [
        ("", MATH, 400, "'name'"),
        ("?name=x&scope=weird", MATH, 400, "scope"),
        (f"?name={'x' * 256}", MATH, 400, "255"),
        (f"?name=x&namespace={'x' * 256}", MATH, 400, "255"),
        ("?name=x", "a\0b", 400, "NUL"),
        ("?name=x", b"\xff", 400, "UTF-8"),
        ("?name=x", "x" * 65_537, 413, "65536"),
        ("?name=mathlib", MATH, 409, "already exists"),
    ],
    ids=["Q-48", "Q-31", "Q-35", "namespace", "nul", "bytes", "size", "taken"],
)
def test_what_is_refused(
    api: Client, query: str, body: Any, status: int, fault: str
) -> None:
    upload(api)
    answer = api.post(f"{CODE}{query}", body)
    assert (answer.status, fault in answer.fault) == (status, True), answer.fault
    assert len(api.get(CODE).json["code_sources"]) == 1


def test_content_is_not_checked_and_an_empty_name_is_one(api: Client) -> None:
    made = upload(api, "", text="class (")
    assert made["name"] == ""
    assert api.get(f"{CODE}/{made['id']}").json["content"] == "class ("
    upload(api, "with blanks", text="")


def test_put_needs_to_say_which(api: Client) -> None:
    assert "'identifier'" in api.put(CODE, MATH).fault


def test_filters_fields_and_pages_of_code_sources(api: Client) -> None:
    for name in ("a", "b", "c"):
        upload(api, name)
    upload(api, "d", "&namespace=n&scope=public")

    def names(query: str) -> list[str]:
        answer = api.get(f"{CODE}?sort_keys=name&{query}")
        assert answer.status == 200, answer.body
        return [entry["name"] for entry in answer.json["code_sources"]]

    assert names("") == ["a", "b", "c", "d"]
    assert names("name=in:a,c") == ["a", "c"]
    assert names("namespace=n") == ["d"]
    assert names("scope=public") == ["d"]
    assert names("project_id=<default-project>&name=a") == ["a"]
    assert names("tags=x") == [], "nothing has tags (Q-12)"
    assert names("all_projects=true&created_at=gte:2020-01-01 00:00:00") == [*"abcd"]
    first = api.get(f"{CODE}?sort_keys=name&limit=3&fields=name")
    assert set(first.json["code_sources"][0]) == {"id", "name"}
    path = first.json["next"].partition("localhost")[2]
    second = api.get(path).json["code_sources"]
    assert [entry["name"] for entry in second] == ["d"]
    assert api.get(f"{CODE}?fields=actions").json["code_sources"][0].keys() == {"id"}
    assert api.get(f"{CODE}?fields=classes").status == 400
    assert api.get(f"{CODE}?size=1").status == 400
    assert api.get(f"{CODE}/a?fields=version").json["version"] == 1


# -- Dynamic actions ----------------------------------------------------------


def test_a_dynamic_action_as_the_client_sees_it(api: Client) -> None:
    source = upload(api)
    answer = api.post(
        DYNAMIC,
        {
            "name": "calc.double",
            "class_name": "Doubler",
            "scope": "private",
            "namespace": "",
            "code_source_name": "mathlib",
        },
    )
    assert answer.status == 201
    made = answer.json
    assert made == {
        "id": str(uuid.UUID(made["id"])),
        "name": "calc.double",
        "namespace": "",
        "code_source_id": source["id"],
        "code_source_name": "mathlib",
        "class_name": "Doubler",
        "scope": "private",
        "project_id": "<default-project>",
        "created_at": "2020-01-02 03:04:05",
    }
    whole = made | {"updated_at": None}
    for path in ("calc.double", made["id"], "calc.double?namespace=", "calc.double/"):
        assert api.get(f"{DYNAMIC}/{path}").json == whole, path
    assert api.get(DYNAMIC).json == {"dynamic_actions": [whole]}
    assert api.get(f"{DYNAMIC}?tags=x").json == {"dynamic_actions": []}
    assert api.get(f"{DYNAMIC}/calc.double?namespace=n").status == 404
    assert api.delete(f"{DYNAMIC}/calc.double?namespace=").status == 204
    assert api.delete(f"{DYNAMIC}/calc.double").status == 404


@pytest.mark.parametrize(
    ("body", "status", "fault"),
    [
        ({"class_name": "D", "code_source_name": "mathlib"}, 400, "'name'"),
        ({"name": "x", "code_source_name": "mathlib"}, 400, "'class_name'"),
        ({"name": "x", "class_name": "D"}, 400, "'code_source_id'"),
        (
            {"name": "x", "class_name": "D", "code_source_name": "nope"},
            404,
            "No code source 'nope' in namespace ''",
        ),
        (
            {
                "name": "x",
                "class_name": "D",
                "code_source_name": "mathlib",
                "namespace": "n",
            },
            404,
            "No code source 'mathlib' in namespace 'n'",
        ),
        (
            {"name": "x", "class_name": "D", "code_source_id": "mathlib"},
            404,
            "id 'mathlib'",
        ),
        (
            {"name": "std.echo", "class_name": "D", "code_source_name": "mathlib"},
            400,
            "built-in",
        ),
        ({"name": "x", "class_name": "D", "scope": "weird"}, 400, "scope"),
        ({"name": "x", "class_name": "D", "tags": []}, 400, "tags"),
        ({"name": "x" * 256, "class_name": "D"}, 400, "255"),
        (
            {
                "name": "taken",
                "class_name": "Doubler",
                "code_source_name": "mathlib",
            },
            409,
            "already exists",
        ),
    ],
    ids=[
        "Q-48 name",
        "Q-48 class",
        "M41 none",
        "M41 unknown",
        "namespace of the action",
        "id",
        "Q-47",
        "scope",
        "unknown",
        "Q-35",
        "taken",
    ],
)
def test_m41_what_is_refused(api: Client, body: Any, status: int, fault: str) -> None:
    upload(api)
    act(api, "taken")
    answer = api.post(DYNAMIC, body)
    assert (answer.status, fault in answer.fault) == (status, True), answer.fault
    assert len(api.get(DYNAMIC).json["dynamic_actions"]) == 1


def test_q48_an_update_keeps_what_is_not_sent(api: Client) -> None:
    upload(api)
    other = upload(api, "other")
    made = act(api)
    by_name = api.put(DYNAMIC, {"name": "calc.double", "scope": "public"})
    assert by_name.status == 200
    assert (by_name.json["class_name"], by_name.json["scope"]) == ("Doubler", "public")
    by_id = {"id": made["id"], "class_name": "New", "code_source_id": other["id"]}
    changed = api.put(DYNAMIC, by_id).json
    assert (changed["class_name"], changed["scope"]) == ("New", "public")
    assert changed["code_source_name"] == "other"
    assert changed["name"] == "calc.double"
    assert api.put(DYNAMIC, {"id": "calc.double", "class_name": "X"}).status == 200
    assert api.put(DYNAMIC, {"class_name": "X"}).status == 400
    assert api.put(DYNAMIC, {"name": "nope", "class_name": "X"}).status == 404
    assert api.put(DYNAMIC, {"name": "calc.double", "namespace": "n"}).status == 404
    missing = {"name": "calc.double", "code_source_name": "nope"}
    assert api.put(DYNAMIC, missing).status == 404


def test_m42_deleting_a_source_deletes_what_is_built_on_it(api: Client) -> None:
    upload(api)
    upload(api, "other")
    act(api)
    act(api, "stays", code_source_name="other")
    assert api.delete(f"{CODE}/mathlib").status == 204
    assert api.delete(f"{CODE}/mathlib").status == 404
    assert api.get(f"{CODE}/mathlib").status == 404
    left = api.get(DYNAMIC).json["dynamic_actions"]
    assert [entry["name"] for entry in left] == ["stays"]


# -- In /v2/actions -----------------------------------------------------------


def test_a_dynamic_action_is_shown_with_what_its_class_takes(api: Client) -> None:
    upload(api)
    act(api)
    entry = {
        "id": "calc.double",
        "name": "calc.double",
        "is_system": False,
        "input": "number=1",
        "description": "Twice as much.",
        "tags": None,
        "definition": "",
        "scope": "private",
        "project_id": "<default-project>",
        "created_at": "",
        "updated_at": "",
        "namespace": "",
    }
    assert api.get("/v2/actions/calc.double").json == entry
    listed = api.get("/v2/actions?name=has:double").json["actions"]
    assert listed == [entry]
    assert api.delete("/v2/actions/calc.double").status == 404
    api.put(f"{CODE}/mathlib", "class Doubler:\n  def __init__(self, a, b): pass")
    assert api.get("/v2/actions/calc.double").json["input"] == "a, b"


def test_q45_a_broken_action_breaks_no_list(api: Client) -> None:
    upload(api)
    upload(api, "broken", text="class (")
    act(api, "a.no_class", class_name="Nope")
    act(api, "a.no_python", code_source_name="broken")
    act(api)
    listed = {e["name"]: e for e in api.get("/v2/actions").json["actions"]}
    assert listed["a.no_class"]["description"] == (
        "Broken: the code source 'mathlib' has no class 'Nope'."
    )
    assert listed["a.no_python"]["description"].startswith("Broken: ")
    assert listed["calc.double"]["description"] == "Twice as much."
    assert "std.echo" in listed
    assert api.get("/v2/actions/a.no_class").status == 200


def test_only_in_the_given_namespace(api: Client) -> None:
    upload(api)
    upload(api, more="&namespace=n")
    act(api)
    act(api, "in.n", namespace="n")
    assert api.get("/v2/actions/calc.double/n").status == 404
    assert api.get("/v2/actions/in.n/n").json["namespace"] == "n"
    assert api.get("/v2/actions/in.n").status == 404
    names = [e["name"] for e in api.get("/v2/actions?namespace=n").json["actions"]]
    assert names == ["in.n"]
    listed = [e["name"] for e in api.get("/v2/actions").json["actions"]]
    assert "calc.double" in listed
    assert "in.n" not in listed


def test_adhoc_then_dynamic_then_built_in(api: Client) -> None:
    upload(api)
    act(api)
    text = "version: '2.0'\ncalc.double: {base: std.noop, description: mine}\n"
    assert api.post("/v2/actions", text).status == 201
    assert api.get("/v2/actions/calc.double").json["description"] == "mine"
    assert api.delete("/v2/actions/calc.double").status == 204
    assert api.get("/v2/actions/calc.double").json["description"] == "Twice as much."


@pytest.mark.parametrize("keys", ["name,created_at", "scope,name", "namespace,input"])
def test_q43_q44_several_keys_and_following_next(api: Client, keys: str) -> None:
    upload(api)
    for name in ("x.b", "x.a", "x.c"):
        act(api, name)
    seen: list[str] = []
    path = f"/v2/actions?sort_keys={keys}&limit=2"
    while path:
        page = api.get(path).json
        seen += [entry["name"] for entry in page["actions"]]
        path = page.get("next", "").partition("localhost")[2]
    assert len(seen) == len(set(seen))
    assert [name for name in seen if name.startswith("x.")] == ["x.a", "x.b", "x.c"]


def test_validation_knows_what_a_dynamic_action_takes(api: Client) -> None:
    upload(api)
    act(api)
    text = (
        "version: '2.0'\nw:\n  tasks:\n"
        "    a: {action: calc.double numbr=1}\n    b: {action: calc.treble}\n"
    )
    found = api.post("/v2/workflows/validate", text).json["warnings"]
    assert len(found) == 2
    assert any("numbr" in str(warning) for warning in found)
    assert any("calc.treble" in str(warning) for warning in found)


# -- Who may (SEC-01) ---------------------------------------------------------


WRITES = [
    ("POST", f"{CODE}?name=x", MATH),
    ("PUT", f"{CODE}?identifier=mathlib", MATH),
    ("POST", DYNAMIC, {"name": "x", "class_name": "D", "code_source_name": "mathlib"}),
    ("PUT", DYNAMIC, {"name": "calc.double", "class_name": "D"}),
]
OTHERS = [
    (method, f"{path}{more}", None)
    for path in (CODE, DYNAMIC)
    for method, more in (("GET", ""), ("GET", "/x"), ("DELETE", "/x"))
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES + OTHERS)
def test_m40_sec_01_for_administrators_only(
    projects: Client, method: str, path: str, body: Any
) -> None:
    boss = projects.be("admin:red")
    upload(boss)
    act(boss)
    assert projects.be("red").request(method, path, body).status == 403
    assert boss.request(method, path, body).status in (200, 201, 404)


class TestOff:
    @pytest.fixture
    def settings(self) -> Settings:
        settings = Settings()
        return replace(settings, api=replace(settings.api, auth_enable=False))

    @pytest.mark.parametrize(("method", "path", "body"), WRITES)
    def test_sec_01_off_by_default(
        self, api: Client, method: str, path: str, body: Any
    ) -> None:
        answer = api.request(method, path, body)
        assert answer.status == 403
        assert "[dynamic_actions] enabled" in answer.fault

    def test_sec_01_what_is_left_can_be_seen_and_removed(
        self, api: Client, services: Services
    ) -> None:
        on = replace(
            services.settings,
            dynamic_actions=replace(services.settings.dynamic_actions, enabled=True),
        )
        registry = type(services.registry)(on, entry_points=lambda group: ())
        other = replace(services, settings=on, registry=registry)
        then = Client(make_app(other), other)
        upload(then)
        act(then)
        assert then.get("/v2/actions/calc.double").status == 200
        assert api.get("/v2/actions/calc.double").status == 404
        names = [e["name"] for e in api.get("/v2/actions").json["actions"]]
        assert "calc.double" not in names
        assert api.get(f"{DYNAMIC}/calc.double").status == 200
        assert api.delete(f"{CODE}/mathlib").status == 204


# -- Projects, where policies let everybody in --------------------------------


class TestProjects:
    @pytest.fixture
    def settings(self, settings: Settings, tmp_path: Path) -> Settings:
        """``policy.yaml`` opens all but publishing."""
        verbs = ("create", "delete", "get", "list", "update")
        rules = [
            f"{resource}:{verb}: '@'"
            for resource in ("code_sources", "dynamic_actions")
            for verb in verbs
        ]
        (tmp_path / "policy.yaml").write_text("\n".join(rules))
        (tmp_path / "mistral.conf").write_text("")
        source = cfg.ConfigOpts()
        source([], default_config_files=[str(tmp_path / "mistral.conf")])
        return replace(settings, source=source)

    def test_sec_25_private_ones_of_others_do_not_exist(self, projects: Client) -> None:
        red, blue = projects.be("red"), projects.be("blue")
        source = upload(red)
        made = act(red)
        for path in (f"{CODE}/mathlib", f"{CODE}/{source['id']}"):
            assert blue.get(path).status == 404
            assert blue.put(path, "pass").status == 404
            assert blue.delete(path).status == 404
        for path in (f"{DYNAMIC}/calc.double", f"{DYNAMIC}/{made['id']}"):
            assert blue.get(path).status == 404
            assert blue.delete(path).status == 404
        assert blue.put(DYNAMIC, {"id": made["id"], "class_name": "X"}).status == 404
        assert blue.get(CODE).json == {"code_sources": []}
        assert blue.get(DYNAMIC).json == {"dynamic_actions": []}
        for path in (CODE, DYNAMIC):
            assert blue.get(f"{path}?all_projects=true").status == 403
        assert blue.get("/v2/actions/calc.double").status == 404
        for chosen in (
            {"code_source_name": "mathlib"},
            {"code_source_id": source["id"]},
        ):
            body = {"name": "mine", "class_name": "Doubler", **chosen}
            assert blue.post(DYNAMIC, body).status == 404, chosen

    def test_sec_02_q34_public_ones_of_others_are_read_only(
        self, projects: Client
    ) -> None:
        boss, red, blue = (projects.be(who) for who in ("admin:red", "red", "blue"))
        assert red.post(f"{CODE}?name=x&scope=public", MATH).status == 403
        upload(boss, more="&scope=public")
        body = {"name": "x", "class_name": "D", "code_source_name": "mathlib"}
        assert red.post(DYNAMIC, body | {"scope": "public"}).status == 403
        assert red.put(f"{CODE}/mathlib?scope=public", MATH).status == 403
        act(boss, scope="public")
        assert (
            red.put(DYNAMIC, {"name": "calc.double", "scope": "public"}).status == 403
        )
        assert blue.get(f"{CODE}/mathlib").status == 200
        assert blue.put(f"{CODE}/mathlib", "pass").status == 403
        assert blue.delete(f"{CODE}/mathlib").status == 403
        assert (
            blue.put(DYNAMIC, {"name": "calc.double", "class_name": "X"}).status == 403
        )
        assert blue.delete(f"{DYNAMIC}/calc.double").status == 403
        assert blue.get("/v2/actions/calc.double").json["project_id"] == "red"
        mine = act(blue, "mine")
        assert (mine["project_id"], mine["code_source_name"]) == ("blue", "mathlib")

    def test_sec_24_q33_a_name_means_the_own_one_first(self, projects: Client) -> None:
        boss, blue = projects.be("admin:red"), projects.be("blue")
        upload(boss, more="&scope=public")
        act(boss, scope="public")
        own = upload(blue)
        assert act(blue)["code_source_id"] == own["id"]
        assert blue.get(f"{CODE}/mathlib").json["project_id"] == "blue"
        assert blue.get("/v2/actions/calc.double").json["project_id"] == "blue"
        assert blue.delete(f"{CODE}/mathlib").status == 204
        assert blue.get(f"{CODE}/mathlib").json["project_id"] == "red"
