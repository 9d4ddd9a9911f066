"""What an operator may set: one frozen class per group, one field per option.

The fields are the table: name, type, default, help and bounds of an option stand
here once; the loader, the sample file and ``list_opts`` are derived from them.
Groups and names are those of spec/engine.md § 11, so that an operator's file
carries over; DESIGN § 7 overrides some defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

ROLES: Final = ("api", "engine", "executor", "event-engine", "notifier")
"""What ``--server all`` means."""

DENIED_CIDRS: Final = ("127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10")
"""Loopback and link-local: nothing there is meant for a workflow's author."""


def option(
    default: Any,
    text: str,
    *,
    group: str | None = None,
    name: str | None = None,
    minimum: float | None = None,
    choices: Sequence[str] | None = None,
    secret: bool = False,
) -> Any:
    """A field that is an option.

    :param group: of the file, where it differs from the class's ``GROUP``.
    :param name: in the file, where it differs from the field's.
    :param secret: never shown by ``repr`` (SEC-09).
    """
    return field(
        default=default,
        repr=not secret,
        metadata={
            "help": text,
            "group": group,
            "name": name,
            "minimum": minimum,
            "choices": choices,
            "secret": secret,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """The REST API."""

    GROUP: ClassVar[str] = "api"

    host: str = option("0.0.0.0", "Address to listen on.")
    port: int = option(8989, "Port to listen on.", minimum=0)
    api_workers: int = option(
        0, "Processes that answer requests; 0: one per core.", minimum=0
    )
    max_limit: int = option(
        1000, "Most rows of a page; also used when no limit is asked for.", minimum=1
    )
    max_body_bytes: int = option(
        16 * 1024 * 1024,
        "Largest body of a request that carries a definition; a larger one is "
        "refused before it is parsed.",
        minimum=1,
    )
    max_json_body_bytes: int = option(
        8 * 1024 * 1024, "Largest body of any other request.", minimum=1
    )
    allow_action_execution_deletion: bool = option(
        False, "Allow deletion of stand-alone action executions."
    )
    healthcheck: bool = option(
        False,
        "Serve /healthcheck without authentication.",
        group="healthcheck",
        name="enabled",
    )
    auth_enable: bool = option(
        True, "Authentication and isolation of projects.", group="pecan"
    )
    allow_unauthenticated: bool = option(
        False,
        "Without authentication ([pecan] auth_enable = false) the API refuses to "
        "listen beyond loopback, unless this is true.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Engines: the only writers of executions."""

    GROUP: ClassVar[str] = "engine"

    host: str = option("0.0.0.0", "Name of this server in messaging.")
    topic: str = option("mistral_engine", "Topic of requests to engines.")
    workers: int = option(
        0, "Engine processes of this server; 0: one per two cores.", minimum=0
    )
    inline_actions: bool = option(
        True,
        "Engines finish std.noop, std.echo and std.fail themselves where these "
        "have neither target, delay nor timeout.",
    )
    execution_field_size_limit_kb: int = option(
        1024,
        "Largest input, output, params or published data of an execution, as text; "
        "-1: no limit.",
        minimum=-1,
    )
    merge_strategy: str = option(
        "replace",
        "How data of branches meets: a later value replaces an earlier one, or "
        "dictionaries are merged.",
        choices=("replace", "merge"),
    )
    context_versioning: bool = option(
        True,
        "Keep versions of published values, by which joins merge their branches.",
        group="context_versioning",
        name="enabled",
    )
    workflow_trace_log_name: str = option(
        "workflow_trace",
        "Logger that gets a line for each change of a state of a workflow, task or "
        "action execution.",
        group="DEFAULT",
    )
    secret_key: tuple[str, ...] = option(
        (),
        "Keys that encrypt secrets in rows and messages, the current one first, "
        "older ones behind it. Needed where authentication is on.",
        secret=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSettings:
    """Executors: they run actions and never open the database."""

    GROUP: ClassVar[str] = "executor"

    host: str = option("0.0.0.0", "Name that the target of a task is matched with.")
    topic: str = option("mistral_executor", "Topic of offers to executors.")
    pool_size: int = option(
        64,
        "Actions that one executor runs at the same time.",
        group="DEFAULT",
        name="executor_thread_pool_size",
        minimum=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """The database of API and engines."""

    GROUP: ClassVar[str] = "database"

    connection: str = option(
        "",
        "SQLAlchemy URL: postgresql+psycopg://, mysql+pymysql:// or sqlite:///. "
        "Unset: a SQLite file in the user's data directory.",
        secret=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagingSettings:
    """The transport between API, engines and executors."""

    GROUP: ClassVar[str] = "DEFAULT"

    transport_url: str = option(
        "",
        "oslo.messaging URL: rabbit://user:password@host:5672/vhost, or memory:// "
        "(one process only). Unset: memory:// with SQLite, else a broker on this "
        "host.",
        secret=True,
    )
    rpc_response_timeout: int = option(
        60, "Seconds that a caller waits for an answer.", minimum=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatSettings:
    """When an executor counts as lost: after both numbers' product in seconds."""

    GROUP: ClassVar[str] = "action_heartbeat"

    check_interval: int = option(
        10, "Seconds between two heartbeats of an executor; 0: none.", minimum=0
    )
    max_missed_heartbeats: int = option(
        3, "An executor is lost after so many missed ones; 0: never.", minimum=0
    )
    first_heartbeat_timeout: int = option(
        3600,
        "Seconds after which an action fails that no executor has taken.",
        minimum=0,
    )

    @property
    def enabled(self) -> bool:
        return self.check_interval > 0 and self.max_missed_heartbeats > 0

    @property
    def lost_after(self) -> float:
        """Seconds without a sign after which an executor is lost."""
        return float(self.check_interval * self.max_missed_heartbeats)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpirationSettings:
    """When engines delete finished executions, with everything below them."""

    GROUP: ClassVar[str] = "execution_expiration_policy"

    evaluation_interval: int = option(
        0, "Minutes between two looks for executions to delete; 0: none.", minimum=0
    )
    older_than: int = option(
        0,
        "Minutes since its last change after which a finished execution is deleted; "
        "0: never for its age.",
        minimum=0,
    )
    max_finished_executions: int = option(
        0, "Finished executions that stay, the newest; 0: any number.", minimum=0
    )
    batch_size: int = option(
        0, "Executions deleted at the same time; 0: as many as is good.", minimum=0
    )
    ignored_states: tuple[str, ...] = option(
        (), "SUCCESS, ERROR or CANCELLED: executions in these states stay."
    )

    @property
    def enabled(self) -> bool:
        return self.evaluation_interval > 0 and bool(
            self.older_than or self.max_finished_executions
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionsGroup:
    """Both expression languages, and the budget of one evaluation (SEC-13)."""

    GROUP: ClassVar[str] = "expressions"

    allowed_languages: tuple[str, ...] = option(
        ("yaql", "jinja"), "Languages that definitions may use."
    )
    max_steps: int = option(1_000_000, "Most steps of one evaluation.", minimum=1)
    max_output_bytes: int = option(
        16 * 1024 * 1024, "Largest value that an expression may make.", minimum=1
    )
    max_depth: int = option(200, "Deepest nesting of values.", minimum=1)
    deadline_seconds: float = option(
        2.0, "Longest time of one evaluation.", minimum=0.01
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class YaqlGroup:
    """YAQL alone."""

    GROUP: ClassVar[str] = "yaql"

    limit_iterators: int = option(
        100_000, "Most items of an iterator; -1: no limit of its own.", minimum=-1
    )
    memory_quota: int = option(
        32 * 1024 * 1024,
        "Most bytes of any value a function takes or gives; -1: no limit of its own.",
        minimum=-1,
    )
    convert_input_data: bool = option(
        True, "Must be false where convert_output_data is false; no other effect."
    )
    convert_output_data: bool = option(True, "Make lazy sequences in results lists.")
    convert_tuples_to_lists: bool = option(True, "Make tuples in results lists.")
    convert_sets_to_lists: bool = option(False, "Make sets in results lists.")
    iterable_dicts: bool = option(False, "Dictionaries may be iterated.")
    allow_delegates: bool = option(False, "Allow lambda() and calls of values.")
    keyword_operator: str = option("=>", "Between name and value of an argument.")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """std.http and std.mistral_http: where they may go, what they may log."""

    GROUP: ClassVar[str] = "action_std_http"

    egress_profile: str = option(
        "private-cloud",
        "private-cloud denies denied_cidrs; public-cloud denies private, shared, "
        "unique-local, multicast and reserved networks besides.",
        choices=("private-cloud", "public-cloud"),
    )
    denied_cidrs: tuple[str, ...] = option(
        DENIED_CIDRS, "Networks that no request may reach; empty: none is denied."
    )
    allowed_hosts: tuple[str, ...] = option(
        (), "If set, only these hosts (names as written in the URL) may be called."
    )
    allow_user_proxies: bool = option(
        False,
        "Honour the proxies parameter. A proxy connects where it likes, so only its "
        "own address can be checked.",
    )
    default_timeout: int = option(
        60, "Seconds to connect and to wait for data; 0: no limit.", minimum=0
    )
    total_timeout: float = option(
        600.0,
        "Longest time of a whole request in seconds, redirects included; where the "
        "timeout of the action is longer, twice that (to connect and to read); 0: no "
        "limit.",
        minimum=0,
    )
    max_response_size_bytes: int = option(
        5 * 1024 * 1024, "Largest body of a response; 0: no limit.", minimum=0
    )
    hide_request_body: bool = option(
        False, "Keep bodies of requests out of logs.", group="action_logging"
    )
    hide_response_body: bool = option(
        False, "Keep bodies of responses out of logs.", group="action_logging"
    )
    sensitive_headers: tuple[str, ...] = option(
        (), "Headers that never enter a log.", group="action_logging"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JavaScriptSettings:
    """std.javascript: scripts of users in a limited child process (SEC-21)."""

    GROUP: ClassVar[str] = "javascript"

    enabled: bool = option(False, "Run scripts at all.")
    timeout: float = option(5.0, "Longest run of a script in seconds.", minimum=0.1)
    memory_limit_mb: int = option(64, "Memory of a script.", minimum=1)
    max_output_bytes: int = option(
        1024 * 1024, "Largest result of a script, as JSON text.", minimum=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionProviderSettings:
    """Which sources of actions are asked."""

    GROUP: ClassVar[str] = "action_providers"

    allowlist: tuple[str, ...] = option(
        (), "Shell patterns; if set, only matching providers are asked."
    )
    denylist: tuple[str, ...] = option(
        (), "Shell patterns of providers that are not asked; an allowlist wins."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyActionSettings:
    """Which actions of the entry points exist."""

    GROUP: ClassVar[str] = "legacy_action_provider"

    load_action_plugins: bool = option(True, "Load the entry points mistral.actions.")
    load_action_generators: bool = option(True, "Load mistral.generators.")
    only_builtin_actions: bool = option(False, "Only what ships with the service.")
    allowlist: tuple[str, ...] = option(
        (), "Shell patterns; if set, only matching actions exist."
    )
    denylist: tuple[str, ...] = option(
        (), "Shell patterns of actions that do not exist; an allowlist wins."
    )


GROUPS: Final[dict[str, type]] = {
    "api": ApiSettings,
    "engine": EngineSettings,
    "executor": ExecutorSettings,
    "database": DatabaseSettings,
    "messaging": MessagingSettings,
    "heartbeat": HeartbeatSettings,
    "expiration": ExpirationSettings,
    "expressions": ExpressionsGroup,
    "yaql": YaqlGroup,
    "http": HttpSettings,
    "javascript": JavaScriptSettings,
    "action_providers": ActionProviderSettings,
    "legacy_actions": LegacyActionSettings,
}
"""Attribute of :class:`Settings` → class of the group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What this process is.

    :param roles: of :data:`ROLES`, in that order.
    :param config_files: what was read, in order.
    """

    roles: tuple[str, ...] = ROLES
    config_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that was set, checked.

    :param embedded: no configuration file: one process, SQLite, memory transport.
    :param source: the ``oslo_config.cfg.ConfigOpts`` behind it, for libraries
        that register and read options of their own (oslo.log, oslo.messaging).
    """

    api: ApiSettings = field(default_factory=ApiSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    messaging: MessagingSettings = field(default_factory=MessagingSettings)
    heartbeat: HeartbeatSettings = field(default_factory=HeartbeatSettings)
    expiration: ExpirationSettings = field(default_factory=ExpirationSettings)
    expressions: ExpressionsGroup = field(default_factory=ExpressionsGroup)
    yaql: YaqlGroup = field(default_factory=YaqlGroup)
    http: HttpSettings = field(default_factory=HttpSettings)
    javascript: JavaScriptSettings = field(default_factory=JavaScriptSettings)
    action_providers: ActionProviderSettings = field(
        default_factory=ActionProviderSettings
    )
    legacy_actions: LegacyActionSettings = field(default_factory=LegacyActionSettings)
    server: Server = field(default_factory=Server)
    embedded: bool = True
    source: Any = field(default=None, repr=False, compare=False)

    def expression_arguments(self) -> dict[str, Any]:
        """Arguments of ``expressions.settings.ExpressionSettings``."""
        yaql, both = self.yaql, self.expressions
        return {
            "languages": both.allowed_languages,
            "convert_output_data": yaql.convert_output_data,
            "convert_tuples_to_lists": yaql.convert_tuples_to_lists,
            "convert_sets_to_lists": yaql.convert_sets_to_lists,
            "limit_iterators": yaql.limit_iterators,
            "memory_quota": yaql.memory_quota,
            "iterable_dicts": yaql.iterable_dicts,
            "keyword_operator": yaql.keyword_operator,
            "allow_delegates": yaql.allow_delegates,
            "max_steps": both.max_steps,
            "max_output_bytes": both.max_output_bytes,
            "max_depth": both.max_depth,
            "deadline_seconds": both.deadline_seconds,
        }
