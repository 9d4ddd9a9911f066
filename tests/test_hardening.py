"""What holds of the whole code base or process, whoever asks (SEC-06, SEC-19)."""

from __future__ import annotations

import ast
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import mistral

ROOT = Path(mistral.__file__).parent

EVALUATES = {
    # code of users, in a confined child without credentials (SEC-01)
    "executors/dynamic_child.py": {"exec"},
}


def test_sec_19_nothing_is_evaluated_as_python() -> None:
    """No ``eval`` on configuration, nor on anything else."""
    found: dict[str, set[str]] = {}
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in ("eval", "exec", "compile", "__import__"):
                    name = str(path.relative_to(ROOT))
                    found.setdefault(name, set()).add(node.func.id)
    allowed = {name: kinds | {"compile"} for name, kinds in EVALUATES.items()}
    assert {name for name in found if found[name] - allowed.get(name, set())} == set()


SCRIPT = """
import logging, os, sys
from mistral.cmd.logs import start_logging
from mistral.config import load
os.umask(0)
settings = load(["--config-file", sys.argv[1]], environ={"HOME": sys.argv[2]})
start_logging(settings)
logging.getLogger("mistral").error("a line")
"""


@pytest.mark.parametrize("umask", ["0", "0o077"])
def test_sec_06_log_files_are_for_owner_and_group(tmp_path: Path, umask: str) -> None:
    """Whatever the umask of who starts the process."""
    config, log = tmp_path / "mistral.conf", tmp_path / "mistral.log"
    config.write_text(
        f"[DEFAULT]\nlog_file = {log}\n[pecan]\nauth_enable = false\n"
        "[api]\nhost = 127.0.0.1\n"
    )
    subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("umask(0)", f"umask({umask})"),
         str(config), str(tmp_path)],
        check=True, timeout=60,
    )  # fmt: skip
    assert "a line" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
