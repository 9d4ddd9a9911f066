"""The watchdog: hostile expressions end soon and small (SEC-13, SEC-12).

Run with a fraction of the default steps, so that the tier stays quick; the
last tests use the defaults.
"""

from __future__ import annotations

import resource
import time

import pytest
from fakes import MemoryFacts
from hostile import DATA, DEEP, HOSTILE

from mistral.errors import ExpressionFault
from mistral.expressions.evaluate import Evaluator, ExpressionSettings
from mistral.expressions.facts import View

VIEW = View(DATA, MemoryFacts())


@pytest.fixture(scope="module")
def short() -> Evaluator:
    return Evaluator(ExpressionSettings(max_steps=10_000, max_output_bytes=4 << 20))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_expressions_are_refused_SEC_13(
    text: str, short: Evaluator, stopwatch: None
) -> None:
    with pytest.raises(ExpressionFault) as fault:
        short.evaluate(text, VIEW)
    assert len(fault.value.message) < 1_000


@pytest.mark.parametrize("text", DEEP, ids=lambda text: f"{text[:12]}{len(text)}")
def test_deep_expressions_neither_crash_nor_hang_SEC_13(
    text: str, short: Evaluator, stopwatch: None
) -> None:
    try:
        short.evaluate(text, VIEW)
    except ExpressionFault as fault:
        assert len(fault.message) < 1_000


TOWERS = [
    "<% range(5000).aggregate($1.select($), [1]).sum() %>",
    "<% range(5000).aggregate(concat($1, [1]), [1]).len() %>",
    "<% range(5000).aggregate($1.append(1), [1]).len() %>",
    "<% range(5000).aggregate($1.zip([1]), [1]).len() %>",
    "<% range(5000).aggregate($1.orderBy($), [1]) %>",
    "<% set(range(5000).aggregate([$1], 0)) %>",
    "{% set n = namespace(a=0) %}{% for i in range(50000) %}{% set n.a = (n.a,) %}"
    "{% endfor %}{{ {n.a: 1} }}",
]
"""Lazy or nested values, thousands deep: C code that walks, hashes or frees them
would overflow the stack and take the process along."""


@pytest.mark.parametrize("text", TOWERS)
def test_towers_do_not_crash_the_process_SEC_13(text: str, stopwatch: None) -> None:
    try:
        Evaluator().evaluate(text, VIEW)
    except ExpressionFault as fault:
        assert "nested" in fault.message


@pytest.mark.parametrize(
    "text",
    [
        '<% ("a" * 30 + "!") =~ "^(a+)+$" %>',
        '<% ($.big + "!") =~ "^(a+)+$" %>',
        '<% ($.big + "!") =~ "(x+x+)+y" %>',
        '<% regex("(.*)*b").search($.big) %>',
        '<% $.big =~ "^(a|aa)+$b" %>',
    ],
)
def test_catastrophic_patterns_take_linear_time_SEC_13(
    text: str, evaluator: Evaluator, stopwatch: None
) -> None:
    assert evaluator.evaluate(text, VIEW) in (False, None)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('<% aa =~ "(a)\\\\1" %>', "backreferences"),
        ('<% aa =~ "a(?=a)" %>', "look-ahead"),
        ('<% aa =~ "a(" %>', "malformed"),
    ],
)
def test_patterns_that_need_backtracking_are_refused(
    text: str, cause: str, short: Evaluator
) -> None:
    with pytest.raises(ExpressionFault, match=cause):
        short.evaluate(text, VIEW)


@pytest.mark.parametrize(
    "text",
    [
        "<% range(100000).select(range(100000).select($ + 1).sum()).sum() %>",
        "<% range(100000).select('a' * 100000).toList() %>",
        "{% for a in range(100000) %}{% for b in range(100000) %}{{ a * b }}"
        "{% endfor %}{% endfor %}",
    ],
)
def test_sec_13_lint_28_fires_by_default(text: str) -> None:
    """Limits are on without any configuration."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    with pytest.raises(ExpressionFault):
        Evaluator(monotonic=time.monotonic).evaluate(text, VIEW)
    assert time.perf_counter() - began < 3
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 256 * 1024  # kilobytes


def test_lint_28_is_silent_on_ordinary_work() -> None:
    """Limits are for hostile texts, not for big ones."""
    items = [{"id": n, "name": f"host-{n}", "up": n % 3 == 0} for n in range(10_000)]
    view = View({"items": items})
    evaluator = Evaluator(monotonic=time.monotonic)
    yaql = "<% $.items.where($.up and $.id > 10).orderBy($.name).select($.id).len() %>"
    jinja = "{{ _['items']|selectattr('up')|map(attribute='id')|list|length }}"
    lines = "{% for i in _['items'] %}{{ i.id }}: {{ i.name|upper }}\n{% endfor %}"
    with pytest.raises(ExpressionFault, match="len"):
        evaluator.evaluate(yaql.replace(".select($.id)", ""), view)
    assert evaluator.evaluate(yaql.replace(".len()", ".toList().len()"), view) == 3330
    assert evaluator.evaluate(jinja, view) == 3334
    assert len(evaluator.evaluate(lines, view).split("\n")) == 10_001
