"""The matrix of requests and statuses, row by row (rest-api § 13): service, lists,
definitions and sharing. ``M-nn`` is the number of a row; what runs stands in
``test_matrix_of_runs.py``.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from matrix import ACTION, WORKBOOK, WORKFLOW, World
from rest import Client

UNKNOWN = "6b1a1d3a-5a0f-4f62-9d4e-0d6d4c1f9a11"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
XML = {"Content-Type": "application/xml"}


def test_m_01_02_03_04_what_stands_at_the_top(world: World) -> None:
    assert world.red.get("/").status == 200
    assert world.red.get("/").json["versions"][0]["id"] == "v2.0"
    assert world.red.get("/v2/").status == 200
    moved = world.red.get("/v2")
    assert moved.status == 302
    assert moved.headers["Location"].endswith("/v2/")
    assert world.red.get("/v2/unknown").status == 404
    assert world.red.get("/v2/services").status == 404


def test_m_05_a_method_that_there_is_not(world: World) -> None:
    answer = world.red.request("PATCH", "/v2/workflows")
    assert answer.status == 405
    assert {"GET", "POST", "PUT"} <= set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize("type_", ["application/xml", "text/xml", "application/a+xml"])
def test_m_06_sec_14_xml_is_refused_before_anybody_looks(
    world: World, type_: str
) -> None:
    for client in (world.red, world.nobody):
        for method, path in (("POST", "/v2/workflows"), ("POST", "/v2/executions"),
                             ("PUT", "/v2/environments")):  # fmt: skip
            answer = client.request(
                method, path, "<!DOCTYPE a>", headers={"Content-Type": type_}
            )
            assert answer.status == 415
            assert answer.headers["Server-Error-Message"]


def test_m_07_08_09_content_types(world: World) -> None:
    text = {"Content-Type": "text/plain"}
    for path in ("/v2/executions", "/v2/environments", "/v2/action_executions"):
        assert world.red.request("POST", path, "{}", headers=text).status == 415
    for number, type_ in enumerate(
        ("application/json", "text/plain", "application/x-yaml", FORM["Content-Type"])
    ):
        given = {"Content-Type": type_}
        name = f"w{number}"
        made = world.red.post("/v2/workflows", WORKFLOW.format(name), headers=given)
        assert made.status == 201, type_
        put = world.red.put("/v2/workflows", WORKFLOW.format(name), headers=given)
        assert put.status == 200, type_
    accept = {"Accept": "application/json"}
    made = world.red.post("/v2/workflows", WORKFLOW.format("j"), headers=accept)
    assert made.status == 201
    put = world.red.put("/v2/workflows", WORKFLOW.format("j"), headers=accept)
    assert put.status == 200


def test_m_10_sec_14_nobody(world: World) -> None:
    """Authentication comes before parsing."""
    for path in ("/v2/workflows", "/v2/executions", "/maintenance"):
        answer = world.nobody.get(path)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"]
        assert answer.headers["Server-Error-Message"]
    assert world.nobody.post("/v2/workflows", "a: [").status == 401
    assert world.nobody.post("/v2/executions", {"bogus": 1}).status == 401


def test_m_11_12_13_a_name_is_taken_once_in_its_namespace(world: World) -> None:
    text = WORKFLOW.format("w")
    assert world.red.post("/v2/workflows", text).status == 201
    assert world.red.post("/v2/workflows", text).status == 409
    assert world.red.post("/v2/workflows?namespace=n", text).status == 201
    assert world.blue.post("/v2/workflows", text).status == 201


@pytest.mark.parametrize(
    "text",
    [
        "w: {tasks: {t: {action: std.noop}}}",
        "[1]",
        "text",
        "5",
        "",
        " \n",
        "version: 2",
    ],
)
def test_m_14_texts_that_are_no_definitions(world: World, text: str) -> None:
    assert world.red.post("/v2/workflows", text).status == 400


def test_m_15_a_name_with_a_space(world: World) -> None:
    text = "version: '2.0'\n'a b': {tasks: {t: {action: std.noop}}}\n"
    assert world.red.post("/v2/workflows", text).status == 400
    judged = world.red.post("/v2/workflows/validate", text)
    assert (judged.status, judged.json["valid"]) == (200, False), "Q-41"


def test_m_16_an_unknown_scope(world: World) -> None:
    texts = {"workflows": WORKFLOW, "workbooks": WORKBOOK, "actions": ACTION}
    for kind, text in texts.items():
        answer = world.admin.post(f"/v2/{kind}?scope=weird", text.format("x"))
        assert answer.status == 400, kind
    answer = world.admin.post("/v2/code_sources?name=x&scope=weird", "x = 1")
    assert answer.status == 400
    body = {"name": "x", "scope": "weird"}
    assert world.admin.post("/v2/environments", body).status == 400


def test_m_17_sec_02_publishing_is_for_administrators(world: World) -> None:
    path = "/v2/workflows?scope=public"
    assert world.red.post(path, WORKFLOW.format("w")).status == 403
    assert world.admin.post(path, WORKFLOW.format("w")).status == 201


def test_m_18_validation_answers_200(world: World) -> None:
    for text in ("", "a: [", "version: '2.0'\nw: {}"):
        answer = world.red.post("/v2/workflows/validate", text)
        assert (answer.status, answer.json["valid"]) == (200, False)
        assert answer.json["error"]
    good = world.red.post("/v2/workflows/validate", WORKFLOW.format("w"))
    assert (good.status, good.json) == (200, {"valid": True})


def test_m_19_20_21_23_workflows_that_are_not_there(world: World) -> None:
    id = world.workflow("w")
    two = WORKFLOW.format("w") + WORKFLOW.format("v").replace("version: '2.0'\n", "")
    assert world.red.put("/v2/workflows", WORKFLOW.format("absent")).status == 404
    assert world.red.put(f"/v2/workflows/{id}", two).status == 400
    assert world.red.put(f"/v2/workflows?identifier={id}", two).status == 400
    for unknown in ("absent", UNKNOWN):
        assert world.red.delete(f"/v2/workflows/{unknown}").status == 404
    answer = world.red.get("/v2/workflows/w?namespace=other")
    assert answer.status == 404
    assert "'w'" in answer.fault
    assert "'other'" in answer.fault


def test_m_22_a_workflow_that_triggers_start_stays(world: World) -> None:
    id = world.workflow("w")
    made = world.red.post("/v2/cron_triggers", world.cron("c", id))
    answer = world.red.delete("/v2/workflows/w")
    assert answer.status == 400
    words = "Can't delete workflow that has cron triggers associated"
    assert words in answer.fault
    assert made.json["id"] in answer.fault
    assert world.red.delete("/v2/cron_triggers/c").status == 204
    event = {"workflow_id": id, "exchange": "e", "topic": "t", "event": "v"}
    assert world.red.post("/v2/event_triggers", event).status == 201
    assert world.red.delete(f"/v2/workflows/{id}").status == 400


LISTS = (
    "workbooks", "workflows", "actions", "environments", "executions", "tasks",
    "action_executions", "cron_triggers", "event_triggers",
)  # fmt: skip


@pytest.mark.parametrize(
    ("row", "query", "status"),
    [
        ("M-24", "limit=0", 400),
        ("M-24", "limit=-1", 400),
        ("M-24", "limit=x", 400),
        ("M-25", "sort_dirs=sideways", 400),
        ("M-25", "sort_keys=id,id&sort_dirs=asc,asc", 400),
        ("M-26, Q-11", "sort_keys=bogus", 400),
        ("M-29", "fields=bogus", 400),
        ("M-30", "bogus=1", 400),
    ],
)
def test_lists_refuse_what_they_do_not_know(
    world: World, row: str, query: str, status: int
) -> None:
    for name in LISTS:
        assert world.red.get(f"/v2/{name}?{query}").status == status, (row, name)


def test_m_24_25_words_of_the_refusals(world: World) -> None:
    """C-05: the conformance suite looks for them (§ 2.1)."""
    for query, words in {
        "limit=0": "Limit must be positive",
        "sort_dirs=sideways": "Unknown sort direction",
        "sort_keys=id&sort_dirs=asc,asc": "Length of sort_keys must be equal or greater"
        " than sort_dirs",
    }.items():
        assert words in world.red.get(f"/v2/workflows?{query}").fault


def test_m_27_28_markers(world: World) -> None:
    for name in LISTS:
        if name == "actions":
            continue  # its marker is a name, too
        path = f"/v2/{name}?marker="
        assert world.red.get(f"{path}not-a-uuid").status == 400, name
        assert world.red.get(f"{path}{UNKNOWN}").status == 404, name


def test_m_31_32_33_projects_as_filters(world: World) -> None:
    """Q-20: any text is a project's id, so ``abc`` finds nothing instead of 400."""
    assert world.red.get("/v2/workflows?project_id=abc").json["workflows"] == []
    assert world.red.get("/v2/executions?project_id=abc").status == 403
    for name in ("workflows", "executions", "cron_triggers", "event_triggers"):
        path = f"/v2/{name}?all_projects="
        assert world.red.get(f"{path}true").status == 403, name
        assert world.red.get(f"{path}false").status == 200, name
        assert world.admin.get(f"{path}true").status == 200, name


@pytest.mark.parametrize(
    ("row", "kind", "text", "other"),
    [("M-34", "workbooks", WORKBOOK, WORKFLOW), ("M-36", "actions", ACTION, WORKBOOK)],
)
def test_uploads(world: World, row: str, kind: str, text: str, other: str) -> None:
    assert world.red.post(f"/v2/{kind}", text.format("x")).status == 201, row
    assert world.red.post(f"/v2/{kind}", text.format("x")).status == 409, row
    assert world.red.post(f"/v2/{kind}", other.format("y")).status == 400, row


def test_m_35_an_unknown_workbook(world: World) -> None:
    assert world.red.put("/v2/workbooks", WORKBOOK.format("absent")).status == 404


def test_m_37_38_39_actions(world: World) -> None:
    made = world.red.post("/v2/actions", ACTION.format("mine")).json["actions"][0]
    assert world.red.get("/v2/actions/unknown").status == 404
    assert world.red.get(f"/v2/actions/{made['id']}").json["name"] == "mine"
    text = ACTION.format("std.echo")
    assert world.red.put("/v2/actions/std.echo", text).status == 404
    assert world.red.put("/v2/actions", text).status == 404
    assert world.red.delete("/v2/actions/std.echo").status == 404
    assert world.red.post("/v2/actions", text).status == 400, "Q-47"


def test_m_40_sec_01_code_is_for_administrators(world: World) -> None:
    body = {"name": "a", "class_name": "C", "code_source_name": "s"}
    assert world.red.post("/v2/code_sources?name=s", "x = 1").status == 403
    assert world.red.post("/v2/dynamic_actions", body).status == 403


def test_m_41_42_dynamic_actions(world: World) -> None:
    admin = world.with_code().admin
    body = {"name": "a", "class_name": "C"}
    assert admin.post("/v2/dynamic_actions", body).status == 400
    body["code_source_name"] = "s"
    assert admin.post("/v2/dynamic_actions", body).status == 404
    assert admin.post("/v2/code_sources?name=s", "class C: pass").status == 201
    assert admin.post("/v2/dynamic_actions", body).status == 201
    assert admin.delete("/v2/code_sources/s").status == 204
    assert admin.get("/v2/dynamic_actions/a").status == 404


def test_m_43_44_45_environments(world: World) -> None:
    name = {"name": "e"}
    for more in ({"id": UNKNOWN}, {"bogus": 1}, {"variables": [1]},
                 {"variables": "no json"}, {"variables": ""}):  # fmt: skip
        assert world.red.post("/v2/environments", name | more).status == 400, more
    made = world.red.post("/v2/environments", name)
    assert made.status == 201
    assert world.red.put("/v2/environments", {"variables": {}}).status == 400
    assert world.red.put("/v2/environments", {"name": "no"}).status == 404
    assert world.red.get(f"/v2/environments/{made.json['id']}").status == 404


def test_m_80_81_82_83_84_cron_triggers(world: World) -> None:
    id = world.workflow("w")
    path = "/v2/cron_triggers"
    assert world.red.post(path, world.cron("c", id)).status == 201
    assert world.red.post(path, world.cron("c", id)).status == 409
    past, soon = "2001-01-01 00:00", "2099-01-02 03:04"
    for given in (
        {}, {"pattern": "wrong"}, {"pattern": "* * *"},
        {"first_execution_time": "tomorrow"}, {"first_execution_time": past},
        *({"pattern": "* * * * *", "remaining_executions": n} for n in (0, -1, "q")),
        {"first_execution_time": soon, "remaining_executions": 42},
    ):  # fmt: skip
        body = {"name": "d", "workflow_id": id, **given}
        assert world.red.post(path, body).status == 400, given
    assert world.red.post(path, world.cron("d", UNKNOWN)).status == 404
    more = {"remaining_executions": 2, "first_execution_time": soon}
    assert world.red.post(path, world.cron("f", id) | more).status == 201
    assert world.red.post(path, world.cron("g", id) | more).status == 409
    assert world.red.put(f"{path}/c", {"name": "x"}).status == 405


def test_others_do_not_see_what_came_of_a_public_trigger(world: World) -> None:
    id = world.workflow("w", world.admin)
    body = {"exchange": "e", "topic": "t", "event": "v", "scope": "public"}
    made = world.admin.post("/v2/event_triggers", {**body, "workflow_id": id})
    path = f"/v2/event_triggers/{made.json['id']}"
    assert world.blue.get(path).status == 200
    assert world.blue.get(f"{path}/firings").status == 403
    assert world.admin.get(f"{path}/firings").json == {"firings": []}


def test_m_85_86_87_event_triggers(world: World) -> None:
    path = "/v2/event_triggers"
    body = {"exchange": "e", "topic": "t", "event": "v"}
    assert world.red.post(path, body).status == 400
    assert world.red.post(path, body | {"workflow_id": "w"}).status == 400
    assert world.red.post(path, body | {"workflow_id": UNKNOWN}).status == 404
    body["workflow_id"] = world.workflow("w")
    for name in ("exchange", "topic", "event"):
        assert world.red.post(path, body | {name: ""}).status == 400
    made = world.red.post(path, body)
    assert made.status == 201
    assert world.red.post(path, body).status == 409
    assert world.red.get(f"{path}/name").status == 400
    changed = world.red.put(f"{path}/{made.json['id']}", {"event": "other"})
    assert changed.status == 400


def test_m_88_members_without_authentication(api: Client) -> None:
    made = api.post("/v2/workflows", WORKFLOW.format("w")).json["workflows"][0]
    path = f"/v2/workflows/{made['id']}/members"
    assert api.get(path).status == 400
    assert api.post(path, {"member_id": "blue"}).status == 400
    assert api.put(f"{path}/blue", {"status": "accepted"}).status == 400
    assert api.delete(f"{path}/blue").status == 400


def test_m_89_90_91_92_93_sharing(world: World) -> None:
    public = world.workflow("open", world.admin, "public")
    id = world.workflow("w")
    path, blue = f"/v2/workflows/{id}/members", {"member_id": "blue"}
    accept = {"status": "accepted"}
    assert world.admin.post(f"/v2/workflows/{public}/members", blue).status == 400
    assert world.red.post(path, blue).status == 201
    assert world.red.post(path, blue).status == 409
    assert world.red.put(f"{path}/blue", accept).status == 404
    assert world.blue.get(f"/v2/workflows/{id}").status == 404
    assert world.blue.put(f"{path}/blue", accept).status == 200
    assert world.blue.get(f"/v2/workflows/{id}").status == 200
    assert world.blue.delete(f"{path}/blue").status == 404


def test_m_94_95_96_what_others_own(world: World) -> None:
    shared, public = world.workflow("s"), world.workflow("p", world.admin, "public")
    path = f"/v2/workflows/{shared}/members"
    assert world.red.post(path, {"member_id": "blue"}).status == 201
    assert world.blue.put(f"{path}/blue", {"status": "accepted"}).status == 200
    for id, name in ((shared, "s"), (public, "p")):
        text = WORKFLOW.format(name)
        assert world.blue.put("/v2/workflows", text).status == 403
        assert world.blue.put(f"/v2/workflows/{id}", text).status == 403
        assert world.blue.delete(f"/v2/workflows/{id}").status == 403
    hidden = world.workflow("hidden")
    assert world.blue.get(f"/v2/workflows/{hidden}").status == 404
    assert world.blue.delete(f"/v2/workflows/{hidden}").status == 404
    for kind, text in (("workbooks", WORKBOOK), ("actions", ACTION)):
        made = world.admin.post(f"/v2/{kind}?scope=public", text.format("x"))
        assert made.status == 201
        assert world.blue.put(f"/v2/{kind}", text.format("x")).status == 403, kind
        assert world.blue.delete(f"/v2/{kind}/x").status == 403, kind
    body = {"name": "x", "scope": "public"}
    assert world.admin.post("/v2/environments", body).status == 201
    assert world.blue.put("/v2/environments", {"name": "x"}).status == 403
    assert world.blue.delete("/v2/environments/x").status == 403
    trigger = {"workflow_id": public, "scope": "public"}
    source = {"exchange": "e", "topic": "t", "event": "v"}
    made = world.admin.post("/v2/event_triggers", trigger | source)
    one = f"/v2/event_triggers/{made.json['id']}"
    assert world.blue.get(one).status == 200
    assert world.blue.put(one, {"name": "mine"}).status == 403
    assert world.blue.delete(one).status == 403


def test_m_97_98_99_maintenance(world: World) -> None:
    run = world.start("waits")
    put = world.admin.put("/maintenance", {"status": "PAUSED"})
    assert put.status == 200
    text = WORKFLOW.format("new")
    for method, path, body in (
        ("POST", "/v2/workflows", text),
        ("PUT", "/v2/environments", {"name": "e"}),
        ("DELETE", "/v2/workflows/waits", None),
        ("PUT", f"/v2/executions/{run}", {"state": "PAUSED"}),
    ):
        answer = world.red.request(method, path, body)
        assert answer.status == 423, path
        assert answer.headers["Server-Error-Message"]
    cancel = world.red.put(f"/v2/executions/{run}", {"state": "CANCELLED"})
    assert (cancel.status, cancel.json["state"]) == (200, "CANCELLED")
    for status in ("PAUSING", "bad", ""):
        answer = world.admin.put("/maintenance", {"status": status})
        assert answer.status == 400, status


def test_m_100_info_is_off(api: Client) -> None:
    assert api.get("/info").status == 400


# -- The rest of the register of quirks (§ 11) --------------------------------


def test_q_05_interface_is_text_on_get_and_an_object_on_post_and_put(
    world: World,
) -> None:
    made = world.red.post("/v2/workflows", WORKFLOW.format("w")).json["workflows"][0]
    assert made["interface"] == {"input": [], "output": []}
    put = world.red.put(f"/v2/workflows/{made['id']}", WORKFLOW.format("w")).json
    assert put["interface"] == {"input": [], "output": []}
    for shown in (
        world.red.get("/v2/workflows/w").json,
        world.red.get("/v2/workflows").json["workflows"][0],
    ):
        assert shown["interface"] == '{"input": [], "output": []}'


@pytest.mark.parametrize("type_", ["application/xml", "text/xml", "text/html"])
def test_q_07_08_what_can_be_accepted(world: World, type_: str) -> None:
    """XML is 406; JSON is fine for uploads, too (M-09)."""
    accept = {"Accept": type_}
    assert world.red.get("/v2/workflows", headers=accept).status == 406
    assert world.red.get("/v2/workflows", headers={"Accept": "*/*"}).status == 200
    json_ = {"Accept": "application/json"}
    text = ACTION.format("a")
    assert world.red.post("/v2/actions", text, headers=json_).status == 201
    assert world.red.put("/v2/actions", text, headers=json_).status == 200


def test_q_09_c_07_every_error_has_the_one_shape(world: World) -> None:
    """``Response.fault`` checks it; some have it in a header, too."""
    given = {"Accept": "text/html"}
    answers = {
        400: world.red.get("/v2/workflows?limit=0"),
        401: world.nobody.get("/v2/workflows"),
        403: world.red.post("/v2/workflows?scope=public", WORKFLOW.format("w")),
        404: world.red.get("/v2/unknown"),
        405: world.red.request("PATCH", "/v2/workflows"),
        406: world.red.get("/v2/workflows", headers=given),
        415: world.red.request("POST", "/v2/workflows", "<a/>", headers=XML),
    }
    world.red.post("/v2/workflows", WORKFLOW.format("w"))
    answers[409] = world.red.post("/v2/workflows", WORKFLOW.format("w"))
    world.admin.put("/maintenance", {"status": "PAUSED"})
    answers[423] = world.red.post("/v2/workflows", WORKFLOW.format("v"))
    for status, answer in answers.items():
        assert (answer.status, bool(answer.fault)) == (status, True)
        if status in (401, 415, 423):
            assert answer.headers["Server-Error-Message"], status


def test_sec_16_no_list_is_unbounded(world: World) -> None:
    """A page is never larger than ``max_limit``, whatever is asked for."""
    settings = world.services.settings
    few = replace(settings, api=replace(settings.api, max_limit=2))
    client = world.served(replace(world.services, settings=few)).be("red")
    for number in range(3):
        world.workflow(f"w{number}")
    for query in ("", "?limit=1000", "?limit=3"):
        page = client.get(f"/v2/workflows{query}").json
        assert len(page["workflows"]) == 2
        rest = client.get("/v2" + page["next"].split("/v2")[1]).json
        assert len(rest["workflows"]) == 1


def test_sec_20_dots_are_part_of_names(world: World) -> None:
    for name in ("a.b", "report.json", "x.xml"):
        world.workflow(name)
        assert world.red.get(f"/v2/workflows/{name}").json["name"] == name
        assert world.red.delete(f"/v2/workflows/{name}").status == 204


def test_sec_17_27_no_trace_no_sql(world: World) -> None:
    """Also where the database refuses something (Q-14)."""
    long = "x" * 10_000
    for answer in (
        world.red.get("/v2/executions?fields=__class__"),
        world.red.get(f"/v2/executions?workflow_name={long}"),
        world.red.get("/v2/workflows?created_at=%27%3B--"),
        world.red.post("/v2/environments", {"name": long}),
        world.red.post("/v2/executions", {"workflow_name": long}),
        world.red.post("/v2/workflows?namespace=" + long, WORKFLOW.format("w")),
    ):
        text = answer.body.decode()
        assert answer.status < 500
        for word in ("Traceback", "SELECT", "INSERT", "sqlalchemy", "sqlite", ".py"):
            assert word not in text
