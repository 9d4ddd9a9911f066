"""The keys of a process that meets secrets of callers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mistral.config import Settings

if TYPE_CHECKING:
    from mistral.keyring import Keyring


def make_keyring(settings: Settings) -> Keyring | None:
    """None where no key is set: then authentication is off, and nobody has secrets.

    :raises ServiceError: a key is malformed.
    """
    if not settings.engine.secret_key:
        return None
    # the library is loaded only where there is something to seal
    from mistral.keyring import Keyring

    return Keyring(settings.engine.secret_key)
