"""Which actions exist, by name (spec/engine.md §§ 8.10, 12).

Sources, first hit wins: our own, entry points ``mistral.actions``, generators
``mistral.generators``, providers ``mistral.action.providers``. Ours stand first,
so no package can take a ``std.`` name. Ad-hoc actions are rows and belong to the
engine; it asks here for their base.

Engines and API call ``find``, which never instantiates; executors ``create``.
A plug-in that cannot be loaded is logged once and does not exist.
"""

from __future__ import annotations

import fnmatch
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module, metadata
from typing import Any, Final

from mistral_lib.actions import (
    ActionDescriptor,
    ActionProvider,
    PythonActionDescriptor,
    Result,
)

from mistral import errors
from mistral.actions.builtin import BUILTIN, BuiltinAction
from mistral.actions.descriptors import (
    REQUIRED,
    Descriptor,
    GeneratedDescriptor,
    describe,
)
from mistral.config import Settings

__all__ = ["REQUIRED", "Descriptor", "Registry"]

log = logging.getLogger(__name__)

EntryPoints = Callable[[str], Iterable[Any]]
"""Group → objects with ``name`` and ``load()``."""

_OURS: Final = frozenset({"adhoc", "dynamic", "legacy"})
"""Provider names that other packages may still register for what is built in."""


def _installed(group: str) -> Iterable[metadata.EntryPoint]:
    return metadata.entry_points(group=group)


def _allowed(name: str, allow: Sequence[str], deny: Sequence[str]) -> bool:
    """Shell patterns; an allow list wins over a deny list (§ 8.10)."""
    if allow:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in allow)
    return not any(fnmatch.fnmatchcase(name, pattern) for pattern in deny)


class Registry:
    """Look-up of actions. Thread-safe; everything is loaded when first needed.

    :param settings: ``action_providers`` and ``legacy_actions`` filter names;
        the groups that our own actions need are handed to their instances.
    :param providers: asked last, beside those of the entry points.
    :param entry_points: default: what is installed.
    """

    def __init__(
        self,
        settings: Settings,
        providers: Iterable[ActionProvider] = (),
        *,
        entry_points: EntryPoints = _installed,
    ) -> None:
        self._settings = settings
        self._given = tuple(providers)
        self._entry_points = entry_points
        self._lock = threading.RLock()
        self._known: dict[str, Descriptor | None] = {}
        self._plugins: dict[str, Any] | None = None
        self._generated: dict[str, ActionDescriptor] | None = None
        self._providers: tuple[ActionProvider, ...] | None = None

    def find(
        self, name: str, namespace: str = "", *, project_id: str | None = None
    ) -> Descriptor | None:
        """The action of that name, or None.

        :param project_id: who asks; private actions of others are not found.
        """
        found = self._python(name) if self._exists(name) else None
        if found is not None:
            return found
        for provider in self._all_providers():
            try:
                source = provider.find(name, namespace or None)
            except Exception:
                log.exception("Action provider %s failed.", provider.name)
                continue
            if source is not None and _visible(source, project_id):
                return describe(source)
        return None

    def create(
        self,
        name: str,
        given: Mapping[str, Any],
        namespace: str = "",
        *,
        project_id: str | None = None,
    ) -> Any:
        """An instance, ready to ``run(context)``; executors only.

        :raises errors.NotFound: there is no such action.
        :raises errors.InvalidInput: see ``check_input``.
        :raises Exception: what the constructor of the action raises.
        """
        descriptor = self.find(name, namespace, project_id=project_id)
        if descriptor is None:
            raise errors.NotFound(f"Failed to find action [name={name}]")
        self.check_input(descriptor, given)
        action = descriptor.source.instantiate(dict(given), {})
        if isinstance(action, BuiltinAction) and action.SETTINGS:
            action.settings = getattr(self._settings, action.SETTINGS)
        return action

    def serves(self, provider: str) -> bool:
        """Whether the operator lets the provider of that name be asked; ``adhoc``
        are the actions that users upload."""
        chain = self._settings.action_providers
        return _allowed(provider, chain.allowlist, chain.denylist)

    def serves_dynamic(self) -> bool:
        """Whether dynamic actions can be found and run: they are switched on, and
        their provider may be asked."""
        return self._settings.dynamic_actions.enabled and self.serves("dynamic")

    def post_process(
        self,
        name: str,
        result: Result,
        namespace: str = "",
        *,
        project_id: str | None = None,
    ) -> Result:
        """What the action's own descriptor makes of a result (§ 12.3).

        For synchronous actions executors ask, and the API for results that are
        delivered to it; never an engine, which runs no code of plug-ins. Of an
        action that has gone meanwhile the result is taken as it is.

        :raises Exception: what the descriptor raises.
        """
        descriptor = self.find(name, namespace, project_id=project_id)
        process = getattr(
            getattr(descriptor, "source", None), "post_process_result", None
        )
        return result if process is None else process(result)

    def check_input(self, descriptor: Descriptor, given: Mapping[str, Any]) -> None:
        """:raises errors.InvalidInput: missing or unexpected names."""
        descriptor.check_input(given)

    def names(self) -> list[str]:
        """Names of all actions, sorted."""
        return [descriptor.name for descriptor in self.all()]

    def all(
        self, namespace: str = "", *, project_id: str | None = None
    ) -> list[Descriptor]:
        """Descriptors of all actions, sorted by name."""
        found: dict[str, Descriptor] = {}
        for provider in reversed(self._all_providers()):
            try:
                sources = provider.find_all(namespace=namespace or None) or ()
            except Exception:
                log.exception("Action provider %s failed.", provider.name)
                continue
            for source in sources:
                if _visible(source, project_id):
                    found[source.name] = describe(source)
        names = {*BUILTIN, *self._plugin_index(), *self._generator_index()}
        for name in filter(self._exists, names):
            descriptor = self._python(name)
            if descriptor is not None:
                found[name] = descriptor
        return [found[name] for name in sorted(found)]

    # -- Python actions -------------------------------------------------------

    def _exists(self, name: str) -> bool:
        legacy = self._settings.legacy_actions
        return self.serves("legacy") and _allowed(
            name, legacy.allowlist, legacy.denylist
        )

    def _python(self, name: str) -> Descriptor | None:
        try:
            return self._known[name]
        except KeyError:
            pass
        with self._lock:
            descriptor = self._load(name)
            if descriptor is not None or name in self._plugin_index():
                self._known[name] = descriptor
            return descriptor

    def _load(self, name: str) -> Descriptor | None:
        if name in BUILTIN:
            module, _, attribute = BUILTIN[name].partition(":")
            cls = getattr(import_module(module), attribute)
            return describe(PythonActionDescriptor(name, cls), inline=True)
        entry = self._plugin_index().get(name)
        if entry is not None:
            try:
                return describe(PythonActionDescriptor(name, entry.load()))
            except Exception:
                log.exception("Action %s cannot be loaded.", name)
                return None
        source = self._generator_index().get(name)
        return None if source is None else describe(source)

    def _plugin_index(self) -> Mapping[str, Any]:
        with self._lock:
            if self._plugins is None:
                legacy = self._settings.legacy_actions
                wanted = legacy.load_action_plugins and not legacy.only_builtin_actions
                entries = self._entry_points("mistral.actions") if wanted else ()
                self._plugins = {e.name: e for e in entries if e.name not in BUILTIN}
            return self._plugins

    def _generator_index(self) -> Mapping[str, ActionDescriptor]:
        with self._lock:
            if self._generated is None:
                legacy = self._settings.legacy_actions
                self._generated = {}
                if legacy.load_action_generators and not legacy.only_builtin_actions:
                    for entry in self._entry_points("mistral.generators"):
                        self._generated.update(_generate(entry))
            return self._generated

    # -- Providers ------------------------------------------------------------

    def _all_providers(self) -> tuple[ActionProvider, ...]:
        with self._lock:
            if self._providers is None:
                loaded = (
                    ()
                    if self._settings.legacy_actions.only_builtin_actions
                    else (tuple(self._load_providers()))
                )
                self._providers = (*self._given, *loaded)
            return self._providers

    def _load_providers(self) -> Iterator[ActionProvider]:
        for entry in self._entry_points("mistral.action.providers"):
            if entry.name in _OURS or not self.serves(entry.name):
                continue
            try:
                yield entry.load()(entry.name)
            except Exception:
                log.exception("Action provider %s cannot be loaded.", entry.name)


def _visible(source: ActionDescriptor, project_id: str | None) -> bool:
    owner = source.project_id
    return owner is None or source.scope == "public" or owner == project_id


def _generate(entry: Any) -> dict[str, ActionDescriptor]:
    found: dict[str, ActionDescriptor] = {}
    try:
        for generator in entry.load()() or ():
            for item in generator.create_actions():
                found[item["name"]] = GeneratedDescriptor(
                    generator.base_action_class, item
                )
    except Exception:
        log.exception("Generator %s cannot be loaded.", entry.name)
    return found
