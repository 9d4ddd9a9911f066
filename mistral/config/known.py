"""Options that operators' files may hold and that set nothing here.

They are not mistakes, so they are accepted, and the log says why they have no
effect (DESIGN § 7).
"""

from __future__ import annotations

from typing import Final

_OUTBOX = "timers are rows of the outbox, which needs no scheduler"
_FIXED = "there is only one kind"
_LATER = "this version has no such part"

INEFFECTIVE: Final[dict[tuple[str, str], str]] = {
    ("DEFAULT", "scheduler_type"): _OUTBOX,
    ("DEFAULT", "js_implementation"): "scripts run in QuickJS; see [javascript]",
    ("DEFAULT", "expiration_token_duration"): "it never had one",
    ("api", "enable_ssl_api"): "put a proxy that speaks TLS in front",
    ("engine", "engine"): _FIXED,
    ("engine", "version"): "messages carry their version themselves",
    ("engine", "memory_limit_mb"): "every evaluation has a budget of its own",
    ("engine", "execution_integrity_check_delay"): "the normal path repairs",
    ("engine", "execution_integrity_check_batch_size"): "the normal path repairs",
    ("engine", "action_definition_cache_time"): "definitions are cached by version",
    ("engine", "start_subworkflows_via_rpc"): "sub-workflows start by events",
    ("executor", "type"): "actions run in executors, whatever process holds them",
    ("executor", "version"): "messages carry their version themselves",
    ("scheduler", "fixed_delay"): _OUTBOX,
    ("scheduler", "random_delay"): _OUTBOX,
    ("scheduler", "batch_size"): _OUTBOX,
    ("scheduler", "in_memory_workers"): _OUTBOX,
    ("scheduler", "captured_job_timeout"): _OUTBOX,
    ("scheduler", "pickup_job_after"): _OUTBOX,
    ("cron_trigger", "execution_interval"): "triggers fire to the second",
    ("cron_trigger", "run_in_api"): "engines fire cron triggers",
    ("event_engine", "topic"): "event engines look at the table of triggers",
    ("notifier", "host"): "notifiers share one queue",
    ("action_heartbeat", "batch_size"): "liveness is one row per executor",
    ("context_versioning", "hash_version_keys"): "contexts hold references to values",
    ("pecan", "root"): _FIXED,
    ("pecan", "modules"): _FIXED,
    ("pecan", "debug"): "no answer ever carries a trace",
}
"""(group, option) → why it has no effect."""

LIBRARY_GROUPS: Final = (
    "oslo_*",
    "keystone",
    "keystone_authtoken",
    "profiler",
    "ssl",
    "service_user",
    "healthcheck",
)
"""Shell patterns of groups that belong to libraries."""

LIBRARY_OPTIONS: Final = frozenset(
    {
        "control_exchange",
        "rpc_conn_pool_size",
        "rpc_ping_enabled",
        "conn_pool_min_size",
        "conn_pool_ttl",
    }
)
"""Options of ``[DEFAULT]`` that oslo.messaging reads. To ask it would load all of
its drivers."""
