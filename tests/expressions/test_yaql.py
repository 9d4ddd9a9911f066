"""YAQL: options of the operator, and what § 24 says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mistral.errors import ExpressionFault
from mistral.expressions.evaluate import Evaluator, ExpressionSettings
from mistral.expressions.facts import View

Run = Callable[..., Any]


def evaluate(text: str, data: Any = None, **options: Any) -> Any:
    return Evaluator(ExpressionSettings(**options)).evaluate(text, View(data or {}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 or false", 1),
        ("1 / 2", 0),
        ("1 / 2.0", 0.5),
        ('1 = "1"', False),
        ("abc", "abc"),
        ("True", "True"),
        ("$.l.where($ > 1).select($ * 2)", [4, 6]),
        ("$.l[-1]", 3),
        ("$['a-b']", 7),
        ("$.get('a-b')", 7),
        ("$.n?.x", None),
        ("$.ld.k", [1, 2]),
        ("$.l.skip(1).limit(1)", [2]),
        ("let(x => 1) -> $x + 1", 2),
        ("def(f, $ + 1) -> f(3)", 4),
        ("switch(false => 1, true => 2)", 2),
        ("str(1) + 'a'", "1a"),
        ("$.d.keys().orderBy($)", ["a", "b"]),
        ("$.d.items().select($[0])", ["a", "b"]),
        ("timespan(minutes => 1)", 60.0),
        ("'é1_' =~ '^\\\\w+$'", True),
        ("regex('(?P<n>b)').search('abc', $n.value)", "b"),
    ],
)
def test_semantics_that_matter(run: Run, text: str, expected: object) -> None:
    """§ 24."""
    found = run(
        f"<% {text} %>",
        l=[1, 2, 3],
        n=None,
        ld=[{"k": 1}, {"k": 2}],
        d={"a": 1, "b": 2},
        **{"a-b": 7},
    )
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("$.n.x", "'null' has no attribute 'x'"),
        ("1 + a", r"operator '\+' does not work on integer and string"),
        ("1 < a", "operator '<' does not work on integer and string"),
        ("[1][1]", "index is out of range"),
        ("[].first()", "too few"),
        ("1 / 0", "division by zero"),
        ("$.d.items()", "a set cannot hold"),
        ("nosuch(1)", "no function 'nosuch'"),
        ("$.d.nosuch()", "no method 'nosuch' of a value of type 'mapping'"),
        ("lambda($)", "no function 'lambda'"),
        ("int(x)", "not of the expected form"),
    ],
)
def test_causes_in_an_author_s_words(run: Run, text: str, cause: str) -> None:
    """§ 28.3."""
    with pytest.raises(ExpressionFault, match=cause):
        run(f"<% {text} %>", n=None, d={"a": 1})


def test_limit_iterators() -> None:
    assert evaluate("<% range(5).len() %>", limit_iterators=5) == 5
    with pytest.raises(ExpressionFault, match="more items"):
        evaluate("<% range(6).len() %>", limit_iterators=5)
    with pytest.raises(ExpressionFault, match="more than 5 items"):
        evaluate("<% $.l %>", {"l": [1] * 6}, limit_iterators=5)
    assert evaluate("<% range(200000).len() %>", limit_iterators=-1) == 200_000


def test_memory_quota() -> None:
    text = "<% 'a' * 1000 + b %>"
    assert len(evaluate(text, memory_quota=-1)) == 1001
    with pytest.raises(ExpressionFault, match="too much memory"):
        evaluate(text, memory_quota=500)


def test_conversions_of_results() -> None:
    assert evaluate("-<% [1, [2]] %>", convert_tuples_to_lists=False) == "-(1, (2,))"
    assert evaluate("<% [1, [2]] %>", convert_tuples_to_lists=False) == [1, [2]]
    assert evaluate("-<% [1].toSet() %>", convert_sets_to_lists=True) == "-[1]"
    items = evaluate("<% $.items() %>", {"a": 1}, convert_sets_to_lists=True)
    assert items == [["a", 1]]
    with pytest.raises(ExpressionFault, match="sequence"):
        evaluate("<% range(2) %>", convert_output_data=False)
    assert evaluate("<% range(2).toList() %>", convert_output_data=False) == [0, 1]


def test_iterable_dicts() -> None:
    with pytest.raises(ExpressionFault):
        evaluate("<% $.select($) %>", {"a": 1})
    assert evaluate("<% $.select($) %>", {"a": 1}, iterable_dicts=True) == ["a"]


def test_keyword_operator() -> None:
    assert evaluate("<% dict(a: 1) %>", keyword_operator=":") == {"a": 1}
    with pytest.raises(ExpressionFault, match=r"unexpected|illegal"):
        evaluate("<% dict(a => 1) %>", keyword_operator=":")


def test_allow_delegates() -> None:
    text = "<% let(f => lambda($ + 1)) -> $f(2) %>"
    assert evaluate(text, allow_delegates=True) == 3
    with pytest.raises(ExpressionFault):
        evaluate(text)


def test_steps_are_counted_per_tree() -> None:
    """One evaluation of a tree has one budget."""
    one = "<% range(100).select($ + 1).sum() %>"
    assert evaluate(one, max_steps=2_000) == 5050
    with pytest.raises(ExpressionFault, match=r"more than 2000 steps \(at \[") as fault:
        evaluate([one] * 20, max_steps=2_000)
    assert "range(100)" in fault.value.message


def test_depth_of_values_is_limited() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    with pytest.raises(ExpressionFault, match="nested more than"):
        evaluate("<% $.deep %>", {"deep": deep})
    with pytest.raises(ExpressionFault, match="nested"):
        evaluate("<% set($.deep) %>", {"deep": deep})
