# ruff: noqa: E501
"""Jinja: the sandbox and what § 25 promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mistral.errors import ExpressionFault
from mistral.expressions.evaluate import Evaluator
from mistral.expressions.facts import View

Run = Callable[..., Any]


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}",
        "{{ _.__class__ }}",
        "{{ _.l.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ ''|attr('__cla' ~ 'ss__') }}",
        "{{ [''].__class__.__mro__ }}",
        "{{ range.__globals__ }}",
        "{{ range._function }}",
        "{{ task._function }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ joiner.__init__ }}",
        "{{ namespace.__init__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ dict.mro() }}",
        "{{ self.__init__ }}",
        "{{ self._TemplateReference__context }}",
        "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
        "{% macro m() %}{% endmacro %}{{ m._func }}",
        "{% for i in [1] %}{{ loop._iterator }}{% endfor %}",
        "{% for i in [1] %}{{ loop.__init__ }}{% endfor %}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '{0.__class__}'['format'](1) }}",
        "{{ ('{0.__class__}'|attr('format'))(1) }}",
        "{{ '{a.__class__}'.format_map({'a': 1}) }}",
        "{{ ('{0.__class__}'|safe).format(1) }}",
        "{{ (['{0.__class__}']|map(attribute='format')|first)(1) }}",
        "{{ '{0[__class__]}'.format('') }}",
        "{{ '%s'.__mod__(1) }}",
        "{{ ''.join.__self__ }}",
        "{{ (1).to_bytes(8, 'big') }}",
        "{{ (1).from_bytes([1], 'big') }}",
        "{{ [1]|map(attribute='__class__')|list }}",
        "{{ [1, 2]|sort(attribute='__class__') }}",
        "{{ [1]|groupby('__class__') }}",
        "{{ [1]|sum(attribute='__class__') }}",
        "{{ [1].sort(key=''.format) }}",
        "{{ ()|attr('__class__')|attr('__base__') }}",
        "{{ _.f() }}",
        "{{ caller() }}",
        "{{ _._d }}",
        "{% include 'x' %}",
        "{% extends 'x' %}",
        "{% import 'x' as x %}",
        "{% from 'x' import x %}",
        "{{ 1|nosuch }}",
        "{{ 1 is nosuch }}",
        "{{ [1]|map('nosuch')|list }}",
        "{{ [1]|map('#weigh')|list }}",
        "{% do 1 %}",
        "{{ open('/etc/passwd') }}",
        "{{ config }}",
        "{{ environment }}",
        "{{ context }}",
    ],
)
def test_the_sandbox_holds_SEC_11_SEC_12(run: Run, text: str) -> None:
    """LANG-251, SEC-11, SEC-12."""
    with pytest.raises(ExpressionFault):
        run(text, l=[1], f=5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ 'a' in _ }}", True),
        ("{{ _|length }}", 3),
        ("{{ _.keys()|list }}", ["a", "items", "l"]),
        ("{% for k in _ %}{{ k }} {% endfor %}", "a items l "),
        ("{{ _['items'] }}", 5),
        ("{{ _.items()|list|length }}", 3),
        ("{{ _ is mapping }}", True),
        ("{{ _.get('a') }}", 1),
    ],
)
def test_the_context_is_a_plain_mapping(run: Run, text: str, expected: object) -> None:
    """Q48."""
    assert run(text, a=1, items=5, l=[1, 2]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ 7 / 2 }}", 3.5),
        ("{{ 7 // 2 }}", 3),
        ("{{ 'a' ~ 1 ~ none ~ [1] }}", "a1None[1]"),
        ("{{ true and True }}", True),
        ("{{ none }}", None),
        ("{{ _.l[5]|default('x') }}", "x"),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ [1, 2]|map('string') }}", ["1", "2"]),
        ("{{ [1, 2]|select('gt', 1) }}", [2]),
        ("{{ [3, 1]|sort|join('-') }}", "1-3"),
        ("{{ [{'a': 2}, {'a': 1}]|sort(attribute='a')|map(attribute='a') }}", [1, 2]),
        ("{{ {'b': 1, 'a': 2}|dictsort }}", [["a", 2], ["b", 1]]),
        ("{{ [1, 2, 3]|sum }}", 6),
        ("{{ [{'a': 1}]|sum(attribute='a', start=5) }}", 6),
        ("{{ [[1], [2]]|sum(start=[]) }}", [1, 2]),
        ("{{ ['a', 'b']|join('&') }}", "a&b"),
        ("{{ [{'a': 1}]|join(attribute='a') }}", "1"),
        ("{{ '<a>'|e }}", "&lt;a&gt;"),
        ("{{ '<a>' }}", "<a>"),
        ("{{ {'a': [1]}|tojson }}", '{"a": [1]}'),
        ("{{ '%s is %05.1f'|format('x', 1.25) }}", "x is 001.2"),
        ("{{ '%(a)s%%' % {'a': 1} }}", "1%"),
        ("{{ '{} {b:>3}'.format('x', b=1) }}", "x   1"),
        ("{{ 'abc'[1:] ~ 'abc'[::-1] }}", "bccba"),
        ("{{ 'a,b'.split(',') }}", ["a", "b"]),
        ("{{ 'a b c'.split(maxsplit=1) }}", ["a", "b c"]),
        ("{{ 'abc'.upper().center(5) }}", " ABC "),
        ("{{ 1 if _.l else 2 }}", 1),
        ("{{ 1 < 2 <= 2 != 3 }}", True),
        ("{{ 1 not in [2] }}", True),
        ("{{ {'a': 1} == {'a': 1} }}", True),
        ("{{ cycler('a', 'b').next() }}", "a"),
        ("{{ dict(a=1) }}", {"a": 1}),
        ("{{ dict([('a', 1)]) }}", {"a": 1}),
        ("{{ 5|default(1)|float|round(1)|int }}", 5),
        ("{{ [1, 1, 2]|unique|list }}", [1, 2]),
        ("{{ 'a' is string and 1 is number and [] is iterable }}", True),
        ("{{ 3 is odd and 6 is divisibleby(3) }}", True),
        ("{% set j = joiner(',') %}{% for i in _.l %}{{ j() }}{{ i }}{% endfor %}", "1,2"),
        ("{% for i in _.l if i > 1 %}{{ loop.index }}{{ i }}{% endfor %}", "12"),
        ("{% for i in [] %}{% else %}none{% endfor %}", "none"),
        ("{% for i in _.l %}{{ loop.last }}{{ loop.length }} {% endfor %}",
         "False2 True2 "),
        ("{% for i in [[1], [2]] recursive %}{% if i is number %}{{ i }}"
         "{% else %}{{ loop(i) }}{% endif %}{% endfor %}", "12"),
        ("{% macro m(a, b=2) %}{{ a }}{{ b }}{{ caller() }}{% endmacro %}"
         "{% call m(1) %}x{% endcall %}", "12x"),
        ("{% set n = namespace(a=1) %}{% for i in _.l %}{% set n.a = n.a + i %}"
         "{% endfor %}{{ n.a }}", "4"),
        ("{% filter upper %}a{{ 1 }}{% endfilter %}", "A1"),
        ("{% set x %}a{{ 1 }}{% endset %}{{ x }}", "a1"),
        ("{% block b %}x{% endblock %}{{ self.b() }}", "xx"),
        ("{% if _.l %}\n  a\n{% endif %}\nb\n", "  a\nb"),
        ("{# no #}{{ 1 }}", "1"),
        ("{% with a = 1 %}{{ a }}{% endwith %}", "1"),
        ("{{ _.l.index(2) }}", 1),
        ("{{ lipsum(1, false, 2, 3)|wordcount > 1 }}", True),
        ("{{ 'a b'|title|replace('A', 'x')|wordwrap(1) }}", "x\nB"),
        ("{{ 1|string|length }}", 1),
        ("{{ (1, 2)|first + [1, 2]|last }}", 3),
        ("{{ [1, 2, 3]|batch(2) }}", [[1, 2], [3]]),
        ("{{ 'x'|indent(2, true) }}", "  x"),
    ],
)  # fmt: skip
def test_what_templates_can_do(run: Run, text: str, expected: object) -> None:
    """§ 25: the standard set works."""
    found = run(text, l=[1, 2])
    assert found == expected
    assert type(found) is type(expected)


def test_range_is_limited(run: Run) -> None:
    assert len(run("{{ range(100000) }}")) == 100_000
    with pytest.raises(ExpressionFault, match="at most 100000 items"):
        run("{{ range(100001) }}")


def test_piped_functions_need_their_arguments(run: Run) -> None:
    """§ 23: the piped value takes the place of the context."""
    with pytest.raises(ExpressionFault, match="does not take these arguments"):
        run("{{ '[1]'|json_parse }}")


def test_a_conditional_without_else_has_no_value(run: Run) -> None:
    """Q28."""
    with pytest.raises(ExpressionFault, match="without 'else'"):
        run("{{ 1 if false }}")
    assert run("x{{ 1 if false }}") == "x"


def test_plug_in_values_are_not_called(evaluator: Evaluator) -> None:
    """SEC-12: deny by default, whatever a value is."""

    class Door:
        def open(self) -> str:
            return "open"

    with pytest.raises(ExpressionFault, match="not allowed"):
        evaluator.evaluate("{{ _.door.open() }}", View({"door": Door()}))
