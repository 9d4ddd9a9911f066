"""The API as one WSGI application, on one page.

::

    Edge (size, request id, HEAD)
      └─ pecan: Root.route ─▶ ReadingHook (media types, who asks) ─▶ Resource.run
                     errors of any of these ─▶ ErrorHook ─▶ JSON
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from webob import Request, exc

from mistral.api import auth
from mistral.api.authentication import Door, door
from mistral.api.document import describe
from mistral.api.framework import OneController, PecanHook
from mistral.api.gate import PatientBus
from mistral.api.hooks import BODY, REQUEST_ID, Edge, ErrorHook, WsgiApp
from mistral.api.policy import Policies
from mistral.api.rest import Call, Resource
from mistral.api.services import Services
from mistral.api.starts import Starts
from mistral.api.target import target_of
from mistral.api.v2.action_executions import ActionExecutions
from mistral.api.v2.actions import Actions
from mistral.api.v2.callbacks import Callbacks
from mistral.api.v2.code_sources import CodeSources
from mistral.api.v2.cron_triggers import CronTriggers
from mistral.api.v2.dynamic_actions import DynamicActions
from mistral.api.v2.environments import Environments
from mistral.api.v2.event_sources import EventSources
from mistral.api.v2.event_triggers import EventTriggers
from mistral.api.v2.events import Events
from mistral.api.v2.executions import Executions
from mistral.api.v2.root import Root
from mistral.api.v2.tasks import Tasks
from mistral.api.v2.workbooks import Workbooks
from mistral.api.v2.workflows import Workflows
from mistral.api.waiting import Endings
from mistral.config import Settings, empty_source
from mistral.context import Context

__all__ = ["Services", "collections", "document", "make_app"]


class ReadingHook(PecanHook):  # type: ignore[misc]
    """Makes the ``Call`` once the route is known (§ 2.3, steps 3 and 4)."""

    def __init__(
        self,
        services: Services,
        policies: Policies,
        entrance: Door,
    ) -> None:
        self._services = services
        self._policies = policies
        self._entrance = entrance

    def before(self, state: Any) -> None:
        request: Request = state.request
        media_type = (request.content_type or "").lower()
        resource, route, _ = request.context["found"]
        if not route.raw and not _takes_json(request):
            raise exc.HTTPNotAcceptable("Only application/json is available.")
        if media_type.endswith(("/xml", "+xml")):
            raise exc.HTTPUnsupportedMediaType("XML is not supported; send JSON.")
        request_id = request.environ[REQUEST_ID]
        request.context["call"] = Call(
            services=self._services,
            policies=self._policies,
            context=Context(request_id=request_id)
            if resource.public
            else self._entrance.identify(request, request_id),
            method=request.method,
            host_url=request.application_url,
            query=dict(request.GET),
            body=request.environ[BODY],
            media_type=media_type,
            charset=(request.content_type and request.charset) or "utf-8",
            accept=request.accept,
            authenticated=self._entrance.authenticated,
            named_projects=self._entrance.named_projects,
            if_match=request.if_match if "If-Match" in request.headers else None,
            if_none_match=request.if_none_match
            if "If-None-Match" in request.headers
            else None,
            target=dict if resource.public else partial(target_of, request),
            headers=request.headers,
        )


def _takes_json(request: Request) -> bool:
    if not request.headers.get("Accept"):
        return True
    return bool(request.accept.acceptable_offers(["application/json"]))


def collections() -> dict[str, Resource]:
    """What there is below ``/v2``."""
    return {
        "workbooks": Workbooks(),
        "workflows": Workflows(),
        "actions": Actions(),
        "code_sources": CodeSources(),
        "dynamic_actions": DynamicActions(),
        "environments": Environments(),
        "executions": Executions(),
        "tasks": Tasks(),
        "action_executions": ActionExecutions(),
        "cron_triggers": CronTriggers(),
        "event_triggers": EventTriggers(),
        "callbacks": Callbacks(),
        "event_sources": EventSources(),
        "events": Events(),
    }


def document(settings: Settings) -> dict[str, Any]:
    """What ``/v2/openapi.json`` says of a service with these settings, but for
    where it is."""
    root = Root(collections(), health=settings.api.healthcheck)
    return describe(root.resources, settings)


def make_app(
    services: Services,
    *,
    identify: auth.Identify | None = None,
    resources: Mapping[str, Resource] | None = None,
) -> WsgiApp:
    """The application.

    :param identify: who asks; default: as the settings say; where authentication
        is off, everybody is the administrator of the one project.
    :param resources: what there is below ``/v2``; default: ``collections()``.
    :raises ServiceError: the policy file or the options of authentication cannot be
        used.
    """
    settings = services.settings
    if services.endings is None:
        services = replace(services, endings=Endings(services.database))
    seconds = float(settings.messaging.rpc_response_timeout)
    starts = Starts(services.bus, services.clock, seconds)
    services = replace(services, bus=PatientBus(starts, services.gate))
    found = collections() if resources is None else resources
    root = Root(found, health=settings.api.healthcheck)
    policies = Policies(
        settings.source or empty_source(),
        enforce_roles=settings.api.enforce_roles,
        clock=services.clock,
    )
    policies.check_routes(root.rules)
    if identify is not None:
        entrance = Door(identify)
    else:
        entrance = door(settings, policies, services.clock)
    app = OneController(
        root,
        hooks=[
            ReadingHook(services, policies, entrance),
            ErrorHook(services.database.is_retryable, entrance.challenge),
        ],
    )
    return Edge(app, max_body=settings.api.max_body_bytes, new_id=services.new_id)
