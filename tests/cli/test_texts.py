"""Kinds of files, inputs, and YAML written for programs."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mistral import errors
from mistral.cli.texts import read_definition, read_values
from mistral.cli.yaml_out import to_yaml

WORKFLOWS = "version: '2.0'\nwf:\n  tasks:\n    t: {}\nother: {}"
BASE_INSIDE = "version: 2\nwf:\n  tasks:\n    base:\n      action: x\n"
ACTION = "version: '2.0'\nact:\n  base: std.echo\n"
WORKBOOK = 'name: "book"\nworkflows:\n  a:\n    x: 1\n  b: {}\n'
ACTION_BOOK = "name: b\nactions:\n  a:\n    base: std.noop\n"


@pytest.mark.parametrize(
    ("text", "kind", "workflows"),
    [
        (WORKFLOWS, "workflows", ("wf", "other")),
        (BASE_INSIDE, "workflows", ("wf",)),
        (ACTION, "actions", ()),
        (WORKBOOK, "workbooks", ("book.a", "book.b")),
        (ACTION_BOOK, "workbooks", ()),
    ],
)
def test_the_kind_is_seen_from_the_keys(tmp_path, text, kind, workflows):
    file = tmp_path / "f.yaml"
    file.write_text(text)
    found = read_definition(file)
    assert (found.kind, found.workflows) == (kind, workflows)


def test_a_kind_that_is_named_wins(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text("{version: '2.0', a: {base: std.noop}}")
    assert read_definition(file, "actions").kind == "actions"


def test_a_file_that_is_missing_is_said(tmp_path):
    with pytest.raises(errors.BadRequest, match="No such file"):
        read_definition(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["x", "{", "@/nowhere", '{"a": 1}]'])
def test_inputs_that_cannot_be_read(text):
    with pytest.raises(errors.BadRequest, match="--input"):
        read_values([text], "--input")


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@given(_json)
def test_yaml_that_is_written_reads_back_the_same(value):
    assert yaml.safe_load(to_yaml(value)) == value


@pytest.mark.parametrize(
    "word", ["no", "1:30", "2020-01-01", "=", "- x", "a: b", "~", ""]
)
def test_words_that_yaml_takes_for_something_else_are_quoted(word):
    assert yaml.safe_load(to_yaml({word: word})) == {word: word}
