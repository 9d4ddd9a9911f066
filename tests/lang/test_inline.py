"""Inline parameters (spec/language.md § 10)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistral.errors import DefinitionFault
from mistral.lang.parse import Ignored, is_target, parse_inline, parse_target

RESULTS = [
    (
        "LANG-080",
        "a.b x=1 y=\"two words\" z='q'",
        "a.b",
        {"x": 1, "y": "two words", "z": "q"},
    ),
    (
        "S-10.2",
        "a.b x=<% $.p %> y={{ _.q }}",
        "a.b",
        {"x": "<% $.p %>", "y": "{{ _.q }}"},
    ),
    ("S-10.2", 'a.b x="<% $.p %> end"', "a.b", {"x": "<% $.p %> end"}),
    ("LANG-081", 'a.b x="123" y="true"', "a.b", {"x": "123", "y": "true"}),
    (
        "LANG-081",
        "a.b x=true y=false z=null n=1",
        "a.b",
        {"x": True, "y": False, "z": None, "n": 1},
    ),
    ("LANG-082", 'a.b x=[1, {"k": 2}]', "a.b", {"x": [1, {"k": 2}]}),
    ("LANG-082", "a x=[b]", "a", {"x": "[b]"}),
    ("S-10.2", "a.b x=[1] y=<% $.q %>", "a.b", {"x": [1], "y": "<% $.q %>"}),
    ("LANG-083", 'a x=<% f(a="b c") %>', "a", {"x": '<% f(a="b c") %>'}),
    ("LANG-084", 'a x="<% $.a %>-<% $.b %>"', "a", {"x": "<% $.a %>-<% $.b %>"}),
    ("LANG-085", 'a.b x="a=1 b=2"', "a.b", {"x": "a=1 b=2"}),
    ("LANG-086", "a.b out-put=1", "a.b", {"out-put": 1}),
    ("LANG-087", "a x=1 x=2", "a", {"x": 2}),
    ("LANG-088", "a x=007", "a", {"x": "007"}),
    ("S-10.1", "a x=0", "a", {"x": 0}),
    ("S-10.2", "a.b   x=1", "a.b", {"x": 1}),
    ("S-10.2", "<% $.name %> x=1", "<% $.name %>", {"x": 1}),
    ("S-10.2", "{{ _.name }} x=1", "{{ _.name }}", {"x": 1}),
    ("S-10.2", 'f(msg="a b")', "f", {"msg": "a b"}),
    ("S-10.1 line breaks in quotes", 'a x="1\n2" y=2', "a", {"x": "1\n2", "y": 2}),
    (
        "S-10.1 the name is scanned, too",
        "<% f(k=1) %> x=2",
        "<% f(k=1) %>",
        {"k": 1, "x": 2},
    ),
    (
        "S-10.1 block name",
        "{% if a %}b{% endif %} x=1",
        "{% if a %}b{% endif %}",
        {"x": 1},
    ),
    ("LANG-091", "a\tx=1", "a\tx=1", {}),
    ("LANG-091", "a\nx=1", "a\nx=1", {}),
    ("LANG-094", "std.<%$.n%>", "std.<%$.n%>", {}),
    ("LANG-094", "std.<%$.n%> x=1", "std.<%$.n%>", {"x": 1}),
    ("Q17", "{{ _.n }} x={{ _.v }}", "{{ _.n }}", {"x": "{{ _.v }}"}),
    ("S-10.1 number beyond Python", f"a x={'9' * 5000}", "a", {"x": "9" * 5000}),
]


@pytest.mark.parametrize(
    ("text", "name", "params"),
    [case[1:] for case in RESULTS],
    ids=[f"{case[0]} {i}" for i, case in enumerate(RESULTS)],
)
def test_result(text, name, params):
    call = parse_inline(text)
    assert (call.name, call.params) == (name, params)
    assert [type(value) for value in call.params.values()] == [
        type(value) for value in params.values()
    ]
    assert call.ignored == ()


LOSSES = [
    ("a x=word", {}, [("x=word", False)]),
    ("a x = 1", {}, [("x = 1", False)]),
    ("a x=-5", {}, [("x=-5", False)]),
    ("a x=1.5", {"x": 1}, [(".5", True)]),
    ("a x=True", {}, [("x=True", False)]),
    ("a x=truest", {"x": True}, [("st", True)]),
    ('a x={"k": 1}', {}, [('x={"k": 1}', False)]),
    ('a x={"k": "b=1"}', {"b": 1}, [('x={"k": "', False), ('"}', True)]),
    ('a x="say \\"hi\\""', {"x": "say \\"}, [('hi\\""', True)]),
    ("a x=[1] y=[2]", {"x": "[1] y=[2]"}, []),
    ("a x=[p, q]", {"x": "[p, q]"}, []),
    ("a x=12abc", {"x": 12}, [("abc", True)]),
    ("a x=<% $.p %>tail", {"x": "<% $.p %>"}, [("tail", True)]),
    ("a p.q=1", {"q": 1}, [("p.", False)]),
    ("a x=[1", {}, [("x=[1", False)]),
    ("a x=<% 1\n%>", {}, [("x=<% 1\n%>", False)]),
    ("a x={{ 1", {}, [("x={{ 1", False)]),
]


@pytest.mark.parametrize(("text", "params", "ignored"), LOSSES)
def test_q16_lang_090_what_is_lost_is_reported(text, params, ignored):
    call = parse_inline(text)
    assert call.name == "a"
    assert call.params == params
    assert call.ignored == tuple(Ignored(*item) for item in ignored)


def test_name_rule_one_stops_at_the_blank():
    """§ 10.2"""
    call = parse_inline("std.<% $.n %> x=1")
    assert (call.name, call.params) == ("std.<%", {"x": 1})
    assert call.ignored == (Ignored("$.n %>"),)


@pytest.mark.parametrize("text", [" a b", '"a" b', "(x=1 )", "=1 a", "-a b", "<% a b"])
def test_lang_089_v_11_no_name_in_front(text):
    with pytest.raises(DefinitionFault) as caught:
        parse_inline(text)
    assert caught.value.problems[0].rule == "V-11"


@pytest.mark.parametrize(
    ("action", "rule"),
    [
        ("a x=word", "LINT-01"),
        ("a x=-5", "LINT-02"),
        ("a x=1.5", "LINT-02"),
        ("a x=True", "LINT-02"),
        ('a x={\\"k\\": 1}', "LINT-02"),
        ("a word", "LINT-01"),
    ],
)
def test_lang_090_warnings(judge_task, lints, action, rule):
    report = judge_task(f'action: "{action}"')
    assert report.valid
    assert lints(report) == {rule}
    assert report.warnings[0].path == "w.tasks.t.action"


def test_a_list_nested_without_end_stays_text():
    """SEC-13"""
    raw = "[" * 100_000 + "]" * 100_000
    assert parse_inline(f"a x={raw}").params == {"x": raw}
    deep = "[" * 300 + "]" * 300
    assert parse_inline(f"a x={deep}").params == {"x": deep}
    assert parse_inline("a x=[[[]]]").params == {"x": [[[]]]}


@pytest.mark.parametrize(
    "piece",
    ["x", "x={{", "x=<%", "x=[", "x=[\n", "x='", 'x="', "x=", "x=1", "=", "x=[]\n"],
)
def test_sec_13_the_time_is_linear(piece):
    before = time.process_time()
    try:
        parse_inline("a " + piece * 200_000)
    except DefinitionFault as fault:
        assert fault.problems[0].rule == "SEC-03"
    assert time.process_time() - before < 5


pieces = st.lists(
    st.sampled_from(
        ["a", "b.c", " ", "=", "x=1", "'", '"', "<%", "%>", "{{", "}}", "{%", "[", "]"]
        + ["\n", "-", "(", ")", ",", "true", "007", "\\", "ü", "[1]", "\t", "{}"]
    )
).map("".join)


@given(pieces)
def test_no_text_makes_the_scanner_raise_anything_else(text):
    try:
        parse_inline(text)
    except DefinitionFault as fault:
        assert fault.problems[0].rule == "V-11"
    try:
        parse_target(text)
    except DefinitionFault as fault:
        assert fault.problems[0].rule in {"V-06", "V-11"}
    else:
        assert is_target(text)


@given(pieces)
def test_q16_every_word_is_used_or_reported(text):
    """Between two parameters everything but separators is reported."""
    call = parse_inline(f'a x="1" {text.replace("=", "")} y="2"')
    assert call.params == {"x": "1", "y": "2"}
    reported = "".join(ignored.text for ignored in call.ignored)
    assert reported == text.replace("=", "").strip(" \t\n(),")


@given(
    st.dictionaries(
        st.from_regex(r"[\w-]+", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters='"')),
    )
)
def test_quoted_strings_come_back(params):
    """§ 10.1, alternative 1: no text inside quotes is special."""
    text = "a.b " + " ".join(f'{key}="{value}"' for key, value in params.items())
    call = parse_inline(text)
    assert (call.name, call.params, call.ignored) == ("a.b", params, ())
