"""Read, check and freeze what an operator has set."""

from __future__ import annotations

import difflib
import fnmatch
import ipaddress
import logging
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from oslo_config import cfg
from oslo_log import log as oslo_log

from mistral.config.faults import (
    ConfigurationFault,
    files_of,
    sections_of,
    wrong_line,
    wrong_value,
)
from mistral.config.known import INEFFECTIVE, LIBRARY_GROUPS, LIBRARY_OPTIONS
from mistral.config.options import SERVER, by_group, declared_options
from mistral.config.settings import GROUPS, ROLES, Server, Settings

log = logging.getLogger(__name__)

_BROKER_HERE: Final = "rabbit://guest:guest@127.0.0.1:5672/"


def load(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    serving: bool = True,
) -> Settings:
    """Settings from the command line, the environment and files.

    ``--config-file`` and ``--config-dir`` win over ``MISTRAL_CONFIG_FILE`` and
    ``MISTRAL_CONFIG_DIR``, these over ``~/.mistral/mistral.conf`` and
    ``/etc/mistral/mistral.conf`` (``MISTRAL_CONFIG_FILE`` set and empty: none).
    ``OS_<GROUP>__<OPTION>`` wins over files. Where the default SQLite file is
    used, its directory is made.

    :param environ: default: the process's.
    :param serving: also refuse what would be unsafe to serve with; tools that
        only look at the database pass False.
    :raises ConfigurationFault: a value is wrong or unsafe.
    """
    environ = os.environ if environ is None else environ
    try:
        source = _source(argv, environ)
        ours = cfg.ConfigOpts()
        for group, opts in by_group().items():
            ours.register_opts(opts, group=None if group == "DEFAULT" else group)
        files = list(source.config_file or [])
        directories = list(source.config_dir or [])
        ours(
            [],
            project="mistral",
            default_config_files=files,
            default_config_dirs=directories,
            use_env=False,
        )
        embedded = not files and not directories
        settings = _read(ours, environ, embedded)
        roles = _roles(source.server or ours.server)
    except cfg.Error as error:
        raise ConfigurationFault(f"Configuration: {error}") from error
    _warn_about(files, directories)
    settings = replace(
        settings,
        server=Server(roles=roles, config_files=tuple(files)),
        embedded=embedded,
        source=source,
    )
    settings = _complete(settings, environ)
    _check(settings)
    if serving:
        _check_serving(settings)
    return settings


def _source(argv: Sequence[str], environ: Mapping[str, str]) -> cfg.ConfigOpts:
    """The parsed command line and files, for libraries to register on."""
    source = cfg.ConfigOpts()
    oslo_log.register_options(source)
    source.register_cli_opt(cfg.ListOpt("server", help=SERVER.help))
    source(
        list(argv),
        project="mistral",
        prog="mistral-server",
        default_config_files=_default_files(environ),
        default_config_dirs=[d for d in [environ.get("MISTRAL_CONFIG_DIR")] if d],
    )
    return source


def _default_files(environ: Mapping[str, str]) -> list[str]:
    named = environ.get("MISTRAL_CONFIG_FILE")
    if named is not None:
        return [named] if named else []
    if environ.get("MISTRAL_CONFIG_DIR"):
        return []
    places = [Path("/etc/mistral/mistral.conf")]
    if environ.get("HOME"):
        places.insert(0, Path(environ["HOME"], ".mistral", "mistral.conf"))
    return [str(place) for place in places if place.is_file()][:1]


def _read(ours: cfg.ConfigOpts, environ: Mapping[str, str], embedded: bool) -> Settings:
    values: dict[str, dict[str, Any]] = {attribute: {} for attribute in GROUPS}
    for declared in declared_options():
        group, opt = declared.group, declared.opt
        text = environ.get(f"OS_{group}__{opt.dest}".upper())
        if text is not None:
            try:
                value = opt.type(text)
            except ValueError as error:
                raise wrong_value("Environment", group, opt, text) from error
        elif embedded and (group, opt.name) in _EMBEDDED:
            value = _EMBEDDED[group, opt.name]
        else:
            value = _value(ours, group, opt)
        if isinstance(value, list):
            value = tuple(item for item in value if item)
        values[declared.attribute][declared.field] = value
    return Settings(**{name: GROUPS[name](**given) for name, given in values.items()})


def _value(ours: cfg.ConfigOpts, group: str, opt: cfg.Opt) -> Any:
    try:
        return ours[opt.dest] if group == "DEFAULT" else ours[group][opt.dest]
    except cfg.ConfigFileValueError as error:
        raise wrong_line(ours, group, opt) from error


_EMBEDDED: Final[Mapping[tuple[str, str], Any]] = {
    ("api", "host"): "127.0.0.1",
    ("pecan", "auth_enable"): False,
}


def _roles(asked: Iterable[str]) -> tuple[str, ...]:
    names = [name.strip() for name in asked if name.strip()]
    if "periodic" in names:
        log.warning("--server periodic: not needed, engines do that work themselves.")
        names = [name for name in names if name != "periodic"]
    wrong = sorted(set(names) - {*ROLES, "all"})
    if wrong:
        raise ConfigurationFault(
            f"--server: expected all or some of {', '.join(ROLES)}, "
            f"found {', '.join(wrong)}."
        )
    return ROLES if "all" in names else tuple(r for r in ROLES if r in names)


def _complete(settings: Settings, environ: Mapping[str, str]) -> Settings:
    connection = settings.database.connection
    if not connection:
        connection = f"sqlite:///{_data_directory(environ) / 'mistral.sqlite'}"
    transport = settings.messaging.transport_url or (
        "memory://" if connection.startswith("sqlite") else _BROKER_HERE
    )
    return replace(
        settings,
        database=replace(settings.database, connection=connection),
        messaging=replace(settings.messaging, transport_url=transport),
    )


def _data_directory(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_DATA_HOME")
    home = Path(base) if base else Path(environ.get("HOME", "/"), ".local", "share")
    directory = home / "mistral"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationFault(
            f"The data directory {directory} cannot be made: {error.strerror}. "
            "Set [database] connection or XDG_DATA_HOME."
        ) from error
    return directory


def _check(settings: Settings) -> None:
    if settings.yaql.convert_input_data and not settings.yaql.convert_output_data:
        raise ConfigurationFault(
            "[yaql] convert_input_data must be false where convert_output_data is."
        )
    wrong = set(settings.expressions.allowed_languages) - {"yaql", "jinja"}
    if wrong:
        raise ConfigurationFault(
            "[expressions] allowed_languages: expected yaql and jinja, found "
            + ", ".join(sorted(wrong))
            + "."
        )
    ignored = settings.expiration.ignored_states
    wrong = set(ignored) - {"SUCCESS", "ERROR", "CANCELLED"}
    if wrong:
        raise ConfigurationFault(
            "[execution_expiration_policy] ignored_states: expected some of SUCCESS, "
            f"ERROR, CANCELLED, found {', '.join(sorted(wrong))}."
        )
    for cidr in settings.http.denied_cidrs:
        try:
            ipaddress.ip_network(cidr, strict=False)
        except ValueError as error:
            raise ConfigurationFault(
                f"[action_std_http] denied_cidrs: {error}."
            ) from error


def _check_serving(settings: Settings) -> None:
    api = settings.api
    if api.auth_enable:
        if not settings.engine.secret_key:
            raise ConfigurationFault(
                "[pecan] auth_enable is true and [engine] secret_key is not set: "
                "secrets would be stored as they are."
            )
        return
    if (
        "api" in settings.server.roles
        and not is_loopback(api.host)
        and not api.allow_unauthenticated
    ):
        raise ConfigurationFault(
            f"[pecan] auth_enable is false and [api] host is {api.host}: everybody "
            "who reaches it could do everything. Listen on 127.0.0.1, or set "
            "[api] allow_unauthenticated = true."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to the address; no name is looked
    up except ``localhost``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _warn_about(files: Iterable[str], directories: Iterable[str]) -> None:
    """Say which lines of the files have no effect, and what may be meant."""
    known = {g: {opt.dest for opt in opts} for g, opts in by_group().items()}
    for group, name in INEFFECTIVE:
        known.setdefault(group, set()).add(name)
    foreign = _foreign()
    for path in files_of(files, directories):
        sections = sections_of(path)
        for group, name in ((g, n) for g, names in sections.items() for n in names):
            dest = name.replace("-", "_")
            if (group, dest) in INEFFECTIVE:
                log.warning(
                    "%s: [%s] %s has no effect: %s.",
                    path,
                    group,
                    name,
                    INEFFECTIVE[group, dest],
                )
            elif dest not in known.get(group, ()):
                if not _is_foreign(group, dest, foreign):
                    log.warning(
                        "%s: unknown option [%s] %s.%s",
                        path,
                        group,
                        name,
                        _suggestion(group, dest, known),
                    )


def _is_foreign(group: str, dest: str, foreign: Set[str]) -> bool:
    if group == "DEFAULT":
        return dest in foreign
    return any(fnmatch.fnmatchcase(group, pattern) for pattern in LIBRARY_GROUPS)


def _foreign() -> set[str]:
    """Options of ``[DEFAULT]`` that libraries read."""
    logging_options = cfg.ConfigOpts()
    oslo_log.register_options(logging_options)
    return {*LIBRARY_OPTIONS, *logging_options}


def _suggestion(group: str, dest: str, known: Mapping[str, set[str]]) -> str:
    for other, names in known.items():
        if dest in names:
            return f" It belongs to [{other}]."
    near = difflib.get_close_matches(dest, known.get(group, ()), n=1)
    if near:
        return f" Is {near[0]} meant?"
    groups = difflib.get_close_matches(group, known, n=1)
    return (
        f" Is the group [{groups[0]}] meant?" if group not in known and groups else ""
    )


def separate(source: cfg.ConfigOpts) -> cfg.ConfigOpts:
    """Another reader of the same files: a library that registers options of its own
    must not meet those of another one."""
    fresh = cfg.ConfigOpts()
    fresh(
        [],
        project="mistral",
        default_config_files=source.config_file,
        default_config_dirs=source.config_dir,
    )
    return fresh


def empty_source() -> cfg.ConfigOpts:
    """What libraries register on and read where nothing was loaded: no files, no
    command line."""
    source = cfg.ConfigOpts()
    source([], project="mistral", default_config_files=[], default_config_dirs=[])
    return source
