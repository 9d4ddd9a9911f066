"""Actions of a package that is not ours, as operators install them."""

from __future__ import annotations

from typing import Any

import requests
from mistral_lib import actions


class WhoAmI(actions.Action):  # type: ignore[misc]
    """Asks the identity service what a token may know of its user and project.

    :param user_id: who it should be; nobody else is shown.
    """

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    def run(self, context: Any) -> Any:
        security = context.security

        def ask(path: str) -> Any:
            answer = requests.get(
                f"{security.auth_uri}{path}",
                headers={"X-Auth-Token": security.auth_token},
                timeout=30,
            )
            answer.raise_for_status()
            return answer.json()

        return {
            "user": ask(f"/users/{self.user_id}")["user"]["name"],
            "projects": [each["name"] for each in ask("/auth/projects")["projects"]],
            "trust": security.trust_id,
            "known": [security.user_name, security.project_name, security.region_name],
            "services": sorted({each["type"] for each in security.service_catalog}),
        }
