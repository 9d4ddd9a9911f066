"""The place of a failed expression, out of the stored text of the definition."""

from __future__ import annotations

from typing import Any

from house import CALLER

from mistral.db.definitions import Author, Place, update_workflows
from mistral.lang.parse import parse_workflows

TEXT = """\
# a comment
version: '2.0'
w:
  tasks:
    t: {wait-before: 5, publish: {v: <% $.nope %>}}
"""


def test_lang_262_the_stored_text_is_looked_up(house: Any) -> None:
    house.upload(TEXT)
    run_id = house.start("w")
    house.settle()
    house.advance(10)
    info = house.header(run_id)["state_info"]
    assert "(at tasks.t.publish.v, line 5, column 38)" in info


def test_a_text_that_has_changed_since_is_not_quoted(house: Any) -> None:
    house.upload(TEXT)
    run_id = house.start("w")
    house.settle()
    with house.database.begin() as connection:
        author = Author(CALLER, house.clock.now(), house.new_id)
        changed = TEXT.replace("  tasks:", "  description: new\n  tasks:")
        update_workflows(connection, author, parse_workflows(changed), Place(), None)
    house.advance(10)
    assert "there is no key 'nope' (at v)" in house.header(run_id)["state_info"]
