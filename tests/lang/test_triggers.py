"""The section ``triggers`` of workflows and workbooks (decision 0040)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistral.errors import DefinitionFault
from mistral.lang.parse import (
    check_workbook,
    check_workflows,
    parse_workbook,
    parse_workflows,
    workflow_from_dict,
)
from mistral.lang.specs import TriggerSpec

CRON = {"type": "cron", "pattern": "0 3 * * *"}
EVENT = {"type": "event", "exchange": "e", "topic": "t", "event": "x.y"}
INPUT = [{"what": "all"}, {"deep": False}]


def workflow(triggers: Any, key: str = "triggers", **more: Any) -> str:
    body = {"tasks": {"t": {"action": "std.noop"}}, key: triggers, **more}
    return json.dumps({"version": "2.0", "w": body})


def made(triggers: Any, key: str = "triggers", **more: Any) -> list[TriggerSpec]:
    [parsed] = parse_workflows(workflow(triggers, key, **more))
    return list(parsed.spec.triggers)


def said(trigger: dict[str, Any], **more: Any) -> dict[str, Any]:
    [spec] = made({"x": trigger}, **more)
    return dict(spec.declared)


def faults(triggers: Any, **more: Any) -> list[tuple[str, str]]:
    report = check_workflows(workflow(triggers, **more))
    return [(problem.path, problem.message) for problem in report.problems]


def test_all_of_a_cron_trigger() -> None:
    found = said(
        {
            "type": "cron",
            "pattern": "0 3 * * *",
            "timezone": "Europe/Berlin",
            "input": {"what": "some"},
            "params": {"env": {"a": 1}},
            "overlap": "skip",
            "catch-up": "all",
            "catch-up-window": 60,
            "count": 10,
            "first": "2027-07-01 03:00",
            "enabled": False,
            "jitter": 5,
            "scope": "public",
            "description": "Each night.",
        },
        input=INPUT,
    )
    assert found == {
        "pattern": "0 3 * * *",
        "timezone": "Europe/Berlin",
        "first": "2027-07-01T01:00:00",
        "count": 10,
        "input": {"what": "some"},
        "params": {"env": {"a": 1}},
        "overlap": "skip",
        "catch_up": "all",
        "catch_up_window": 60,
        "enabled": False,
        "jitter": 5,
        "scope": "public",
        "workflow": "w",
    }


def test_what_is_usual_of_a_cron_trigger() -> None:
    assert said(CRON) == {
        "pattern": "0 3 * * *",
        "timezone": "UTC",
        "first": None,
        "count": None,
        "input": {},
        "params": {},
        "overlap": "allow",
        "catch_up": "once",
        "catch_up_window": 86400,
        "enabled": True,
        "jitter": 0,
        "scope": "private",
        "workflow": "w",
    }


def test_an_event_trigger() -> None:
    given = {"what": "<% $.payload.id %>", "deep": True}
    assert said({**EVENT, "input": given}, input=INPUT) == {
        "exchange": "e",
        "topic": "t",
        "event": "x.y",
        "input": given,
        "params": {},
        "scope": "private",
        "workflow": "w",
    }
    whole = said({**EVENT, "input": "<% $.payload %>"}, input=["unknown"])
    assert whole["input"] == "<% $.payload %>"


def test_a_message_of_an_event_trigger() -> None:
    """The workflow's inputs do not matter: it is not started."""
    given = {
        "name": "built",
        "key": "<% $.payload.sha %>",
        "payload": {"state": ["<% $.payload.state %>", 1, None]},
        "execution-id": "{{ _.payload.run }}",
    }
    found = said({**EVENT, "message": given}, input=["needed"])
    assert found == {
        "exchange": "e",
        "topic": "t",
        "event": "x.y",
        "input": {},
        "message": {
            "name": "built",
            "key": "<% $.payload.sha %>",
            "payload": {"state": ["<% $.payload.state %>", 1, None]},
            "execution_id": "{{ _.payload.run }}",
        },
        "params": {},
        "scope": "private",
        "workflow": "w",
    }
    for key in (17, None, "", "<% 1 %>"):
        least = {"name": "go", "key": key}
        assert said({**EVENT, "message": least})["message"] == least


def test_a_message_needs_no_target() -> None:
    """Of a reverse workflow, which is not started."""
    assert faults({"x": {**EVENT, "message": {"name": "go"}}}, type="reverse") == []


@pytest.mark.parametrize(
    ("message", "where", "words"),
    [
        ("go", "", "expected a mapping"),
        ({}, "", "expected a mapping with at least one entry"),
        ({"key": 1}, "", "'name' is missing: which message is sent"),
        ({"name": ""}, ".name", "expected a non-empty string"),
        ({"name": 5}, ".name", "expected a non-empty string, found a number"),
        ({"name": "n" * 256}, ".name", "expected at most 255 characters"),
        ({"name": "n", "key": "k" * 256}, ".key", "expected at most 255 characters"),
        ({"name": "n", "key": 1.5}, ".key", "expected a text, a whole number, an expr"),
        ({"name": "n", "key": True}, ".key", "or null, found a boolean"),
        ({"name": "n", "execution-id": 7}, ".execution-id", "a non-empty string"),
        ({"name": "n", "execution_id": "x"}, ".execution_id", "'execution-id'?"),
        ({"name": "n", "to": "x"}, ".to", "unknown property 'to'"),
        ({"name": "<% $. %>"}, ".name", ""),
        ({"name": "n", "key": "<% $. %>"}, ".key", ""),
        ({"name": "n", "payload": [{"a": "{{ _. }}"}]}, ".payload[0].a", ""),
    ],
)
def test_what_is_wrong_with_a_message(message: Any, where: str, words: str) -> None:
    found = faults({"x": {**EVENT, "message": message}})
    assert [path for path, _ in found] == [f"w.triggers.x.message{where}"]
    assert words in found[0][1]


@pytest.mark.parametrize("key", ["input", "params"])
def test_a_message_starts_nothing(key: str) -> None:
    trigger = {**EVENT, "message": {"name": "go"}, key: {"what": "all"}}
    [(path, text)] = faults({"x": trigger}, input=INPUT)
    assert path == f"w.triggers.x.{key}"
    assert text == f"with 'message' nothing is started: '{key}' has no use"


def test_only_events_are_messages() -> None:
    [(path, text)] = faults({"x": {**CRON, "message": {"name": "go"}}})
    assert path == "w.triggers.x.message"
    assert "unknown property 'message'" in text


@pytest.mark.parametrize(
    ("first", "moment"),
    [
        ("2027-01-31 03:00", "2027-01-31T02:00:00"),
        ("2027-01-31 03:00:00", "2027-01-31T02:00:00"),
        ("2027-01-31T03:00:00Z", "2027-01-31T03:00:00"),
    ],
)
def test_first_times_without_quotes(first: str, moment: str) -> None:
    """YAML takes some of them for times."""
    text = f"""
version: '2.0'
w:
  triggers:
    x: {{type: cron, first: {first}, timezone: Europe/Berlin}}
  tasks: {{t: {{action: std.noop}}}}
"""
    [parsed] = parse_workflows(text)
    assert parsed.spec.triggers[0].declared["first"] == moment


def test_the_older_spelling() -> None:
    """§ 30: what the language once had means what it has now."""
    old = {
        "version": "2.0",
        "nightly": {
            "type": "periodic",
            "tasks": "t",
            "parameters": {"cron-pattern": "1 0 * * *"},
        },
    }
    [found] = made(old, "Triggers", type="reverse")
    assert (found.name, found.type) == ("nightly", "cron")
    assert found.declared["pattern"] == "1 0 * * *"
    assert found.declared["params"] == {"task_name": "t"}
    [same] = made({"x": {**old["nightly"], "tasks": ["t"]}}, type="reverse")
    assert same.declared == found.declared


def test_a_stored_body_needs_no_triggers() -> None:
    """What was ignored once is not looked at again."""
    [parsed] = parse_workflows(workflow({"x": CRON}))
    body = {**parsed.spec.body, "triggers": "odd"}
    assert workflow_from_dict(body) == parsed.spec


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        (1, "expected a trigger, found a number"),
        ({}, "'type' is missing: expected cron or event, found null"),
        ({"type": "ceilometer_alarm"}, "expected cron or event, found 'ceilomet"),
        ({"type": "cron"}, "'pattern' is missing, or 'first' for one time"),
        ({**CRON, "pattern": "0 25 * * *"}, "The specified pattern is not valid"),
        ({**CRON, "pattern": 5}, "expected a non-empty string, found a number"),
        ({**CRON, "pattern": "0 3 30 2 *"}, "would never fire"),
        ({**CRON, "pattern": "0 0 30 2 0"}, "would never fire"),
        ({**CRON, "timezone": "Mars"}, "Expected a time zone of the IANA database"),
        ({**CRON, "overlap": "queu"}, "found 'queu'; did you mean 'queue'?"),
        ({**CRON, "catch-up": True}, "expected one of once, skip, all, found a bool"),
        ({**CRON, "count": 0}, "from 1 to 2147483647, found 0"),
        ({**CRON, "jitter": -1.5}, "from 0 to 3600, found -1.5"),
        ({**CRON, "count": True}, "expected a whole number from 1 to"),
        ({**CRON, "jitter": 4000}, "expected a whole number from 0 to 3600"),
        ({**CRON, "enabled": "yes"}, "expected true or false, found 'yes'"),
        ({**CRON, "first": "soon"}, "expected a time such as"),
        ({**CRON, "first": "0001-01-01T00:00+14:00"}, "expected a time such as"),
        ({**CRON, "first": "9999-12-31 23:59"}, "expected a time such as"),
        ({**CRON, "scope": "all"}, "expected one of private, public, found 'all'"),
        ({**CRON, "patern": "x"}, "unknown property 'patern'; did you mean"),
        ({**CRON, "topic": "x"}, "unknown property 'topic'"),
        ({**CRON, "workflow": "w"}, "unknown property 'workflow'"),
        ({**CRON, "input": []}, "expected a mapping with at least one entry"),
        ({"type": "cron", "first": "2027-01-01 00:00", "count": 2}, "only be 1"),
        ({**EVENT, "input": "payload"}, "expected an expression"),
        ({**EVENT, "input": "<% $. %>"}, ""),
        ({**EVENT, "input": {"what": "<% $. %>"}}, ""),
        ({**EVENT, "topic": "t" * 81}, "expected at most 80 characters"),
        ({**EVENT, "exchange": "amq.topic"}, "Exchanges that begin with 'amq.'"),
        ({**EVENT, "exchange": "mistral"}, "carries the service's own messages"),
        ({"type": "event", "topic": "t", "event": "e"}, "'exchange' is missing"),
        ({**CRON, "input": {"wat": 1}}, "no input 'wat'; did you mean 'what'?"),
        ({**EVENT, "input": {"wat": 1}}, "no input 'wat'; did you mean 'what'?"),
        ({"type": "periodic", "parameters": {"every": 5}}, "'cron-pattern' alone"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(trigger: Any, message: str) -> None:
    found = faults({"x": trigger}, input=INPUT)
    assert found
    assert all(path.startswith("w.triggers.x") for path, _ in found)
    assert any(message in text for _, text in found)


@pytest.mark.parametrize(
    ("params", "key", "message"),
    [
        ({"start-at": "nonsense"}, "start-at", "Expected an ISO 8601 time"),
        ({"start-at": "2030-01-01T00:00"}, "start-at", "no zone"),
        ({"start_after": "P1M"}, "start_after", "Expected seconds from 0 on"),
        ({"start-after": 1, "start-at": "x"}, "start-after", "Expected one time"),
        ({"priority": 11}, "priority", "from -10 to 10"),
        ({"env": 3}, "env", "Expected a mapping or a name"),
        ({"namespace": 3}, "namespace", "Expected a text"),
        ({"index": 3}, "index", "service's own"),
    ],
)
@pytest.mark.parametrize("trigger", [CRON, EVENT], ids=["cron", "event"])
def test_params_that_no_start_takes(
    trigger: dict[str, Any], params: dict[str, Any], key: str, message: str
) -> None:
    [(path, text)] = faults({"x": {**trigger, "params": params}})
    assert path == f"w.triggers.x.params.{key}"
    assert message in text


def test_params_that_a_start_takes() -> None:
    """What is no list of publishers is passed over at a start, and here."""
    params = {
        "start-after": "P1D", "start_at": None, "env": "prod", "notify": 3,
        "priority": None, "namespace": "", "own": [1],
    }  # fmt: skip
    assert faults({"x": {**CRON, "params": params}}) == []


def test_inputs_that_are_missing() -> None:
    found = faults({"x": CRON, "y": EVENT}, input=["a", "b", {"c": 1}])
    wanted = "the workflow needs the input 'a', 'b'"
    assert found == [("w.triggers.x", wanted), ("w.triggers.y", wanted)]


def test_a_pattern_without_a_time_is_told_with_its_place() -> None:
    text = "version: '2.0'\nw:\n  tasks: {t: {action: std.noop}}\n  triggers:\n"
    text += "    x:\n      type: cron\n      pattern: 0 3 30 2 *\n"
    [problem] = check_workflows(text).problems
    assert problem.path == "w.triggers.x.pattern"
    assert problem.line == 7


@pytest.mark.parametrize(
    "more",
    [
        {"pattern": "0 3 29 2 *"},
        {"pattern": "0 3 30 2 * 0 2019"},
        {"pattern": "0 3 1 1 * 0 2099"},
        {"pattern": "0 3 30 2 *", "first": "2030-01-01 00:00"},
    ],
)
def test_what_may_have_a_time_is_for_the_upload_to_judge(more: dict[str, Any]) -> None:
    assert faults({"x": {**CRON, **more}}) == []


ONE: dict[str, Any] = {"first": "2030-01-01 00:00", "input": {"what": "x"}}


def test_cron_triggers_of_one_kind() -> None:
    """As over REST: they collide when they have both a count and a first time."""
    counted = {**CRON, **ONE, "count": 2}
    for one in (counted, {"type": "cron", **ONE}):
        again = {"a": one, "b": {**one, "overlap": "skip"}}
        [(path, message)] = faults(again, input=INPUT)
        assert path == "w.triggers.b"
        assert message.startswith("'a' has the same workflow, input, params, pattern")
    for fine in (CRON, {**CRON, "count": 2}, {**CRON, **ONE}):
        assert faults({"a": fine, "b": fine}, input=INPUT) == []
    other = {**counted, "input": {"what": "y"}}
    assert faults({"a": counted, "b": other}, input=INPUT) == []


def test_targets_of_reverse_workflows() -> None:
    missing = faults({"x": CRON}, type="reverse")
    assert "a reverse workflow needs" in missing[0][1]
    other = {**CRON, "params": {"task_name": "u"}}
    assert "'u' is no task" in faults({"x": other}, type="reverse")[0][1]
    right = {**CRON, "params": {"task_name": "t"}}
    assert faults({"x": right}, type="reverse") == []


def test_triggers_as_a_whole() -> None:
    assert "expected a mapping of triggers" in faults([CRON])[0][1]
    twice = {"a": EVENT, "b": EVENT}
    assert "'a' is the workflow's for this event already" in faults(twice)[0][1]
    assert "use one" in faults({"x": CRON}, Triggers={"y": CRON})[0][1]
    assert "have at most 200 characters" in faults({"x" * 199: CRON})[0][1]
    assert faults({}) == []


BOOK = {
    "version": "2.0",
    "name": "b",
    "workflows": {
        "one": {"input": ["n"], "tasks": {"t": {"action": "std.noop"}}},
        "two": {"tasks": {"t": {"action": "std.noop"}}},
    },
}


def book(triggers: Any, **more: Any) -> str:
    return json.dumps({**BOOK, "triggers": triggers, **more})


def test_a_workbook_says_which_member_is_started() -> None:
    trigger = {**CRON, "workflow": "one", "input": {"n": 1}}
    parsed = parse_workbook(book({"x": trigger, "y": {**EVENT, "workflow": "two"}}))
    names = [(spec.name, spec.workflow) for spec in parsed.spec.triggers]
    assert names == [("x", "one"), ("y", "two")]
    assert parsed.spec.triggers[0].declared["workflow"] == "one"


def test_the_only_member_need_not_be_named() -> None:
    text = book({"x": CRON}, workflows={"two": BOOK["workflows"]["two"]})
    assert parse_workbook(text).spec.triggers[0].workflow == "two"


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        (CRON, "'workflow' is missing: which member of the workbook is started"),
        ({**CRON, "workflow": "tow"}, "'tow' is no workflow of this workbook; did"),
        ({**CRON, "workflow": "one"}, "the workflow needs the input 'n'"),
    ],
)
def test_what_is_wrong_in_a_workbook(trigger: Any, message: str) -> None:
    report = check_workbook(book({"x": trigger}))
    assert [message in problem.message for problem in report.problems] == [True]
    with pytest.raises(DefinitionFault):
        parse_workbook(book({"x": trigger}))


def test_a_member_that_is_wrong_itself_is_not_missing() -> None:
    wrong = {"one": {"tasks": 1}, "two": BOOK["workflows"]["two"]}
    for trigger in ({**CRON, "workflow": "one"}, {**CRON, "workflow": "two"}):
        report = check_workbook(book({"x": trigger}, workflows=wrong))
        assert {problem.path[:9] for problem in report.problems} == {"workflows"}


def test_members_of_a_workbook_have_triggers_of_their_own() -> None:
    two = {**BOOK["workflows"]["two"], "triggers": {"x": CRON}}
    parsed = parse_workbook(book({}, workflows={"two": two}))
    [spec] = parsed.workflows[0].spec.triggers
    assert (parsed.workflows[0].spec.name, spec.name) == ("b.two", "x")


@pytest.mark.parametrize("priority", [11, "high", True])
def test_a_priority_is_one(priority: Any) -> None:
    wrong = {**CRON, "params": {"priority": priority}}
    [(path, message)] = faults({"x": wrong})
    assert path == "w.triggers.x.params.priority"
    assert "Expected a whole number from -10 to 10" in message
    assert faults({"x": {**CRON, "params": {"priority": -10}}}) == []


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 10**12)
    | st.floats(allow_nan=False)
    | st.text(max_size=6)
    | st.sampled_from(["cron", "event", "periodic", "0 3 * * *", "<% $.payload %>"])
    | st.sampled_from(["2027-01-31 03:00", "Europe/Berlin", "0001-01-01T00:00+14:00"])
)
VALUES = st.recursive(
    SCALARS,
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=4), each)
    ),
    max_leaves=5,
)
KEYS = st.sampled_from(
    "type pattern timezone input params overlap catch-up catch-up-window count first"
    " enabled jitter scope exchange topic event workflow parameters tasks"
    " message".split()
)


@given(
    st.dictionaries(KEYS, VALUES, max_size=8), st.sampled_from(["cron", "event", "x"])
)
def test_any_entry_is_judged(entry: dict[str, Any], kind: str) -> None:
    """Never more than faults come of it, and what has none can be made."""
    entry = entry if kind == "x" else {**entry, "type": kind}
    report = check_workflows(workflow({"x": entry}, input=INPUT))
    if report.valid:
        [spec] = made({"x": entry}, input=INPUT)
        assert json.loads(json.dumps(spec.declared)) == spec.declared
    check_workbook(book({"x": entry}))
