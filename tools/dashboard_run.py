"""What ``tools/dashboard`` does once everything is installed."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

from system.cloud import Cloud, running_cloud  # noqa: E402
from system.keystone import PASSWORD  # noqa: E402
from system.processes import until  # noqa: E402

WHO = "ann"

WORKFLOWS = """\
version: '2.0'
greet:
  description: Says something
  tags: [polite]
  input: [whom, {loud: false}]
  output: {said: <% $.said %>}
  tasks:
    say:
      action: std.echo output="hello <% $.whom %>"
      publish: {said: <% task().result %>}
waits: {tasks: {ask: {action: std.async_noop}}}
asks: {tasks: {ask: {action: std.async_noop}}}
fails: {tasks: {t: {action: std.fail}}}
outer: {tasks: {below: {workflow: greet, input: {whom: x}}}}
"""
WORKBOOK = """\
version: '2.0'
name: toolbox
workflows:
  w: {tasks: {t: {action: std.noop}}}
"""
ACTION = "version: '2.0'\nshout: {base: std.echo output=<% $.a %>, input: [a]}\n"

SETTINGS = """\
from openstack_dashboard.settings import *
DEBUG = True
ALLOWED_HOSTS = ["*"]
SECRET_KEY = "of one afternoon, on loopback"
SESSION_ENGINE = "django.contrib.sessions.backends.file"
SESSION_FILE_PATH = {home!r}
CACHES = {{"default": {{"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}}}
OPENSTACK_KEYSTONE_URL = {keystone!r}
OPENSTACK_ENDPOINT_TYPE = "publicURL"
COMPRESS_ENABLED = COMPRESS_OFFLINE = False
STATIC_ROOT = {home!r} + "/static"
MEDIA_ROOT = {home!r} + "/media"
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/dashboard")
    parser.add_argument("where", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--stay", action="store_true")
    parser.add_argument("directory", nargs="?", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        pictures = given.directory or Path(home) / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        with running_cloud(Path(home)) as cloud:
            _fill(cloud)
            with _horizon(given.where, Path(home), cloud.keystone.url) as url:
                account = (WHO, PASSWORD.format(WHO))
                if given.stay:
                    print(f"{url} – {' / '.join(account)} – Enter ends it")
                    input()
                    return 0
                walk = [given.where / "bin/python", PROJECT / "tools/dashboard_walk.py"]
                return subprocess.run([*walk, url, *account, pictures]).returncode


def _fill(cloud: Cloud) -> None:
    """Something for each panel."""
    ann = cloud.be(WHO)

    def post(path: str, body: object) -> None:
        kind = "text/plain" if isinstance(body, str) else "application/json"
        status, answer = ann.request("POST", f"/v2/{path}", body, kind)
        assert status == 201, answer

    post("workflows", WORKFLOWS)
    post("workbooks", WORKBOOK)
    post("actions", ACTION)
    for name, given in (
        ("greet", {"whom": "Ada"}), ("waits", {}), ("asks", {}), ("fails", {}),
        ("outer", {}),
    ):  # fmt: skip
        post("executions", {"workflow_name": name, "input": given})
    trigger = {"name": "yearly", "workflow_name": "waits", "pattern": "0 0 1 1 *"}
    post("cron_triggers", trigger)


@contextmanager
def _horizon(where: Path, home: Path, keystone: str) -> Iterator[str]:
    """The dashboard's URL."""
    [site] = where.glob("lib/python3*/site-packages")
    panel = site / "mistraldashboard/enabled/_50_mistral.py"
    enabled = site / "openstack_dashboard/local/enabled" / panel.name
    enabled.write_text(panel.read_text())
    settings = SETTINGS.format(home=str(home), keystone=keystone)
    (home / "our_settings.py").write_text(settings)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with (home / "horizon.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(where / "bin/python", "-m", "django", "runserver", "--noreload"),
                url.removeprefix("http://"),
            ],
            env=os.environ
            | {"DJANGO_SETTINGS_MODULE": "our_settings", "PYTHONPATH": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    def answers() -> bool:
        assert process.poll() is None, (home / "horizon.log").read_text()[-2000:]
        try:
            return requests.get(f"{url}/auth/login/", timeout=60).ok
        except requests.ConnectionError:
            return False

    try:
        until(answers, 120, "Horizon answers")
        yield url
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
