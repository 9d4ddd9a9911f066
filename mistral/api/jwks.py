"""Public keys of issuers: fetched, remembered, asked for again when one is new."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt
import requests

from mistral.clock import Clock
from mistral.errors import Unauthorized, Unavailable

LOG = logging.getLogger(__name__)

FRESH: Final = 300.0
"""Seconds for which keys are not asked for again."""

PAUSE: Final = 10.0
"""Seconds between two questions, whatever keys tokens name."""

_SECONDS: Final = (5.0, 10.0)
_RETRY_AFTER: Final = 5.0
_UNKNOWN: Final = "The token is not valid: its issuer has no such key."


@dataclass(frozen=True, slots=True)
class Web:
    """How issuers are reached.

    :param verify: a file of certificates, or whether to check them.
    """

    verify: bool | str = True
    cert: tuple[str, str] | str | None = None

    @classmethod
    def of(cls, settings: Any) -> Web:
        """:param settings: with ``cafile``, ``certfile``, ``keyfile``, ``insecure``."""
        cert = settings.certfile or None
        if cert and settings.keyfile:
            cert = (settings.certfile, settings.keyfile)
        return cls(False if settings.insecure else settings.cafile or True, cert)

    def document(self, url: str) -> dict[str, Any]:
        """A JSON object.

        :raises Unauthorized: there is none at this URL.
        :raises Unavailable: nobody answers, or with something else.
        """
        answer = self._get(url)
        if answer.status_code == 404:
            raise Unauthorized(_UNKNOWN)
        try:
            answer.raise_for_status()
            found = answer.json()
        except (requests.RequestException, ValueError):
            found = None
        if not isinstance(found, dict):
            LOG.error("%s answers %d, not with JSON", url, answer.status_code)
            raise _away()
        return found

    def ask_about(self, url: str, token: str) -> None:
        """:raises Unauthorized: the issuer says that the token does not hold."""
        answer = self._get(url, {"Authorization": f"Bearer {token}"})
        if answer.status_code in (401, 403):
            raise Unauthorized("The token is not valid: its issuer has revoked it.")
        if answer.status_code != 200:
            LOG.error("%s answers %d", url, answer.status_code)
            raise _away()

    def _get(self, url: str, headers: dict[str, str] | None = None) -> Any:
        try:
            return requests.get(
                url,
                headers=headers,
                timeout=_SECONDS,
                verify=self.verify,
                cert=self.cert,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            LOG.error("%s cannot be reached: %s", url, type(error).__name__)
            raise _away() from None


def _away() -> Unavailable:
    message = "The identity service does not answer."
    return Unavailable(message, retry_after=_RETRY_AFTER)


class KeySet:
    """The keys of one issuer.

    :param url: where they are; empty: as the issuer's own document says.
    """

    def __init__(self, web: Web, clock: Clock, url: str, *, issuer: str = "") -> None:
        self._web = web
        self._clock = clock
        self._url = url
        self._issuer = issuer.rstrip("/")
        self._lock = threading.Lock()
        self._keys: Sequence[jwt.PyJWK] = ()
        self._asked: float | None = None

    def find(self, name: str | None) -> jwt.PyJWK:
        """The key of this name (``kid``); without a name, the only one.

        :raises Unauthorized: there is none.
        :raises Unavailable: the issuer cannot be asked.
        """
        with self._lock:
            if self._older_than(FRESH):
                self._fetch()
            found = self._named(name)
            if found is None and self._older_than(PAUSE):
                self._fetch()
                found = self._named(name)
        if found is None:
            raise Unauthorized(_UNKNOWN)
        return found

    def _older_than(self, seconds: float) -> bool:
        return self._asked is None or self._clock.monotonic() - self._asked >= seconds

    def _named(self, name: str | None) -> jwt.PyJWK | None:
        if name is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.key_id == name), None)

    def _fetch(self) -> None:
        if not self._url:
            known = self._web.document(
                f"{self._issuer}/.well-known/openid-configuration"
            )
            self._url = str(known.get("jwks_uri") or "")
        document = self._web.document(self._url)
        try:
            found = jwt.PyJWKSet.from_dict(document).keys
        except jwt.PyJWTError as error:
            LOG.error("%s has no keys: %s", self._url, error)
            raise _away() from None
        self._keys = [key for key in found if key.public_key_use in (None, "sig")]
        self._asked = self._clock.monotonic()
