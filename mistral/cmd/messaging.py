"""The bus of a process."""

from __future__ import annotations

from mistral.bus import Bus
from mistral.config import Settings


def make_bus(settings: Settings, name: str) -> Bus:
    return Bus(
        settings.messaging.transport_url,
        engine_topic=settings.engine.topic,
        executor_topic=settings.executor.topic,
        notifier_topic=settings.notifier.topic,
        server_name=name,
        call_timeout=float(settings.messaging.rpc_response_timeout),
        conf=settings.source,
    )
