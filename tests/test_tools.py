"""The tools of the project themselves."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest

PROJECT = Path(__file__).parents[1]
TOOLS = PROJECT / "tools"
SCRIPTS = ["test", "quickstart"]

_open = build_opener(ProxyHandler({})).open


@pytest.fixture
def orders_service() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "orders_service", TOOLS / "orders_service.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def orders_url() -> Iterator[str]:
    command = [sys.executable, str(TOOLS / "orders_service.py")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.terminate()


def ask(url: str) -> object:
    with _open(url, timeout=10) as answer:
        return json.load(answer)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_can_be_run_and_explain_themselves(script):
    result = subprocess.run(
        [TOOLS / script, "--help"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0
    assert result.stdout.startswith(f"tools/{script}")


@pytest.mark.parametrize(
    "script", [*(TOOLS / name for name in SCRIPTS), PROJECT / ".ci" / "run"]
)
def test_ci_and_tools_are_executable(script):
    assert os.access(script, os.X_OK)


def test_ci_calls_the_test_command_of_the_readme():
    assert "tools/test" in (PROJECT / "README.rst").read_text()
    assert "tools/test" in (PROJECT / ".ci" / "run").read_text()


def test_the_stubborn_order_is_refused_at_first(orders_service, orders_url):
    for _ in range(orders_service.REFUSALS):
        with pytest.raises(HTTPError) as refusal:
            ask(orders_url + orders_service.STUBBORN)
        assert refusal.value.code == 503
        refusal.value.close()
    assert ask(orders_url + orders_service.STUBBORN)["id"] == "A-3"
    assert ask(f"{orders_url}/seen")[orders_service.STUBBORN] == 3


def test_the_expected_total_is_that_of_the_orders(orders_service):
    total = sum(
        order["amount"] * (100 - orders_service.DISCOUNTS.get(order["customer"], 0))
        for order in orders_service.ORDERS.values()
    )
    assert total == orders_service.EXPECTED_TOTAL * 100


@pytest.mark.system
def test_the_quickstart_ends_with_its_result():
    """The command of the README, without its installation."""
    result = subprocess.run(
        [TOOLS / "quickstart", "--once"],
        env=os.environ | {"MISTRAL_VENV": sys.prefix},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "As it must be: a total of 310" in result.stdout
