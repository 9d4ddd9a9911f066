"""What is refused at upload (spec/language.md § 21.1, 21.6)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from mistral.errors import ExpressionFault
from mistral.expressions.evaluate import (
    check,
    contains_expression,
    is_whole_expression,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<% $.a %>", True),
        ("<%$.a%>", True),
        ("x {{ _.a }} y", True),
        ("{% if _.a %}x{% endif %}", True),
        ("<% $.a", False),
        ("%> x <%", False),
        ("<% $.a\n %>", False),
        ("{{ _.a\n }}", False),
        ("<% a\n%> <% b %>", True),
        ("<%>", False),
        ("plain", False),
    ],
)
def test_expressions_are_recognised_on_one_line(text: str, expected: bool) -> None:
    """LANG-247, Q44: a pair with a line break between is plain text."""
    assert contains_expression(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<% $.a %>", True),
        (" <% $.a %>", False),
        ("<% $.a %> ", False),
        ("<% $.a %>\n", False),
        ("<% $.a %><% $.a %>", False),
        ("{{ _.a }}", True),
        ("{{ _.a }}\n", False),
        ("{{ _.a }} ", False),
        ("{{ _.a }}{{ _.a }}", False),
        ("{{ {'a': {'b': 1}} }}", True),
        ("{{ '}}' }}", True),
        ("{# c #}{{ _.a }}", False),
        ("{% raw %}{{ x }}{% endraw %}", False),
    ],
)
def test_whole_expressions_end_where_the_tokenizer_says(
    text: str, expected: bool
) -> None:
    """LANG-240, Q47."""
    assert is_whole_expression(text) is expected


@pytest.mark.parametrize(
    ("text", "position", "cause"),
    [
        ("<% $.a == 1 %>", 5, "unexpected '='"),
        ("<%  $.a == 1 %>", 5, "unexpected '='"),
        ("<% $.a. %>", 5, "unexpected end of expression"),
        ("<% %>", 0, "unexpected end of expression"),
        ("<% 1 # 2 %>", 2, "illegal character '#'"),
        ("{{ _.a | }}", 9, "expected token 'name'"),
        ("{{ a b }}", 5, "expected token 'end of print statement', got 'b'"),
        ("{{ (1 }}", 6, "unexpected '}', expected ')'"),
        ("{{ 1 @ 2 }}", 5, "unexpected char '@'"),
        ("{% if _.a %}", 9, "Unexpected end of template"),
        ("a\n\n   {% if x %}\n  a{{ b c }}\n", 25, "got 'c'"),
    ],
)
def test_syntax_errors_say_where(text: str, position: int, cause: str) -> None:
    """LANG-246, V-17."""
    with pytest.raises(ExpressionFault) as fault:
        check(text)
    assert cause in fault.value.message
    if "template" not in cause:
        assert f"position {position}" in fault.value.message


def test_both_languages_in_one_text_are_refused() -> None:
    """LANG-245, V-16."""
    with pytest.raises(ExpressionFault, match="mixed"):
        check("<% $.a %> {{ _.a }}")


@pytest.mark.parametrize(
    ("text", "allowed"), [("<% $.a %>", ("jinja",)), ("{{ _.a }}", ("yaql",))]
)
def test_a_disabled_language_is_refused(text: str, allowed: tuple[str, ...]) -> None:
    """LANG-252, V-18."""
    check(text)
    with pytest.raises(ExpressionFault, match="disabled"):
        check(text, allowed)


def test_an_expression_with_a_line_break_is_not_checked() -> None:
    """LANG-247."""
    check("<% $.a ==\n 1 %>")


def test_names_are_not_checked() -> None:
    """§ 21.6: syntax only."""
    check("<% nosuch($.nosuch) %>")
    check("{{ nosuch(_.nosuch)|nosuch }}")


@pytest.mark.parametrize(
    "text",
    [
        "<%" * 500_000,
        "{{" * 500_000,
        "{%" * 500_000,
        "<% " * 300_000 + "\n%>",
        "<% " + "(" * 20_000 + " %>",
        "{{ " + "(" * 20_000 + " }}",
        "{{ " + "[" * 5_000 + "]" * 5_000 + " }}",
        "<% 1" + "+1" * 30_000 + " %>",
        "{{ " + "9" * 10_000 + " }}",
        "<% " + "9" * 10_000 + " %>",
        "<% 'a%>" * 10_000,
        "{{ 'a }}" * 5_000,
    ],
    ids=lambda text: f"{text[:8]}...{len(text)}",
)
def test_hostile_texts_are_checked_in_linear_time_SEC_13(
    text: str, stopwatch: object
) -> None:
    try:
        check(text)
    except ExpressionFault as fault:
        assert len(fault.message) < 1_000


def test_the_equality_of_other_languages_is_explained() -> None:
    """LINT-09."""
    with pytest.raises(ExpressionFault, match="equality is written '='"):
        check("<% $.a == 1 %>")


def test_the_grammar_follows_the_options() -> None:
    """engine.md § 11: ``keyword_operator``, ``allow_delegates``."""
    check("<% f(a: 1) %>", keyword_operator=":")
    check("<% $f(1) %>", allow_delegates=True)
    for text in ("<% f(a: 1) %>", "<% $f(1) %>"):
        with pytest.raises(ExpressionFault):
            check(text)


def test_threads_may_check_at_the_same_time() -> None:
    """The library's lexer has a position of its own, which must not be shared."""

    def work(worker: int) -> list[str]:
        faults = []
        for number in range(200):
            check(f"<% $.a{worker} + [{number}, b, {{c => {number}}}].len() * 2 %>")
            try:
                check(f"<% $.a{worker} + + {number} ) %>")
            except ExpressionFault as fault:
                faults.append(fault.message)
        return faults

    with ThreadPoolExecutor(4) as pool:
        for worker, faults in enumerate(pool.map(work, range(4))):
            assert len(faults) == 200
            assert all(f"$.a{worker} +" in fault for fault in faults)
