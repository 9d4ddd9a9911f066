"""The fields of ``settings`` as oslo.config options, and as a sample file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import Field, dataclass, fields
from typing import Any, Final, get_type_hints

from oslo_config import cfg, types

from mistral.config.settings import GROUPS, ROLES

SERVER: Final = cfg.ListOpt(
    "server",
    default=["all"],
    help="Roles of this process: all, or a list of " + ", ".join(ROLES) + ".",
)

_KINDS: Final[dict[Any, type[cfg.Opt]]] = {
    bool: cfg.BoolOpt,
    int: cfg.IntOpt,
    float: cfg.FloatOpt,
    str: cfg.StrOpt,
    tuple[str, ...]: cfg.ListOpt,
}


@dataclass(frozen=True, slots=True)
class Declared:
    """One option: where its value goes, and what oslo.config knows of it."""

    attribute: str
    field: str
    group: str
    opt: cfg.Opt


def _opt(declared: Field[Any], kind: Any) -> cfg.Opt:
    meta = declared.metadata
    arguments: dict[str, Any] = {"help": meta["help"], "secret": meta["secret"]}
    default: Any = declared.default
    if kind == tuple[str, ...]:
        default = list(default)
        arguments["item_type"] = types.String()
    if meta["choices"] is not None:
        arguments["choices"] = list(meta["choices"])
    if meta["minimum"] is not None:
        arguments["min"] = meta["minimum"]
    if meta["maximum"] is not None:
        arguments["max"] = meta["maximum"]
    return _KINDS[kind](meta["name"] or declared.name, default=default, **arguments)


def declared_options() -> Iterator[Declared]:
    """Every option, in the order of the classes."""
    for attribute, cls in GROUPS.items():
        kinds = get_type_hints(cls)
        for item in fields(cls):
            group = item.metadata["group"] or cls.GROUP  # type: ignore[attr-defined]
            opt = _opt(item, kinds[item.name])
            yield Declared(attribute, item.name, group, opt)


def by_group() -> dict[str, list[cfg.Opt]]:
    """Options per group of the file, ``DEFAULT`` first."""
    found: dict[str, list[cfg.Opt]] = {"DEFAULT": [SERVER]}
    for declared in declared_options():
        found.setdefault(declared.group, []).append(declared.opt)
    return found


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """For the entry point ``oslo.config.opts``."""
    return list(by_group().items())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(value)
    return str(value)


def sample() -> str:
    """The sample file: every option, commented out, at its default."""
    lines = [
        "# Made by tools/generate-config from the options; do not edit.",
        "# Without a configuration file the service runs embedded: one process,",
        "# SQLite, API on 127.0.0.1:8989 without authentication.",
    ]
    for group, opts in by_group().items():
        lines += ["", f"[{group}]"]
        for opt in opts:
            lines.append("")
            text = textwrap.wrap(opt.help or "", 76, break_on_hyphens=False)
            lines += [f"# {line}" for line in text]
            choices = getattr(opt.type, "choices", None)
            if choices:
                lines.append("# One of: " + ", ".join(choices))
            lines.append(f"#{opt.name} = {_text(opt.default)}".rstrip())
    return "\n".join(lines) + "\n"
