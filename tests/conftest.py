"""What decides about the tiers: where services are required, none is skipped."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

_REQUIRED = os.environ.get("REQUIRE_SERVICES") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """A skipped test of the service tiers has failed where ``REQUIRE_SERVICES=1``
    (CI): a green run there has seen every database and the broker."""
    report = yield
    tiers = {"services", "system"}
    if _REQUIRED and report.skipped and tiers & {m.name for m in item.iter_markers()}:
        reason = report.longrepr
        report.outcome = "failed"
        report.longrepr = f"a service is missing, and REQUIRE_SERVICES=1: {reason}"
    return report
