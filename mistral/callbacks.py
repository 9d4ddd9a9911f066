"""Addresses by which an application completes one action execution, and nothing else.

An address holds the id of the action execution, the time at which the right ends, and a
signature over both. Nothing is stored: whoever has the keys of ``[engine] secret_key``
can make one and judge one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

_PURPOSE = b"mistral: completion of an action execution, 1"


class Callbacks:
    """:param keys: of ``[engine] secret_key``: the first one signs, all of them judge.
    :param base: address of the service as applications see it; empty: addresses are
        paths.
    :param lifetime: of the right.
    """

    def __init__(
        self, keys: Sequence[str], base: str = "", lifetime: timedelta = timedelta(7)
    ) -> None:
        self._keys = [
            hmac.new(key.encode(), _PURPOSE, hashlib.sha256).digest() for key in keys
        ]
        self._base = base.rstrip("/")
        self._lifetime = lifetime

    def url(self, action_id: str, now: datetime) -> str:
        """The address for an action execution.

        :param now: UTC, without tzinfo.
        """
        end = (now + self._lifetime).replace(tzinfo=UTC)
        expires = str(int(end.timestamp()))
        signature = _signed(self._keys[0], action_id, expires)
        return (
            f"{self._base}/v2/callbacks/{action_id}?expires={expires}"
            f"&signature={signature}"
        )

    def allows(
        self, action_id: str, expires: str, signature: str, now: datetime
    ) -> bool:
        """Whether somebody with this address may complete the action now."""
        given = signature.encode("utf-8", "surrogatepass")
        fits = False
        for key in self._keys:
            expected = _signed(key, action_id, expires).encode()
            fits |= hmac.compare_digest(expected, given)
        if not fits:
            return False
        # it was signed, so it is a number
        return now.replace(tzinfo=UTC).timestamp() < int(expires)


def _signed(key: bytes, action_id: str, expires: str) -> str:
    text = f"{action_id}\n{expires}".encode("utf-8", "surrogatepass")
    return hmac.new(key, text, hashlib.sha256).hexdigest()
