"""What is wrong with a value that an operator has set, in words: where it stands,
what was expected, what was found."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from oslo_config import cfg, types

from mistral import errors


class ConfigurationFault(errors.ServiceError):
    """The service cannot or must not start with what is set."""

    code: ClassVar[str] = "configuration"


def wrong_value(where: str, group: str, opt: cfg.Opt, found: str) -> ConfigurationFault:
    """A fault to raise.

    :param where: the file, or the variable of the environment.
    :param found: the text; not shown where the option is a secret.
    """
    shown = "something else" if opt.secret else f"'{found}'"
    return ConfigurationFault(
        f"{where}: [{group}] {opt.name}: expected {_expected(opt.type)}, found {shown}."
    )


def wrong_line(source: cfg.ConfigOpts, group: str, opt: cfg.Opt) -> ConfigurationFault:
    """As :func:`wrong_value`, for an option of these files."""
    for path in reversed(files_of(source.config_file, source.config_dir)):
        for name in (opt.name, opt.dest):
            values = sections_of(path).get(group, {}).get(name)
            if values:
                return wrong_value(str(path), group, opt, str(values[-1]))
    return wrong_value("Configuration", group, opt, "what it cannot be")


def files_of(
    files: Iterable[str] | None, directories: Iterable[str] | None
) -> list[Path]:
    """All files that are read, in their order: what stands later wins."""
    paths = [Path(name) for name in files or ()]
    for directory in directories or ():
        paths += sorted(Path(directory).glob("*.conf"))
    return paths


def sections_of(path: Path) -> dict[str, dict[str, Any]]:
    """What a file says: group → name → values.

    :raises cfg.ParseError: it is not of that form.
    """
    sections: dict[str, dict[str, Any]] = {}
    cfg.ConfigParser(str(path), sections).parse()
    return sections


def _expected(kind: Any) -> str:
    choices = getattr(kind, "choices", None)
    if choices:
        return "one of " + ", ".join(map(str, choices))
    if isinstance(kind, types.Boolean):
        return "true or false"
    if isinstance(kind, types.Number):
        what = "a whole number" if isinstance(kind, types.Integer) else "a number"
        bounds = {"of at least": kind.min, "of at most": kind.max}
        given = [
            f"{word} {bound}" for word, bound in bounds.items() if bound is not None
        ]
        return " ".join([what, " and ".join(given)]).rstrip()
    return str(kind)
