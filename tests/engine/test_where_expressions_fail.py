"""The place of a failed expression, out of the stored text of the definition."""

from __future__ import annotations

from typing import Any

from house import CALLER

from mistral.db.definitions import update_workflows
from mistral.db.owned import Author, Place
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


ACTIONS = """\
version: '2.0'
# the first of two
loud:
  input: [text]
  base: std.echo output=<% $.text %>
  output: <% $.nope %>
other: {base: std.noop}
"""


def test_lang_262_the_text_of_an_ad_hoc_action_is_looked_up(house: Any) -> None:
    house.upload_actions(ACTIONS)
    house.upload("version: '2.0'\nw: {tasks: {t: {action: loud text='secret'}}}\n")
    info = house.run("w")["state_info"]
    assert "(at action 'loud', output, line 6, column 11)" in info
    assert "secret" not in info
