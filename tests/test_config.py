"""Options: embedded without a file, an operator's file otherwise (DESIGN § 7)."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mistral.bus import Bus
from mistral.config import ROLES, ConfigurationFault, Settings, list_opts, load, sample
from mistral.config.known import INEFFECTIVE
from mistral.config.options import by_group

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_DATA_HOME": str(tmp_path / "data"), "MISTRAL_CONFIG_FILE": ""}


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mistral.conf"
    path.write_text(text)
    return str(path)


OPEN = "[pecan]\nauth_enable = false\n[api]\nhost = 127.0.0.1\n"


def test_no_file_means_embedded(environ: dict[str, str], tmp_path: Path) -> None:
    settings = load([], environ=environ)
    assert settings.embedded
    assert settings.server.roles == ROLES
    assert (settings.api.host, settings.api.port) == ("127.0.0.1", 8989)
    assert not settings.api.auth_enable
    assert settings.messaging.transport_url == "memory://"
    assert settings.database.connection == (
        f"sqlite:///{tmp_path}/data/mistral/mistral.sqlite"
    )
    assert (tmp_path / "data" / "mistral").is_dir()


def test_home_holds_the_data_without_xdg(tmp_path: Path) -> None:
    settings = load([], environ={"HOME": str(tmp_path), "MISTRAL_CONFIG_FILE": ""})
    assert f"{tmp_path}/.local/share/mistral/" in settings.database.connection


def test_defaults_that_design_overrides() -> None:
    settings = Settings()
    assert settings.heartbeat.check_interval == 10
    assert settings.heartbeat.max_missed_heartbeats == 3
    assert settings.heartbeat.lost_after == 30.0
    assert settings.engine.inline_actions


def test_a_file_brings_the_defaults_of_the_table(
    environ: dict[str, str], tmp_path: Path
) -> None:
    path = write(tmp_path, "[engine]\nsecret_key = k1, k2\nworkers = 3\n")
    settings = load(["--config-file", path, "--server", "api,engine"], environ=environ)
    assert not settings.embedded
    assert settings.server.config_files == (path,)
    assert settings.server.roles == ("api", "engine")
    assert settings.api.host == "0.0.0.0"
    assert settings.api.auth_enable
    assert settings.engine.secret_key == ("k1", "k2")
    assert settings.engine.workers == 3


def test_the_environment_names_file_and_values(tmp_path: Path) -> None:
    path = write(tmp_path, OPEN + "[DEFAULT]\nexecutor_thread_pool_size = 7\n")
    environ = {
        "MISTRAL_CONFIG_FILE": path,
        "XDG_DATA_HOME": str(tmp_path),
        "OS_API__PORT": "1234",
        "OS_ACTION_STD_HTTP__DENIED_CIDRS": "",
    }
    settings = load([], environ=environ)
    assert settings.executor.pool_size == 7
    assert settings.api.port == 1234
    assert settings.http.denied_cidrs == ()


def test_a_directory_of_files(environ: dict[str, str], tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "one.conf").write_text(OPEN)
    (parts / "two.conf").write_text("[engine]\ntopic = mine\n")
    environ["MISTRAL_CONFIG_DIR"] = str(parts)
    settings = load([], environ=environ)
    assert settings.engine.topic == "mine"
    assert not settings.embedded


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[api]\nport = eighty\n",
            r"mistral\.conf: \[api\] port: expected a whole number of at least 0 and of"
            r" at most 65535, found 'eighty'\.",
        ),
        ("[api]\nport = 65536\n", r"\[api\] port: .* found '65536'\."),
        (
            "[pecan]\nauth_enable = perhaps\n",
            r"\[pecan\] auth_enable: expected true or false, found 'perhaps'\.",
        ),
        (
            "[engine]\nmerge_strategy = often\n",
            r"\[engine\] merge_strategy: expected one of .*, found 'often'\.",
        ),
        ("[api]\nmax_limit = 0\n", r"\[api\] max_limit: .* found '0'\."),
        (
            "[DEFAULT]\nrpc_response_timeout = soon\n",
            r"\[DEFAULT\] rpc_response_timeout: expected a whole number of .*'soon'",
        ),
        ("[yaql]\nconvert_output_data = false\n", "convert_input_data"),
        ("[action_std_http]\ndenied_cidrs = somewhere\n", "denied_cidrs"),
        ("[expressions]\nallowed_languages = yaql, perl\n", "perl"),
    ],
)
def test_wrong_values_are_refused_by_name(
    environ: dict[str, str], tmp_path: Path, text: str, said: str
) -> None:
    path = write(tmp_path, text + "[engine]\nsecret_key=k\n")
    with pytest.raises(ConfigurationFault, match=said):
        load(["--config-file", path], environ=environ)


def test_the_last_of_several_files_is_the_one_that_is_named(
    environ: dict[str, str], tmp_path: Path
) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "one.conf").write_text("[api]\nport = 80\n")
    (parts / "two.conf").write_text("[api]\nport = eighty\n")
    environ["MISTRAL_CONFIG_DIR"] = str(parts)
    with pytest.raises(ConfigurationFault, match=r"two\.conf: .* found 'eighty'"):
        load([], environ=environ)


def test_a_wrong_value_of_the_environment_is_refused_by_name(
    environ: dict[str, str],
) -> None:
    environ["OS_API__PORT"] = "eighty"
    with pytest.raises(
        ConfigurationFault, match=r"Environment: \[api\] port: .*eighty"
    ):
        load([], environ=environ)


def test_a_wrong_value_of_the_messaging_library_is_refused_by_name(
    environ: dict[str, str], tmp_path: Path
) -> None:
    path = write(
        tmp_path, OPEN + "[oslo_messaging_rabbit]\nrabbit_retry_interval = x\n"
    )
    source = load(["--config-file", path], environ=environ).source
    bus = Bus("rabbit://guest:guest@127.0.0.1:1/", conf=source)
    expected = r"\[oslo_messaging_rabbit\] rabbit_retry_interval: expected a whole num"
    with pytest.raises(ConfigurationFault, match=expected):
        bus.start()


def test_missing_file_and_unknown_role(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationFault, match="nowhere"):
        load(["--config-file", "/nowhere/mistral.conf"], environ=environ)
    with pytest.raises(ConfigurationFault, match="found cook"):
        load(["--server", "api,cook"], environ=environ)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_no_authentication_beyond_loopback(
    environ: dict[str, str], tmp_path: Path, host: str
) -> None:
    text = f"[pecan]\nauth_enable = false\n[api]\nhost = {host}\n"
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationFault, match="allow_unauthenticated"):
        load(["--config-file", path], environ=environ)
    load(["--config-file", path, "--server", "engine"], environ=environ)
    path = write(tmp_path, text + "allow_unauthenticated = true\n")
    assert load(["--config-file", path], environ=environ).api.host == host


def test_embedded_too_stays_on_loopback(environ: dict[str, str]) -> None:
    environ["OS_API__HOST"] = "0.0.0.0"
    with pytest.raises(ConfigurationFault, match="allow_unauthenticated"):
        load([], environ=environ)


def test_authentication_needs_a_key(environ: dict[str, str], tmp_path: Path) -> None:
    path = write(tmp_path, "[api]\nport = 1\n")
    with pytest.raises(ConfigurationFault, match="secret_key"):
        load(["--config-file", path], environ=environ)
    assert load(["--config-file", path], environ=environ, serving=False).api.port == 1


def test_unknown_options_get_a_suggestion(
    environ: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(
        tmp_path,
        OPEN + "prot = 1\n[engine]\nport = 2\n[DEFAULT]\ndebug = true\n"
        "transport_url = memory://\n[oslo_messaging_rabbit]\nssl = true\n"
        "[enginee]\nzzz = 1\n",
    )
    with caplog.at_level(logging.WARNING):
        load(["--config-file", path], environ=environ)
    said = "\n".join(caplog.messages)
    assert "[api] prot. Is port meant?" in said
    assert "[engine] port. It belongs to [api]." in said
    assert "[enginee] zzz. Is the group [engine] meant?" in said
    assert "debug" not in said and "ssl" not in said


def test_ineffective_options_warn(
    environ: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, OPEN + "[DEFAULT]\nscheduler_type = legacy\n")
    with caplog.at_level(logging.WARNING):
        load(["--config-file", path, "--server", "all,periodic"], environ=environ)
    said = "\n".join(caplog.messages)
    assert "[DEFAULT] scheduler_type has no effect: timers are rows" in said
    assert "periodic: not needed" in said


def test_an_option_is_either_effective_or_not() -> None:
    ours = {(g, o.dest) for g, opts in by_group().items() for o in opts}
    assert not ours & set(INEFFECTIVE)


def test_secrets_are_not_shown_sec_09() -> None:
    """SEC-09: secrets in object representations."""
    import dataclasses

    settings = Settings()
    settings = dataclasses.replace(
        settings,
        engine=dataclasses.replace(settings.engine, secret_key=("CANARY",)),
        database=dataclasses.replace(settings.database, connection="db://u:CANARY@h"),
        messaging=dataclasses.replace(
            settings.messaging, transport_url="rabbit://u:CANARY@h"
        ),
    )
    assert "CANARY" not in repr(settings)


def test_the_sample_is_what_the_options_say() -> None:
    stored = (ROOT / "etc" / "mistral.conf.sample").read_text()
    assert stored == sample(), "run tools/generate-config"


def test_list_opts_names_every_group() -> None:
    groups = dict(list_opts())
    assert {"DEFAULT", "api", "engine", "executor", "yaql"} <= set(groups)
    assert all(opt.help for opts in groups.values() for opt in opts)


def test_expression_arguments_fit() -> None:
    from mistral.expressions.settings import ExpressionSettings

    arguments = Settings().expression_arguments()
    assert ExpressionSettings(**arguments) == ExpressionSettings()
