"""What a process that meets secrets of callers needs: keys, and trusts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from mistral.callbacks import Callbacks
from mistral.config import Settings, separate

if TYPE_CHECKING:
    from mistral.executors.identities import Identities
    from mistral.keyring import Keyring
    from mistral.trusts import Trusts

LOG = logging.getLogger(__name__)


def make_keyring(settings: Settings) -> Keyring | None:
    """None where no key is set: then authentication is off, and nobody has secrets.

    :raises ServiceError: a key is malformed.
    """
    if not settings.engine.secret_key:
        return None
    # the library is loaded only where there is something to seal
    from mistral.keyring import Keyring

    return Keyring(settings.engine.secret_key)


def make_callbacks(settings: Settings) -> Callbacks | None:
    """None where no key is set: then nobody can be given a signed address."""
    ours = settings.engine
    if not ours.secret_key:
        return None
    lifetime = timedelta(seconds=ours.callback_lifetime)
    return Callbacks(ours.secret_key, ours.callback_base_url, lifetime)


def make_trusts(settings: Settings) -> Trusts | None:
    """None where callers have no tokens of Keystone, or this process's own user is
    not told."""
    api = settings.api
    if settings.source is None or not api.auth_enable or api.auth_type != "keystone":
        return None
    from mistral.trusts import Trusts, has_own_user

    source = separate(settings.source)
    return Trusts(source) if has_own_user(source) else None


def make_trust_ending(settings: Settings) -> Callable[[str, str], None] | None:
    """(sealed, project) → the trust has ended; None: there are none."""
    keyring, trusts = make_keyring(settings), make_trusts(settings)
    if keyring is None or trusts is None:
        return None

    def end(sealed: str, project_id: str) -> None:
        trusts.drop(keyring.open(sealed, project_id)["trust_id"])

    return end


def make_identities(settings: Settings) -> Identities:
    """In whose name this executor's actions run."""
    from mistral.executors.identities import Identities

    keyring, trusts = make_keyring(settings), make_trusts(settings)
    unseal = keyring.open if keyring else None
    callbacks = make_callbacks(settings)
    if trusts is None:
        return Identities(unseal, callbacks=callbacks)
    return Identities(unseal, trusts.enter, trusts.cloud(), callbacks)
