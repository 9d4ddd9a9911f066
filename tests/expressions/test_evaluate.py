"""Values in, values out (spec/language.md § 21)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from fakes import FakeClock, MemoryFacts

from mistral.errors import ExpressionFault
from mistral.expressions.evaluate import Evaluator, ExpressionSettings, to_storable
from mistral.expressions.facts import View
from mistral.expressions.limits import Allowance

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<% $.a %>", 1),
        ("<%$.a%>", 1),
        ("{{ _.a }}", 1),
        (" <% $.a %>", " 1"),
        ("<% $.a %> ", "1 "),
        ("<% $.a %><% $.a %>", "11"),
        ("{{ _.a }}{{ _.a }}", "11"),
        ("v=<% $.l %>", "v=[1, 2]"),
        ("v={{ _.l }}", "v=[1, 2]"),
        ("v=<% $.n %>", "v=None"),
        ("v={{ _.n }}", "v=None"),
        ("{{ _.a }}\n", "1"),
        ("<% $.a %>\n", "1\n"),
        ("<% $.a", "<% $.a"),
        ("%> x <%", "%> x <%"),
        ("<% $.l %>", [1, 2]),
        ("{{ _.l }}", [1, 2]),
        ("{{ 1 / 2 }}", 0.5),
        ("{{ [1, 2] }}", [1, 2]),
        ("{{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ('<% "<" + "%" %>', "<%"),
        ("{{ '{{' }}", "{{"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ("{% if _.a %}x{% endif %}", "x"),
        ("{{ _.a }} <% $.a %>", "1 <% $.a %>"),
        ("<% $.a\n %>", "<% $.a\n %>"),
    ],
)
def test_types_and_texts(run: Run, text: str, expected: object) -> None:
    """LANG-240, LANG-250, § 21.3, § 21.5, Q44, Q45, Q46, Q47."""
    found = run(text, a=1, l=[1, 2], n=None)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (False, "False"),
        (12, "12"),
        (0.1, "0.1"),
        (1.0, "1.0"),
        (1e20, "1e+20"),
        ("it's", "it's"),
        ([1, "x"], "[1, 'x']"),
        (["it's", "\n", "é"], """["it's", '\\n', 'é']"""),
        ({"k": 1}, "{'k': 1}"),
        ([None, True, {"a": []}], "[None, True, {'a': []}]"),
    ],
)
def test_text_forms(run: Run, value: object, text: str) -> None:
    """LANG-241."""
    assert run("-<% $.v %>-", v=value) == f"-{text}-"
    assert run("-{{ _.v }}-", v=value) == f"-{text}-"


def test_text_forms_of_yaql_s_own_types(run: Run) -> None:
    """§ 21.3: sets and date-times keep their looks in text."""
    assert run("-<% [1].toSet() %>-") == "-{1}-"
    utc = "datetime(2020, 1, 2, 3, 4, 5)"
    assert run(f"-<% {utc} %>-") == "-2020-01-02 03:04:05-"
    assert run(f"-<% [{utc}] %>-") == "-['2020-01-02 03:04:05']-"
    offset = "datetime(2020, 1, 2, 3, 4, 5, 0, timespan(hours => 1))"
    assert run(f"-<% {offset} %>-") == "-2020-01-02 03:04:05+01:00-"


def test_trees_are_walked_and_keys_are_not(run: Run) -> None:
    """LANG-242."""
    tree = {"<% $.a %>": ["<% $.a %>", {"x": "{{ _.a }}"}], "n": None, "b": True}
    assert run(tree, a=1) == {"<% $.a %>": [1, {"x": 1}], "n": None, "b": True}


def test_results_are_not_evaluated_again(run: Run) -> None:
    """LANG-243."""
    assert run("<% $.a %>", a="<% 1 %>") == "<% 1 %>"
    assert run("{{ _.a }}", a="{{ 1 }}") == "{{ 1 }}"
    assert run("x {{ _.a }}", a="{{ 1 }}") == "x {{ 1 }}"


def test_results_are_put_in_by_position(run: Run) -> None:
    """LANG-244, Q43."""
    assert run("A <% $.a %> <% $.b %>", a="<% $.b %>", b=2) == "A <% $.b %> 2"


def test_what_is_missing_is_an_error_unless_asked_for(run: Run) -> None:
    """LANG-248."""
    for text in ("<% $.missing %>", "{{ _.missing }}", "x{{ _.missing }}"):
        with pytest.raises(ExpressionFault, match="'missing'"):
            run(text)
    assert run("<% $.get(missing) %>") is None
    assert run("{{ _.get('missing') }}") is None
    assert run("{{ _.missing|default(5) }}") == 5
    assert run("{{ _.missing is defined }}") is False


def test_a_name_without_the_context_symbol_is_an_error(run: Run) -> None:
    """LANG-249."""
    with pytest.raises(ExpressionFault, match="'a' is undefined"):
        run("{{ a }}", a=1)


@pytest.mark.parametrize(
    ("language", "text"), [("yaql", "{{ 1 }}"), ("jinja", "<% 1 %>")]
)
def test_a_disabled_language_fails_when_evaluated(language: str, text: str) -> None:
    """LANG-252."""
    evaluator = Evaluator(ExpressionSettings(languages=(language,)))
    with pytest.raises(ExpressionFault, match="disabled"):
        evaluator.evaluate(text, View({}))


def test_messages_tell_place_expression_and_cause_but_no_values(run: Run) -> None:
    """LANG-262, SEC-08, Q56."""
    secret = "hunter2"
    hostile = [
        "<% $.s + 1 %>",
        "<% $.s.nosuch() %>",
        "<% $.s.nosuch %>",
        "<% $[$.s] %>",
        "<% $.d[$.s] %>",
        "<% call($.s, [], {}) %>",
        "<% $.s.len(1, 2) %>",
        "<% [1].assert(false, $.s) %>",
        "<% int($.s) %>",
        "<% datetime($.s) %>",
        "<% regex('[' + $.s) %>",
        "<% json_parse($.s) %>",
        "<% yaml_parse('[' + $.s) %>",
        "<% executions(from_time => $.s) %>",
        "<% $.s.substring(a) %>",
        "<% def($.s, 1) -> nosuch() %>",
        "<% let(a => $.s) -> $a.b.c %>",
        "<% [$.s].select($.x) %>",
        "<% {$.s => 1}.select($) %>",
        "<% timespan(days => $.s) %>",
        "{{ _.s + 1 }}",
        "{{ _.s.nosuch() }}",
        "{{ _.s.nosuch }}",
        "{{ _[_.s] }}",
        "{{ _.d[_.s] }}",
        "{{ _.s() }}",
        "{{ _.s|int(default=_.d) + [] }}",
        "{{ _.s|round }}",
        "{{ json_parse(_.s) }}",
        "{{ yaml_parse('[' + _.s) }}",
        "{{ _.s|attr(_.s) }}",
        "{{ executions(from_time=_.s) }}",
        "{{ '%d' % _.s }}",
        "{{ '{:d}'.format(_.s) }}",
        "{{ _.d|map(_.s)|list }}",
        "{{ [1]|select(_.s)|list }}",
        "{{ _.s.encode(_.s) }}",
        "{{ dict(_.s) }}",
        "{{ [_.s].index(1) }}",
    ]
    for text in hostile:
        with pytest.raises(ExpressionFault) as fault:
            run({"a": [text]}, s=secret, d={"k": secret})
        assert secret not in fault.value.message, text
        assert text.strip("<%>{ }")[:10].strip() in fault.value.message
        assert "a[0]" in fault.value.message
        assert fault.value.__cause__ is None


def test_context_is_not_changed_by_an_expression(run: Run) -> None:
    """Q49: a template that mutates works on a copy."""
    data = {"l": [1], "d": {"k": [1]}}
    before = copy.deepcopy(data)
    assert run("{{ _.l.append(2) }}{{ _.l }}", **data) == "None[1, 2]"
    assert run("{% set x = _['d'].k.append(2) %}{{ _.d }}", **data) == ("{'k': [1, 2]}")
    assert run("{{ _.get('l').extend([3]) or _.l }}", **data) == [1, 3]
    with pytest.raises(ExpressionFault):
        run("{{ _.l['app' ~ 'end'](2) }}", **data)
    assert data == before


def test_function_results_are_not_changed_either(
    evaluator: Evaluator, facts: MemoryFacts
) -> None:
    """Q49."""
    text = "{% set x = task('b').result.append(3) %}{{ task('b').result }}"
    assert evaluator.evaluate(text, View({}, facts)) == "[1, 2]"
    assert facts.task_rows[1]["result"] == [1, 2]


def test_results_share_nothing_with_the_view(run: Run) -> None:
    data = {"l": [[1]]}
    for text in ("<% $.l %>", "{{ _.l }}", "<% $.l.select($) %>"):
        found = run(text, **data)
        found[0].append(2)
    assert data == {"l": [[1]]}


def test_the_view_may_be_any_value(evaluator: Evaluator) -> None:
    """§ 22.2: the output of an ad-hoc action sees the base result only."""
    assert evaluator.evaluate("<% $ %>", View([1, {"a": 2}])) == [1, {"a": 2}]
    assert evaluator.evaluate("{{ _ }}", View(None)) is None
    assert evaluator.evaluate("<% $.len() %>", View("abc")) == 3


def test_cost_does_not_grow_with_the_context() -> None:
    """DESIGN § 3: values are converted when they are touched."""
    large = {str(n): [{"k": [n]}] * 100 for n in range(10_000)}
    large["x"] = [1]
    evaluator = Evaluator(ExpressionSettings(max_steps=60))
    view = View(large)
    assert evaluator.evaluate("<% $.x %>", view) == [1]
    assert evaluator.evaluate("<% $.x[0] + 1 %>", view) == 2
    assert evaluator.evaluate("{{ _.x[0] + 1 }}", view) == 2


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ((1, 2), [1, 2]),
        ({2, 1}, [1, 2]),
        (range(2), [0, 1]),
        ((n for n in (1,)), [1]),
        (datetime(2020, 1, 2, 3, 4, 5), "2020-01-02T03:04:05.000000"),
        (datetime(2020, 1, 2).date(), "2020-01-02"),
        (datetime(2020, 1, 2) - datetime(2020, 1, 1), 86400.0),
        ({1: 2, None: 3}, {"1": 2, "null": 3}),
        ({False: 0}, {"false": 0}),
        ({"a": {2: (1,)}}, {"a": {"2": [1]}}),
    ],
)
def test_values_become_storable(value: object, stored: object) -> None:
    """Q28."""
    assert to_storable(value) == stored


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [object()]}, r"publish\.x\.a\[0\] is of type 'object'"),
        (len, "method or function"),
        ("\ud800", "surrogate"),
        (1 << 20_000, "bits"),
        (b"x", "bytes"),
        ({"a": float("inf")}, r"publish\.x\.a is a number that is not finite"),
        (float("nan"), "not finite"),
    ],
    ids=["object", "function", "surrogate", "integer", "bytes", "inf", "nan"],
)
def test_what_cannot_be_stored_is_named(value: object, message: str) -> None:
    """Q28: path and type."""
    with pytest.raises(ExpressionFault, match=message):
        to_storable(value, "publish.x")


def test_values_without_end_are_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ExpressionFault, match="nested more than"):
        to_storable(loop)


@pytest.mark.parametrize(
    "text",
    [
        "<% let(a => 1) %>",
        "<% regex(a) %>",
        "{{ namespace }}",
        "{{ _.items }}",
        "{{ 1 if false }}",
        "{{ 'a'.upper }}",
        "{{ _.b.encode() }}",
        "<% float(inf) %>",
        "{{ ['nan' | float] }}",
    ],
)
def test_unstorable_results_are_errors(run: Run, text: str) -> None:
    """Q28."""
    with pytest.raises(ExpressionFault):
        run(text, b="x")


def test_a_method_in_place_of_a_key_is_explained(run: Run) -> None:
    """LINT-35."""
    with pytest.raises(ExpressionFault, match=r"_\['key'\]"):
        run("{{ _.items }}", items=1)
    assert run("{{ _['items'] }}", items=1) == 1


def test_the_deadline_is_that_of_the_clock_given() -> None:
    clock = FakeClock()

    def monotonic() -> float:
        clock.advance(1)
        return clock.monotonic()

    evaluator = Evaluator(ExpressionSettings(deadline_seconds=3), monotonic=monotonic)
    with pytest.raises(ExpressionFault, match="longer than 3 s"):
        evaluator.evaluate("<% range(90000).select($ + 1).sum() %>", View({}))
    with pytest.raises(ExpressionFault, match="longer than 3 s"):
        evaluator.evaluate("{% for i in range(90000) %}{% endfor %}", View({}))


def test_the_limits_are_those_of_one_expression_sec_13() -> None:
    """A tree of many is not refused for being big; time they share only as far as
    their allowance goes."""
    clock = FakeClock()
    settings = ExpressionSettings(max_steps=10_000, deadline_seconds=3)
    evaluator = Evaluator(
        settings, {"slow": lambda _context, seconds: clock.advance(seconds)},
        monotonic=clock.monotonic,
    )  # fmt: skip
    tree = ["<% range(1000).select($ + 1).len() %>"] * 20
    assert evaluator.evaluate(tree, View({}), Allowance(6)) == [1000] * 20
    with pytest.raises(ExpressionFault, match="more than 10000 steps"):
        evaluator.evaluate("<% range(9000).select($ + 1).len() %>", View({}))
    slow = "<% slow(2) or range(600).len() > 0 %>"
    evaluator.evaluate([slow] * 2, View({}), Allowance(6))
    with pytest.raises(ExpressionFault, match=r"of one step take longer than 6 s"):
        evaluator.evaluate([slow] * 5, View({}), Allowance(6))


@pytest.mark.parametrize(
    "text", ["<% 'x' * 900000 %>", "a<% 'x' * 900000 %>", "{{ 'x' * 900000 }}"]
)
def test_results_of_one_tree_are_limited_together_sec_13(text: str) -> None:
    """Each of a thousand may be as large as is allowed, all of them not."""
    evaluator = Evaluator(ExpressionSettings(max_output_bytes=1_000_000))
    assert len(evaluator.evaluate([text] * 4, View({}))) == 4
    with pytest.raises(ExpressionFault, match="all results together are larger"):
        evaluator.evaluate([text] * 5, View({}))
