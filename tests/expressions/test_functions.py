"""The functions of § 23 in both languages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakes import MemoryFacts

from mistral.errors import ExpressionFault, Unavailable
from mistral.expressions.evaluate import Evaluator, load_functions
from mistral.expressions.facts import View

Run = Callable[..., Any]


def test_uuids_are_fresh(run: Run) -> None:
    """LANG-253."""
    first, second = run(["<% uuid() %>", "{{ uuid() }}"])
    assert len(first) == len(second) == 36
    assert first != second


def test_dumps(run: Run) -> None:
    """LANG-254."""
    data = {"b": [1, {"c": None}], "a": "x"}
    json_text = (
        '{\n    "b": [\n        1,\n        {\n            "c": null\n        }\n'
        '    ],\n    "a": "x"\n}'
    )
    yaml_text = "a: x\nb:\n- 1\n- c: null\n"
    for text in ("<% json_dump($.d) %>", "{{ json_dump(_.d) }}"):
        assert run(text, d=data) == json_text
    for text in ("<% yaml_dump($.d) %>", "{{ yaml_dump(_.d) }}"):
        assert run(text, d=data) == yaml_text


def test_parsing(run: Run) -> None:
    assert run("<% json_parse($.t).a %>", t='{"a": [1]}') == [1]
    assert run("{{ json_parse(_.t).a }}", t='{"a": [1]}') == [1]
    assert run("<% yaml_parse($.t) %>", t="a: [yes, 0x1F]") == {"a": [True, 31]}
    assert run("{{ yaml_parse(_.t) }}", t="a: [yes, 0x1F]") == {"a": [True, 31]}


def test_yaml_parse_knows_no_anchors(run: Run) -> None:
    """LANG-255, SEC-04."""
    for text in ("<% yaml_parse($.t) %>", "{{ yaml_parse(_.t) }}"):
        assert run(text, t="a: &x foo\nb: *x") == {"a": "&x foo", "b": "*x"}


@pytest.mark.parametrize("text", ["{", "[1, 2", "", 5, None])
def test_json_parse_refuses_what_is_not_json(run: Run, text: object) -> None:
    for expression in ("<% json_parse($.t) %>", "{{ json_parse(_.t) }}"):
        with pytest.raises(ExpressionFault):
            run(expression, t=text)


def test_an_unknown_task_is_null(run: Run) -> None:
    """LANG-256."""
    assert run("<% task(x) %>") is None
    assert run("<% task('x') %>") is None
    assert run("{{ task('x') }}") is None
    for text in ("<% task(x).result %>", "<% task('x').result %>"):
        with pytest.raises(ExpressionFault, match="'null' has no attribute 'result'"):
            run(text)
    with pytest.raises(ExpressionFault, match="'null' has no key or attribute"):
        run("{{ task('x').result }}")


def test_the_latest_task_of_a_name_is_shown(run: Run) -> None:
    """LANG-257, Q50."""
    assert run("<% task(a).id %>") == "t3"
    assert run("{{ task('a').id }}") == "t3"
    assert run("<% task(a).result.n + 0 %>") == 3


def test_the_current_task_comes_first(run: Run) -> None:
    """Q50, § 23: no name is the current task."""
    assert run("<% task().id %>") == "t2"
    assert run("{{ task().id }}") == "t2"
    assert run("{{ _|task('a') }}")["id"] == "t3"


def test_tasks_can_be_asked_for_where_there_is_no_current_one(
    evaluator: Evaluator, facts: MemoryFacts
) -> None:
    """LANG-258, Q53."""
    facts.current_task = None
    view = View({}, facts)
    assert evaluator.evaluate("{{ task() }}", view) is None
    assert evaluator.evaluate("<% task() %>", view) is None
    assert evaluator.evaluate("{{ task('b').result }}", view) == [1, 2]


def test_tasks_are_filtered_by_state(run: Run) -> None:
    """LANG-259."""
    assert run("<% tasks(state => ERROR).select($.id) %>") == ["t1"]
    assert run("{{ tasks(state='ERROR')|map(attribute='id') }}") == ["t1"]
    assert run("<% tasks().len() %>") == 3
    assert run("<% tasks(null, false, SUCCESS).id %>") == ["t2", "t3"]


def test_executions_are_mappings(run: Run) -> None:
    """LANG-260, Q52."""
    assert run("<% executions(rootExecutionId => x1)[0].id %>") == "x2"
    assert run("{{ executions(root_execution_id='x1')[0].id }}") == "x2"
    assert run("<% executions(null, null, ERROR).select($.state) %>") == ["ERROR"]


def test_executions_by_time(run: Run) -> None:
    """§ 23, Q52: from is inclusive, to is exclusive, bad times are errors."""
    at = "2020-01-03 03:04:05"
    assert run("<% executions(fromTime => $.at).id %>", at=at) == ["x2"]
    assert run("{{ executions(to_time=_.at)|map(attribute='id') }}", at=at) == ["x1"]
    with pytest.raises(ExpressionFault, match="'from_time' is not of the form"):
        run("<% executions(fromTime => tomorrow) %>")


def test_the_execution(run: Run) -> None:
    """LANG-261."""
    for name in ("id", "name", "input", "params", "spec", "created_at"):
        assert run(f"<% execution().{name} %>") == run(f"{{{{ execution().{name} }}}}")
    assert run("<% execution().input.i %>") == 1


def test_no_execution_is_an_error(evaluator: Evaluator) -> None:
    """What the facts say is told."""
    with pytest.raises(ExpressionFault, match="there is no execution here"):
        evaluator.evaluate("<% execution() %>", View({}, MemoryFacts()))
    with pytest.raises(ExpressionFault, match="nothing to look at"):
        evaluator.evaluate("{{ env() }}", View({}))


def test_environment_and_globals(run: Run) -> None:
    assert run(["<% env().e %>", "{{ env().e }}"]) == [1, 1]
    assert run(["<% global(g) %>", "{{ global('g') }}"]) == [[1], [1]]
    assert run(["<% global(nope) %>", "<% global(var_name => g) %>"][:1]) == [None]
    assert run("<% global(varName => g) + [2] %>") == [1, 2]
    for text in ("<% global() %>", "{{ global() }}"):
        with pytest.raises(ExpressionFault, match="does not take these arguments"):
            run(text)


def test_variables_do_not_shadow_functions(run: Run) -> None:
    """Q07."""
    assert run("{{ env().e }}", env=5, __env={"e": 9}) == 1
    assert run("<% env().e %>", env=5, __env={"e": 9}) == 1


def test_reserved_variables_are_seen_in_jinja(run: Run) -> None:
    """§ 25."""
    reserved = {"__env": {"a": 1}, "__execution": {"id": "x"}, "__task_execution": {}}
    text = "{{ [__env.a, __execution.id, __task_execution] }}"
    assert run(text, **reserved) == [1, "x", {}]
    assert run("<% $.get('__env').a %>", **reserved) == 1


def test_time_and_chance_come_from_the_facts(run: Run) -> None:
    """DESIGN § 3: a decision made again is the same."""
    assert run("<% now() %>") == "2020-01-02T03:04:05.000000"
    assert run("<% now(timespan(hours => 1)).hour %>") == 4
    fractions = run(["<% random() %>", "<% random() %>"])
    assert 0 <= fractions[0] < 1
    assert fractions[0] != fractions[1]
    assert run("<% random(3, 3) %>") == 3
    assert run("{{ [7]|random }}") == 7


def shout(context: Any, text: str, times: int = 1) -> dict[str, Any]:
    return {"said": [text.upper()] * times, "context": context}


def fails(context: Any, secret: str) -> None:
    raise ValueError(secret)


def test_functions_of_plug_ins(facts: MemoryFacts) -> None:
    """engine.md § 12.1: the evaluation context comes first, then the rest."""
    evaluator = Evaluator(functions={"shout": shout, "fails": fails})
    view = View({"a": "x", "l": [1]}, facts)
    expected = {"said": ["X", "X"], "context": {"a": "x", "l": [1]}}
    assert evaluator.evaluate("<% shout($.a, times => 2) %>", view) == expected
    assert evaluator.evaluate("{{ shout(_.a, times=2) }}", view) == expected
    assert evaluator.evaluate("<% shout($.a).said + [1] %>", view) == ["X", 1]
    assert evaluator.evaluate("{{ _|shout('y') }}", view)["said"] == ["Y"]
    for text in ("<% fails($.a) %>", "{{ fails(_.a) }}"):
        with pytest.raises(ExpressionFault, match=r"'fails' failed \(ValueError\)"):
            evaluator.evaluate(text, view)
    assert {"shout", "task", "env"} <= evaluator.functions


def test_functions_are_loaded_from_entry_points() -> None:
    """engine.md § 12.1: the engine's own are not replaced by a package's."""
    found = load_functions()
    assert "task" not in found
    assert all(callable(function) for function in found.values())


def test_names_for_lint(evaluator: Evaluator) -> None:
    """LINT-12."""
    assert {"task", "where", "orderBy", "select", "len"} <= evaluator.yaql_names
    assert {"task", "range", "default", "defined", "tojson"} <= evaluator.jinja_names
    assert "lambda" not in evaluator.yaql_names
    assert not any(name.startswith("#") for name in evaluator.jinja_names)


class AwayFacts(MemoryFacts):
    """Facts whose database is away."""

    def task(self, name: str | None) -> Any:
        raise Unavailable("the database is away")

    def env(self) -> Any:
        raise KeyError("env")


@pytest.mark.parametrize(
    "text",
    [
        "<% task(a) %>",
        "<% task(a).result + 1 %>",
        "<% [1].groupBy($, $, task(a)) %>",
        "{{ task('a') }}",
        "x{{ task('a')|default(1) }}",
        "{{ _|task('a') }}",
    ],
)
def test_failures_of_the_facts_are_not_the_author_s(
    evaluator: Evaluator, text: str
) -> None:
    """DESIGN § 6: a turn whose database is away is repeated, the run is not failed."""
    with pytest.raises(Unavailable):
        evaluator.evaluate(text, View({}, AwayFacts()))
    with pytest.raises(KeyError):
        evaluator.evaluate("{{ env() }}", View({}, AwayFacts()))
