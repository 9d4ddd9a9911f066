"""Publishers: what carries a notification to whoever asked for it (§ 10.8).

A publisher has ``publish(ctx, ex_id, data, event, timestamp, **parameters)``;
the parameters are those of its entry in ``params.notify``, but for its type.
Packages register their own under ``mistral.notification.publishers``; there is
one instance of each in a process.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Final
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from mistral_lib.exceptions import ActionException

from mistral.actions import egress
from mistral.config import HttpSettings
from mistral.context import Context
from mistral.errors import MistralError, ServiceError
from mistral.lang.shapes import kind_of
from mistral.messages import Notify
from mistral.publisher_entries import Unseal, opened

LOG = logging.getLogger(__name__)

GROUP: Final = "mistral.notification.publishers"

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 10.0

SIGNATURE: Final = "X-Mistral-Signature-256"
"""Of a webhook with a secret: ``sha256=`` and the signature in hexadecimal digits."""


ZAQAR_TTL: Final = 3600
"""Seconds that a message is kept in a queue, unless its entry says more or less."""

_SIGNED: Final = ("signature", "expires", "methods", "paths", "project")

Announce = Callable[[Mapping[str, Any], Mapping[str, Any]], None]
"""(notification, context) → other services are told; see ``bus.Bus.announce``.

:raises MistralError: not yet.
"""


class PublishingFailed(MistralError):
    """A publisher did not take a notification; it may be asked again."""


class NoopPublisher:
    """A line in the log."""

    def publish(
        self, ctx: Any, ex_id: str, data: Any, event: str, timestamp: str, **_: Any
    ) -> None:
        LOG.info("Notification %s of %s at %s", event, ex_id, timestamp)


class _OverHttp:
    """Publishers that post, under the egress policy of ``std.http``: 3 s to connect,
    10 s to read, redirects are not followed."""

    kind: ClassVar[str]
    settings: ClassVar[HttpSettings] = HttpSettings()
    resolve: ClassVar[egress.Resolver] = staticmethod(egress.resolve)

    def _check_url(self, url: Any) -> None:
        """:raises PublishingFailed: nothing can be posted there. The URL itself is not
        told: it may hold a password."""
        if url == "":
            raise PublishingFailed(f"{self.kind}: 'url' is missing")
        if not isinstance(url, str):
            raise PublishingFailed(
                f"{self.kind}: 'url' is expected to be a text, found {kind_of(url)}"
            )
        if not url.lstrip().lower().startswith(("http://", "https://")):
            raise PublishingFailed(
                f"{self.kind}: 'url' has to begin with http:// or https://"
            )

    def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer.

        :raises PublishingFailed: there was none.
        """
        import requests
        from urllib3.exceptions import HTTPError

        from mistral.actions import http_client

        guard = egress.Egress(self.settings, self.resolve)
        request = requests.Request("POST", url, data=body, headers=dict(headers))
        try:
            guard.check_url(url)
            answer = http_client.send(
                guard,
                self.settings.max_response_size_bytes,
                request,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                total=CONNECT_SECONDS + 2 * READ_SECONDS,
                allow_redirects=False,
                proxies={},
                verify=True,
            )
        except ActionException as error:
            raise PublishingFailed(f"{self.kind}: {error}") from error
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            # Its text may hold the URL, and that a password or a token.
            raise PublishingFailed(f"{self.kind}: {type(error).__name__}") from error
        return int(answer.status_code)


class WebhookPublisher(_OverHttp):
    """POST of the data as JSON.

    200 and 201 are success. With ``secret`` the body is signed with it, HMAC-SHA-256.
    ``X-Mistral-Delivery`` is the same when a notification comes again.
    """

    kind = "webhook"

    def publish(
        self,
        ctx: Any,
        ex_id: str,
        data: Any,
        event: str,
        timestamp: str,
        url: Any = "",
        headers: Any = None,
        secret: str | None = None,
        **_: Any,
    ) -> None:
        """:raises PublishingFailed: neither 200 nor 201 came back, or the entry is
        not one of a webhook."""
        self._check_url(url)
        if headers and not isinstance(headers, Mapping):
            raise PublishingFailed(
                f"webhook: 'headers' is expected to be a mapping, found"
                f" {kind_of(headers)}"
            )
        body = json.dumps(data).encode()
        given = {
            "Content-Type": "application/json",
            "X-Mistral-Event": str(event),
            "X-Mistral-Delivery": _delivery(ex_id, event, timestamp, body),
            **{str(k): str(v) for k, v in (headers or {}).items()},
        }
        if secret:
            given[SIGNATURE] = f"sha256={_signature(str(secret), body)}"
        status = self._post(url, body, given)
        if status not in (200, 201):
            raise PublishingFailed(f"webhook: answered {status}")


class ZaqarPublisher(_OverHttp):
    """A message in a queue of Zaqar: the data, and ``delivery``, which is the same when
    a notification comes again.

    Whoever starts a workflow brings the right to post: what ``POST
    /v2/queues/NAME/share`` has answered. Zaqar ends that right by itself, and a token
    of the caller would not live as long as a run.
    """

    kind = "zaqar"

    def publish(
        self,
        ctx: Any,
        ex_id: str,
        data: Any,
        event: str,
        timestamp: str,
        url: Any = "",
        queue: str = "",
        pre_signed: Mapping[str, Any] | None = None,
        ttl: int = ZAQAR_TTL,
        **_: Any,
    ) -> None:
        """:param url: of the service, without a version.
        :param pre_signed: ``signature``, ``expires``, ``methods``, ``paths`` and
            ``project``.
        :param ttl: seconds that the message is kept.
        :raises PublishingFailed: 201 did not come back, or something is missing.
        """
        signed = pre_signed if isinstance(pre_signed, Mapping) else {}
        missing = [name for name in _SIGNED if not signed.get(name)]
        if missing or not queue:
            lacks = ", ".join([f"pre_signed.{m}" for m in missing] or ["queue"])
            raise PublishingFailed(f"zaqar: missing {lacks}")
        self._check_url(url)
        text = json.dumps(data).encode()
        told = {**data, "delivery": _delivery(ex_id, event, timestamp, text)}
        headers = {
            "Content-Type": "application/json",
            # Zaqar wants to know who reads and writes; nobody reads by this one.
            "Client-ID": str(uuid5(NAMESPACE_URL, f"mistral:{ex_id}")),
            "X-Project-ID": str(signed["project"]),
            "URL-Signature": str(signed["signature"]),
            "URL-Expires": str(signed["expires"]),
            "URL-Methods": _joined(signed["methods"]),
            "URL-Paths": _joined(signed["paths"]),
        }
        name = quote(str(queue), safe="")
        where = f"{url.rstrip('/')}/v2/queues/{name}/messages"
        body = json.dumps({"messages": [{"ttl": ttl, "body": told}]}).encode()
        status = self._post(where, body, headers)
        if status != 201:
            raise PublishingFailed(f"zaqar: answered {status}")


def _joined(names: Any) -> str:
    return names if isinstance(names, str) else ",".join(str(name) for name in names)


def _signature(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _delivery(ex_id: str, event: str, timestamp: str, body: bytes) -> str:
    text = f"{ex_id} {event} {timestamp} ".encode() + body
    return hashlib.sha256(text).hexdigest()[:32]


class MessagingPublisher:
    """A notification of oslo.messaging, which other services hear: the event type is
    ``mistral.`` and the event, such as ``mistral.task_failed``; the payload is the
    data.

    Where it is sent to is the operator's choice: whoever starts a workflow must not
    speak in the name of another service.
    """

    announce: Announce | None = None

    def publish(
        self, ctx: Any, ex_id: str, data: Any, event: str, timestamp: str, **_: Any
    ) -> None:
        """:raises PublishingFailed: the operator has no topic for it, or the broker is
        away."""
        if self.announce is None:
            raise PublishingFailed("messaging: [notifier] messaging_topic is not set")
        text = json.dumps(data).encode()
        told = {
            "message_id": _delivery(ex_id, event, timestamp, text),
            "event_type": f"mistral.{event.lower()}",
            "timestamp": timestamp,
            "payload": dict(data),
        }
        try:
            self.announce(told, {"project_id": str(data.get("project_id"))})
        except MistralError as error:
            raise PublishingFailed(f"messaging: {error}") from error


class Publishers:
    """Publishers by type.

    :param points: entry points; by default those of the installed packages.
    :param announce: sends a notification of oslo.messaging; None: nobody may.
    :param unseal: opens what entries say to publishers alone (SEC-09); None: there is
        no key, and nothing is sealed.
    """

    def __init__(
        self,
        settings: HttpSettings,
        points: Iterable[EntryPoint] | None = None,
        unseal: Unseal | None = None,
        announce: Announce | None = None,
    ) -> None:
        if points is None:
            points = entry_points(group=GROUP)
        self._points = {point.name: point for point in points}
        self._made: dict[str, Any] = {}
        self._settings = settings
        self._unseal = unseal
        self._announce = announce

    def publish(self, notice: Notify, entry: Mapping[str, Any]) -> None:
        """Hand the notification to the publisher of one entry.

        :raises PublishingFailed: it is unknown, it failed, or its secrets cannot be
            opened.
        """
        kind = str(entry.get("type"))
        project_id = str(notice.data.get("project_id"))
        try:
            entry = opened(entry, self._unseal, project_id)
        except ServiceError as error:
            raise PublishingFailed(f"{kind}: {error}") from error
        parameters = {str(k): v for k, v in entry.items() if k != "type"}
        publisher = self._publisher(kind)
        try:
            publisher.publish(
                Context(project_id=project_id),
                notice.object_id,
                dict(notice.data),
                notice.event,
                notice.timestamp,
                **parameters,
            )
        except PublishingFailed:
            raise
        except Exception as error:
            raise PublishingFailed(f"{kind}: {type(error).__name__}") from error

    def _publisher(self, kind: str) -> Any:
        if kind not in self._made:
            point = self._points.get(kind)
            if point is None:
                known = ", ".join(sorted(self._points)) or "none"
                raise PublishingFailed(
                    f"there is no publisher of type '{kind}'; known: {known}"
                )
            try:
                made = point.load()()
            except Exception as error:
                raise PublishingFailed(
                    f"{kind}: cannot be loaded, {type(error).__name__}"
                ) from error
            if isinstance(made, _OverHttp):
                made.settings = self._settings  # type: ignore[misc]
            if isinstance(made, MessagingPublisher):
                made.announce = self._announce
            self._made[kind] = made
        return self._made[kind]
