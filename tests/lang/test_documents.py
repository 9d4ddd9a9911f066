"""Documents, versions and names (spec/language.md § 1 to 6)."""

from __future__ import annotations

import hashlib
import textwrap

import pytest

from mistral.errors import DefinitionFault
from mistral.lang.parse import (
    Limits,
    check_actions,
    check_workbook,
    check_workflows,
    parse_actions,
    parse_workbook,
    parse_workflows,
)

UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
BODY = "{tasks: {t: {action: std.noop}}}"

WORKFLOW_LISTS = [
    ("LANG-001 second document", f"version: 2\nw: {BODY}\n---\nx: 1", ["V-01"]),
    ("LANG-011 empty", "", ["V-02", "V-04"]),
    ("LANG-011 comment", "# nothing", ["V-02", "V-04"]),
    ("LANG-011 null", "null", ["V-02", "V-04"]),
    ("LANG-011 list", "[]", ["V-02", "V-04"]),
    ("LANG-011 false", "false", ["V-02", "V-04"]),
    ("LANG-011 zero", "0", ["V-02", "V-04"]),
    ("LANG-012 scalar", "hello", ["V-06"]),
    ("LANG-012 sequence", "[a]", ["V-06"]),
    ("LANG-013 integer workflow", f"version: 2\n1: {BODY}", ["Q03"]),
    ("LANG-013 boolean workflow", f"version: 2\non: {BODY}", ["Q03"]),
    (
        "LANG-013 integer task",
        "version: 2\nw: {tasks: {1: {action: a}}}",
        ["Q03"],
    ),
    (
        "LANG-013 boolean variable",
        "version: 2\nw: {vars: {on: 1}, tasks: {t: {action: a}}}",
        ["Q03"],
    ),
    ("LANG-014 nesting", "version: 2\nw: " + "[" * 1000, ["V-01"]),
    ("LANG-016 no version", f"w: {BODY}", ["V-02"]),
    ("LANG-016 2", f"version: 2\nw: {BODY}", []),
    ("LANG-016 2.0", f"version: 2.0\nw: {BODY}", []),
    ("LANG-016 '2.0'", f"version: '2.0'\nw: {BODY}", []),
    ("Q08 '2'", f"version: '2'\nw: {BODY}", []),
    ("LANG-017 v2.0", f"version: v2.0\nw: {BODY}", []),
    ("LANG-018 null", f"version: null\nw: {BODY}", ["V-02"]),
    ("LANG-018 true", f"version: true\nw: {BODY}", ["V-02"]),
    ("LANG-018 list", f"version: []\nw: {BODY}", ["V-02"]),
    ("LANG-018 negative", f"version: -1\nw: {BODY}", ["V-02"]),
    ("LANG-018 empty", f"version: ''\nw: {BODY}", ["V-02"]),
    ("LANG-019 only version", "version: '2.0'", ["V-04"]),
    ("S-5 workflow is no mapping", "version: 2\nw: std.noop", ["V-09"]),
    ("S-5 workflow is empty", "version: 2\nw: {}", ["V-06"]),
    (
        "LANG-030 UUID",
        f"version: 2\n6ba7b810-9dad-11d1-80b4-00c04fd430c8: {BODY}",
        ["V-20"],
    ),
    (
        "LANG-030 UUID without hyphens",
        f"version: 2\n6ba7b8109dad11d180b400c04fd430c8: {BODY}",
        ["V-20"],
    ),
    ("LANG-031 blank", f"version: 2\n'a b': {BODY}", ["V-08"]),
    ("LANG-031 dot", f"version: 2\na.b-%ü: {BODY}", []),
    ("S-3 NUL", f'version: 2\n"a\\0b": {BODY}', ["V-08"]),
    ("S-3 empty name", f"version: 2\n'': {BODY}", ["V-08"]),
    ("S-3 255", f"version: 2\n{'a' * 255}: {BODY}", []),
    ("S-3 256", f"version: 2\n? {'a' * 256}\n: {BODY}", ["V-08"]),
]


@pytest.mark.parametrize(
    ("text", "broken"),
    [case[1:] for case in WORKFLOW_LISTS],
    ids=[case[0] for case in WORKFLOW_LISTS],
)
def test_workflow_list(text, broken):
    report = check_workflows(text)
    assert [problem.rule for problem in report.problems] == broken
    assert all(problem.line for problem in report.problems)
    if broken:
        with pytest.raises(DefinitionFault) as caught:
            parse_workflows(text)
        assert caught.value.problems == report.problems
    else:
        assert parse_workflows(text)


def test_lang_015_a_syntax_error_has_line_and_column():
    (problem,) = check_workflows("version: '2.0'\nw:\n  tasks: [\n").problems
    assert problem.rule == "V-01"
    assert (problem.line, problem.column) == (4, 1)


def test_lang_002_duplicate_keys_warn_with_both_lines():
    text = (
        "version: '2.0'\nw:\n  tasks:\n    t: {action: std.echo}\n"
        "    t: {action: std.noop}\n"
    )
    (warning,) = check_workflows(text).warnings
    assert warning.rule == "LINT-29"
    assert warning.path == "w.tasks.t"
    assert "lines 4 and 5" in warning.message
    assert parse_workflows(text)[0].spec.tasks["t"].action == "std.noop"


def test_lang_003_anchors_are_text():
    text = f"version: 2\nw:\n  vars:\n    a: &x foo\n    b: *x\n  {BODY[1:-1]}\n"
    assert parse_workflows(text)[0].spec.vars == {"a": "&x foo", "b": "*x"}


def test_lang_009_dates():
    def text(publish):
        return f"version: 2\nw: {{tasks: {{t: {{publish: {publish}}}}}}}"

    (problem,) = check_workflows(text("{d: 2020-01-01}")).problems
    assert (problem.rule, problem.path) == ("V-06", "w.tasks.t.publish.d")
    nested = "{d: [2020-01-01, 2020-01-01T00:00:00, 2020-01-01T10:00:00+02:00]}"
    (parsed,) = parse_workflows(text(nested))
    expected = [
        "2020-01-01",
        "2020-01-01T00:00:00.000000",
        "2020-01-01T08:00:00.000000",
    ]
    assert parsed.spec.tasks["t"].publish["d"] == expected
    assert parsed.spec.body["tasks"]["t"]["publish"]["d"] == expected
    # Only names of word characters have their values checked (§ 2).
    assert check_workflows(text("{'a-b': 2020-01-01}")).valid


def test_lang_010_merge_keys():
    text = (
        "version: 2\nw:\n  tasks:\n    t:\n      <<: {action: a, target: x}\n"
        "      action: b\n"
    )
    task = parse_workflows(text)[0].spec.tasks["t"]
    assert (task.action, task.target) == ("b", "x")


def test_a_problem_inside_merged_text_has_its_place():
    text = "version: 2\nw:\n  tasks:\n    t: {<<: {timeout: -1}}\n"
    (problem,) = check_workflows(text).problems
    assert (problem.line, problem.column) == (4, 23)


def test_lang_017_another_version_warns():
    (warning,) = check_workflows(f"version: v2.0\nw: {BODY}").warnings
    assert warning.rule == "Q08"


def test_lang_028_one_bad_workflow_refuses_all():
    text = f"version: 2\ngood: {BODY}\nbad: {{tasks: {{}}}}\n"
    with pytest.raises(DefinitionFault) as caught:
        parse_workflows(text)
    (problem,) = caught.value.problems
    assert problem.path == "bad.tasks"


def test_lang_029_a_single_workflow_is_stored_byte_for_byte():
    text = f"\ufeff# comment\r\nversion: '2.0'\r\nw: {BODY}  # ä\r\n"
    (parsed,) = parse_workflows(text)
    assert parsed.text == text
    assert parsed.checksum == hashlib.md5(text.encode()).hexdigest()


def test_several_workflows_are_stored_apart():
    """§ 5; the texts and checksums are those of the REST reference (8.2)."""
    text = textwrap.dedent(
        """
        version: '2.0'
        alpha:
          tasks:
            a: {action: std.noop}  # a comment
        beta:
          input: [x, {y: 5}, {z: null}, {l: [1, 2]}, {d: {k: v}}, {b: true}]
          tags: [blue]
          tasks: {b: {action: "std.noop"}}
        """
    )
    alpha, beta = parse_workflows(text)
    assert alpha.text == (
        "version: '2.0'\nalpha:\n  tasks:\n    a:\n      action: std.noop\n"
    )
    assert alpha.checksum == "e4c9cb96324ba3998505f87d640ec5c0"
    assert beta.checksum == "7d896bbf46194c50c362f81f7474611a"
    assert parse_workflows(beta.text)[0].spec == beta.spec


def test_stored_texts_give_the_same_specs():
    """§ 5: what is written anew means the same, anchors-as-text included."""
    text = (
        "version: 2\na:\n  vars: {x: '*y', d: [2020-01-01], e: '<% $.q\n\n  %>'}\n"
        f"  {BODY[1:-1]}\nb: {BODY}\n"
    )
    for parsed in parse_workflows(text):
        assert parse_workflows(parsed.text)[0].spec == parsed.spec


def test_all_problems_are_found_in_one_pass_and_in_order():
    text = textwrap.dedent(
        """
        version: '2.0'
        w:
          type: circular
          output: {}
          tasks:
            a: {action: std.noop, timeout: -1, on-success: nowhere}
            b: {acton: std.noop}
        v: 5
        """
    )
    problems = check_workflows(text).problems
    rules = [problem.rule for problem in problems]
    assert rules == ["V-05", "V-06", "V-06", "V-24", "V-07", "V-09"]
    assert [problem.line for problem in problems] == [4, 5, 7, 7, 8, 9]
    assert "did you mean 'action'?" in problems[4].message


def test_many_problems_are_cut():
    tasks = ", ".join(f"t{i}: {{}}" for i in range(150))
    problems = check_workflows(f"version: 2\nw: {{tasks: {{{tasks}}}}}").problems
    assert len(problems) == 101
    assert problems[-1].message == "and 50 more"


def test_strict_refuses_warnings():
    text = f"version: v2.0\nw: {BODY}"
    assert check_workflows(text).valid
    report = check_workflows(text, strict=True)
    assert [problem.rule for problem in report.problems] == ["Q08"]
    with pytest.raises(DefinitionFault):
        parse_workflows(text, strict=True)


def test_sec_03_limits_are_passed_down():
    report = check_workflows(f"version: 2\nw: {BODY}", limits=Limits(nodes=4))
    assert [problem.rule for problem in report.problems] == ["V-01"]


def test_sec_03_defaults_times_tasks_are_bounded():
    names = [f"t{i}" for i in range(1100)]
    tasks = ", ".join(f"{name}: {{action: a}}" for name in names)
    defaults = f"{{on-error: [{', '.join(names)}]}}"
    text = f"version: 2\nw: {{task-defaults: {defaults}, tasks: {{{tasks}}}}}"
    (problem,) = check_workflows(text).problems
    assert problem.rule == "SEC-03"


WORKBOOKS = [
    ("LANG-020 2.0", "version: 2.0\nname: b", []),
    ("LANG-020 2", "version: 2\nname: b", []),
    ("Q08 '2'", "version: '2'\nname: b", []),
    ("LANG-021 '1.0'", "version: '1.0'\nname: b", ["V-03"]),
    ("S-4 v2.0", "version: v2.0\nname: b", ["V-03"]),
    ("S-4 1.0", "version: 1.0\nname: b", ["V-03"]),
    ("S-4 null", "version: null\nname: b", ["V-03"]),
    ("S-4 missing", "name: b", ["V-02"]),
    ("LANG-022 no name", "version: 2", ["V-06"]),
    ("LANG-022 name 5", "version: 2\nname: 5", ["V-06"]),
    ("S-3 name with blank", "version: 2\nname: a b", ["V-08"]),
    (
        "LANG-024 dot",
        f"version: 2\nname: b\nworkflows: {{w.x: {BODY}}}",
        ["V-08"],
    ),
    (
        "LANG-024 blank",
        "version: 2\nname: b\nactions: {a b: {base: std.noop}}",
        ["V-08"],
    ),
    ("LANG-024 hyphen", f"version: 2\nname: b\nworkflows: {{w-x: {BODY}}}", []),
    (
        "S-3 UUID as member",
        f"version: 2\nname: b\nworkflows: {{{UUID}: {BODY}}}",
        [],
    ),
    ("LANG-025 unknown", "version: 2\nname: b\ntrigger: {}", ["V-07"]),
    ("LANG-026 nothing in it", "version: 2\nname: b", []),
    ("A.3 empty workflows", "version: 2\nname: b\nworkflows: {}", ["V-06"]),
    ("A.3 empty tags", "version: 2\nname: b\ntags: []", ["V-06"]),
    (
        "S-4 version inside",
        f"version: 2\nname: b\nworkflows: {{version: '2.0', w: {BODY}}}",
        [],
    ),
    (
        "S-4 wrong version inside",
        f"version: 2\nname: b\nworkflows: {{version: 3.0, w: {BODY}}}",
        ["V-03"],
    ),
    ("V-09", "version: 2\nname: b\nworkflows: {w: 5}", ["V-09"]),
    (
        "LANG-013 integer member",
        f"version: 2\nname: b\nworkflows: {{5: {BODY}}}",
        ["Q03"],
    ),
    (
        "S-3 too long together",
        f"version: 2\nname: {'b' * 250}\nworkflows: {{w12345: {BODY}}}",
        ["V-08"],
    ),
]


@pytest.mark.parametrize(
    ("text", "broken"),
    [case[1:] for case in WORKBOOKS],
    ids=[case[0] for case in WORKBOOKS],
)
def test_workbook(text, broken):
    report = check_workbook(text)
    assert [problem.rule for problem in report.problems] == broken
    if not broken:
        assert parse_workbook(text).text == text


def test_lang_023_members_have_full_names():
    text = textwrap.dedent(
        """\
        version: '2.0'
        name: b
        description: a book
        tags: [x]
        # about the workflows
        workflows:
          version: '2.0'

          w:
            description: |
              first line

                indented
            tasks: {t: {action: a}}
          # about v

          v:
            tasks:
              t:
                action: std.echo output=1
                input: {delay: 0}
          # behind v
        actions:
          a: {base: std.echo}
        """
    )
    book = parse_workbook(text)
    assert [member.spec.name for member in book.workflows] == ["b.w", "b.v"]
    assert [member.spec.name for member in book.actions] == ["b.a"]
    assert [member.spec.body["name"] for member in book.workflows] == ["b.w", "b.v"]
    assert list(book.spec.workflows) == ["w", "v"]
    assert book.spec.workflows["w"].name == "w"
    assert (book.spec.description, book.spec.tags) == ("a book", ("x",))
    w, v = book.workflows
    assert w.text == (
        "w:\n  description: |\n    first line\n\n      indented\n"
        "  tasks: {t: {action: a}}\n"
    )
    assert v.text == (
        "v:\n  tasks:\n    t:\n      action: std.echo output=1\n"
        "      input: {delay: 0}\n"
    )
    assert book.actions[0].text == "a: {base: std.echo}\n"
    assert w.checksum is None


@pytest.mark.parametrize(
    "members",
    [
        f"workflows: {{w: {BODY}, v: {BODY}}}",
        f"workflows:\n  w: {BODY}\n  v: {BODY}",
        'workflows:\n  w: {tasks: {t: {description: "two\nlines"}}}',
        "workflows:\n  w:\n    tasks:\n      t: {action: a}\n  # end",
        "workflows:\n  w:\n    tasks:\n      t:\n        action: |\n         x\n\n",
    ],
)
def test_member_texts_mean_what_the_workbook_says(members):
    """§ 6: cut by indentation where that keeps the meaning."""
    book = parse_workbook(f"version: '2.0'\nname: b\n{members}")
    for member in book.workflows:
        short = member.spec.name.removeprefix("b.")
        (again,) = parse_workflows(f"version: '2.0'\n{member.text}")
        assert again.spec == book.spec.workflows[short]
        assert member.text.startswith(f"{short}:")


ACTIONS = [
    ("S-7 smallest", "{base: std.echo}", []),
    ("S-7 no base", "{input: [a]}", ["V-06"]),
    ("V-07", "{base: std.echo, bas: 1}", ["V-07"]),
    ("V-11", "{base: ' a b'}", ["V-11"]),
    ("V-06 empty base-input", "{base: a, base-input: {}}", ["V-06"]),
    ("LANG-042 input", "{base: a, input: {}}", ["V-06"]),
    ("LANG-043 input", "{base: a, input: [a, a]}", ["V-19"]),
    ("V-06 date as output", "{base: a, output: 2020-01-01}", ["V-06"]),
    ("S-7 null as output", "{base: a, output: null}", []),
    ("V-17 output", "{base: a, output: <% ( %>}", ["V-17"]),
    ("V-17 base-input", "{base: a, base-input: {x: <% ( %>}}", ["V-17"]),
    ("V-17 inline", "{base: a x=<% ( %>}", ["V-17"]),
    ("V-06 no mapping", "5", ["V-06"]),
    ("S-4 name and version are ignored", "{base: a, name: 5, version: x}", []),
]


@pytest.mark.parametrize(
    ("body", "broken"),
    [case[1:] for case in ACTIONS],
    ids=[case[0] for case in ACTIONS],
)
def test_action(body, broken):
    report = check_actions(f"version: 2\na: {body}")
    assert [problem.rule for problem in report.problems] == broken


def test_an_action_may_be_named_like_a_uuid_and_is_stored_whole():
    """§ 3, REST 8.5"""
    text = (
        "version: '2.0'\n6ba7b810-9dad-11d1-80b4-00c04fd430c8: {base: a}\n"
        "b: {base: c}  # both\n"
    )
    first, second = parse_actions(text)
    assert first.text == second.text == text
    assert second.spec.name == "b"


def test_an_action_name_with_a_blank_is_refused():
    """LANG-031"""
    (problem,) = check_actions("version: 2\na b: {base: c}").problems
    assert problem.rule == "V-08"


def test_an_action_list_needs_a_version_and_an_entry():
    """V-02, V-04"""
    report = check_actions("{}")
    assert [problem.rule for problem in report.problems] == ["V-02", "V-04"]
