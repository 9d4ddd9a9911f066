"""The API's own document as a judge of its answers.

``tests/rest.py`` asks it about every answer that a test gets, so that a status, a
header or a shape that the document does not know fails the test that met it.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import jsonschema_rs

from mistral.api.app import document
from mistral.config import Settings

Schema = dict[str, Any]


class Broken(AssertionError):
    """An answer is not what the document says."""


class _Key:
    """Settings, equal where their documents are: making one takes time."""

    def __init__(self, settings: Settings) -> None:
        # Tests hand in who asks: where settings say nobody is asked, 401 is known.
        api = replace(settings.api, auth_enable=True)
        self.settings = settings = replace(settings, api=api)
        self._text = repr(settings.api)

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._text == other._text


@lru_cache(maxsize=16)
def _contract(key: _Key) -> Contract:
    return Contract(document(key.settings))


def contract_of(settings: Settings) -> Contract:
    """The contract of a service with these settings."""
    return _contract(_Key(settings))


class Contract:
    """:param document: OpenAPI 3.1."""

    def __init__(self, document: Schema) -> None:
        self.document = document
        self._paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), item)
            # literal segments win over parameters
            for path, item in sorted(document["paths"].items(), key=_literals_first)
        ]
        self._validators: dict[str, Any] = {}
        self._formats: dict[str, Callable[[str], bool]] = {}

    def operation(self, method: str, path: str) -> Schema | None:
        """What the document says of a request; None: nothing."""
        path = path.partition("?")[0]
        path = path if path in ("/", "/v2/") else path.rstrip("/")
        for pattern, item in self._paths:
            if pattern.fullmatch(path):
                found: Schema | None = item.get(method.replace("HEAD", "GET").lower())
                return found
        return None

    def check(
        self,
        method: str,
        path: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
    ) -> None:
        """:raises Broken: the answer is none that the document knows."""
        operation = self.operation(method, path)
        if operation is None:
            if 200 <= status < 300 and method != "OPTIONS":
                raise Broken(f"{method} {path}: nobody knows it, yet {status}")
            return
        where = f"{method} {path} → {status}"
        response = self._resolved(operation["responses"].get(str(status)))
        if response is None:
            known = ", ".join(operation["responses"])
            raise Broken(f"{where}: the document knows {known}: {body[:300]!r}")
        for name, header in response.get("headers", {}).items():
            if self._resolved(header)["required"] and name not in headers:
                raise Broken(f"{where}: there is no header {name}")
        content = response.get("content", {})
        if not content:
            if body:
                raise Broken(f"{where}: there should be no body")
            return
        media_type = headers["Content-Type"].partition(";")[0]
        if media_type not in content:
            raise Broken(f"{where}: {media_type} is none of {list(content)}")
        if media_type == "application/json" and method != "HEAD":
            if headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            schema = content[media_type]["schema"]
            if "fields=" not in path:
                schema = _whole(schema)
            self._validate(where, schema, json.loads(body))

    def _validate(self, where: str, schema: Schema, value: Any) -> None:
        key = json.dumps(schema)
        if key not in self._validators:
            components = self.document["components"]["schemas"]
            whole = {**schema, "components": {"schemas": components}}
            asserted = self._with_texts(whole)
            self._validators[key] = jsonschema_rs.Draft202012Validator(
                asserted, validate_formats=True, formats=self._formats
            )
        errors = [
            f"{'/'.join(map(str, error.instance_path))}: {error.message}"
            for error in self._validators[key].iter_errors(value)
        ]
        if errors:
            raise Broken(f"{where}: {'; '.join(errors)}")

    def _with_texts(self, schema: Any) -> Any:
        """JSON Schema only notes what a text contains; here it is looked at."""
        if isinstance(schema, list):
            return [self._with_texts(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        found = {name: self._with_texts(value) for name, value in schema.items()}
        if "contentMediaType" in schema:
            content = json.dumps(schema.get("contentSchema", {}))
            found["format"] = f"json-text-{content}"
            self._formats[found["format"]] = _json_text(content)
        return found

    def _resolved(self, schema: Schema | None) -> Schema | None:
        if schema is None or "$ref" not in schema:
            return schema
        found: Any = self.document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return dict(found)


def _literals_first(item: tuple[str, Any]) -> list[bool]:
    return ["{" in part for part in item[0].split("/")]


def _whole(schema: Any) -> Any:
    """What is not cut to some attributes: the first of ``X`` and ``XFields``."""
    if isinstance(schema, list):
        return [_whole(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    either = schema.get("anyOf", [])
    if len(either) == 2 and "$ref" in either[0]:
        if either[1].get("$ref") == f"{either[0]['$ref']}Fields":
            return either[0]
    return {name: _whole(value) for name, value in schema.items()}


@cache
def _json_text(content: str) -> Callable[[str], bool]:
    judge = jsonschema_rs.Draft202012Validator(json.loads(content))

    def is_one(text: str) -> bool:
        try:
            return bool(judge.is_valid(json.loads(text)))
        except ValueError:
            return False

    return is_one
