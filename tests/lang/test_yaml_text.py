"""The dialect of spec/language.md § 1, SEC-03 and SEC-04."""

from __future__ import annotations

import math
import time
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistral.errors import ExpressionFault
from mistral.expressions.yaml_text import (
    Limits,
    YamlFault,
    compose,
    construct,
    dump_yaml,
    load_yaml,
)

VALUES = [
    ("LANG-005", "yes", True),
    ("LANG-005", "on", True),
    ("LANG-005", "ON", True),
    ("LANG-005", "No", False),
    ("LANG-005", "OFF", False),
    ("LANG-005", "y", "y"),
    ("LANG-005", "n", "n"),
    ("LANG-005", "tRue", "tRue"),
    ("LANG-005", "oN", "oN"),
    ("LANG-006", "017", 15),
    ("LANG-006", "0o17", "0o17"),
    ("LANG-006", "0x1F", 31),
    ("LANG-006", "0b11", 3),
    ("LANG-006", "1:30", 90),
    ("LANG-006", "190:20:30", 685230),
    ("LANG-006", "1_000", 1000),
    ("LANG-006", "08", "08"),
    ("LANG-006", "0x", "0x"),
    ("LANG-006", "+5", 5),
    ("LANG-007", "1e3", "1e3"),
    ("LANG-007", "1.5e3", "1.5e3"),
    ("LANG-007", "1.0e+3", 1000.0),
    ("LANG-007", ".5", 0.5),
    ("LANG-007", "1.", 1.0),
    ("LANG-007", "-.INF", -math.inf),
    ("S-1.2", "~", None),
    ("S-1.2", "NULL", None),
    ("S-1.2", "", None),
    ("S-1.2", "2015-01-01", date(2015, 1, 1)),
    (
        "S-1.2",
        "2015-01-01T10:00:00Z",
        datetime(2015, 1, 1, 10, tzinfo=UTC),
    ),
    ("S-1.1", "!!str 5", "5"),
    ("S-1.1", "!!binary aGk=", b"hi"),
    ("S-1.1", "!!set {x, y}", {"x", "y"}),
    ("S-1.1", "!!omap [{x: 1}]", [("x", 1)]),
    ("S-1.1", "@at", "@at"),
    ("S-1.1", "a{{ x }}b", "a{{ x }}b"),
    ("S-1.1", "<% $.x # y %>", "<% $.x"),
    ("LANG-003", "&x foo", "&x foo"),
    ("LANG-003", "*x", "*x"),
    ("LANG-003", "* 2", "* 2"),
    ("LANG-003", "'a & b * c @ d'", "a & b * c @ d"),
    ("LANG-003", "<% $.a * 2 %> &amp", "<% $.a * 2 %> &amp"),
    ("LANG-010", "{<<: {k: 1, l: 2}, k: 3}", {"k": 3, "l": 2}),
    ("LANG-010", "{k: 3, <<: {k: 1}}", {"k": 3}),
    ("LANG-010", "{<<: [{k: 1}, {k: 2, l: 4}]}", {"k": 1, "l": 4}),
    ("LANG-010", "{<<: {<<: {k: 1, l: 2}, k: 3}}", {"k": 3, "l": 2}),
]


@pytest.mark.parametrize(("rule", "text", "value"), VALUES)
def test_value(rule, text, value):
    loaded = load_yaml(f"key: {text}\n")["key"]
    assert loaded == value
    assert type(loaded) is type(value)


def test_not_a_number():
    """§ 1.2"""
    assert math.isnan(load_yaml("a: .nan")["a"])


REFUSED = [
    ("LANG-001", "a: 1\n---\nb: 2", 2, 1),
    ("LANG-001", "a: 1\n...\n---\nb: 2", 3, 1),
    ("LANG-004", "a: 1\nb: &x {c: 1}", 2, 4),
    ("LANG-004", "a: &x [1]", 1, 4),
    ("LANG-004", "a: &x\n  - b", 1, 4),
    ("LANG-004", "a: &x\n  b: 1", 2, 4),
    ("LANG-008", "a: !foo 1", 1, 4),
    ("LANG-008", "a: !!python/object/apply:os.system [ls]", 1, 4),
    ("LANG-008", "a: !!python/name:os.system", 1, 4),
    ("LANG-008", "a: !!bool maybe", 1, 4),
    ("LANG-014", "[" * 1000, 1, 201),
    ("LANG-014", "a: " + "{b: " * 1000, 1, 800),
    ("LANG-015", "a: 'x", 1, 6),
    ("LANG-015", "a: x: y", 1, 5),
    ("S-1.1 control characters", "a: 1\nb: \x01", 2, 4),
    ("S-1.1 control characters", "a: \x00", 1, 4),
    ("S-1.1 control characters", "a: \ud800", 1, 4),
    ("S-1.1 backquote", "a: `b", 1, 4),
    ("S-1.1 per cent", "a: %b", 1, 4),
    ("S-1.1 tab", "a:\n\tb: 1", 2, 1),
    ("S-1.1 tab", "a:\tb", 1, 1),
    ("S-1.1 tab", "a: \tb", 1, 1),
    ("S-1.1 complex key", "? [a]\n: 1", 1, 3),
    ("S-1.2 =", "a: =", 1, 4),
    ("S-1.2 impossible date", "a: 2015-13-45", 1, 4),
    ("S-1.1 merge", "<<: 5", 1, 5),
    ("SEC-03 endless number", "a: 1" + ":30" * 1000, 1, 4),
]


@pytest.mark.parametrize(("rule", "text", "line", "column"), REFUSED)
def test_refused_with_line_and_column(rule, text, line, column):
    with pytest.raises(YamlFault) as caught:
        construct(compose(text))
    assert (caught.value.line, caught.value.column) == (line, column)


def test_lint_05_unquoted_jinja_is_recognised():
    with pytest.raises(YamlFault, match="must be quoted"):
        construct(compose("a: {{ x }}"))


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffa: 1",
        "a: 1\r\n",
        "--- \na: 1\n...\n",
        "%YAML 1.1\n---\na: 1",
        "%YAML 1.2\n---\na: 1",
        "# only a comment before\na: 1",
    ],
)
def test_accepted_around_a_document(text):
    """§ 1.1: byte order mark, line ends, markers, directives."""
    assert load_yaml(text) == {"a": 1}


@pytest.mark.parametrize("text", ["", "# nothing", "null", "---\n"])
def test_nothing_is_none(text):
    assert load_yaml(text) is None


def test_lang_004_sec_03_no_alias_is_expanded():
    layers = ["a0: &a0 lol"]
    layers += [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 30)]
    with pytest.raises(YamlFault):
        construct(compose("\n".join(layers)))
    assert load_yaml("a: &x lol\nb: [*x, *x]") == {"a": "&x lol", "b": ["*x", "*x"]}


def test_sec_04_a_fault_quotes_nothing_of_the_text():
    with pytest.raises(ExpressionFault) as caught:
        load_yaml("a: !secret-7f3 {{ hunter2 }}")
    assert "secret" not in caught.value.message
    assert "hunter2" not in caught.value.message
    assert "line 1, column 4" in caught.value.message


@pytest.mark.parametrize(
    ("limits", "text", "part"),
    [
        (Limits(bytes=10), "a: 'ä'  # äää", "bytes"),
        (Limits(bytes=10), "a: 123456789", "bytes"),
        (Limits(nodes=3), "[1, 2, 3]", "nodes"),
        (Limits(depth=2), "[[[]]]", "levels"),
    ],
)
def test_sec_03_limits(limits, text, part):
    with pytest.raises(YamlFault, match=part):
        compose(text, limits)


def test_sec_03_limits_are_inclusive():
    assert compose("[1, 2]", Limits(bytes=6, nodes=3, depth=1)) is not None


@pytest.mark.parametrize(
    "text", ["&" * 500_000, "[" + "[]," * 200_000, "a: &x " * 50_000, "-\n" * 200_000]
)
def test_sec_03_hostile_texts_end_soon(text):
    before = time.process_time()
    try:
        construct(compose(text))
    except YamlFault:
        pass
    assert time.process_time() - before < 5


def test_private_characters_survive_beside_the_stand_ins():
    """The stand-ins for ``&``, ``*`` and ``@`` are characters the text lacks."""
    text = "a: '\ue000 & \ue001 * \ue002 @ \ue003'"
    assert load_yaml(text) == {"a": "\ue000 & \ue001 * \ue002 @ \ue003"}


def test_places_are_true_beside_wide_characters_and_stand_ins():
    root = compose("ä&: [*ü, 'x@y']\nlast: 1")
    assert root is not None
    (_, first), (last, _) = root.pairs()
    assert [item.place for item in first.children] == [(1, 6), (1, 10)]
    assert last.place == (2, 1)


def test_lang_002_duplicates_are_told_with_both_places():
    made = construct(compose("a: {k: 1,\n 'k': 2}\nb: 1"))
    assert made.data == {"a": {"k": 2}, "b": 1}
    (found,) = made.duplicates
    assert found.path == ("a", "k")
    assert (found.first.place, found.second.place) == ((1, 5), (2, 2))


trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(
        st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n&*@")
    ),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab&*@ <=y"), inner),
)


@given(trees)
def test_what_is_dumped_is_read_back(tree):
    assert load_yaml(dump_yaml(tree)) == tree


@given(st.text("a&*@:-?[]{}<%>|'\"!\n\t #,=0."))
def test_no_text_makes_the_loader_raise_anything_else(text):
    try:
        load_yaml(text)
    except ExpressionFault:
        pass


def test_dump_sorts_keys_unless_told_otherwise():
    """§ 23, LANG-254"""
    assert dump_yaml({"b": [1], "a": 2}) == "a: 2\nb:\n- 1\n"
    assert dump_yaml({"b": 1, "a": 2}, sort_keys=False) == "b: 1\na: 2\n"


def test_dump_writes_no_aliases():
    """§ 23"""
    shared = [1]
    assert dump_yaml([shared, shared]) == "- - 1\n- - 1\n"


def test_dump_refuses_what_yaml_cannot_hold():
    with pytest.raises(ExpressionFault):
        dump_yaml({"a": object()})
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ExpressionFault):
        dump_yaml(endless)
