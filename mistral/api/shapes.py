"""What bodies look like: the resource types, and what each call takes and shows
of them.

Routes name a shape for what they take and one for what they answer; calls read
bodies by the former, and the API's document (``api.document``) describes both as
JSON Schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import wsme.types as wtypes
from wsme.types import iscomplex

from mistral.api.types import (
    JsonSchema,
    ResourceType,
    answer_schema,
    request_schema,
)

JSON: Final = "application/json"

IGNORED: Final = "Accepted and ignored."

Components = dict[str, JsonSchema]
"""Schemas by name, which others refer to."""


class Shape(Protocol):
    """Of a body; ``schema`` adds what it refers to to the components."""

    @property
    def media_types(self) -> tuple[str, ...]: ...

    def schema(self, components: Components) -> JsonSchema: ...


def reference(components: Components, name: str, schema: JsonSchema) -> JsonSchema:
    """The schema under a name of its own.

    :raises ValueError: another schema has the name.
    """
    if components.setdefault(name, schema) != schema:
        raise ValueError(f"Two schemas have the name {name}.")
    return {"$ref": f"#/components/schemas/{name}"}


def _attributes(cls: type[ResourceType]) -> Iterable[Any]:
    found: Iterable[Any] = wtypes.list_attributes(cls)
    return found


def _or_null(schema: JsonSchema) -> JsonSchema:
    if "enum" in schema:
        schema = {**schema, "enum": [*schema["enum"], None]}
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    if "type" in schema or "enum" in schema:
        return schema
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    return {"anyOf": [schema, {"type": "null"}]}


def closed_object(properties: JsonSchema, *optional: str) -> JsonSchema:
    """An object with these members and no others.

    :param optional: those that may be absent; they need not be among the members.
    """
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def attribute_schemas(cls: type[ResourceType], *names: str) -> JsonSchema:
    """What answers show of these attributes."""
    found = {attribute.name: attribute for attribute in _attributes(cls)}
    return {name: _shown(found[name]) for name in names}


def _shown(attribute: Any, *, null: bool = False) -> JsonSchema:
    schema = answer_schema(attribute.datatype)
    return _told(attribute, _or_null(schema) if null or attribute.null else schema)


def _told(attribute: Any, schema: JsonSchema) -> JsonSchema:
    return {**schema, "description": attribute.about} if attribute.about else schema


# -- Answers ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """A resource in an answer (§ 1.4).

    :param name: of the schema; default: of the type.
    :param but: attributes that are never there.
    :param maybe: attributes that are there now and then.
    :param null: attributes that may be null here, besides those that may anyway.
    :param selectable: with ``fields``, all but ``id`` may be left out.
    """

    cls: type[ResourceType]
    name: str = ""
    but: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()
    null: tuple[str, ...] = ()
    selectable: bool = False

    media_types = (JSON,)

    def schema(self, components: Components) -> JsonSchema:
        name = self.name or self.cls.__name__
        properties = {
            attribute.name: self._property(attribute, components)
            for attribute in _attributes(self.cls)
            if attribute.name not in self.but
        }
        whole = closed_object(properties, *self.maybe)
        found = reference(components, name, whole)
        if not self.selectable:
            return found
        part = {**whole, "required": ["id"], "description": "With `fields`."}
        return {"anyOf": [found, reference(components, f"{name}Fields", part)]}

    def _property(self, attribute: Any, components: Components) -> JsonSchema:
        datatype = attribute.datatype
        if isinstance(datatype, wtypes.ArrayType) and iscomplex(datatype.item_type):
            items = Shown(datatype.item_type).schema(components)
            return {"type": "array", "items": items}
        return _shown(attribute, null=attribute.name in self.null)


@dataclass(frozen=True, slots=True)
class Either:
    """One of several."""

    shapes: tuple[Shape, ...]

    media_types = (JSON,)

    def schema(self, components: Components) -> JsonSchema:
        return {"anyOf": [shape.schema(components) for shape in self.shapes]}


@dataclass(frozen=True, slots=True)
class Together:
    """``{"things": […]}``."""

    member: str
    item: Shape

    media_types = (JSON,)

    def schema(self, components: Components) -> JsonSchema:
        items = {"type": "array", "items": self.item.schema(components)}
        return closed_object({self.member: items})


@dataclass(frozen=True, slots=True)
class Page:
    """The same, with ``next`` where there may be another page (§ 3.1)."""

    member: str
    item: Shape

    media_types = (JSON,)

    def schema(self, components: Components) -> JsonSchema:
        found = Together(self.member, self.item).schema(components)
        found["properties"]["next"] = {
            "type": "string",
            "format": "uri",
            "description": "The next page; absent where there is none.",
        }
        return found


@dataclass(frozen=True, slots=True)
class Plain:
    """What is no resource.

    :param referred: schemas by name, which this one refers to.
    """

    json_schema: Mapping[str, Any]
    media_types: tuple[str, ...] = (JSON,)
    referred: Mapping[str, JsonSchema] = field(default_factory=dict)

    def schema(self, components: Components) -> JsonSchema:
        for name, schema in self.referred.items():
            reference(components, name, schema)
        return dict(self.json_schema)


# -- Requests -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """A resource in the body of a typed endpoint (§ 1.2).

    :param taken: attributes that mean something here.
    :param required: those without which the request is refused.
    :param needs: of each of these groups one has to be there.
    :param passed_over: the other attributes of the type are accepted and ignored;
        else they are refused.
    :param open: all others are.
    :param narrowed: words that an attribute may have here.
    :param name: of the schema.
    """

    cls: type[ResourceType]
    name: str
    taken: tuple[str, ...]
    required: tuple[str, ...] = ()
    needs: tuple[tuple[str, ...], ...] = ()
    passed_over: bool = False
    open: bool = False
    narrowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    example: Mapping[str, Any] | None = None

    media_types = (JSON,)

    @property
    def known(self) -> frozenset[str]:
        """Attributes that are not refused."""
        if self.passed_over:
            return frozenset(self.cls.attributes())
        return frozenset(self.taken)

    def schema(self, components: Components) -> JsonSchema:
        properties = {}
        for attribute in _attributes(self.cls):
            if attribute.name in self.taken:
                properties[attribute.name] = self._property(attribute)
            elif self.passed_over and not attribute.readonly:
                ignored = _or_null(request_schema(attribute.datatype))
                properties[attribute.name] = {**ignored, "description": IGNORED}
        schema: JsonSchema = {
            "type": "object",
            "properties": properties,
            "additionalProperties": self.open,
        }
        if self.required:
            schema["required"] = list(self.required)
        if self.needs:
            schema["allOf"] = [
                {"anyOf": [{"required": [name]} for name in group]}
                for group in self.needs
            ]
        return reference(components, self.name, schema)

    def _property(self, attribute: Any) -> JsonSchema:
        schema = request_schema(attribute.datatype)
        if attribute.name in self.narrowed:
            schema = {"type": "string", "enum": list(self.narrowed[attribute.name])}
        if attribute.name not in self.required:
            schema = _or_null(schema)
        elif schema.get("type") == "string":
            schema = {**schema, "minLength": 1}
        return _told(attribute, schema)


@dataclass(frozen=True, slots=True)
class AnyJson:
    """Any JSON value, of whatever an application has to say.

    :param meaning: what becomes of it.
    :param optional: no body is null.
    """

    meaning: str
    example: Any = None
    optional: bool = False

    media_types = (JSON,)

    def schema(self, components: Components) -> JsonSchema:
        return {"description": self.meaning}


@dataclass(frozen=True, slots=True)
class Upload:
    """The text of a raw endpoint, whatever its media type says (§ 1.2).

    :param meaning: what the text is.
    :param optional: no body is an empty text.
    :param is_definition: it is written in the workflow language.
    """

    meaning: str
    example: str
    optional: bool = False
    is_definition: bool = True

    media_types = ("text/plain",)

    def schema(self, components: Components) -> JsonSchema:
        return {"type": "string", "description": self.meaning}
