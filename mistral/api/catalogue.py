"""Which actions and workflows a caller could name in a definition: what the
lints of ``/validate`` compare it with."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection

from mistral.actions.registry import REQUIRED, Descriptor, Registry
from mistral.actions.signatures import describe_dynamic
from mistral.db import code_sources, definitions
from mistral.expressions.evaluate import load_functions
from mistral.lang.parse import Signature

LOOKUPS: Final = 200
"""Names that are looked for in the database for one text; of further ones
nothing is said."""

_UNDECIDED: Final = Signature(frozenset(), frozenset(), open=True)


@lru_cache(maxsize=1)
def plugin_functions() -> frozenset[str]:
    """Names of expression functions that installed packages add."""
    return frozenset(load_functions())


class DatabaseCatalogue:
    """``lang.parse.Catalogue`` of one project, as long as the connection is open."""

    def __init__(
        self, connection: Connection, registry: Registry, namespace: str, project: str
    ) -> None:
        self._connection = connection
        self._registry = registry
        self._namespace = namespace
        self._project = project
        self._known: dict[tuple[str, str], Signature | None] = {}

    def action(self, name: str) -> Signature | None:
        found = self._registry.find(name, self._namespace, project_id=self._project)
        if found is not None:
            return _signature(found)
        return self._stored("action", name)

    def action_names(self) -> Collection[str]:
        return self._registry.names()

    def workflow(self, name: str) -> Signature | None:
        return self._stored("workflow", name)

    def _stored(self, what: str, name: str) -> Signature | None:
        key = (what, name)
        if key not in self._known:
            if len(self._known) >= LOOKUPS:
                return _UNDECIDED
            self._known[key] = self._look_up(what, name)
        return self._known[key]

    def _look_up(self, what: str, name: str) -> Signature | None:
        row: Any = None
        for namespace in dict.fromkeys((self._namespace, "")):
            if what == "action":
                row = definitions.find_adhoc_action(
                    self._connection, name, namespace, self._project
                )
            else:
                row = definitions.find_workflow(
                    self._connection,
                    name=name,
                    namespace=namespace,
                    project_id=self._project,
                )
            if row is not None:
                break
        if row is not None:
            return Signature.declared(row["spec"].get("input"))
        if what == "action" and self._registry.serves_dynamic():
            row = code_sources.runnable(
                self._connection, name, self._namespace, self._project
            )
        return None if row is None else _signature(describe_dynamic(row))


def _signature(found: Descriptor) -> Signature:
    required = {n for n, default in found.inputs if default is REQUIRED}
    names = frozenset(n for n, _ in found.inputs)
    return Signature(frozenset(required), names - required, found.open)
