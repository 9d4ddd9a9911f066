"""What is known of an action without an instance of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

from mistral_lib.actions import Action, ActionDescriptor, PythonActionDescriptor
from mistral_lib.utils import inspect_utils

from mistral import errors
from mistral.actions.basic import INLINE, Inline
from mistral.actions.builtin import BuiltinAction


@final
class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Required()
"""In place of a default: the parameter has none."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An action as the engine and the API see it.

    :param inputs: ``(name, default or REQUIRED)`` in the order of the signature.
    :param open: it takes any name (``**kwargs``): nothing is checked.
    :param is_sync: as declared by the class; None: only an instance knows, and
        the executor tells (``messages.ActionTurnedAsync``).
    :param inline: of our own pure actions, see :data:`basic.Inline`.
    :param input_text: ``"a, b=1"``, what the API shows.
    :param class_name: for error texts; None where no class is known.
    :param source: the ``mistral_lib`` descriptor; executors instantiate by it.
    :param code: of a dynamic action: ``id``, ``version`` and ``checksum`` of its
        code source, and ``class_name``; executors fetch the text by it.
    """

    name: str
    description: str = ""
    inputs: tuple[tuple[str, Any], ...] = ()
    open: bool = False
    is_sync: bool | None = True
    inline: Inline | None = None
    input_text: str = ""
    tags: tuple[str, ...] = ()
    class_name: str | None = None
    source: Any = field(default=None, repr=False, compare=False)
    code: Mapping[str, Any] | None = None

    def check_input(self, given: Mapping[str, Any]) -> None:
        """Compare names with the declaration (§ 8.10); values stay unseen.

        :raises errors.InvalidInput: missing or unexpected names.
        """
        if self.open:
            return
        declared = {name for name, _ in self.inputs}
        missing = [
            name
            for name, default in self.inputs
            if default is REQUIRED and name not in given
        ]
        unexpected = [name for name in given if name not in declared]
        if missing or unexpected:
            raise errors.InvalidInput.listing(
                self.name, self.class_name, missing, unexpected
            )


class GeneratedDescriptor(PythonActionDescriptor):  # type: ignore[misc]
    """An action of a generator (``mistral.generators``): the base class with the
    public attributes of the generated class, and its own list of arguments."""

    def __init__(self, base: type, entry: Mapping[str, Any]) -> None:
        attributes = inspect_utils.get_public_fields(entry["class"])
        super().__init__(entry["name"], base, attributes)
        self._desc = entry.get("description") or ""
        self._params_spec = entry.get("arg_list") or ""


def describe(source: ActionDescriptor, *, inline: bool = False) -> Descriptor:
    """Read a ``mistral_lib`` descriptor; nothing is instantiated.

    :param inline: it is one of ours, so its inline function may stand for it.
    """
    text = source.params_spec or ""
    inputs, is_open = parse_parameters(text)
    return Descriptor(
        name=source.name,
        description=source.description or "",
        inputs=inputs,
        open=is_open,
        is_sync=_declared_sync(source),
        inline=INLINE.get(source.name) if inline else None,
        input_text=text,
        tags=tuple(getattr(source, "tags", None) or ()),
        class_name=source.action_class_name,
        source=source,
    )


def _declared_sync(source: ActionDescriptor) -> bool | None:
    declared = getattr(source, "is_sync", None)
    if isinstance(declared, bool):
        return declared
    cls = getattr(source, "action_class", None)
    if not isinstance(cls, type):
        return None
    asked = getattr(cls, "is_sync", Action.is_sync)
    if asked is BuiltinAction.is_sync and issubclass(cls, BuiltinAction):
        return cls.SYNC
    return True if asked is Action.is_sync else None


def parse_parameters(text: str) -> tuple[tuple[tuple[str, Any], ...], bool]:
    """``'a, b=[1, 2], **kw'`` → names with JSON defaults, and whether any other
    name is taken. A default that is no JSON stays text."""
    inputs: list[tuple[str, Any]] = []
    is_open = "**" in text
    rest = text.strip()
    while rest:
        cut = min((i for i in map(rest.find, ",=") if i >= 0), default=len(rest))
        name, mark, rest = rest[:cut].strip(), rest[cut : cut + 1], rest[cut + 1 :]
        default: Any = REQUIRED
        if mark == "=":
            default, rest = _default(rest.lstrip())
        if name and not name.startswith("*"):
            inputs.append((name, default))
        rest = rest.strip()
    return tuple(inputs), is_open


def _default(text: str) -> tuple[Any, str]:
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        value, _, rest = text.partition(",")
        return value.strip(), rest
    return value, text[end:].lstrip().removeprefix(",")
