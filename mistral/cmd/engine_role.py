"""An engine, and what its decisions use."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mistral.actions.registry import Registry
from mistral.bus import Bus
from mistral.clock import Clock
from mistral.cmd.names import new_id
from mistral.cmd.notifier_role import make_courier
from mistral.cmd.secrets import make_callbacks, make_keyring, make_trust_ending
from mistral.config import ConfigurationFault, ExpirationSettings, Settings
from mistral.db.database import Database
from mistral.engine.core.ports import Rules
from mistral.engine.expiration import Expiration
from mistral.engine.facts import Sources
from mistral.engine.notices import Patience
from mistral.engine.server import EngineOptions, EngineServer
from mistral.errors import ServiceError
from mistral.expressions.evaluate import (
    Evaluator,
    ExpressionSettings,
    load_functions,
)
from mistral.notifier.server import InEngine
from mistral.publisher_entries import of_operator

if TYPE_CHECKING:
    from mistral.keyring import Keyring


def make_evaluator(settings: Settings, clock: Clock) -> Evaluator:
    """Both expression languages, as the operator limits them."""
    return Evaluator(
        ExpressionSettings(**settings.expression_arguments()),
        load_functions(),
        clock.monotonic,
    )


def make_sources(settings: Settings, clock: Clock) -> Sources:
    """What decisions use besides the database."""
    limit = settings.engine.execution_field_size_limit_kb
    return Sources(
        evaluator=make_evaluator(settings, clock),
        registry=Registry(settings),
        new_id=new_id,
        callbacks=make_callbacks(settings),
        functions=frozenset(load_functions()),
        rules=Rules(
            merge_strategy=settings.engine.merge_strategy,
            versioning=settings.engine.context_versioning,
            field_limit=limit * 1024 if limit >= 0 else -1,
            inline_actions=settings.engine.inline_actions,
            notify=notified_always(settings.notifier.notify, make_keyring(settings)),
            slow_task=settings.notifier.slow_task_seconds,
            kept_messages=settings.engine.max_kept_messages,
            kept_message_bytes=settings.engine.kept_messages_size_limit_kb * 1024,
        ),
    )


def make_expiration(policy: ExpirationSettings) -> Expiration | None:
    """None: nothing ever expires (spec/engine.md § 10.5).

    :raises ConfigurationFault: nothing can be archived where it should be.
    """
    if not policy.enabled:
        return None
    minutes = policy.older_than
    archive = Path(policy.archive_directory) if policy.archive_directory else None
    if archive is not None and not (archive.is_dir() and os.access(archive, os.W_OK)):
        raise ConfigurationFault(
            "[execution_expiration_policy] archive_directory: expected a directory that"
            f" this process may write to, found {archive}."
        )
    return Expiration(
        interval=60.0 * policy.evaluation_interval,
        older_than=timedelta(minutes=minutes) if minutes else None,
        keep=policy.max_finished_executions,
        batch=policy.batch_size,
        ignored=frozenset(policy.ignored_states),
        archive=archive,
    )


def make_engine(
    settings: Settings, database: Database, bus: Bus, clock: Clock, name: str
) -> EngineServer:
    beats = settings.heartbeat
    return EngineServer(
        database,
        bus,
        make_sources(settings, clock),
        clock,
        EngineOptions(
            name=name,
            lost_after=beats.lost_after if beats.enabled else 0.0,
            check_interval=float(beats.check_interval or 10),
            unclaimed_after=float(beats.first_heartbeat_timeout)
            if beats.enabled
            else 0.0,
            answer_seconds=float(settings.messaging.rpc_response_timeout),
            expiration=make_expiration(settings.expiration),
            trace_log=settings.engine.workflow_trace_log_name,
            cron_triggers=settings.cron_triggers.enabled,
            end_trust=make_trust_ending(settings),
            publish=InEngine(make_courier(settings, bus)).hand
            if settings.notifier.type == "local"
            else None,
            patience=Patience(
                first=float(settings.notifier.retry_first_delay),
                longest=float(settings.notifier.retry_longest_delay),
                keep=float(settings.notifier.retry_for),
            ),
        ),
    )


def notified_always(
    text: str, keyring: Keyring | None = None
) -> tuple[Mapping[str, Any], ...]:
    """The publishers of ``[notifier] notify``, what is secret in them sealed.

    :raises ServiceError: it is no JSON list of objects with a type.
    """
    try:
        found = json.loads(text or "[]")
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(
        isinstance(entry, dict) and entry.get("type") for entry in found
    ):
        raise ServiceError(
            "[notifier] notify: expected a JSON list of objects with a 'type',"
            ' like [{"type": "webhook", "url": "…"}].'
        )
    seal = keyring.seal if keyring else None
    return tuple(of_operator(entry, seal) for entry in found)
