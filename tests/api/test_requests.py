"""Transport, errors, lists: what is the same for every resource.

Numbers such as ``M24`` are rows of the matrix in spec/rest-api.md § 13.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from mistral.api import policy, rules
from mistral.api.app import Services, collections, make_app
from mistral.api.rest import Call, Resource, Route
from mistral.config import empty_source
from mistral.errors import Bug, ServiceError

WORKFLOW = "version: '2.0'\n{}:\n  tasks:\n    t: {{action: std.noop}}\n"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("row", "method", "path", "status"),
    [
        ("M1", "GET", "/", 200),
        ("M2", "GET", "/v2/", 200),
        ("M3", "GET", "/v2", 302),
        ("Q-01", "POST", "/v2", 405),
        ("Q-02", "HEAD", "/v2/workflows", 200),
        ("1.1", "OPTIONS", "/nowhere", 200),
        ("1.1 slash", "GET", "/v2/workflows/", 200),
        ("1.1 doubled", "GET", "//v2/workflows", 400),
        ("1.1 doubled end", "GET", "/v2/workflows//", 400),
        ("1.1 case", "GET", "/V2/workflows", 404),
        ("M4", "GET", "/v2/unknown", 404),
        ("M4 services", "GET", "/v2/services", 404),
        ("M5", "PATCH", "/v2/workflows", 405),
        ("Q-03", "GET", "/v2/workflows/a/definition", 404),
        ("9.1.7", "GET", f"/v2/executions/{UNKNOWN}/tasks/{UNKNOWN}", 405),
        ("8.3", "GET", "/v2/workflows/validate", 405),
        ("6.2", "GET", "/healthcheck", 200),
        ("M24", "GET", "/v2/workflows?limit=0", 400),
        ("M24", "GET", "/v2/workflows?limit=-1", 400),
        ("M24", "GET", "/v2/workflows?limit=x", 400),
        ("M25", "GET", "/v2/workflows?sort_dirs=sideways", 400),
        ("M25", "GET", "/v2/workflows?sort_keys=id,id&sort_dirs=asc,asc", 400),
        ("M26", "GET", "/v2/workflows?sort_keys=bogus", 400),
        ("M27", "GET", "/v2/workflows?marker=not-a-uuid", 400),
        ("M28", "GET", f"/v2/workflows?marker={UNKNOWN}", 404),
        ("M29", "GET", "/v2/workflows?fields=bogus", 400),
        ("M30", "GET", "/v2/workflows?bogus=1", 400),
        ("Q-06", "GET", "/v2/workflows?all_projects=perhaps", 400),
        ("M31", "GET", "/v2/workflows?project_id=abc", 400),
        ("M31", "GET", "/v2/workflows?project_id=in:<default-project>,abc", 400),
        ("Q-20", "GET", "/v2/workflows?project_id=<default-project>", 200),
        ("Q-19", "GET", "/v2/workflows?created_at=gt:yesterday", 400),
        ("M66", "GET", "/v2/executions?nulls=bogus", 400),
        ("2.2 nulls", "GET", "/v2/executions?nulls=state", 400),
        ("3.5 nulls", "GET", "/v2/executions?nulls=task_execution_id", 200),
        ("3.5 has", "GET", "/v2/workflows?name=has:a%5C", 200),
        ("10.3", "GET", "/v2/actions?is_system%3CFalse=", 400),
        ("bytes", "GET", "/v2/workflows?name=%ff", 400),
        ("NUL", "GET", "/v2/workflows?name=a%00b", 400),
        ("NUL", "GET", "/v2/workflows/a%00b", 400),
    ],
)
def test_rest_status(
    api: Any, caplog: Any, row: str, method: str, path: str, status: int
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = api.request(method, path)
    assert answer.status == status, row
    assert answer.headers["X-Openstack-Request-Id"].startswith("req-")
    if status >= 400:
        assert answer.fault
        assert not caplog.records, "a client's mistake is none of the log's"


def test_m5_allow_names_what_is_possible(api: Any) -> None:
    assert api.request("PATCH", "/v2/workflows").headers["Allow"] == "GET, POST, PUT"
    closed = api.get(f"/v2/executions/{UNKNOWN}/tasks/{UNKNOWN}")
    assert closed.headers["Allow"] == ""


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type"),
    [
        ("POST", "/v2/workflows", WORKFLOW.format("a"), "charset=utf-8"),
        ("PUT", "/v2/workflows", WORKFLOW.format("w"), "charset=utf-8"),
        ("POST", "/v2/workflows/validate", "", "charset=utf-8"),
        ("POST", "/v2/workbooks", "version: '2.0'\nname: b\n", "charset=utf-8"),
        ("POST", "/v2/actions", "version: '2.0'\na: {base: std.noop}", "charset=utf-8"),
        ("GET", "/v2/workflows/w", None, ""),
        ("GET", "/v2/workflows", None, ""),
        ("POST", "/v2/environments", {"name": "e"}, ""),
    ],
)
def test_1_6_media_types_of_answers(
    api: Any, method: str, path: str, body: Any, content_type: str
) -> None:
    """A charset behind uploads of definitions alone; no ``Location`` anywhere."""
    api.post("/v2/workflows", WORKFLOW.format("w"))
    answer = api.request(method, path, body)
    assert answer.status in (200, 201)
    media_type, _, parameters = answer.headers["Content-Type"].partition(";")
    assert (media_type, parameters.strip().lower()) == (
        "application/json",
        content_type,
    )
    assert "Location" not in answer.headers


def test_m1_versions_have_the_urls_of_the_client(api: Any) -> None:
    answer = api.get("/", headers={"Host": "api.example.org:8989"})
    assert answer.json == {
        "versions": [
            {
                "id": "v2.0",
                "status": "CURRENT",
                "links": [
                    {
                        "href": "http://api.example.org:8989/v2",
                        "target": "v2",
                        "rel": "self",
                    }
                ],
            }
        ]
    }
    assert api.get("/v2/").json == {"uri": "http://localhost/v2"}


def test_m3_redirect_leads_to_the_root(api: Any) -> None:
    assert api.get("/v2").headers["Location"] == "http://localhost/v2/"


@pytest.mark.parametrize(
    ("row", "path", "body", "headers", "status"),
    [
        ("M6", "/v2/environments", "<x/>", {"Content-Type": "application/xml"}, 415),
        ("M6", "/v2/workflows", "<x/>", {"Content-Type": "text/xml"}, 415),
        ("M7", "/v2/environments", "{}", {"Content-Type": "text/plain"}, 415),
        (
            "1.2 form",
            "/v2/environments",
            '{"name": "a"}',
            {"Content-Type": "application/x-www-form-urlencoded"},
            400,
        ),
        (
            "1.2 malformed",
            "/v2/environments",
            '{"name"',
            {"Content-Type": "application/json"},
            400,
        ),
        ("1.2 empty", "/v2/environments", "", {"Content-Type": "text/javascript"}, 400),
        ("Q-04", "/v2/environments", "[]", {"Content-Type": "application/json"}, 400),
        ("Q-04", "/v2/environments", "null", {"Content-Type": "application/json"}, 400),
        (
            "deep",
            "/v2/environments",
            "[" * 100_000,
            {"Content-Type": "application/json"},
            400,
        ),
        (
            "1.2 charset",
            "/v2/workflows",
            b"\xff\xfe",
            {"Content-Type": "text/plain"},
            400,
        ),
        (
            "1.6",
            "/v2/environments",
            {"name": "a"},
            {"Accept": "text/html", "Content-Type": "application/json"},
            406,
        ),
        (
            "M8",
            "/v2/workflows",
            WORKFLOW.format("a"),
            {"Content-Type": "application/json"},
            201,
        ),
        (
            "1.2 form text",
            "/v2/workflows",
            WORKFLOW.format("a"),
            {"Content-Type": "application/x-www-form-urlencoded"},
            201,
        ),
        (
            "M9",
            "/v2/workflows",
            WORKFLOW.format("a"),
            {"Accept": "application/json"},
            201,
        ),
    ],
)
def test_rest_bodies(
    api: Any, row: str, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    answer = api.post(path, body, headers=headers)
    assert answer.status == status, (row, answer.body)
    if status >= 400:
        assert answer.fault
    if status == 415:
        assert answer.headers["Server-Error-Message"]


def test_body_limits_sec03(services: Services, api: Any) -> None:
    """Refused before anything is parsed (§ 6.5)."""
    settings = services.settings
    small = replace(settings.api, max_body_bytes=100, max_json_body_bytes=20)
    services = replace(services, settings=replace(settings, api=small))
    api = type(api)(make_app(services), services)
    assert api.post("/v2/workflows", "#" * 101).status == 413
    assert api.post("/v2/workflows", "#" * 100).status == 400
    assert api.post("/v2/environments", {"name": "x" * 20}).status == 413


def test_sec26_identity_headers_change_nothing(api: Any, bus: Any) -> None:
    """Q-26: whoever claims to be somebody is who everybody is."""
    claims = {
        "X-Project-Id": "evil",
        "X-Roles": "nobody",
        "X-User-Id": "u",
        "X-Identity-Status": "Confirmed",
    }
    answer = api.post("/v2/environments", {"name": "e"}, headers=claims)
    assert answer.json["project_id"] == "<default-project>"


class _Failing(Resource):
    """A collection whose handler fails in the way that its path says."""

    routes = (Route("GET", "{how}", "get", policy.OPEN),)

    def get(self, call: Call, how: str) -> Any:
        with call.services.database.read() as connection:
            if how == "sql":
                connection.exec_driver_sql("SELECT secret FROM nowhere")
        raise RuntimeError("secret")


@pytest.mark.parametrize(
    ("how", "status"), [("sql", 500), ("code", 500), ("away", 503)]
)
def test_sec17_sec27_no_trace_and_no_sql(
    services: Services, api: Any, how: str, status: int
) -> None:
    """Our own failure is told by its request id alone."""
    from mistral.api.app import ReadingHook
    from mistral.api.authentication import OPEN_DOOR
    from mistral.api.framework import OneController
    from mistral.api.hooks import Edge, ErrorHook
    from mistral.api.v2.root import Root

    policies = policy.Policies(empty_source())
    inner = OneController(
        Root({"failing": _Failing()}, health=False),
        hooks=[
            ReadingHook(services, policies, OPEN_DOOR),
            ErrorHook(lambda error: how == "away"),
        ],
    )
    api = type(api)(Edge(inner, max_body=10, new_id=lambda: "7"), services)
    answer = api.get(f"/v2/failing/{how}")
    assert answer.status == status
    assert "secret" not in answer.fault
    assert "req-7" in answer.fault


def test_sec15_every_route_has_a_policy_rule() -> None:
    known = {policy.OPEN, *(rule.name for rule in rules.defaults())}
    for name, resource in collections().items():
        for route in resource.routes:
            assert route.rule in known, (name, route)
            assert hasattr(resource, route.handler), (name, route)
    with pytest.raises(Bug, match="things:get"):
        policy.Policies(empty_source()).check_routes(["things:get"])


def test_authentication_on_needs_somebody_who_does_it(services: Services) -> None:
    settings = services.settings
    strict = replace(settings, api=replace(settings.api, auth_enable=True))
    with pytest.raises(ServiceError, match="auth_enable"):
        make_app(replace(services, settings=strict))


# -- Lists --------------------------------------------------------------------


@pytest.fixture
def five(api: Any, clock: Any) -> Any:
    """Workflows w1 … w5, a second apart; w2 and w4 have the tag ``Even``."""
    for number in range(1, 6):
        text = WORKFLOW.format(f"w{number}")
        if number % 2 == 0:
            text += "  tags: [Even, all]\n"
        else:
            text += "  tags: [all]\n"
        assert api.post("/v2/workflows", text).status == 201
        clock.advance(1)
    return api


def _names(answer: Any, collection: str = "workflows") -> list[str]:
    assert answer.status == 200, answer.body
    return [item["name"] for item in answer.json[collection]]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "w1 w2 w3 w4 w5"),
        ("sort_keys=name&sort_dirs=desc", "w5 w4 w3 w2 w1"),
        ("sort_keys=created_at&sort_dirs=DESC&limit=2", "w5 w4"),
        ("name=w2", "w2"),
        ("name=eq:w2", "w2"),
        ("name=neq:w2", "w1 w3 w4 w5"),
        ("name=gt:w3", "w4 w5"),
        ("name=gte:w3", "w3 w4 w5"),
        ("name=lt:w3", "w1 w2"),
        ("name=lte:w3", "w1 w2 w3"),
        ("name=in:w1,w3,,x", "w1 w3"),
        ("name=nin:w1,w3", "w2 w4 w5"),
        ("name=has:4", "w4"),
        ("name=has:W", ""),
        ("name=has:w_", "w1 w2 w3 w4 w5"),
        ("name=foo:bar", ""),
        ("name=in:w1&name=w2", "w2"),
        ("name=gt:w1&definition=has:w3", "w3"),
        ("tags=all", "w1 w2 w3 w4 w5"),
        ("tags=all,Even", "w2 w4"),
        ("tags=even", ""),
        ("tags=in:Even,none", "w2 w4"),
        ("tags=nin:Even", "w1 w3 w5"),
        ("tags=has:ve", "w2 w4"),
        ("created_at=2020-01-02 03:04:06", "w2"),
        ("created_at=gt:2020-01-02 03:04:07", "w4 w5"),
        ("created_at=lte:2020-01-02T03:04:06Z", "w1 w2"),
        ("created_at=in:2020-01-02 03:04:05,2020-01-02 03:04:09", "w1 w5"),
        ("updated_at=gt:2020-01-01", ""),
        ("scope=public", ""),
        ("scope=weird", ""),
        ("namespace=", "w1 w2 w3 w4 w5"),
        ("project_id=<default-project>&name=w1", "w1"),
        ("project_id=11111111-1111-4111-8111-111111111111", ""),
        ("project_id=neq:11111111111141118111111111111111&name=w1", "w1"),
        ("all_projects=false&limit=1", "w1"),
    ],
)
def test_rest_lists(five: Any, query: str, names: str) -> None:
    """§ 3.3, § 3.5, Q-19, Q-20, Q-21, Q-33: order and filters."""
    assert _names(five.get(f"/v2/workflows?{query}")) == names.split()


def test_rest_first_page_has_the_layout_of_next(five: Any) -> None:
    """§ 3.2, checklist 5."""
    query = "limit=1&fields=name&name=has:w&sort_keys=name,created_at&sort_dirs=desc"
    body = five.get(f"/v2/workflows?{query}").json
    (only,) = body["workflows"]
    assert set(only) == {"id", "name"}
    assert body["next"] == (
        "http://localhost/v2/workflows?sort_keys=name,created_at,id"
        "&sort_dirs=desc,asc,asc&name=has:w&limit=1"
        f"&marker={only['id']}&fields=id,name"
    )


@pytest.mark.parametrize(
    "query",
    [
        "limit=2",
        "limit=1&sort_keys=updated_at,name&sort_dirs=desc,desc",
        "limit=2&sort_keys=scope",
        "limit=3&tags=all&name=in:w1,w2,w3,w4,w5&all_projects=true",
        "limit=2&created_at=gte:2020-01-02 03:04:05",
    ],
)
def test_q16_following_next_gives_everything_once(five: Any, query: str) -> None:
    text = WORKFLOW.format("w3") + "  tags: [all]\n  vars: {a: 1}\n"
    assert five.put("/v2/workflows", text).json["workflows"][0]["updated_at"]
    seen, path = [], f"/v2/workflows?{query}"
    while path:
        body = five.get(path).json
        seen += [item["name"] for item in body["workflows"]]
        link = urlsplit(body.get("next", ""))
        path = f"{link.path}?{link.query}" if link.path else ""
        assert len(seen) <= 5
    assert sorted(seen) == ["w1", "w2", "w3", "w4", "w5"]


def test_rest_next_only_on_full_pages(five: Any) -> None:
    assert "next" in five.get("/v2/workflows?limit=5").json
    assert "next" not in five.get("/v2/workflows?limit=6").json
    assert "next" not in five.get("/v2/workflows").json
    assert "next" not in five.get("/v2/workflows?name=none&limit=1").json


def test_sec16_the_largest_page_is_silently_the_limit(
    services: Services, five: Any
) -> None:
    settings = services.settings
    two = replace(settings, api=replace(settings.api, max_limit=2))
    services = replace(services, settings=two)
    api = type(five)(make_app(services), services)
    for path in ("/v2/workflows", "/v2/workflows?limit=1000"):
        body = api.get(path).json
        assert len(body["workflows"]) == 2
        assert parse_qs(urlsplit(body["next"]).query)["limit"] == ["2"]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ("", None),
        ("NAME, name", {"id", "name"}),
        ("input", {"id", "input"}),
        ("interface", {"id", "interface"}),
        ("input,interface,tags", {"id", "input", "interface", "tags"}),
    ],
)
def test_q10_q18_fields_of_lists_and_single_objects(
    five: Any, fields: str, shown: set[str] | None
) -> None:
    first = five.get(f"/v2/workflows?fields={fields}").json["workflows"][0]
    single = five.get(f"/v2/workflows/w1?fields={fields}").json
    assert first == single
    if shown is not None:
        assert set(first) == shown
    assert five.get("/v2/workflows/w1?fields=bogus").status == 400


def test_q17_same_second_keeps_the_order_of_creation(api: Any, clock: Any) -> None:
    for number in range(8):
        api.post("/v2/workflows", WORKFLOW.format(f"q{7 - number}"))
        clock.advance(0.001)
    assert _names(api.get("/v2/workflows")) == [f"q{7 - n}" for n in range(8)]
