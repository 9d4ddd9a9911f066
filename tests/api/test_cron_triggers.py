"""``/v2/cron_triggers`` (spec/rest-api.md § 9.4).

Numbers such as ``M81`` are rows of the matrix in spec/rest-api.md § 13.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from mistral.db import models

WORKFLOWS = """\
version: '2.0'
greet:
  input: [person, {mark: "!"}]
  tasks:
    t: {action: std.noop}
plain:
  tasks:
    t: {action: std.noop}
"""
UNKNOWN = "00000000-0000-4000-8000-000000000000"
EVERY = "*/5 * * * *"


@pytest.fixture
def ready(api: Any) -> Any:
    """The clock stands at 2020-01-02 03:04:05."""
    assert api.post("/v2/workflows", WORKFLOWS).status == 201
    return api


def body(name: str = "x", **more: Any) -> dict[str, Any]:
    return {"name": name, "workflow_name": "plain", "pattern": EVERY, **more}


def create(client: Any, name: str = "x", **more: Any) -> Any:
    answer = client.post("/v2/cron_triggers", body(name, **more))
    assert answer.status == 201, answer.body
    return answer.json


def rows(services: Any, table: Any) -> list[dict[str, Any]]:
    with services.database.read() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


# -- Creation -----------------------------------------------------------------


def test_m80_created_and_shown(ready: Any) -> None:
    sent = {
        "name": "full",
        "workflow_name": "greet",
        "workflow_input": '{"person": "Cy"}',
        "workflow_params": {"env": {"k": 1}},
        "pattern": EVERY,
        "remaining_executions": "3",
        "first_execution_time": "2099-01-02 03:04",
        "scope": "private",
    }
    answer = ready.post("/v2/cron_triggers", sent)
    assert answer.status == 201
    made = answer.json
    assert "updated_at" not in made
    workflow = ready.get("/v2/workflows/greet").json
    expected = {
        "id": made["id"],
        "name": "full",
        "workflow_name": "greet",
        "workflow_id": workflow["id"],
        "workflow_input": '{"person": "Cy"}',
        "workflow_params": '{"env": {"k": 1}}',
        "project_id": "<default-project>",
        "scope": "private",
        "pattern": EVERY,
        "remaining_executions": 3,
        "first_execution_time": "2099-01-02 03:04:00",
        "next_execution_time": "2099-01-02 03:04:00",
        "created_at": "2020-01-02 03:04:05",
        "updated_at": None,
        "timezone": "UTC",
        "enabled": True,
        "overlap": "allow",
        "catch_up": "once",
        "catch_up_window": 86400,
        "jitter": 0,
        "definition_type": None,
        "definition_id": None,
    }
    assert {**made, "updated_at": None} == expected
    assert ready.get("/v2/cron_triggers/full").json == expected
    assert ready.get(f"/v2/cron_triggers/{made['id']}").json == expected
    assert ready.get("/v2/cron_triggers").json == {"cron_triggers": [expected]}


def test_a_pattern_alone_is_without_end(ready: Any) -> None:
    made = create(ready, remaining_executions=None, first_execution_time=None)
    assert made["next_execution_time"] == "2020-01-02 03:05:00"
    assert made["remaining_executions"] is None
    assert made["first_execution_time"] is None
    assert (made["workflow_input"], made["workflow_params"]) == ("{}", "{}")


@pytest.mark.parametrize("count", [None, 1])
def test_a_first_time_alone_is_once(ready: Any, count: int | None) -> None:
    made = create(
        ready,
        pattern=None,
        first_execution_time="2020-01-02 03:06",
        remaining_executions=count,
    )
    assert made["remaining_executions"] == 1
    assert made["pattern"] == "0 0 30 2 0"
    assert made["next_execution_time"] == "2020-01-02 03:06:00"


def test_the_trigger_is_armed_with_it(ready: Any, services: Any) -> None:
    made = create(ready)
    [row] = rows(services, models.outbox)
    assert (row["kind"], row["run_id"]) == ("CronDue", made["id"])
    assert str(row["due_at"]) == "2020-01-02 03:05:00"
    assert ready.delete("/v2/cron_triggers/x").status == 204
    assert rows(services, models.outbox) == []
    assert rows(services, models.cron_triggers) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pattern": None}, "Pattern or first_execution_time must be specified."),
        ({"pattern": ""}, "Pattern or first_execution_time must be specified."),
        ({"pattern": "*"}, "The specified pattern is not valid: *"),
        ({"pattern": "0 0 30 2 *"}, "The specified pattern is not valid: 0 0 30 2 *"),
        ({"pattern": "0 " * 50 + "0"}, "pattern"),
        ({"pattern": 5}, "pattern"),
        ({"first_execution_time": "soon"}, "YYYY-MM-DD HH:MM"),
        ({"first_execution_time": "2099-01-02 03:04:05"}, "YYYY-MM-DD HH:MM"),
        ({"first_execution_time": "2099-1-2 3:4"}, "YYYY-MM-DD HH:MM"),
        ({"first_execution_time": "2099-02-30 03:04"}, "YYYY-MM-DD HH:MM"),
        ({"first_execution_time": 17}, "first_execution_time"),
        ({"first_execution_time": "2019-01-01 00:00"}, "at least 1 minute"),
        # 55 seconds ahead
        ({"first_execution_time": "2020-01-02 03:05"}, "at least 1 minute"),
        ({"remaining_executions": 0}, "remaining_executions"),
        ({"remaining_executions": -1}, "remaining_executions"),
        ({"remaining_executions": "q"}, "remaining_executions"),
        ({"remaining_executions": True}, "remaining_executions"),
        ({"remaining_executions": 1.5}, "remaining_executions"),
        ({"remaining_executions": 2**31}, "remaining_executions"),
        (
            {
                "pattern": None,
                "first_execution_time": "2099-01-01 00:00",
                "remaining_executions": 42,
            },
            "Pattern must be provided if count is superior to 1.",
        ),
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "n" * 201}, "at most 200"),
        ({"workflow_name": None}, "workflow_id"),
        ({"workflow_name": "greet"}, "missing=['person']"),
        (
            {"workflow_name": "greet", "workflow_input": {"person": 1, "x": 2}},
            "unexpected=['x']",
        ),
        ({"workflow_input": [1]}, "workflow_input"),
        ({"workflow_params": "no json"}, "workflow_params"),
        (
            {"workflow_params": {"priority": 11}},
            "Expected a whole number from -10 to 10 in 'params.priority', found 11",
        ),
        ({"workflow_params": '{"priority": "high"}'}, "found a string"),
        ({"scope": "mine"}, "scope"),
        ({"project_id": "p"}, "project_id"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_m81_eng_222_bad_requests(
    ready: Any, services: Any, changes: dict[str, Any], said: str
) -> None:
    answer = ready.post("/v2/cron_triggers", body(**changes))
    assert answer.status == 400, answer.body
    assert said in answer.fault
    assert rows(services, models.cron_triggers) == []
    assert rows(services, models.outbox) == []


def test_q48_a_name_is_needed(ready: Any) -> None:
    sent = body()
    del sent["name"]
    assert ready.post("/v2/cron_triggers", sent).status == 400


@pytest.mark.parametrize("extra", [{}, {"pattern": None}])
def test_eng_222_a_minute_ahead_is_enough(ready: Any, clock: Any, extra: Any) -> None:
    clock.advance(55)
    first = "2020-01-02 03:06"
    create(ready, first_execution_time=first, **extra)


@pytest.mark.parametrize(
    "changes",
    [{"workflow_name": "none"}, {"workflow_id": UNKNOWN}, {"workflow_id": "none"}],
)
def test_m82_unknown_workflow(ready: Any, changes: dict[str, Any]) -> None:
    assert ready.post("/v2/cron_triggers", body(**changes)).status == 404


def test_a_name_means_the_default_namespace(ready: Any) -> None:
    text = WORKFLOWS.replace("plain", "deep")
    assert ready.post("/v2/workflows?namespace=n", text).status == 201
    assert ready.post("/v2/cron_triggers", body(workflow_name="deep")).status == 404
    [found] = ready.get("/v2/workflows?name=deep").json["workflows"]
    made = create(ready, workflow_name=None, workflow_id=found["id"].upper())
    assert (made["workflow_name"], made["workflow_id"]) == ("deep", found["id"])


def test_the_order_of_checks(ready: Any) -> None:
    """§ 9.4: format, presence, distance, count, pattern, workflow, input."""
    wrong = body(
        first_execution_time="2019-01-01 00:00",
        remaining_executions=2,
        pattern="bad",
        workflow_name="none",
    )
    assert "1 minute" in ready.post("/v2/cron_triggers", wrong).fault
    wrong["first_execution_time"] = "2099-01-01 00:00"
    assert "pattern is not valid" in ready.post("/v2/cron_triggers", wrong).fault
    wrong["pattern"] = EVERY
    answer = ready.post("/v2/cron_triggers", wrong)
    assert answer.status == 404
    assert "'none'" in answer.fault and "namespace ''" in answer.fault


def test_attributes_of_the_service_are_passed_over(ready: Any) -> None:
    sent = {"id": UNKNOWN, "next_execution_time": "2030-01-01 00:00:00"}
    made = create(ready, **sent)
    assert made["id"] != UNKNOWN
    assert made["next_execution_time"] == "2020-01-02 03:05:00"


# -- Conflicts ----------------------------------------------------------------


def test_m80_the_same_name(ready: Any, services: Any) -> None:
    create(ready)
    answer = ready.post("/v2/cron_triggers", body(pattern="0 0 * * *"))
    assert answer.status == 409
    assert "'x'" in answer.fault
    assert len(rows(services, models.outbox)) == 1


COUNTED = {
    "first_execution_time": "2099-01-01 00:00",
    "remaining_executions": 4,
    "workflow_params": {"env": {"a": 1, "b": 2}},
}


def test_m83_the_same_under_another_name(ready: Any) -> None:
    create(ready, "one", **COUNTED)
    turned = {**COUNTED, "workflow_params": {"env": {"b": 2, "a": 1}}}
    assert ready.post("/v2/cron_triggers", body("two", **turned)).status == 409


@pytest.mark.parametrize(
    "changes",
    [
        {"remaining_executions": None},
        {"first_execution_time": None},
        {"remaining_executions": 5},
        {"first_execution_time": "2099-01-01 00:01"},
        {"pattern": "* * * * *"},
        {"workflow_params": {}},
    ],
)
def test_m83_what_differs_or_has_no_end_does_not_collide(
    ready: Any, changes: dict[str, Any]
) -> None:
    given = {"pattern": EVERY, **COUNTED, **changes}
    create(ready, "one", **given)
    other = {**given, "pattern": EVERY, **COUNTED}
    create(ready, "two", **other)
    if None in changes.values():
        create(ready, "three", **given)


# -- Reading ------------------------------------------------------------------


def names(answer: Any) -> list[str]:
    assert answer.status == 200, answer.body
    return [each["name"] for each in answer.json["cron_triggers"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name=a", ["a"]),
        ("name=has:b", ["b"]),
        ("workflow_name=neq:plain", ["c"]),
        ("pattern=in:@hourly,@daily", ["b"]),
        ("first_execution_time=2099-01-01 00:00:00", ["a"]),
        ("next_execution_time=lt:2020-01-02 03:30", ["c"]),
        ("remaining_executions=2", ["a"]),
        ("remaining_executions=neq:2", ["c"]),
        ('workflow_input={"person":"Di"}', ["c"]),
        ("workflow_params={}", ["a", "b", "c"]),
        ("scope=public", ["b"]),
        ("project_id=<default-project>", ["a", "b", "c"]),
        ("project_id=11111111111111111111111111111111", []),
        ("created_at=gte:2020-01-01", ["a", "b", "c"]),
        ("updated_at=gt:2020-01-01", []),
        ("all_projects=true", ["a", "b", "c"]),
        ("sort_keys=next_execution_time", ["c", "b", "a"]),
        ("sort_keys=name&sort_dirs=desc&limit=2", ["c", "b"]),
    ],
)
def test_filters_and_order(
    ready: Any, clock: Any, query: str, expected: list[str]
) -> None:
    create(ready, "a", first_execution_time="2099-01-01 00:00", remaining_executions=2)
    clock.advance(1)
    create(ready, "b", pattern="@hourly", scope="public")
    clock.advance(1)
    made = {"workflow_name": "greet", "workflow_input": {"person": "Di"}}
    create(ready, "c", remaining_executions=1, **made)
    assert names(ready.get(f"/v2/cron_triggers?{query}")) == expected


def test_the_workflow_as_a_filter(ready: Any) -> None:
    made = create(ready, "a")
    path = "/v2/cron_triggers?workflow_id="
    assert names(ready.get(f"{path}{made['workflow_id']}")) == ["a"]
    assert names(ready.get(f"{path}{UNKNOWN}")) == []
    assert ready.get(f"{path}plain").status == 400


@pytest.mark.parametrize(
    "query",
    [
        "remaining_executions=0",
        "remaining_executions=some",
        "remaining_executions=99999999999",
        "remaining_executions=gt:1",
        "workflow_input=x",
        "next_execution_time=noon",
        "colour=red",
        "sort_keys=colour",
        "fields=colour",
        "limit=0",
        "marker=x",
        "nulls=pattern",
    ],
)
def test_filters_that_make_no_sense(ready: Any, query: str) -> None:
    assert ready.get(f"/v2/cron_triggers?{query}").status == 400


def test_pages(ready: Any) -> None:
    for name in "abc":
        create(ready, name)
    first = ready.get("/v2/cron_triggers?sort_keys=name&limit=2")
    assert names(first) == ["a", "b"]
    assert "/v2/cron_triggers?sort_keys=name,id&sort_dirs=asc,asc" in first.json["next"]
    path = "/v2/" + first.json["next"].partition("/v2/")[2]
    rest = ready.get(path)
    assert names(rest) == ["c"]
    assert "next" not in rest.json


def test_fields(ready: Any) -> None:
    made = create(ready)
    found = {"id": made["id"], "pattern": EVERY}
    path = "/v2/cron_triggers"
    assert ready.get(f"{path}?fields=pattern").json["cron_triggers"] == [found]
    assert ready.get(f"{path}/x?fields=pattern").json == found
    assert ready.get(f"{path}/x?fields=digest").status == 400
    assert ready.get(f"{path}/x?colour=red").status == 400


@pytest.mark.parametrize("identifier", ["none", UNKNOWN])
def test_unknown_triggers(ready: Any, identifier: str) -> None:
    assert ready.get(f"/v2/cron_triggers/{identifier}").status == 404
    assert ready.delete(f"/v2/cron_triggers/{identifier}").status == 404


def test_m84_there_is_no_update(ready: Any) -> None:
    create(ready)
    answer = ready.put("/v2/cron_triggers/x", {"pattern": "* * * * *"})
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "DELETE"}


# -- The workflows that they start --------------------------------------------


def test_m22_a_workflow_with_triggers_stays(ready: Any) -> None:
    ids = [create(ready, name)["id"] for name in "ab"]
    for path in ("plain", ready.get("/v2/workflows/plain").json["id"]):
        answer = ready.delete(f"/v2/workflows/{path}")
        assert answer.status == 400
        assert "Can't delete workflow that has cron triggers associated" in answer.fault
        assert all(id in answer.fault for id in ids)
    for name in "ab":
        assert ready.delete(f"/v2/cron_triggers/{name}").status == 204
    assert ready.delete("/v2/workflows/plain").status == 204


PUBLIC = "version: '2.0'\nshared:\n  tasks:\n    t: {action: std.noop}\n"


def test_a_public_workflow_stays_for_the_triggers_of_others(projects: Any) -> None:
    """§ 8.2: neither private nor deleted while another project's trigger uses it."""
    owner, blue = projects.be("admin:red"), projects.be("blue")
    assert owner.post("/v2/workflows?scope=public", PUBLIC).status == 201
    create(owner, "own", workflow_name="shared")
    made = create(blue, "theirs", workflow_name="shared")
    assert made["project_id"] == "blue"
    assert owner.put("/v2/workflows?scope=private", PUBLIC).status == 403
    assert owner.get("/v2/workflows/shared").json["scope"] == "public"
    assert owner.delete("/v2/workflows/shared").status == 400
    assert blue.delete("/v2/workflows/shared").status == 403
    assert blue.delete("/v2/cron_triggers/theirs").status == 204
    assert owner.put("/v2/workflows?scope=private", PUBLIC).status == 200
    assert owner.get("/v2/workflows/shared").json["scope"] == "private"


# -- Projects -----------------------------------------------------------------


@pytest.fixture
def both(projects: Any) -> Any:
    for project in ("red", "blue"):
        assert projects.be(project).post("/v2/workflows", WORKFLOWS).status == 201
    return projects


def test_m95_private_triggers_of_others_do_not_exist(both: Any) -> None:
    red, blue = both.be("red"), both.be("blue")
    made = create(red)
    for identifier in ("x", made["id"]):
        assert blue.get(f"/v2/cron_triggers/{identifier}").status == 404
        assert blue.delete(f"/v2/cron_triggers/{identifier}").status == 404
    assert names(blue.get("/v2/cron_triggers")) == []
    assert blue.get(f"/v2/cron_triggers?marker={made['id']}").status == 404
    create(blue)
    assert names(red.get("/v2/cron_triggers")) == ["x"]


def test_m94_public_triggers_of_others_are_read_only(both: Any) -> None:
    admin, blue = both.be("admin:red"), both.be("blue")
    made = create(admin, scope="public")
    assert names(blue.get("/v2/cron_triggers")) == ["x"]
    assert blue.get("/v2/cron_triggers/x").json["scope"] == "public"
    assert blue.delete("/v2/cron_triggers/x").status == 403
    assert admin.get("/v2/cron_triggers/x").json["id"] == made["id"]


def test_sec02_publicize_is_for_administrators(both: Any) -> None:
    red = both.be("red")
    assert red.post("/v2/cron_triggers", body(scope="public")).status == 403
    create(red, scope="private")


def test_q33_a_name_means_the_own_trigger_first(both: Any) -> None:
    red, blue = both.be("admin:red"), both.be("admin:blue")
    create(red, scope="public")
    create(blue)
    assert blue.get("/v2/cron_triggers/x").json["project_id"] == "blue"
    assert blue.delete("/v2/cron_triggers/x").status == 204
    assert blue.get("/v2/cron_triggers/x").json["project_id"] == "red"


def test_q33_administrators_bind_no_workflow_of_another_project(both: Any) -> None:
    red, admin = both.be("red"), both.be("admin:green")
    theirs = red.get("/v2/workflows/plain").json["id"]
    assert admin.post("/v2/cron_triggers", body()).status == 404
    wanted = body(workflow_id=theirs)
    assert admin.post("/v2/cron_triggers", wanted).status == 404


def test_q23_administrators_see_all(both: Any) -> None:
    made = create(both.be("red"))
    admin = both.be("admin:blue")
    assert names(admin.get("/v2/cron_triggers")) == ["x"]
    assert names(admin.get("/v2/cron_triggers?all_projects=true")) == ["x"]
    assert both.be("red").get("/v2/cron_triggers?all_projects=true").status == 403
    assert admin.delete(f"/v2/cron_triggers/{made['id']}").status == 204


def test_m83_the_same_in_another_project(both: Any) -> None:
    for project in ("red", "blue"):
        create(both.be(project), **COUNTED)


def test_the_creator_is_kept_without_secrets(both: Any, services: Any) -> None:
    create(both.be("red"))
    [row] = rows(services, models.cron_triggers)
    assert row["context"]["project_id"] == "red"
    assert "auth_token" not in json.dumps(row["context"])
