"""An executor: no database, no engine, no web."""

from __future__ import annotations

from mistral.actions.registry import Registry
from mistral.bus import Bus
from mistral.clock import Clock
from mistral.cmd.names import new_id
from mistral.cmd.secrets import make_identities
from mistral.config import Settings
from mistral.executors.dynamic import CodeTexts, DynamicActions
from mistral.executors.server import ExecutorServer, ExecutorSettings


def make_executor(settings: Settings, bus: Bus, clock: Clock) -> ExecutorServer:
    return ExecutorServer(
        bus,
        Registry(settings),
        ExecutorSettings(
            host=settings.executor.host,
            threads=settings.executor.pool_size,
            result_limit_kb=settings.engine.execution_field_size_limit_kb,
            check_interval=float(settings.heartbeat.check_interval),
            max_missed=settings.heartbeat.max_missed_heartbeats,
            identities=make_identities(settings),
        ),
        clock,
        new_id,
        DynamicActions(CodeTexts(bus, clock), settings.dynamic_actions),
    )
