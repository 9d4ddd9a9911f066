"""Branch variables in layers: what they show, what they cost (LANG § 22.3,
ENG § 2.10, DESIGN § 3 "Data context")."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import oracle.contexts as flat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.unsure import fits
from simulator import Simulator

from mistral.engine.core.contexts import (
    GROWTH,
    WIDE,
    Context,
    Held,
    by_leaf,
    columns,
    entry,
    outbound,
    shared,
)
from mistral.engine.core.data import Case, stored
from mistral.engine.core.meeting import meet
from mistral.engine.core.ports import Rules
from mistral.engine.core.publishing import leaf_paths
from mistral.engine.core.run import Run, Task

NOW = datetime(2030, 1, 1)
HEAD = "version: '2.0'\n\n"


class Shelf:
    """``Facts`` of documents alone; what is written is read again as JSON."""

    maintenance = ""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.bodies: dict[str, str] = {}
        self.read: list[str] = []

    def document(self, run_id: str, document_id: str) -> Any:
        self.read.append(document_id)
        return json.loads(self.bodies[document_id])

    def holds(self, run_id: str, document_id: str) -> bool:
        return document_id in self.bodies


@dataclass
class Branches:
    """A run whose tasks publish and meet, with rules of its own."""

    rules: Rules
    shelf: Shelf = field(init=False)
    tasks: list[Task] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.rules)

    def case(self) -> Case:
        """A turn: what the one before it has kept is on the shelf now."""
        run = Run(id="r", seed="s")
        return Case(run, self.shelf, NOW)  # type: ignore[arg-type]

    def committed(self, case: Case) -> None:
        for id, (body, _) in case.run.documents.items():
            assert id not in self.shelf.bodies, "it is stored already"
            self.shelf.bodies[id] = json.dumps(body)

    def add(self, context: Context, published: Mapping[str, Any], case: Case) -> Task:
        number = len(self.tasks)
        leaves = {name: leaf_paths("", value) for name, value in published.items()}
        rows = json.loads(json.dumps(columns(context)))
        task = Task(
            id=str(number), name=str(number), seq=number, **rows,
            published={name: stored(case, value) for name, value in published.items()},
            published_versions={n: p for n, p in leaves.items() if p != [""]},
            finished_at=NOW + timedelta(seconds=number),
        )  # fmt: skip
        self.tasks.append(task)
        return task

    def follow(
        self, sources: list[int], published: Mapping[str, Any], readers: int = 1
    ) -> None:
        """A task behind one, or a join of several."""
        case = self.case()
        chosen = [self.tasks[number] for number in sources]
        if len(chosen) == 1:
            context = outbound(case, chosen[0])
        else:
            context = meet(case, chosen)
        self.add(shared(case, context, readers), published, case)
        self.committed(case)

    def seen(self, number: int) -> dict[str, Any]:
        case = self.case()
        return dict(Held(case, outbound(case, self.tasks[number])))

    def counts(self, number: int) -> dict[str, Mapping[str, int]]:
        case = self.case()
        context = outbound(case, self.tasks[number])
        return {
            name: by_leaf(found[1])
            for name in Held(case, context)
            if (found := entry(case, context, name)) is not None
        }

    def written(self) -> int:
        rows = (columns_of(task) for task in self.tasks)
        return sum(map(len, [*rows, *self.shelf.bodies.values()]))


def columns_of(task: Task) -> str:
    return json.dumps([task.in_context, task.versions, task.layers])


NAMES = st.sampled_from("abcdefgh")
LEAVES = st.sampled_from([0, 1, 2, None, "s", [1], {}])
VALUES = LEAVES | st.dictionaries(st.sampled_from("xyz"), LEAVES, max_size=3)
STEPS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 1_000), min_size=1, max_size=4),
        st.dictionaries(NAMES, VALUES, max_size=4),
        st.sampled_from([1, 2, WIDE]),
    ),
    min_size=2,
    max_size=20,
)


@pytest.mark.thorough
@settings(max_examples=300, derandomize=True, database=None)
@given(steps=STEPS, own=st.sampled_from([0, 1, 3]), large=st.sampled_from([1, 4096]))
def test_eng_102_103_layers_change_nothing(steps: Any, own: int, large: int) -> None:
    """Whatever is published and meets, tasks see what they would see if each had a
    copy of all; and that is what the language says."""
    layered = Branches(Rules(own_variables=own, large_value=large))
    copied = Branches(Rules(own_variables=10**6, large_value=10**6))
    model: list[flat.Context] = []
    for branches in (layered, copied):
        case = branches.case()
        branches.add(Context(), {}, case)
    model.append(flat.Context())
    for sources, published, readers in steps:
        numbers = sorted({number % len(layered.tasks) for number in sources})
        for branches in (layered, copied):
            branches.follow(numbers, published, readers)
        met = flat.meet([model[number] for number in numbers])
        model.append(met.publish(published))
        last = len(model) - 1
        assert layered.seen(last) == copied.seen(last)
        assert layered.counts(last) == copied.counts(last)
        for (name, *path), count in model[last].versions.items():
            leaf = "".join(f".{part}" for part in path)
            # An empty mapping counts, too (ENG-103).
            assert layered.counts(last)[name][leaf] >= count
        seen = layered.seen(last)
        assert seen.keys() == model[last].values.keys()
        assert all(fits(model[last].values[name], seen[name]) for name in seen)


def chained(names: Iterator[str] | list[str], readers: int = 1) -> Branches:
    branches = Branches(Rules())
    branches.add(Context(), {}, branches.case())
    for number, name in enumerate(names):
        branches.follow([number], {name: number}, readers)
    return branches


@pytest.mark.parametrize("readers", [1, 2], ids=["chain", "forks"])
def test_each_task_of_a_chain_writes_as_much_as_the_others(readers: int) -> None:
    few = chained([f"variable{k}" for k in range(300)], readers)
    many = chained([f"variable{k}" for k in range(1_200)], readers)
    assert many.written() / 1_200 < 1.3 * few.written() / 300
    assert many.written() / 1_200 < 2_500


def test_a_loop_keeps_no_layer_for_each_pass() -> None:
    branches = chained([f"variable{k % 40}" for k in range(1_000)])
    assert len(branches.tasks[-1].layers or ()) <= 3
    assert branches.seen(1_000)["variable39"] == 999


def test_there_are_few_layers() -> None:
    branches = chained([f"variable{k}" for k in range(2_000)])
    for task in branches.tasks:
        sizes = [names for _, names in task.layers or ()]
        assert len(sizes) <= 7
        for lower, upper in pairwise(sizes):
            assert lower >= GROWTH * upper


def test_branches_of_a_wide_fork_share_what_they_were_given() -> None:
    branches = chained([f"variable{k}" for k in range(100)])
    before = len(branches.shelf.bodies)
    written = branches.written()
    for number in range(500):
        branches.follow([100], {f"own{number}": number}, readers=500)
    assert len(branches.shelf.bodies) <= before + 1
    assert branches.written() - written < 500 * 250


def test_a_join_reads_no_variables_that_all_branches_share() -> None:
    """The cost of a meeting is what the branches have of their own."""
    branches = chained([f"variable{k}" for k in range(1_000)])
    for number in range(300):
        branches.follow([1_000], {f"own{number}": number}, readers=300)
    branches.shelf.read.clear()
    branches.follow(list(range(1_001, 1_301)), {})
    shared_by_all = [id for id, _ in branches.tasks[1_001].layers or ()]
    assert set(branches.shelf.read) <= set(shared_by_all)
    assert next(id for id, _ in branches.tasks[-1].layers or ()) == shared_by_all[0]
    seen = branches.seen(1_301)
    assert seen["own299"] == 299
    assert seen["variable0"] == 0
    assert len(seen) == 1_300


def test_what_is_published_again_is_stored_once() -> None:
    """DESIGN § 3: 100 tasks over 1 MB store about 1 MB."""
    body = """w:
  tasks:
    a: {publish: {big: "<% 'y' * 50000 %>"}, on-success: b}
    b: {publish: {big: <% $.big %>, copy: <% $.big %>}, on-success: c}
    c: {publish: {big: <% $.copy %>}}
  output: {n: <% $.big.len() %>}"""
    sim = Simulator(HEAD + body)
    assert sim.run("w")["output"] == {"n": 50_000}
    assert [len(body) for body in sim.store.document_rows.values()] == [50_000]


def test_a_run_that_takes_over_an_id_meets_no_documents_of_the_one_before() -> None:
    """An execution's id may be chosen, and used again when the first is deleted."""
    kept = set()
    for seed in ("one", "two"):
        case = Case(Run(id="r", seed=seed), Shelf(Rules()), NOW)  # type: ignore[arg-type]
        stored(case, "x" * 5_000)
        kept |= case.run.documents.keys()
    assert len(kept) == 2


def test_leaves_that_are_gone_are_forgotten_when_they_are_many() -> None:
    branches = Branches(Rules())
    branches.add(Context(), {}, branches.case())
    for number in range(1_500):
        branches.follow([number], {"v": {f"leaf{number}": 1}})
    assert len(branches.counts(1_500)["v"]) <= 1_000
