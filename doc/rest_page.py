"""The page on the REST API, written from the OpenAPI document when the pages are
built.

None of the Sphinx extensions that were tried renders OpenAPI 3.1: unions of types
and references stop them (decision 0023).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HEAD = """\
REST API
========

{description}

Programs read all of this at ``GET /v2/openapi.json``, as OpenAPI 3.1 and with the
limits of the service that they ask; this page is made of the same document:
:download:`openapi.json`.

Errors
------

Every error has the body :ref:`Fault <shape-Fault>`. 401, 415 and 423 have the reason
in the header ``Server-Error-Message``, too; 429 and 503 say in ``Retry-After`` when to
ask again.

"""


def write(document: dict[str, Any], directory: Path) -> None:
    """``rest.rst`` and ``openapi.json``."""
    directory.mkdir(exist_ok=True)
    (directory / "rest.rst").write_text(page(document), encoding="utf-8")
    text = json.dumps(document, indent=1)
    (directory / "openapi.json").write_text(text, encoding="utf-8")


def page(document: dict[str, Any]) -> str:
    """The page as reStructuredText."""
    parts = [HEAD.format(description=_text(document["info"]["description"]))]
    refusals = document["components"]["responses"].values()
    parts.append(
        _table(
            ("Status", "Meaning"),
            [
                (_status_of(document, name), _text(found["description"]))
                for name, found in zip(
                    document["components"]["responses"], refusals, strict=True
                )
            ],
        )
    )
    for tag in document["tags"]:
        parts += [_title(tag["name"].replace("_", " ").capitalize(), "-")]
        parts += [_text(tag["description"]), "\n\n"]
        for path, method, operation in _operations(document):
            if tag["name"] in operation["tags"]:
                parts += _operation(document, path, method, operation)
    parts.append(_title("Shapes", "-"))
    for name, schema in document["components"]["schemas"].items():
        if not name.endswith("Fields"):
            parts += _shape(name, schema)
    return "".join(parts)


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation


def _status_of(document: dict[str, Any], name: str) -> str:
    """By the first answer that refers to it."""
    wanted = f"#/components/responses/{name}"
    for _, _, operation in _operations(document):
        for status, response in operation["responses"].items():
            if response.get("$ref") == wanted:
                return str(status)
    return ""


def _operation(
    document: dict[str, Any], path: str, method: str, operation: Any
) -> Iterator[str]:
    yield _title(f"{method} {path}", "~")
    yield f"{_text(operation['summary'])}\n\n"
    if "description" in operation:
        yield f"{_text(operation['description'])}\n\n"
    rules = [f"``{rule}``" for rule in operation.get("x-policy-rules", ())]
    if rules:
        yield f"Policy: {', '.join(rules)}.\n\n"
    rows = [_parameter(document, found) for found in operation.get("parameters", ())]
    shown = [row for row in rows if not row[0].startswith("``X-Target-")]
    filters = [f for f in operation.get("parameters", ()) if "x-operators" in f]
    hidden = {f"``{found['name']}``" for found in filters}
    listed = [row for row in shown if row[0] not in hidden]
    if listed:
        yield _table(("Parameter", "In", "Value", "Meaning"), listed)
    if filters:
        yield f"Filters: {_filters(filters)}.\n\n"
    if len(shown) < len(rows):
        yield "The headers ``X-Target-*`` send its actions to another cloud.\n\n"
    if "requestBody" in operation:
        yield f"Body: {_body(operation['requestBody'])}\n\n"
    yield f"Answers: {_answers(operation)}\n\n"


def _parameter(document: dict[str, Any], found: Any) -> tuple[str, ...]:
    if "$ref" in found:
        name = found["$ref"].rpartition("/")[2]
        found = document["components"]["parameters"][name]
    about = _text(found["description"])
    return f"``{found['name']}``", found["in"], _value(found["schema"]), about


def _filters(found: Sequence[Any]) -> str:
    """Grouped by the operators that they know."""
    groups: dict[str, list[str]] = {}
    for each in found:
        operators = ", ".join(each["x-operators"])
        groups.setdefault(operators, []).append(f"``{each['name']}``")
    return "; ".join(f"{', '.join(names)} ({ops})" for ops, names in groups.items())


def _body(body: Any) -> str:
    content = body["content"]
    if "application/json" in content:
        return f"{_value(content['application/json']['schema'])}. {body['description']}"
    about = _text(content["text/plain"]["schema"]["description"])
    return f"{about} {body['description']}"


def _answers(operation: Any) -> str:
    good, refused = [], []
    for status, response in operation["responses"].items():
        if "$ref" in response:
            refused.append(status)
        elif "content" in response:
            content = response["content"]
            of = content.get("application/json", {}).get("schema", {})
            good.append(f"{status} {_value(of)}")
        else:
            good.append(status)
    return f"{'; '.join(good)}. Errors: {', '.join(refused)}."


def _shape(name: str, schema: Any) -> Iterator[str]:
    yield f".. _shape-{name}:\n\n"
    yield _title(name, "~")
    required = schema.get("required", ())
    yield _table(
        ("Attribute", "Value", "Meaning"),
        [
            (
                f"``{key}``" + ("" if key in required else " (may be absent)"),
                _value(value),
                _text(value.get("description", "")),
            )
            for key, value in schema.get("properties", {}).items()
        ],
    )


def _value(schema: Any) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f":ref:`{name} <shape-{name}>`"
    if "enum" in schema:
        words = (word if isinstance(word, str) else json.dumps(word) for word in schema["enum"])
        return ", ".join(f"``{word}``" for word in words if word)
    if "anyOf" in schema:
        some = [each for each in schema["anyOf"] if not _is_selection(each)]
        return " or ".join(dict.fromkeys(map(_value, some)))
    if schema.get("type") == "array":
        return f"list of {_value(schema['items'])}"
    if schema.get("type") == "object" and "properties" in schema:
        members = schema["properties"].items()
        return ", ".join(f"``{key}``: {_value(value)}" for key, value in members)
    return _simple(schema)


def _is_selection(schema: Any) -> bool:
    return str(schema.get("$ref", "")).endswith("Fields")


def _simple(schema: Any) -> str:
    if "contentSchema" in schema or "contentMediaType" in schema:
        text = "JSON text"
        return f"{text} or null" if "null" in schema["type"] else text
    if "const" in schema:
        return f"``{json.dumps(schema['const'])}``"
    types = schema.get("type", "any JSON")
    words = types if isinstance(types, str) else " or ".join(types)
    if "format" in schema:
        words = words.replace("string", str(schema["format"]))
    if str(schema.get("pattern", "")).startswith(r"^\d{4}"):
        words = words.replace("string", "date")
    if "maxLength" in schema:
        words += f" of at most {schema['maxLength']} characters"
    if "minimum" in schema:
        words += f" from {schema['minimum']} on"
    return words


# -- reStructuredText ---------------------------------------------------------


def _text(markdown: str) -> str:
    """Markdown of the document, which knows paragraphs, lists and code only."""
    return re.sub("`+([^`]+)`+", r"``\1``", markdown)


def _title(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (head, *rows):
        for position, cell in enumerate(row):
            mark = "*" if position == 0 else " "
            text = cell.replace("\n", " ") or ".."
            lines.append(f"   {mark} - {text}".rstrip())
    return "\n".join(lines) + "\n\n"
