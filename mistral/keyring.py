"""Keys that seal what must not be read in rows and messages (SEC-09).

The first key seals, all of them open: to rotate, put a new key in front, restart,
seal the trusts of triggers anew (``mistral-db-manage reseal``), and take the old one
away once no run is left that was started under it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from mistral.errors import ServiceError


class Keyring:
    """:param keys: as ``Fernet.generate_key`` makes them, the current one first.

    :raises ServiceError: there is none, or one is no such key.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            raise ServiceError(
                "[engine] secret_key: expected keys of 32 bytes as URL-safe base64."
                ' Make one: python -c "from cryptography.fernet import Fernet;'
                ' print(Fernet.generate_key().decode())"'
            ) from None

    def seal(self, secrets: Mapping[str, Any], project_id: str) -> str:
        """What only this keyring reads, and only for this project (SEC-23)."""
        text = json.dumps({"project_id": project_id, "secrets": secrets})
        return self._fernet.encrypt(zlib.compress(text.encode())).decode()

    def renew(self, sealed: str) -> str:
        """The same, sealed by the first key.

        :raises ServiceError: no key fits, or it was changed.
        """
        try:
            return self._fernet.rotate(sealed.encode()).decode()
        except InvalidToken:
            raise ServiceError(
                "No key of [engine] secret_key opens the trust of a trigger."
            ) from None

    def open(self, sealed: str, project_id: str) -> dict[str, Any]:
        """What was sealed.

        :raises ServiceError: no key fits, it was changed, or it was sealed for
            another project. The text says nothing of the contents.
        """
        try:
            text = zlib.decompress(self._fernet.decrypt(sealed.encode()))
        except InvalidToken:
            raise ServiceError(
                "No key of [engine] secret_key opens the secrets of this execution."
            ) from None
        found = json.loads(text)
        if found["project_id"] != project_id:
            raise ServiceError("These secrets were sealed for another project.")
        secrets: dict[str, Any] = found["secrets"]
        return secrets
