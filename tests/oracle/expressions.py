"""What an expression means, and what one cannot be sure of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oracle.contexts import Context
from oracle.unsure import UNSURE, Forced, Undetermined, sure


@dataclass(frozen=True)
class Expr:
    """One expression: its YAQL text, and what it means.

    ``kind``: ``lit`` value; ``var`` name, default; ``is`` name, value; ``less``
    name, number; ``plus`` name; ``result``; ``result-is`` value; ``state-is``
    state; ``item``; ``range`` number; ``global`` name; ``boom`` (cannot be evaluated).
    """

    kind: str
    name: str = ""
    value: Any = None

    def text(self) -> str:
        name, value = self.name, _yaql(self.value)
        return {
            "lit": f"<% {value} %>",
            "var": f"<% $.get({name}, {value}) %>",
            "is": f"<% $.get({name}, 0) = {value} %>",
            "less": f"<% $.get({name}, 0) < {value} %>",
            "plus": f"<% $.get({name}, 0) + 1 %>",
            "result": "<% task().result %>",
            "result-is": f"<% task().result = {value} %>",
            "state-is": f"<% task().state = {self.value} %>",
            "item": "<% $.i %>",
            "range": f"<% range({value}) %>",
            "global": f"<% global({name}) %>",
            "boom": "<% $.no.such.thing %>",
        }[self.kind]

    def of(self, seen: Seen) -> Any:
        if self.kind == "lit":
            return self.value
        if self.kind == "range":
            return list(range(self.value))
        if self.kind == "boom":
            raise Forced("boom")
        if self.kind == "item":
            return seen.item
        if self.kind == "global":
            return seen.globals_.get(self.name)
        if self.kind == "state-is":
            return seen.state == self.value
        found = (
            seen.result
            if self.kind.startswith("result")
            else seen.variable(self.name, 0 if self.kind != "var" else self.value)
        )
        if self.kind in ("var", "result"):
            return found
        if not sure(found):
            return UNSURE
        if self.kind == "less":
            return found < self.value
        if self.kind == "plus":
            return found + 1
        return type(found) is type(self.value) and found == self.value


def _yaql(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} => {_yaql(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaql, value)) + "]"
    return f"'{value}'" if isinstance(value, str) else str(value)


def rendered(tree: Any) -> Any:
    """The definition as it is uploaded: expressions as text."""
    if isinstance(tree, Expr):
        return tree.text()
    if isinstance(tree, Mapping):
        return {
            key: f"i in {value.text()}" if key == "with-items" else rendered(value)
            for key, value in tree.items()
        }
    return [rendered(each) for each in tree] if isinstance(tree, list) else tree


@dataclass
class Seen:
    """What an expression can see (LANG § 22.2): the first layer wins."""

    context: Context
    layers: tuple[Mapping[str, Any], ...]
    globals_: Mapping[str, Any] = field(default_factory=dict)
    result: Any = UNSURE
    state: str | None = None
    item: Any = None

    def variable(self, name: str, default: Any) -> Any:
        if name in self.context.values:
            return self.context.values[name]
        if self.context.fuzzy:
            return UNSURE
        return next((layer[name] for layer in self.layers if name in layer), default)

    def value(self, tree: Any) -> Any:
        if isinstance(tree, Expr):
            return tree.of(self)
        if isinstance(tree, Mapping):
            return {key: self.value(each) for key, each in tree.items()}
        return [self.value(each) for each in tree] if isinstance(tree, list) else tree

    def truth(self, tree: Any) -> bool:
        value = self.value(tree)
        if not sure(value):
            raise Undetermined("a condition sees what depends on the order")
        return bool(value)
