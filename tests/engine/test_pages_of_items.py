"""Items open page by page, whatever is heard meanwhile (DESIGN § 3, cost rules)."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import CALLER, House

from mistral.db import models
from mistral.engine.core.ports import Rules
from mistral.messages import PauseWorkflow, ResumeWorkflow, StartWorkflow, State

PAGE = 10
ITEMS = 95
WORKFLOW = f"""
version: '2.0'
items:
  tasks:
    t:
      with-items: i in <% range({ITEMS}) %>
      action: std.sleep seconds=1
"""


class Pages:
    """A run of which each turn is taken by hand."""

    def __init__(self, directory: Path, workflow: str = WORKFLOW) -> None:
        self.house = House(directory, rules=Rules(page=PAGE))
        self.house.upload(workflow)
        self.id = self.house.new_id()
        start = {"run_id": self.id, "workflow_name": "items", "input": {}}
        self.house.put(StartWorkflow(context=CALLER.to_dict(), **start))
        self.turn()

    def turn(self) -> None:
        self.house.engine.loop.run_once(timeout=0)

    def opened(self) -> int:
        return len(self.house.rows(models.action_executions))

    def answer_all(self) -> None:
        """The results of all that was offered since the last time wait now."""
        self.house.engine.deliver.offers.send_waiting()
        while self.house.post.offers:
            self.house.finish(self.house.post.offers.popleft())


def test_a_turn_with_results_opens_one_page(tmp_path: Path) -> None:
    pages = Pages(tmp_path)
    opened = [pages.opened()]
    while opened[-1] < ITEMS:
        pages.answer_all()
        pages.turn()
        opened.append(pages.opened())
    assert opened == [*range(PAGE, ITEMS, PAGE), ITEMS]
    pages.answer_all()
    pages.turn()
    assert pages.house.header(pages.id)["state"] == State.SUCCESS
    pages.house.close()


def test_paging_goes_on_after_a_pause(tmp_path: Path) -> None:
    """The next page was due while the run was paused."""
    pages = Pages(tmp_path)
    house = pages.house
    for event in (PauseWorkflow, ResumeWorkflow):
        house.put(event(run_id=pages.id, context=CALLER.to_dict()))
        house.turn()
    house.turn()
    assert pages.opened() == ITEMS
    pages.answer_all()
    house.turn()
    assert house.header(pages.id)["state"] == State.SUCCESS
    house.close()


@pytest.mark.parametrize("limit", [3, PAGE, 25])
def test_eng_131_results_make_room_up_to_the_concurrency(
    tmp_path: Path, limit: int
) -> None:
    pages = Pages(tmp_path, f"{WORKFLOW}      concurrency: {limit}\n")
    house = pages.house
    house.turn()
    assert pages.opened() == limit
    while pages.opened() < ITEMS:
        before = pages.opened()
        pages.answer_all()
        house.turn()
        assert before < pages.opened() <= before + limit
    pages.answer_all()
    house.turn()
    assert house.header(pages.id)["state"] == State.SUCCESS
    house.close()
