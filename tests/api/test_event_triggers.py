"""``/v2/event_triggers`` (rest-api § 9.5, matrix rows 85 to 87)."""

from __future__ import annotations

import json
from typing import Any

import pytest

WORKFLOWS = """\
version: '2.0'
greet:
  input: [who, {how: hello}]
  tasks: {t: {action: std.noop}}
plain:
  tasks: {t: {action: std.noop}}
"""
PATH = "/v2/event_triggers"


def upload(client: Any, scope: str = "private") -> dict[str, str]:
    """Id of each workflow by name."""
    answer = client.post(f"/v2/workflows?scope={scope}", WORKFLOWS)
    assert answer.status == 201, answer.body
    return {row["name"]: row["id"] for row in answer.json["workflows"]}


def body(workflow_id: str, **fields: Any) -> dict[str, Any]:
    given = {
        "workflow_id": workflow_id,
        "exchange": "nova",
        "topic": "notifications",
        "event": "compute.instance.create.end",
    }
    return {n: v for n, v in (given | fields).items() if v is not ...}


def make(client: Any, workflow_id: str, **fields: Any) -> dict[str, Any]:
    answer = client.post(PATH, body(workflow_id, **fields))
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json
    return found


@pytest.fixture
def ids(api: Any) -> dict[str, str]:
    return upload(api)


def test_a_trigger_is_created_shown_and_deleted(api: Any, ids: dict[str, str]) -> None:
    made = make(
        api,
        ids["greet"],
        name="on-boot",
        workflow_input='{"who": "Ada"}',
        workflow_params={"env": {"a": 1}},
    )
    assert made == {
        "id": made["id"],
        "created_at": made["created_at"],
        "updated_at": None,
        "project_id": "<default-project>",
        "name": "on-boot",
        "workflow_id": ids["greet"],
        "workflow_input": '{"who": "Ada"}',
        "workflow_params": '{"env": {"a": 1}}',
        "message": None,
        "exchange": "nova",
        "topic": "notifications",
        "event": "compute.instance.create.end",
        "scope": "private",
        "input_mapping": None,
        "definition_type": None,
        "definition_id": None,
    }
    assert api.get(f"{PATH}/{made['id']}").json == made
    assert api.get(PATH).json == {"event_triggers": [made]}
    shown = api.get(f"{PATH}/{made['id']}?fields=name").json
    assert shown == {"id": made["id"], "name": "on-boot"}
    assert api.delete(f"{PATH}/{made['id']}").status == 204
    assert api.get(f"{PATH}/{made['id']}").status == 404
    assert api.delete(f"{PATH}/{made['id']}").status == 404


def test_what_is_not_sent_has_its_default(api: Any, ids: dict[str, str]) -> None:
    made = make(
        api, ids["plain"], name=None, workflow_input=None, scope=None, topic="t"
    )
    assert (made["name"], made["scope"]) == ("", "private")
    assert (made["workflow_input"], made["workflow_params"]) == ("{}", "{}")


@pytest.mark.parametrize("name", ["workflow_id", "exchange", "topic", "event"])
@pytest.mark.parametrize("value", [..., None, ""], ids=["absent", "null", "empty"])
def test_m85_what_is_mandatory(
    api: Any, ids: dict[str, str], name: str, value: Any
) -> None:
    answer = api.post(PATH, body(**{**body(ids["plain"]), name: value}))
    assert answer.status == 400
    assert name in answer.fault
    assert api.get(PATH).json["event_triggers"] == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"workflow_id": "greet"}, 400),
        ({"workflow_id": "e68e91a1-4369-4b93-926c-362d84b06001"}, 404),
        ({"exchange": "e" * 81}, 400),
        ({"topic": "e" * 81}, 400),
        ({"event": "e" * 81}, 400),
        ({"name": "e" * 256}, 400),
        ({"event": 5}, 400),
        ({"workflow_input": "[1]"}, 400),
        ({"workflow_input": "{"}, 400),
        ({"workflow_params": 7}, 400),
        ({"workflow_params": {"priority": -11}}, 400),
        ({"workflow_params": '{"priority": true}'}, 400),
        ({"workflow_params": {"start-at": "nonsense"}}, 400),
        ({"workflow_params": {"start-at": "2999-01-01T00:00Z"}}, 400),
        ({"workflow_params": {"start-after": -1}}, 400),
        ({"workflow_params": {"env": [1]}}, 400),
        ({"workflow_params": {"index": 1}}, 400),
        ({"scope": "shared"}, 400),
        ({"id": "x"}, 400),
        ({"project_id": "x"}, 400),
        ({"colour": "blue"}, 400),
        ({"workflow_input": {"surplus": 1}}, 400),
        ({"exchange": "mistral"}, 400),
        ({"exchange": "amq.topic"}, 400),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
def test_m85_what_is_refused(
    api: Any, ids: dict[str, str], fields: dict[str, Any], status: int
) -> None:
    answer = api.post(PATH, {**body(ids["plain"]), **fields})
    assert answer.status == status, answer.body
    assert answer.fault
    assert api.get(PATH).json["event_triggers"] == []


def test_the_input_of_the_workflow_is_checked(api: Any, ids: dict[str, str]) -> None:
    """As at its start: missing and surplus names are told."""
    answer = api.post(PATH, body(ids["greet"], workflow_input={"whom": 1}))
    assert answer.status == 400
    assert "missing=['who']" in answer.fault
    assert "unexpected=['whom']" in answer.fault


# -- Input from the event -----------------------------------------------------

MAPPING = {"who": "<% $.payload.name %>", "how": {"deep": ["{{ _.event_type }}", 1]}}
WHOLE = "<% $.payload %>"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (MAPPING, MAPPING),
        (json.dumps(MAPPING), MAPPING),
        (WHOLE, WHOLE),
        ("{{ _.payload }}", "{{ _.payload }}"),
        (json.dumps(WHOLE), WHOLE),
    ],
    ids=["object", "its text", "expression", "of Jinja", "its JSON"],
)
def test_the_input_may_follow_from_the_event(
    api: Any, ids: dict[str, str], sent: Any, shown: Any
) -> None:
    """What it gives need not stand in ``workflow_input``."""
    made = make(api, ids["greet"], input_mapping=sent)
    assert json.loads(made["input_mapping"]) == shown
    again = {"input_mapping": made["input_mapping"]}
    assert api.put(f"{PATH}/{made['id']}", again).json == made


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"input_mapping": {"who": "<% $.a + %>"}}, "'input_mapping.who'"),
        ({"input_mapping": {"who": {"x": ["{{ _. }}"]}}}, "'input_mapping.who'"),
        ({"input_mapping": "<% $.a + %>"}, "'input_mapping'"),
        ({"input_mapping": "payload"}, "expression"),
        ({"input_mapping": 5}, "expression"),
        ({"input_mapping": ["<% $ %>"]}, "expression"),
        ({"input_mapping": '"payload"'}, "expression"),
        ({"input_mapping": {"how": "<% $.payload %>"}}, "missing=['who']"),
        ({"input_mapping": {**MAPPING, "whom": 1}}, "unexpected=['whom']"),
        ({"input_mapping": WHOLE, "workflow_input": {"whom": 1}}, "['whom']"),
        ({"input_mapping": WHOLE, "message": {"name": "m"}}, "'message'"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_an_input_that_no_event_can_give_is_refused(
    api: Any, ids: dict[str, str], fields: dict[str, Any], told: str
) -> None:
    answer = api.post(PATH, body(ids["greet"], **fields))
    assert (answer.status, told in answer.fault) == (400, True), answer.body
    made = make(api, ids["greet"], workflow_input={"who": "Ada"})
    if fields.get("input_mapping") == {"how": "<% $.payload %>"}:
        return
    answer = api.put(f"{PATH}/{made['id']}", fields)
    assert (answer.status, told in answer.fault) == (400, True), answer.body
    assert api.get(PATH).json["event_triggers"] == [made]


def test_the_input_from_the_event_may_change_and_go(
    api: Any, ids: dict[str, str]
) -> None:
    made = make(api, ids["greet"], workflow_input={"who": "Ada"})
    path = f"{PATH}/{made['id']}"
    assert api.put(path, {"input_mapping": MAPPING}).status == 200
    assert api.put(path, {"message": {"name": "m"}}).status == 400
    assert json.loads(api.get(path).json["input_mapping"]) == MAPPING
    assert api.put(path, {"input_mapping": {}}).json["input_mapping"] is None
    assert api.put(path, {"message": {"name": "m"}}).status == 200


def test_what_the_event_gives_is_needed_as_long_as_nothing_else_does(
    api: Any, ids: dict[str, str]
) -> None:
    made = make(api, ids["greet"], input_mapping=MAPPING)
    answer = api.put(f"{PATH}/{made['id']}", {"input_mapping": {}})
    assert (answer.status, "missing=['who']" in answer.fault) == (400, True)


def test_m85_the_same_twice_is_a_conflict(api: Any, ids: dict[str, str]) -> None:
    make(api, ids["plain"], name="a")
    assert api.post(PATH, body(ids["plain"], name="b")).status == 409
    for other in ({"exchange": "x"}, {"topic": "x"}, {"event": "x"}):
        make(api, ids["plain"], **other)
    make(api, ids["greet"], workflow_input={"who": "Ada"})


def test_m86_only_uuids_find_a_trigger(api: Any, ids: dict[str, str]) -> None:
    make(api, ids["plain"], name="mine")
    for method in ("get", "delete"):
        assert getattr(api, method)(f"{PATH}/mine").status == 400
    assert api.put(f"{PATH}/mine", {}).status == 400


def test_names_need_not_be_unique(api: Any, ids: dict[str, str]) -> None:
    make(api, ids["plain"], name="same")
    make(api, ids["plain"], name="same", event="other")
    assert len(api.get(f"{PATH}?name=same").json["event_triggers"]) == 2


@pytest.mark.parametrize("name", ["exchange", "topic", "event"])
@pytest.mark.parametrize("value", ["new", ""])
def test_m87_q64_the_source_never_changes(
    api: Any, ids: dict[str, str], name: str, value: str
) -> None:
    made = make(api, ids["plain"])
    answer = api.put(f"{PATH}/{made['id']}", {name: value, "name": "n"})
    assert answer.status == 400
    assert name in answer.fault
    assert api.get(f"{PATH}/{made['id']}").json == made


def test_the_rest_may_change(api: Any, ids: dict[str, str], clock: Any) -> None:
    made = make(api, ids["plain"])
    path = f"{PATH}/{made['id']}"
    assert api.put(path, {}).json == made, "nothing sent, nothing touched"
    clock.advance(5)
    new = {
        "name": "new",
        "workflow_id": ids["greet"],
        "workflow_input": '{"who": "Bo"}',
        "workflow_params": '{"env": {}}',
    }
    changed = api.put(path, new)
    assert changed.status == 200
    assert changed.json == made | new | {"updated_at": changed.json["updated_at"]}
    assert changed.json["updated_at"] is not None
    assert api.get(path).json == changed.json


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"workflow_id": "e68e91a1-4369-4b93-926c-362d84b06001"}, 404),
        ({"workflow_id": "x"}, 400),
        ({"workflow_id": ""}, 400),
        ({"workflow_input": {"surplus": 1}}, 400),
        ({"scope": "shared"}, 400),
        ({"id": "x"}, 400),
    ],
    ids=str,
)
def test_q64_changes_are_checked_like_creations(
    api: Any, ids: dict[str, str], change: dict[str, Any], status: int
) -> None:
    made = make(api, ids["plain"])
    answer = api.put(f"{PATH}/{made['id']}", change)
    assert answer.status == status, answer.body
    assert api.get(f"{PATH}/{made['id']}").json == made


def test_a_priority_is_refused_in_the_words_of_executions(
    api: Any, ids: dict[str, str]
) -> None:
    made = make(api, ids["plain"], workflow_params={"priority": 10})
    wrong = {"workflow_params": {"priority": 11}}
    said = "Expected a whole number from -10 to 10 in 'params.priority', found 11"
    for answer in (
        api.post(PATH, body(ids["plain"], event="other", **wrong)),
        api.put(f"{PATH}/{made['id']}", wrong),
    ):
        assert (answer.status, answer.fault) == (400, said)
    assert api.get(PATH).json["event_triggers"] == [made]


def test_a_new_workflow_has_to_take_the_input(api: Any, ids: dict[str, str]) -> None:
    made = make(api, ids["plain"])
    answer = api.put(f"{PATH}/{made['id']}", {"workflow_id": ids["greet"]})
    assert answer.status == 400
    assert "who" in answer.fault


def test_a_change_that_makes_two_the_same_is_a_conflict(
    api: Any, ids: dict[str, str]
) -> None:
    make(api, ids["greet"], workflow_input={"who": "Ada"})
    made = make(api, ids["plain"])
    change = {"workflow_id": ids["greet"], "workflow_input": {"who": "Ada"}}
    assert api.put(f"{PATH}/{made['id']}", change).status == 409


def test_q22_filters_work(api: Any, ids: dict[str, str]) -> None:
    first = make(api, ids["plain"], name="one", topic="a")
    second = make(api, ids["plain"], name="two", topic="b", exchange="heat")

    def found(query: str) -> list[str]:
        rows = api.get(f"{PATH}?{query}").json["event_triggers"]
        return [row["id"] for row in rows]

    assert found("name=one") == [first["id"]]
    assert found("topic=neq:a") == [second["id"]]
    assert found("exchange=in:heat,glance") == [second["id"]]
    assert found("event=has:instance&sort_keys=name") == [first["id"], second["id"]]
    assert found(f"workflow_id={ids['plain']}&sort_keys=name") == [
        first["id"],
        second["id"],
    ]
    assert found("scope=public") == []
    assert found("created_at=gt:2000-01-01 00:00:00&name=two") == [second["id"]]
    assert api.get(f"{PATH}?colour=blue").status == 400


def test_pages(api: Any, ids: dict[str, str]) -> None:
    made = [make(api, ids["plain"], topic=f"t{n}")["id"] for n in range(3)]
    first = api.get(f"{PATH}?limit=2&sort_keys=topic").json
    assert [row["id"] for row in first["event_triggers"]] == made[:2]
    rest = api.get(first["next"].split("localhost")[1]).json
    assert [row["id"] for row in rest["event_triggers"]] == made[2:]


def test_sources_are_limited(api: Any, services: Any, ids: dict[str, str]) -> None:
    """Each is a connection of every event engine; users choose their names."""
    most = services.settings.event_engine.max_sources
    for number in range(most):
        make(api, ids["plain"], topic=f"t{number}")
    answer = api.post(PATH, body(ids["plain"], topic="one-more"))
    assert answer.status == 400
    assert "max_sources" in answer.fault
    make(api, ids["plain"], topic="t0", event="other")


def test_m22_a_workflow_with_a_trigger_stays(api: Any, ids: dict[str, str]) -> None:
    made = make(api, ids["plain"])
    answer = api.delete("/v2/workflows/plain")
    assert answer.status == 400
    assert made["id"] in answer.fault
    api.delete(f"{PATH}/{made['id']}")
    assert api.delete("/v2/workflows/plain").status == 204


class TestProjects:
    def test_private_ones_of_others_do_not_exist(self, projects: Any) -> None:
        red, blue = projects.be("red"), projects.be("blue")
        made = make(red, upload(red)["plain"])
        path = f"{PATH}/{made['id']}"
        for answer in (blue.get(path), blue.put(path, {}), blue.delete(path)):
            assert answer.status == 404
        assert blue.get(PATH).json["event_triggers"] == []
        assert projects.be("admin:blue").get(path).status == 200

    def test_m96_q34_public_ones_of_others_are_read_only(self, projects: Any) -> None:
        owner, blue = projects.be("admin:red"), projects.be("blue")
        made = make(owner, upload(owner)["plain"], scope="public")
        path = f"{PATH}/{made['id']}"
        assert blue.get(path).json == made
        assert blue.put(path, {"name": "mine"}).status == 403
        assert blue.delete(path).status == 403
        assert owner.get(path).json == made

    def test_sec02_publicize_is_for_administrators(self, projects: Any) -> None:
        red, admin = projects.be("red"), projects.be("admin:red")
        workflow = upload(red)["plain"]
        assert red.post(PATH, body(workflow, scope="public")).status == 403
        made = make(red, workflow)
        path = f"{PATH}/{made['id']}"
        assert red.put(path, {"scope": "public"}).status == 403
        assert admin.put(path, {"scope": "public"}).json["scope"] == "public"
        assert red.put(path, {"name": "for all to see"}).status == 403
        assert red.put(path, {"scope": "private"}).status == 200
        assert red.put(path, {"name": "still mine"}).status == 200

    def test_all_projects_is_for_administrators(self, projects: Any) -> None:
        red = projects.be("red")
        make(red, upload(red)["plain"])
        assert red.get(f"{PATH}?all_projects=true").status == 403
        listed = projects.be("admin:blue").get(f"{PATH}?all_projects=true").json
        assert [row["project_id"] for row in listed["event_triggers"]] == ["red"]

    def test_only_visible_workflows_are_started(self, projects: Any) -> None:
        """The execution will belong to the trigger's project, so an administrator,
        too, has to name a workflow that this project sees."""
        workflow = upload(projects.be("red"))["plain"]
        for who in ("blue", "admin:blue"):
            answer = projects.be(who).post(PATH, body(workflow))
            assert answer.status == 404
        public = upload(projects.be("admin:green"), "public")["plain"]
        assert projects.be("blue").post(PATH, body(public)).status == 201

    def test_a_workflow_that_others_start_cannot_become_private(
        self, projects: Any
    ) -> None:
        owner = projects.be("admin:green")
        make(projects.be("blue"), upload(owner, "public")["plain"])
        answer = owner.put("/v2/workflows?scope=private", WORKFLOWS)
        assert answer.status == 403

    def test_each_project_has_its_own(self, projects: Any) -> None:
        """The same event and workflow: no conflict between projects."""
        public = upload(projects.be("admin:green"), "public")["plain"]
        for who in ("red", "blue"):
            make(projects.be(who), public)
