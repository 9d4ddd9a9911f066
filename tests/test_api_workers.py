"""A worker of the API that begins while the database is away: it answers, as those do
that were there before. Gunicorn ends the whole API when a worker cannot begin."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from webob import Request

from mistral.cmd.api_workers import _Workers
from mistral.config import load
from mistral.errors import StaleSchema

CONFIG = """
[DEFAULT]
transport_url = memory://
[database]
connection = {}
[pecan]
auth_enable = false
[api]
host = 127.0.0.1
"""


def _worker(directory: Path, database: str) -> _Workers:
    path = directory / "mistral.conf"
    path.write_text(CONFIG.format(database))
    return _Workers(load(["--config-file", str(path)]), up=lambda: None)


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_worker_begins_while_the_database_is_away(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = _worker(tmp_path, f"{kind}://u@127.0.0.1:1/d").load()
    (line,) = (r for r in caplog.records if r.name == "mistral.cmd.api_workers")
    assert (line.levelno, line.exc_info) == (logging.WARNING, None)
    answer = Request.blank("/v2/workflows").get_response(app)
    assert answer.status_int == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_a_worker_refuses_a_database_of_another_version(tmp_path: Path) -> None:
    with pytest.raises(StaleSchema):
        _worker(tmp_path, f"sqlite:///{tmp_path / 'none.db'}").load()


def test_connections_rest_longer_than_clients_keep_them(tmp_path: Path) -> None:
    """Who sends a request on a connection at the moment when it is closed is reset:
    proxies and pools of clients let theirs rest for a minute at most."""
    assert _worker(tmp_path, "sqlite://").cfg.keepalive > 60
