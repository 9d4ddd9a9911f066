"""Options of what authors of workflows may use: expressions and actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from mistral.config.option import option

DENIED_CIDRS: Final = ("127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10")
"""Loopback and link-local: nothing there is meant for a workflow's author."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionsGroup:
    """Both expression languages, and the budget of one evaluation (SEC-13)."""

    GROUP: ClassVar[str] = "expressions"

    allowed_languages: tuple[str, ...] = option(
        ("yaql", "jinja"), "Languages that definitions may use."
    )
    max_steps: int = option(1_000_000, "Most steps of one expression.", minimum=1)
    max_output_bytes: int = option(
        16 * 1024 * 1024, "Largest value that an expression may make.", minimum=1
    )
    max_depth: int = option(200, "Deepest nesting of values.", minimum=1)
    deadline_seconds: float = option(
        2.0, "Longest time of one expression.", minimum=0.01
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
        False,
        "Keep kinds and sizes of request bodies out of logs, too."
        " What is in them never enters one.",
        group="action_logging",
    )
    hide_response_body: bool = option(
        False,
        "Keep kinds and sizes of response bodies out of logs, too."
        " What is in them never enters one.",
        group="action_logging",
    )
    sensitive_headers: tuple[str, ...] = option(
        (),
        "Headers whose names are kept out of logs, too. Values never enter one.",
        group="action_logging",
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
class DynamicActionSettings:
    """Dynamic actions: Python that users upload as code sources (SEC-01)."""

    GROUP: ClassVar[str] = "dynamic_actions"

    enabled: bool = option(
        False,
        "Take code sources and run dynamic actions. Set it for APIs, engines and "
        "those executors that may run them. Who may upload is a matter of policy: "
        "administrators.",
    )
    timeout: float = option(
        300.0, "Longest run of a dynamic action in seconds.", minimum=0.1
    )
    memory_limit_mb: int = option(
        256, "Memory of the process that runs one.", minimum=16
    )
    max_source_bytes: int = option(64 * 1024, "Largest code source.", minimum=1)
    max_output_bytes: int = option(
        1024 * 1024, "Largest result of a dynamic action, as JSON text.", minimum=1
    )
    confine: bool = option(
        True,
        "The process may only read files, and few (Landlock, Linux 5.13). Where the "
        "kernel cannot do that nothing is run, unless this is false.",
    )
    readable_paths: tuple[str, ...] = option(
        (),
        "Directories that dynamic actions may read besides the installation of "
        "Python and what names of hosts and certificates are looked up in.",
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
