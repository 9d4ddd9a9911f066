"""Reverse workflows on the core alone (spec/engine.md § 3, statements of A.5)."""

from __future__ import annotations

from typing import Any

import pytest
from simulator import CONTEXT, ERROR, SUCCESS, Simulator

from mistral.engine.core.ports import Rules
from mistral.errors import BadRequest
from mistral.messages import RerunTask, SkipTask

HEAD = "version: '2.0'\n\n"


def ask(kind: Any, run_id: str, **values: Any) -> Any:
    return kind(run_id=run_id, request_id="q", context=CONTEXT, **values)


HOUSE = """w:
  type: reverse
  output: {done: <% $.get(roof) %>}
  tasks:
    base: {action: std.echo output="b", publish: {base: <% task().result %>}}
    walls:
      action: std.echo output="w"
      requires: base
      publish: {walls: <% $.base %>}
    roof: {requires: [base, walls, roof], publish: {roof: <% $.walls %>}}
    pool: {action: std.fail}"""


@pytest.mark.parametrize("inline", [True, False], ids=["inline", "offers"])
@pytest.mark.parametrize("seed", [None, 1])
def test_eng_119_122_only_what_the_target_needs_runs_in_order(
    seed: int | None, inline: bool
) -> None:
    def script(call: Any) -> tuple[str, Any]:
        return SUCCESS, call.get("output")

    rules = Rules(inline_actions=inline)
    sim = Simulator(HEAD + HOUSE, rules=rules, script=script, seed=seed)
    row = sim.run("w", task_name="roof")
    assert (row["state"], row["output"]) == (SUCCESS, {"done": "b"})
    assert [task.name for task in sim.tasks(row["id"])] == ["base", "walls", "roof"]


def test_eng_122_the_output_is_that_of_the_target() -> None:
    text = HOUSE.replace("  output: {done: <% $.get(roof) %>}\n", "")
    sim = Simulator(HEAD + text)
    assert sim.run("w", task_name="walls")["output"] == {"base": "b", "walls": "b"}
    assert sim.run("w", task_name="base")["output"] == {"base": "b"}


@pytest.mark.parametrize(
    "params", [{}, {"task_name": "nobody"}, {"task_name": None}, {"task_name": ["a"]}],
    ids=str,
)  # fmt: skip
def test_eng_120_without_a_known_target_nothing_starts(params: Any) -> None:
    sim = Simulator(HEAD + HOUSE)
    with pytest.raises(BadRequest, match=r"^Invalid task name"):
        sim.start("w", **params)
    assert not sim.store.runs


@pytest.mark.parametrize("target", ["", " task_name=nobody", " task_name=<% [1] %>"])
def test_eng_120_in_a_sub_workflow_the_task_fails(target: str) -> None:
    body = f"""p:
  tasks:
    t: {{workflow: 'w{target}', on-error: after}}
    after: {{description: x}}
"""
    sim = Simulator(HEAD + body + HOUSE)
    row = sim.run("p")
    assert (row["state"], sim.states(row["id"])) == (
        SUCCESS, {"t": ERROR, "after": SUCCESS},
    )  # fmt: skip
    assert len(sim.store.runs) == 1


def test_eng_120_a_sub_workflow_gets_its_target_as_a_parameter() -> None:
    body = "p: {tasks: {t: {workflow: w task_name='walls'}}}\n"
    sim = Simulator(HEAD + body.replace("'walls'", '"walls"') + HOUSE)
    row = sim.run("p")
    child = next(r for r in sim.store.runs.values() if r["task_execution_id"])
    assert row["state"] == SUCCESS
    assert set(sim.states(child["id"])) == {"base", "walls"}


BRANCHES = """w:
  type: reverse
  tasks:
    bad: {action: std.sleep}
    dependant: {requires: bad, publish: {d: 1}}
    slow: {wait-before: 9}
    after: {requires: slow, publish: {a: 1}}
    target: {requires: [dependant, after], publish: {t: '<% $.get(d) %>'}}"""


def failed() -> tuple[Simulator, str]:
    answers = iter([(ERROR, "no"), (SUCCESS, 1)])
    sim = Simulator(HEAD + BRANCHES, script=lambda call: next(answers))
    run_id = sim.start("w", task_name="target")
    sim.settle()
    return sim, run_id


def test_eng_121_independent_branches_finish_and_dependants_never_start() -> None:
    sim, run_id = failed()
    assert sim.store.runs[run_id]["state"] == ERROR
    assert sim.states(run_id) == {"bad": ERROR, "slow": SUCCESS, "after": SUCCESS}
    assert sim.store.runs[run_id]["state_info"].startswith(
        "Failure caused by error in tasks: bad\n"
    )


def test_eng_123_defaults_add_requirements_to_all_but_the_named_task() -> None:
    body = """w:
  type: reverse
  task-defaults: {requires: [first]}
  tasks:
    first: {publish: {f: 1}}
    a: {publish: {a: <% $.f %>}}
    target: {requires: [a], publish: {t: <% $.a + $.f %>}}"""
    sim = Simulator(HEAD + body)
    row = sim.run("w", task_name="target")
    assert [task.name for task in sim.tasks(row["id"])] == ["first", "a", "target"]
    assert row["output"] == {"f": 1, "a": 1, "t": 2}


def test_eng_124_rerun_of_a_requirement_goes_on_to_the_target() -> None:
    sim, run_id = failed()
    (bad,) = sim.tasks(run_id, "bad")
    sim.request(ask(RerunTask, run_id, task_id=bad.id, reset=True))
    sim.settle()
    row = sim.store.runs[run_id]
    assert (row["state"], row["output"]) == (SUCCESS, {"d": 1, "a": 1, "t": 1})
    assert len(sim.tasks(run_id)) == 5


def test_eng_125_a_skipped_requirement_satisfies_its_dependants() -> None:
    sim, run_id = failed()
    (bad,) = sim.tasks(run_id, "bad")
    sim.request(ask(SkipTask, run_id, task_id=bad.id))
    sim.settle()
    row = sim.store.runs[run_id]
    assert (row["state"], row["output"]) == (SUCCESS, {"d": 1, "a": 1, "t": 1})
    assert sim.states(run_id)["bad"] == "SKIPPED"


@pytest.mark.parametrize("seed", range(6))
def test_eng_119_a_dependant_of_two_that_end_together_runs_once(seed: int) -> None:
    """§ 3: one execution per task name."""
    body = """w:
  type: reverse
  tasks:
    a: {publish: {x: {a: 1}}}
    b: {publish: {x: {b: 2}}}
    c: {requires: [a, b]}
    d: {requires: [a, b]}
    target: {requires: [c, d]}"""
    sim = Simulator(
        HEAD + body, seed=seed, duplicates=True, rules=Rules(inline_actions=False),
        script=lambda call: (SUCCESS, None),
    )  # fmt: skip
    row = sim.run("w", task_name="target")
    assert row["output"] == {"x": {"a": 1, "b": 2}}
    assert sorted(task.name for task in sim.tasks(row["id"])) == [
        "a", "b", "c", "d", "target",
    ]  # fmt: skip
