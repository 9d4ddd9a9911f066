"""What an operator may set: one frozen class per group, one field per option.

The fields are the table: name, type, default, help and bounds of an option stand
here once; the loader, the sample file and ``list_opts`` are derived from them.
Groups and names are those of spec/engine.md § 11, so that an operator's file
carries over; DESIGN § 7 overrides some defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from mistral.config.author_settings import (
    ActionProviderSettings,
    DynamicActionSettings,
    ExpressionsGroup,
    HttpSettings,
    JavaScriptSettings,
    LegacyActionSettings,
    YaqlGroup,
)
from mistral.config.identity_settings import KeycloakSettings, OidcSettings
from mistral.config.option import option

ROLES: Final = ("api", "engine", "executor", "event-engine", "notifier")
"""What ``--server all`` means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """The REST API."""

    GROUP: ClassVar[str] = "api"

    host: str = option("0.0.0.0", "Address to listen on.")
    port: int = option(8989, "Port to listen on.", minimum=0, maximum=65535)
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
    validation_mode: str = option(
        "mandatory",
        "When uploads are validated: always (mandatory), unless skip_validation is in "
        "the query (enabled), or never (disabled). What is stored invalid is refused "
        "when it is started.",
        choices=("enabled", "mandatory", "disabled"),
    )
    allow_action_execution_deletion: bool = option(
        False, "Allow deletion of stand-alone action executions."
    )
    enable_info_endpoint: bool = option(
        False, "Serve /info without authentication: the document that is named below."
    )
    info_json_file_path: str = option(
        "info.json", "File with the JSON document that /info answers with."
    )
    healthcheck: bool = option(
        False,
        "Serve /healthcheck without authentication.",
        group="healthcheck",
        name="enabled",
    )
    enable_proxy_headers_parsing: bool = option(
        False,
        "Take scheme, host and prefix of links from what a proxy in front says "
        "(Forwarded, X-Forwarded-*). Only where nobody can go around the proxy.",
        group="oslo_middleware",
    )
    auth_enable: bool = option(
        True, "Authentication and isolation of projects.", group="pecan"
    )
    auth_type: str = option(
        "keystone",
        "Whose tokens are accepted: Keystone's ([keystone_authtoken]), Keycloak's "
        "([keycloak_oidc]), or those of any OpenID Connect issuer ([oidc]).",
        group="DEFAULT",
        choices=("keystone", "keycloak-oidc", "oidc"),
    )
    allow_unauthenticated: bool = option(
        False,
        "Without authentication ([pecan] auth_enable = false) the API refuses to "
        "listen beyond loopback, unless this is true.",
    )
    administrators_list_all_projects: bool = option(
        True,
        "Lists of administrators show the objects of all projects; else they do only "
        "when asked to (all_projects=true).",
    )
    enforce_roles: bool = option(
        False,
        "Within a project the role reader may read and the role member may also "
        "change; else every role may do both.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsSettings:
    """Pages of other origins that a browser lets use the API; none by default."""

    GROUP: ClassVar[str] = "cors"

    allowed_origin: tuple[str, ...] = option(
        (), "Origins (scheme://host:port) that may call the API; empty: none; *: any."
    )
    allow_credentials: bool = option(True, "Answer requests with credentials.")
    expose_headers: tuple[str, ...] = option(
        (
            "X-Auth-Token",
            "X-Subject-Token",
            "X-Service-Token",
            "X-Project-Id",
            "X-User-Name",
            "X-Project-Name",
        ),
        "Headers of answers that a page may read.",
    )
    max_age: int = option(
        3600, "Seconds for which a browser keeps the answer to a preflight.", minimum=0
    )
    allow_methods: tuple[str, ...] = option(
        ("GET", "PUT", "POST", "DELETE", "PATCH"), "Methods that a page may use."
    )
    allow_headers: tuple[str, ...] = option(
        (
            "X-Auth-Token",
            "X-Identity-Status",
            "X-Roles",
            "X-Service-Catalog",
            "X-User-Id",
            "X-Tenant-Id",
            "X-Project-Id",
            "X-User-Name",
            "X-Project-Name",
        ),
        "Headers that a page may send, besides the simple ones.",
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
    max_kept_messages: int = option(
        1000,
        "Messages that an execution keeps until tasks of it wait for them "
        "(std.wait_for); more are refused.",
        minimum=0,
    )
    kept_messages_size_limit_kb: int = option(
        1024,
        "Payloads of the messages that an execution keeps, together and as text.",
        minimum=0,
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
    callback_base_url: str = option(
        "",
        "Address of the API as applications reach it, such as "
        "https://mistral.example.org; it stands before the paths of callback_url(). "
        "Executors use it, too.",
    )
    callback_lifetime: int = option(
        604800,
        "Seconds for which an address of callback_url() can be used.",
        minimum=1,
    )
    secret_key: tuple[str, ...] = option(
        (),
        "Keys that encrypt secrets in rows and messages, the current one first, "
        "older ones behind it. Needed where authentication is on.",
        secret=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventEngineSettings:
    """Event engines: they hear other services and let event triggers fire."""

    GROUP: ClassVar[str] = "event_engine"

    host: str = option(
        "0.0.0.0", "Name of this server in messaging, where it has no engine."
    )
    listener_pool_name: str = option(
        "events",
        "Event engines of the same name share the notifications: each is handled by "
        "one of them.",
    )
    event_definitions_cfg_file: str = option(
        "/etc/mistral/event_definitions.yaml",
        "What workflows are told of an event; see event_definitions.yml.sample. "
        "Without the file all events have the same four properties.",
    )
    max_sources: int = option(
        100,
        "Most pairs of exchange and topic that event triggers may name; each is a "
        "connection of every event engine.",
        minimum=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierSettings:
    """Who is told of changes of states."""

    GROUP: ClassVar[str] = "notifier"

    type: str = option(
        "remote",
        "Publishers are called by notifier processes, or by the engines themselves.",
        choices=("remote", "local"),
    )
    topic: str = option("mistral_notifier", "Topic of notifications to notifiers.")
    notify: str = option(
        "[]",
        "JSON list of publishers that are told of every execution, besides those of "
        "its own notify parameter.",
    )
    messaging_topic: str = option(
        "",
        "Topic of the exchange mistral_notifications that publishers of the type "
        "messaging send notifications of oslo.messaging to; empty: there are no such "
        "publishers.",
    )
    slow_task_seconds: int = option(
        600,
        "A task that takes longer is told to publishers that ask for TASK_WARNING and "
        "do not say when (slow_after); 0: never.",
        minimum=0,
    )
    retry_first_delay: int = option(
        5,
        "Seconds until a notification that its publisher did not take is offered to it "
        "again; each time twice as many.",
        minimum=1,
    )
    retry_longest_delay: int = option(
        3600, "Seconds between two offers of a notification at most.", minimum=1
    )
    retry_for: int = option(
        86400,
        "Seconds for which a notification is offered. Later one refusal more is the "
        "last, and it is kept for operators: see mistral-db-manage notifications.",
        minimum=0,
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
    archive_directory: str = option(
        "",
        "Directory that an execution is written to, with everything below it, before "
        "it is deleted: a file of JSON lines each. Empty: nothing is kept.",
    )

    @property
    def enabled(self) -> bool:
        return self.evaluation_interval > 0 and bool(
            self.older_than or self.max_finished_executions
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CronTriggerSettings:
    """Workflows that start by the clock."""

    GROUP: ClassVar[str] = "cron_trigger"

    enabled: bool = option(
        True,
        "Engines of this server fire cron triggers. Those that are due while no "
        "engine fires them do so once when one does again.",
    )


GROUPS: Final[dict[str, type]] = {
    "api": ApiSettings,
    "oidc": OidcSettings,
    "keycloak": KeycloakSettings,
    "cors": CorsSettings,
    "engine": EngineSettings,
    "executor": ExecutorSettings,
    "event_engine": EventEngineSettings,
    "notifier": NotifierSettings,
    "database": DatabaseSettings,
    "messaging": MessagingSettings,
    "heartbeat": HeartbeatSettings,
    "expiration": ExpirationSettings,
    "cron_triggers": CronTriggerSettings,
    "expressions": ExpressionsGroup,
    "yaql": YaqlGroup,
    "http": HttpSettings,
    "javascript": JavaScriptSettings,
    "dynamic_actions": DynamicActionSettings,
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
    oidc: OidcSettings = field(default_factory=OidcSettings)
    keycloak: KeycloakSettings = field(default_factory=KeycloakSettings)
    cors: CorsSettings = field(default_factory=CorsSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)
    event_engine: EventEngineSettings = field(default_factory=EventEngineSettings)
    notifier: NotifierSettings = field(default_factory=NotifierSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    messaging: MessagingSettings = field(default_factory=MessagingSettings)
    heartbeat: HeartbeatSettings = field(default_factory=HeartbeatSettings)
    expiration: ExpirationSettings = field(default_factory=ExpirationSettings)
    cron_triggers: CronTriggerSettings = field(default_factory=CronTriggerSettings)
    expressions: ExpressionsGroup = field(default_factory=ExpressionsGroup)
    yaql: YaqlGroup = field(default_factory=YaqlGroup)
    http: HttpSettings = field(default_factory=HttpSettings)
    javascript: JavaScriptSettings = field(default_factory=JavaScriptSettings)
    dynamic_actions: DynamicActionSettings = field(
        default_factory=DynamicActionSettings
    )
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
