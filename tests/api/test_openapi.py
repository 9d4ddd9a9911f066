"""The document of the API, and that it and the routes say the same.

Every answer that a test of the API gets is held against the document as well
(``tests/contract.py``).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

import pytest
from contract import Broken, Contract, contract_of
from openapi_spec_validator import OpenAPIV31SpecValidator
from rest import Client
from webob import Request

from mistral.api import rules
from mistral.api.app import Services, collections, make_app
from mistral.api.document import operation_id
from mistral.api.v2 import runs
from mistral.api.v2.root import Root
from mistral.config import Settings
from mistral.context import Context
from mistral.db import maintenance
from mistral.db.maintenance import Status
from mistral.engine.core.states import ACTION, TASK, WORKFLOW
from mistral.errors import Forbidden, Unauthorized

RESOURCES: Final = Root(collections(), health=True).resources
OPERATIONS: Final = [
    (f"{base}/{route.path}" if route.path else base, resource, route)
    for base, resource in RESOURCES.items()
    for route in resource.routes
]


@pytest.fixture(scope="module")
def paths() -> Any:
    """What the document says of a service that checks its health."""
    settings = Settings()
    settings = replace(settings, api=replace(settings.api, healthcheck=True))
    return contract_of(settings).document["paths"]


# -- The document -------------------------------------------------------------


def test_the_document_is_openapi_3_1(api: Client) -> None:
    document = api.get("/v2/openapi.json").json
    assert document["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert document["servers"] == [{"url": "http://localhost"}]


@pytest.mark.parametrize(
    ("auth_type", "about"),
    [("keystone", "Keystone"), ("keycloak-oidc", "JWT"), ("oidc", "JWT")],
)
def test_the_document_says_who_is_let_in(
    services: Services, auth_type: str, about: str
) -> None:
    """Anybody may read it; it tells no secrets, addresses or names of files."""
    settings = services.settings
    settings = replace(
        settings, api=replace(settings.api, auth_enable=True, auth_type=auth_type)
    )
    services = replace(services, settings=settings)
    answer = Client(make_app(services, identify=_nobody), services).get(
        "/v2/openapi.json"
    )
    assert answer.status == 200
    [(name, scheme)] = answer.json["components"]["securitySchemes"].items()
    assert scheme["name"] == "X-Auth-Token"
    assert about in scheme["description"]
    paths = answer.json["paths"]
    assert paths["/v2/workflows"]["get"]["security"] == [{name: []}]
    assert paths["/v2/openapi.json"]["get"]["security"] == []


def test_without_authentication_there_is_no_scheme(api: Client) -> None:
    document = api.get("/v2/openapi.json").json
    assert "securitySchemes" not in document["components"]
    assert "401" not in document["paths"]["/v2/workflows"]["get"]["responses"]


def test_limits_are_those_of_the_settings(services: Services) -> None:
    api = replace(
        services.settings.api,
        max_limit=77,
        max_body_bytes=8888,
        max_json_body_bytes=4444,
    )
    services = replace(services, settings=replace(services.settings, api=api))
    found = Client(make_app(services), services).get("/v2/openapi.json").json
    limits = {
        name: parameter["schema"].get("default")
        for name in ("workflows", "actions")
        for parameter in found["paths"][f"/v2/{name}"]["get"]["parameters"]
        if parameter["name"] == "limit"
    }
    assert limits == {"workflows": 77, "actions": None}
    bodies = found["paths"]["/v2/workflows"]["post"]["requestBody"]
    assert "8888" in bodies["description"]
    bodies = found["paths"]["/v2/executions"]["post"]["requestBody"]
    assert "4444" in bodies["description"]


def test_states_are_those_of_the_engine() -> None:
    assert set(runs.WORKFLOW_STATES) == set(WORKFLOW)
    assert set(runs.ACTION_STATES) == set(ACTION)
    schemas = contract_of(Settings()).document["components"]["schemas"]
    assert set(schemas["TaskExecution"]["properties"]["state"]["enum"]) == set(TASK)


# -- The document and the routes ----------------------------------------------


def test_every_route_is_described(paths: Any) -> None:
    for path, resource, route in OPERATIONS:
        found = paths[path][route.method.lower()]
        name = operation_id(resource, route)
        assert found["operationId"] == name
        assert found["summary"].endswith("."), f"{name}: the handler's docstring"
        assert ("requestBody" in found) == (route.takes is not None), name
        assert str(route.status) in found["responses"]
        parameters = found.get("parameters", [])
        assert all("$ref" in p or p["description"] for p in parameters), name
        listed = [p["name"] for p in parameters if p.get("in") == "query"]
        assert listed == [p.name for p in route.query]
        assert len(set(listed)) == len(listed)


def test_bodies_are_described_both_ways(paths: Any) -> None:
    """One call is there to be refused: it takes and answers nothing. Of some the path
    says all."""
    silent = [
        operation_id(resource, route)
        for path, resource, route in OPERATIONS
        if (route.method in ("POST", "PUT") and route.takes is None)
        or (route.status != 204 and route.answer is None)
    ]
    assert silent == [
        "environments_put_one",
        *(f"cron_triggers_{verb}" for verb in ("pause", "resume", "run_now")),
    ]


def test_nothing_but_routes_is_described(paths: Any) -> None:
    served = {(path, route.method.lower()) for path, _, route in OPERATIONS}
    described = {(path, method) for path, item in paths.items() for method in item}
    assert described == served


def test_operations_have_names_of_their_own() -> None:
    names = [operation_id(resource, route) for _, resource, route in OPERATIONS]
    assert len(set(names)) == len(names)


def test_policy_rules_are_those_that_exist(paths: Any) -> None:
    """Each rule protects a call, but for that of the collection that is gone."""
    known = {rule.name for rule in rules.defaults() if ":" in rule.name}
    found = {
        rule
        for item in paths.values()
        for operation in item.values()
        for rule in operation.get("x-policy-rules", [])
    }
    assert found == known - {"services:list"}


# -- Statuses that follow from what a route is --------------------------------


def _nobody(request: Request, request_id: str) -> Context:
    raise Unauthorized("Nobody.")


def _stranger(request: Request, request_id: str) -> Context:
    raise Forbidden("The token is for no project.")


def _xml(client: Client, method: str, path: str) -> int:
    given = {"Content-Type": "application/xml"}
    return client.request(method, path, b"<a/>", headers=given).status


def _html(client: Client, method: str, path: str) -> int:
    given = {"Accept": "text/html", "Content-Type": "application/json"}
    return client.request(method, path, b"{}", headers=given).status


def _plain(client: Client, method: str, path: str) -> int:
    return client.request(method, path, None).status


def _as_it_is(client: Client, method: str, path: str) -> int:
    return client.request(method, path).status


def _pause(database: Any) -> None:
    with database.begin() as connection:
        maintenance.change(connection, Status.PAUSED)
        assert maintenance.finish(connection)


@pytest.mark.parametrize(
    ("status", "who", "ask"),
    [
        (401, _nobody, _as_it_is),
        (403, _stranger, _as_it_is),
        (406, None, _html),
        (415, None, _xml),
        (423, None, _as_it_is),
    ],
)
def test_it_is_described_iff_it_happens(
    services: Services, paths: Any, status: int, who: Any, ask: Any
) -> None:
    client = Client(make_app(services, identify=who), services)
    if status == 423:
        _pause(services.database)
    for path, resource, route in OPERATIONS:
        described = str(status) in paths[path][route.method.lower()]["responses"]
        asked = path.replace("{", "").replace("}", "")
        happens = ask(client, route.method, asked) == status
        assert happens == described, operation_id(resource, route)


# -- The judge ----------------------------------------------------------------

WORKFLOW_SHOWN: Final = {
    "id": "00000000-0000-4000-8000-000000000001",
    "name": "w",
    "namespace": "",
    "input": "",
    "interface": '{"input": [], "output": []}',
    "definition": "",
    "checksum": None,
    "tags": [],
    "scope": "private",
    "project_id": "p",
    "created_at": "2026-11-21 01:02:03",
    "updated_at": None,
}
ID: Final = {
    "X-Openstack-Request-Id": "req-1",
    "Content-Type": "application/json",
    "ETag": '"x"',
}


@pytest.fixture(scope="module")
def contract() -> Contract:
    return contract_of(Settings())


def _judge(contract: Contract, body: Any, query: str = "", **more: Any) -> None:
    given: dict[str, Any] = {"status": 200, "headers": ID, **more}
    contract.check("GET", f"/v2/workflows/w{query}", body=_bytes(body), **given)


def _bytes(body: Any) -> bytes:
    return b"" if body is None else json.dumps(body).encode()


def test_the_judge_knows_what_is_right(contract: Contract) -> None:
    _judge(contract, WORKFLOW_SHOWN)
    _judge(contract, {"id": WORKFLOW_SHOWN["id"]}, "?fields=id")
    _judge(contract, None, status=304)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "no-uuid"},
        {"name": None},
        {"scope": "secret"},
        {"tags": None},
        {"created_at": "2026-11-21T01:02:03"},
        {"interface": "{"},
        {"interface": '{"input": []}'},
        {"undocumented": 1},
    ],
    ids=str,
)
def test_the_judge_sees_a_wrong_shape(
    contract: Contract, change: dict[str, Any]
) -> None:
    with pytest.raises(Broken):
        _judge(contract, {**WORKFLOW_SHOWN, **change})


def test_the_judge_sees_what_is_missing(contract: Contract) -> None:
    with pytest.raises(Broken, match="required"):
        _judge(contract, {"id": WORKFLOW_SHOWN["id"]})
    with pytest.raises(Broken, match="X-Openstack-Request-Id"):
        _judge(contract, WORKFLOW_SHOWN, headers={"Content-Type": "application/json"})


def test_the_judge_sees_a_wrong_status_or_type(contract: Contract) -> None:
    with pytest.raises(Broken, match="knows 200"):
        _judge(contract, WORKFLOW_SHOWN, status=201)
    with pytest.raises(Broken, match="text/html"):
        _judge(contract, WORKFLOW_SHOWN, headers={**ID, "Content-Type": "text/html"})
    with pytest.raises(Broken, match="no body"):
        _judge(contract, WORKFLOW_SHOWN, status=304)
    with pytest.raises(Broken, match="nobody knows"):
        contract.check("GET", "/v2/secrets", 200, ID, b"{}")
