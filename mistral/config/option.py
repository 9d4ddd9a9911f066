"""How an option is declared: as a field of a frozen class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any


def option(
    default: Any,
    text: str,
    *,
    group: str | None = None,
    name: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] | None = None,
    secret: bool = False,
) -> Any:
    """A field that is an option.

    :param group: of the file, where it differs from the class's ``GROUP``.
    :param name: in the file, where it differs from the field's.
    :param secret: never shown by ``repr`` (SEC-09).
    """
    return field(
        default=default,
        repr=not secret,
        metadata={
            "help": text,
            "group": group,
            "name": name,
            "minimum": minimum,
            "maximum": maximum,
            "choices": choices,
            "secret": secret,
        },
    )
