"""std.http and std.mistral_http (spec/engine.md §§ 9.2, 9.3)."""

from __future__ import annotations

import json as json_format
import logging
import ssl
from collections.abc import Mapping
from typing import Any, ClassVar

from mistral_lib.actions import Result
from mistral_lib.exceptions import ActionException

from mistral.actions import egress, http_log
from mistral.actions.builtin import BuiltinAction
from mistral.config import HttpSettings

log = logging.getLogger(__name__)


class HttpAction(BuiltinAction):
    """Sends an HTTP request; the answer is the result.

    200 to 306 is success; any other status an error with the same dictionary.
    """

    NAME = "std.http"
    SETTINGS = "http"

    resolve: ClassVar[egress.Resolver] = staticmethod(egress.resolve)

    settings: HttpSettings = HttpSettings()

    def __init__(
        self,
        url: str,
        method: str = "GET",
        params: Any = None,
        body: Any = None,
        json: Any = None,
        headers: Mapping[str, Any] | None = None,
        cookies: Mapping[str, Any] | None = None,
        auth: Any = None,
        timeout: Any = None,
        allow_redirects: Any = None,
        proxies: Mapping[str, str] | None = None,
        verify: Any = None,
    ) -> None:
        if body is not None and json is not None:
            raise ActionException(f"{self.NAME}: expected body or json, found both.")
        self.url = url
        self.method = method
        self.params = params
        self.body = body
        self.json = json
        self.headers = {
            name: value if isinstance(value, str | bytes) else str(value)
            for name, value in (headers or {}).items()
            if value is not None
        }
        self.cookies = cookies
        self.auth = _credentials(auth, self.NAME)
        self.timeout = timeout
        self.allow_redirects = bool(allow_redirects)
        self.proxies = proxies
        self.verify = verify

    def run(self, context: Any) -> Any:
        """The dictionary of § 9.2, in an error result for other statuses.

        :raises ActionException: nothing came back, or it must not be asked for.
        """
        # requests costs 15 MB, and engines import this module for its signature.
        import requests
        from urllib3.exceptions import HTTPError

        from mistral.actions import http_client

        settings = self.settings
        guard = egress.Egress(settings, self.resolve)
        guard.check_url(str(self.url))
        request = requests.Request(
            str(self.method).upper(),
            str(self.url),
            params=self.params,
            data=_encoded(self.body),
            json=self.json,
            headers=self.headers,
            cookies=dict(self.cookies or {}),
            auth=self.auth,
        )
        self._log_request()
        timeout = self._timeout()
        try:
            response = http_client.send(
                guard,
                settings.max_response_size_bytes,
                request,
                timeout=timeout,
                total=self._total(timeout),
                allow_redirects=self.allow_redirects,
                proxies=self._proxies(),
                verify=self._verify(),
            )
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise ActionException(f"Failed to send HTTP request: {error}") from error
        answer = _answer(response)
        self._log_answer(answer)
        if 200 <= response.status_code <= 306:
            return answer
        return Result(error=answer)

    def _timeout(self) -> float | None:
        wanted = self.settings.default_timeout if self.timeout is None else self.timeout
        try:
            seconds = float(wanted)
        except (TypeError, ValueError) as error:
            raise ActionException(
                f"{self.NAME}: expected a number of seconds as timeout."
            ) from error
        if not 0 <= seconds < float("inf"):
            raise ActionException(f"{self.NAME}: expected a timeout of 0 or more.")
        return seconds or None

    def _total(self, timeout: float | None) -> float | None:
        """Seconds for the whole request: no server may hold a worker for ever."""
        total = self.settings.total_timeout
        return max(total, 2 * (timeout or 0)) if total else None

    def _proxies(self) -> dict[str, str]:
        if self.proxies and not self.settings.allow_user_proxies:
            log.warning("%s: proxies of workflows are not allowed, ignored.", self.NAME)
            return {}
        return dict(self.proxies or {})

    def _verify(self) -> bool | str:
        if not str(self.url).lower().startswith("https") or self.verify is None:
            return True
        if not isinstance(self.verify, str):
            return bool(self.verify)
        try:
            ssl.create_default_context(cafile=self.verify)
        except (OSError, ValueError) as error:
            # One text for all: it must not say which files exist (SEC-05).
            raise ActionException(
                f"{self.NAME}: the CA bundle of verify cannot be used."
            ) from error
        return self.verify

    def _log_request(self) -> None:
        settings = self.settings
        log.info("%s: %s %s", self.NAME, self.method, http_log.url(str(self.url)))
        log.debug(
            "%s: headers %s, body %s",
            self.NAME,
            http_log.headers(self.headers, settings.sensitive_headers),
            http_log.body(
                self.json if self.body is None else self.body,
                settings.hide_request_body,
            ),
        )

    def _log_answer(self, answer: Mapping[str, Any]) -> None:
        settings = self.settings
        log.info("%s: status %d", self.NAME, answer["status"])
        log.debug(
            "%s: headers %s, body %s",
            self.NAME,
            http_log.headers(answer["headers"], settings.sensitive_headers),
            http_log.body(answer["content"], settings.hide_response_body),
        )


class MistralHttpAction(HttpAction):
    """Sends an HTTP request whose receiver reports the result by the callback."""

    NAME = "std.mistral_http"
    SYNC = False

    def run(self, context: Any) -> Any:
        execution = getattr(context, "execution", None)
        for header, attribute in (
            ("Mistral-Workflow-Name", "workflow_name"),
            ("Mistral-Workflow-Execution-Id", "workflow_execution_id"),
            ("Mistral-Task-Id", "task_execution_id"),
            ("Mistral-Action-Execution-Id", "action_execution_id"),
            ("Mistral-Callback-URL", "callback_url"),
        ):
            value = getattr(execution, attribute, None)
            if value is not None:
                self.headers[header] = str(value)
        return super().run(context)


def _credentials(auth: Any, name: str) -> tuple[str, str] | None:
    if auth is None or auth == "":
        return None
    parts = auth.split(":") if isinstance(auth, str) else auth
    if isinstance(parts, list | tuple) and len(parts) == 2:
        return str(parts[0]), str(parts[1])
    raise ActionException(f"{name}: expected auth as 'user:password'.")


def _encoded(body: Any) -> Any:
    if body is None or isinstance(body, bytes):
        return body
    text = body if isinstance(body, str) else json_format.dumps(body)
    return text.encode("utf-8")


def _content(body: bytes, encoding: str | None) -> Any:
    """JSON if it is JSON, else text. An encoding is never guessed from the bytes:
    that takes seconds for a large body."""
    try:
        return json_format.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        pass
    try:
        return body.decode(encoding or "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _answer(response: Any) -> dict[str, Any]:
    return {
        "content": _content(response.content, response.encoding),
        "status": response.status_code,
        "headers": dict(response.headers),
        "cookies": response.cookies.get_dict(),
        "url": response.url,
        "history": [
            {
                "status": hop.status_code,
                "url": hop.url,
                "headers": dict(hop.headers),
            }
            for hop in response.history
        ],
        "encoding": response.encoding,
        "reason": response.reason,
        "elapsed": response.elapsed.total_seconds(),
    }
