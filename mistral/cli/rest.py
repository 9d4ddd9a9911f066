"""The service's REST API as this program needs it.

Answers come back as plain dicts whose JSON-in-a-string attributes are decoded
(spec/rest-api.md § 1.3). A refusal is raised as the class of
:mod:`mistral.errors` that stands for its status, with the service's own words.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests

from mistral import errors

DEFAULT_URL: Final = "http://127.0.0.1:8989/v2"

#: Longer than the service waits for its engine (60 s), so that its own answer
#: is seen instead of ours.
ANSWER_SECONDS: Final = 75.0

#: One page of a list; the service never gives more than 1,000.
PAGE: Final = 500

_JSON_TEXTS: Final = (
    "input",
    "output",
    "params",
    "published_global",
    "runtime_context",
    "published",
    "result",
)

_REFUSALS: Final[Mapping[int, type[errors.MistralError]]] = {
    400: errors.BadRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.TooLarge,
    423: errors.Locked,
    429: errors.Unavailable,
    503: errors.Unavailable,
}


def decoded(resource: Mapping[str, Any]) -> dict[str, Any]:
    """``resource`` with its JSON texts as values; a text that is none stays."""
    shown = dict(resource)
    for name in _JSON_TEXTS:
        text = shown.get(name)
        if isinstance(text, str):
            try:
                shown[name] = json.loads(text)
            except ValueError:
                continue
    return shown


class Service:
    """One service.

    :param url: the API's root, ending in ``/v2``.
    """

    def __init__(self, url: str = DEFAULT_URL) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise errors.BadRequest(
                f"expected an address such as {DEFAULT_URL}, found '{url}'"
            )
        self.url = url.rstrip("/")
        #: What concerns the service as a whole lies beside the version.
        self.root = self.url.removesuffix("/v2")
        self._session = requests.Session()
        # A proxy named in the environment cannot reach this machine's loopback.
        self._session.trust_env = not _is_loopback(parts.hostname)
        #: The service's clock at its last answer (UTC, whole seconds).
        self.answered_at: datetime | None = None

    def get(self, *path: str, **query: Any) -> Any:
        return self._call("GET", path, query=query)

    def put(self, *path: str, body: Mapping[str, Any]) -> Any:
        return self._call("PUT", path, json_body=body)

    def post(self, *path: str, body: Mapping[str, Any]) -> Any:
        return self._call("POST", path, json_body=body)

    def post_bytes(
        self, *path: str, body: bytes, headers: Mapping[str, str], **query: Any
    ) -> Any:
        """JSON as it is: where it is signed, each of its bytes counts."""
        return self._call("POST", path, query=query, raw=body, headers=headers)

    def delete(self, *path: str) -> None:
        self._call("DELETE", path)

    def maintenance(self, wanted: str | None = None) -> str:
        """The status, after asking for ``wanted`` if that is given (§ 7.4)."""
        method = "PUT" if wanted else "GET"
        body = {"status": wanted} if wanted else None
        answer = self._call(method, ("maintenance",), json_body=body, base=self.root)
        return str(answer["status"])

    def post_text(self, *path: str, text: str, **query: Any) -> Any:
        return self._call("POST", path, query=query, text=text)

    def put_text(self, *path: str, text: str, **query: Any) -> Any:
        return self._call("PUT", path, query=query, text=text)

    def all(self, member: str, *path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Every element of a list, page after page."""
        marker: dict[str, Any] = {}
        while True:
            page = self.get(*path, limit=PAGE, **query, **marker)
            yield from (decoded(element) for element in page[member])
            if not page.get("next"):
                return
            marker = {"marker": page[member][-1]["id"]}

    def _call(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        query: Mapping[str, Any] | None = None,
        json_body: Mapping[str, Any] | None = None,
        text: str | None = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        base: str | None = None,
    ) -> Any:
        sent = {"Accept": "application/json"}
        body = raw
        if raw is not None:
            sent["Content-Type"] = "application/json"
        if text is not None:
            # Raw endpoints read text whatever its type says.
            sent = {"Content-Type": "text/plain; charset=utf-8", "Accept": "*/*"}
            body = text.encode()
        target = "/".join((base or self.url, *(quote(part, safe="") for part in path)))
        asked = {name: value for name, value in (query or {}).items() if value != ""}
        try:
            answer = self._session.request(
                method,
                target,
                params=asked,
                json=json_body,
                data=body,
                headers={**sent, **(headers or {})},
                timeout=ANSWER_SECONDS,
            )
        except requests.Timeout as error:
            raise errors.Unavailable(
                f"{self.url} did not answer within {ANSWER_SECONDS:.0f} seconds"
            ) from error
        except requests.RequestException as error:
            raise errors.Unavailable(
                f"nothing answers at {self.url}: is mistral-server running?"
                " (--url or MISTRAL_URL names another one)"
            ) from error
        self._note_time(answer)
        if answer.status_code == 404 and not self.url.endswith("/v2"):
            raise errors.NotFound(
                f"{_refusal(answer).message} Should the address end in /v2?"
                f" It is {self.url}"
            )
        if answer.status_code >= 400:
            raise _refusal(answer)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise errors.ServiceError(
                f"{target} answered with something that is not JSON:"
                " is this the address of the workflow service, ending in /v2?"
            ) from error

    def _note_time(self, answer: requests.Response) -> None:
        try:
            stamp = parsedate_to_datetime(answer.headers["Date"])
        except (KeyError, TypeError, ValueError):
            return
        self.answered_at = stamp.astimezone(UTC).replace(tzinfo=None)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refusal(answer: requests.Response) -> errors.MistralError:
    """The error that ``answer`` stands for, in the service's words."""
    message = answer.headers.get("Server-Error-Message", "")
    if not message:
        try:
            message = str(answer.json()["faultstring"])
        except (ValueError, KeyError, TypeError):
            message = f"the service answered {answer.status_code} {answer.reason}"
    kind = _REFUSALS.get(answer.status_code, errors.ServiceError)
    return kind(message)
