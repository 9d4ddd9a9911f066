"""Generated workflows in random orders of events, against the oracle.

No order of messages, no repeat, no pause and no restart changes what a run
comes to, as far as the language fixes it (``tests/oracle`` says how far);
and none leaves a run that waits for nothing. ENG-074, ENG-235, ENG-236.

``LONG_TESTS=<examples>`` looks at that many cases per property, at other ones
each time.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from generated import Case, cases
from hypothesis import HealthCheck, Phase, event, given, note, settings
from hypothesis import strategies as st
from operated import Operated, drawn, foretold
from oracle import UNSURE, Oracle, RunResult, TaskResult, Undetermined, fits, rendered
from shuffled import Shuffled, Weather

LONG = int(os.environ.get("LONG_TESTS", "0"))


def profile(examples: int) -> Any:
    """Bounded and the same each time in CI; wide and new each time by hand."""
    return settings(
        max_examples=LONG or examples,
        derandomize=not LONG,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        # To shrink takes minutes; CI tells the whole case at once.
        phases=[Phase.generate, Phase.shrink] if LONG else [Phase.generate],
    )


CALM: dict[str, Any] = {
    "seed": st.integers(0, 2**16),
    "duplicates": st.booleans(),
    "restarts": st.sampled_from([0.0, 0.0, 0.1, 1.0]),
    "losses": st.sampled_from([0.0, 0.5]),
    "inline": st.booleans(),
    "page": st.integers(1, 4),
    "steps": st.integers(1, 6),
    "own": st.sampled_from([0, 1, 32]),
    "haste": st.sampled_from([0.0, 0.3, 0.9]),
}
PAUSES = st.sampled_from([0.0, 0.05, 0.15])


def weathers(**more: Any) -> st.SearchStrategy[Weather]:
    return st.builds(Weather, **CALM, **more)


def text(case: Case) -> str:
    return json.dumps({"version": "2.0", **rendered(case.definitions)})


def driven(case: Case, weather: Weather) -> tuple[Shuffled, str]:
    sim = Shuffled(text(case), weather, case.plan)
    run_id = sim.start(case.start, **case.params)
    sim.drive(run_id)
    sim.settled()
    return sim, run_id


def interpreted(case: Case) -> Oracle:
    """The oracle of a case, which has gone on until all is quiet."""

    def script(workflow: str, task: str, item: int, attempt: int) -> str:
        return case.plan.get((workflow, task, item, attempt), "SUCCESS")

    oracle = Oracle(case.definitions, script)
    oracle.start(case.start, {}, **case.params)
    return oracle


# -- What the rows say, against the oracle -----------------------------------


def differences(sim: Shuffled, run_id: str, result: RunResult) -> list[str]:
    row = sim.store.runs[run_id]
    where = f"run of {result.workflow}"
    found = []
    if row["state"] != result.state:
        found.append(f"{where}: {row['state']}, not {result.state}")
        return found
    if not fits(result.output, row["output"]):
        found.append(f"{where}: output {row['output']}, not {result.output}")
    if result.causes is not None:
        head = str(row["state_info"]).split("\n")[0].partition(": ")[2]
        named = set(head.split(", "))
        if named != result.causes:
            found.append(f"{where}: blames {named}, not {result.causes}")
    for name, value in result.globals_.items():
        if row["context"].get(name) != value:
            found.append(f"{where}: global {name} is {row['context'].get(name)}")
    tasks = [r for r in sim.store.task_rows.values() if row_of(r, run_id)]
    for name in {t.name for t in result.tasks} | {r["name"] for r in tasks}:
        mine = [r for r in tasks if r["name"] == name]
        theirs = [t for t in result.tasks if t.name == name]
        found += [f"{where}, {name}: {each}" for each in unmatched(sim, mine, theirs)]
    return found


def row_of(row: Any, run_id: str) -> bool:
    return bool(row["workflow_execution_id"] == run_id)


def unmatched(sim: Shuffled, rows: list[Any], wanted: list[TaskResult]) -> list[str]:
    if len(rows) != len(wanted):
        return [f"{len(rows)} executions, not {len(wanted)}"]
    left = list(rows)
    for result in sorted(wanted, key=lambda each: each.published is UNSURE):
        reasons = [task_differences(sim, row, result) for row in left]
        if [] not in reasons:
            return reasons[0]
        del left[reasons.index([])]
    return []


def task_differences(sim: Shuffled, row: Any, result: TaskResult) -> list[str]:
    if row["state"] != result.state:
        return [f"{row['state']}, not {result.state} ({row['state_info']})"]
    if not fits(result.published, row["published"] or {}):
        return [f"published {row['published']}, not {result.published}"]
    calls = [
        a for a in sim.store.action_rows.values() if a["task_execution_id"] == row["id"]
    ]
    if result.calls is not None and len(calls) != result.calls:
        return [f"{len(calls)} action executions, not {result.calls}"]
    left = [
        id for id, r in sim.store.runs.items() if r["task_execution_id"] == row["id"]
    ]
    if result.calls is not None and len(left) != len(result.children):
        return [f"{len(left)} sub-workflows, not {len(result.children)}"]
    for child in result.children if result.calls is not None else ():
        reasons = [differences(sim, id, child) for id in left]
        if [] not in reasons:
            return reasons[0]
        del left[reasons.index([])]
    return []


def compared(case: Case, weather: Weather) -> None:
    try:
        result = interpreted(case).result()
    except Undetermined as reason:
        event(f"undetermined: {reason}")
        result = None
    sim, run_id = driven(case, weather)
    if result is not None:
        event(f"determined: {result.state}")
        note(repr(result))
        assert differences(sim, run_id, result) == []


@profile(350)
@given(case=cases(holds=False), weather=weathers())
def test_eng_236_a_run_comes_to_what_the_language_says(
    case: Case, weather: Weather
) -> None:
    compared(case, weather)


@pytest.mark.thorough
@profile(250)
@given(case=cases(), weather=weathers(pauses=PAUSES))
def test_eng_167_pauses_do_not_change_what_a_run_comes_to(
    case: Case, weather: Weather
) -> None:
    """Runs hold themselves, users hold them, too; who is held is resumed."""
    compared(case, weather)


@pytest.mark.thorough
@profile(250)
@given(case=cases(), weather=weathers(pauses=PAUSES, redo=st.just(0.05)))
def test_eng_074_no_stop_rerun_or_skip_leaves_a_run_stuck(
    case: Case, weather: Weather
) -> None:
    """What users change has no oracle; but every run ends, and nothing is left."""
    driven(case, weather)


OPERATIONS = 4


@profile(250)
@given(case=cases(operated=True), weather=weathers(pauses=PAUSES), data=st.data())
def test_eng_189_reruns_skips_stops_and_answers_come_to_what_the_language_says(
    case: Case, weather: Weather, data: st.DataObject
) -> None:
    """One after the other, each when all is quiet, on any run of the tree."""
    try:
        oracle = interpreted(case)
    except Undetermined as reason:
        event(f"undetermined: {reason}")
        return
    sim = Operated(text(case), weather, case.plan)
    run_id = sim.start(case.start, **case.params)
    sim.drive(run_id)
    sim.quiet()
    assert differences(sim, run_id, oracle.result()) == []
    for _ in range(data.draw(st.integers(1, OPERATIONS))):
        operation = drawn(data.draw, oracle)
        try:
            accepted = foretold(oracle, operation)
        except Undetermined as reason:
            event(f"undetermined {operation.kind}: {reason}")
            return
        note(repr(operation))
        event(f"{operation.kind}: {'done' if accepted else 'refused'}")
        assert sim.operate(run_id, operation) is accepted
        sim.drive(run_id)
        sim.quiet()
        note(repr(oracle.result()))
        assert differences(sim, run_id, oracle.result()) == []


def tried_again(case: Case) -> str:
    """The same workflows, each of which begins anew after a failure, once."""
    definitions = rendered(case.definitions)
    again = {"retry": {"count": 1, "delay": 1, "jitter": 0.5}}
    repeated = {name: {**body, **again} for name, body in definitions.items()}
    return json.dumps({"version": "2.0", **repeated})


def forget_past(sim: Shuffled) -> None:
    """Leave the last attempt of each run alone."""
    store = sim.store
    for id, row in list(store.task_rows.items()):
        run = store.runs[row["workflow_execution_id"]]
        if row["seq"] <= run["internals"].get("past", 0):
            assert (row["processed"], row["unique_key"]) == (True, None)
            del store.task_rows[id]


@profile(60)
@given(case=cases(holds=False), weather=weathers())
def test_0043_each_attempt_of_a_run_comes_to_what_the_language_says(
    case: Case, weather: Weather
) -> None:
    """A run that fails does so twice, and nothing of the first attempt is left."""
    try:
        result = interpreted(case).result()
    except Undetermined as reason:
        event(f"undetermined: {reason}")
        result = None
    sim = Shuffled(tried_again(case), weather, case.plan)
    run_id = sim.start(case.start, **case.params)
    sim.drive(run_id)
    sim.settled()
    for row in sim.store.runs.values():
        begun = row["internals"]["begun"]
        assert begun in (1, 2)
        if row["state"] == "ERROR":
            assert begun == 2
    forget_past(sim)
    if result is not None:
        event(f"determined: {result.state}")
        note(repr(result))
        assert differences(sim, run_id, result) == []
