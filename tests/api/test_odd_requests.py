"""Requests that nobody means: what schemathesis found, and its like.

Each is answered with the right status and a fault; none is a failure of ours.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest
from rest import Client

TEXT = "version: '2.0'\nw:\n  tasks:\n    t: {action: std.noop}\n"


def _typed(client: Client, content_type: str, body: bytes = b"{}") -> Any:
    given = {"Content-Type": content_type}
    return client.request("POST", "/v2/environments", body, headers=given)


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; ="],
)
def test_a_form_without_a_boundary(api: Client, content_type: str) -> None:
    """1.2: uploads are texts whatever their type says; others want JSON."""
    assert _typed(api, content_type).status == 400
    given = {"Content-Type": content_type}
    assert api.post("/v2/workflows", TEXT, headers=given).status == 201


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "unicode_escape", "hex", "rot13", "no such", "\xff"]
)
def test_only_charsets_of_texts_are_read(api: Client, charset: str) -> None:
    """Some codecs of Python take time that grows with the square of the length."""
    given = {"Content-Type": f"text/plain; charset={charset}"}
    answer = api.post("/v2/workflows", TEXT, headers=given)
    assert answer.status == 400
    assert "charset" in answer.fault


@pytest.mark.parametrize("charset", ["utf-8", "UTF-16", "latin-1", "ascii", "cp1252"])
def test_charsets_of_texts_are_read(api: Client, charset: str) -> None:
    given = {"Content-Type": f"text/plain; charset={charset}"}
    answer = api.post("/v2/workflows", TEXT.encode(charset), headers=given)
    assert answer.status == 201


@pytest.mark.parametrize("text", ["[" * 5000, "\ud800", "nope", ""])
def test_q28_a_catalogue_that_is_none(api: Client, text: str) -> None:
    catalog = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
    answer = api.get("/v2/tasks", headers={"X-Target-Service-Catalog": catalog})
    assert answer.status == (400 if text else 200)


@pytest.mark.parametrize("value", ["true", "no", "AAA"])
def test_q28_malformed_target_headers(api: Client, value: str) -> None:
    """2.3: a step of its own, whatever else is asked."""
    answer = api.get("/v2/tasks", headers={"X-Target-Insecure": value})
    assert answer.status == 400
    assert "X-Target-Insecure" in answer.fault


@pytest.mark.parametrize("tags", [[None], ["a", 1], "a", {"a": "b"}])
def test_1_2_a_wrong_type_is_refused_where_the_value_would_be_ignored(
    api: Client, tags: Any
) -> None:
    answer = api.post("/v2/action_executions", {"name": "std.echo", "tags": tags})
    assert answer.status == 400
    assert "tags" in answer.fault
