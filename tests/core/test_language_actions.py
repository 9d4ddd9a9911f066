"""Ad-hoc actions and the environment.

Every test shows a statement of the language (spec/language.md, Appendix B).
"""

from __future__ import annotations

from typing import Any

import pytest
from simulator import CONTEXT, ERROR, SUCCESS, Simulator

from mistral.errors import MistralError
from mistral.messages import StartWorkflow

HEAD = "version: '2.0'\n\n"

ACTIONS = (
    HEAD
    + """
wrap:
  input: [text, {mark: "*"}]
  base: std.echo output="<% $.mark %><% $.text %><% $.mark %>"
  output: {framed: <% $ %>}
commas:
  input: [{l: [1, 2]}, {s: "a, b=c"}]
  base: std.echo
  base-input: {output: [<% $.l %>, <% $.s %>]}
inner:
  input: [n]
  base: std.echo output=<% $.n * 10 %>
outer:
  input: [m]
  base: inner
  base-input: {n: <% $.m + 1 %>}
  output: <% $ + 5 %>
empty:
  base: std.noop
  output: {got: <% $ %>}
a_cycle: {base: b_cycle}
b_cycle: {base: a_cycle}
context:
  base: std.echo
  base-input: {output: ['<% $.get(given, no) %>', <% $.published %>, <% env().k %>]}
"""
)


@pytest.mark.parametrize(
    ("call", "result"),
    [
        pytest.param('wrap text="a"', {"framed": "*a*"}, id="LANG-220"),
        pytest.param('wrap text="a" mark="-"', {"framed": "-a-"}, id="LANG-220 given"),
        pytest.param("commas", [[1, 2], "a, b=c"], id="LANG-221"),
        pytest.param("outer m=2", 35, id="LANG-222"),
        pytest.param("empty", {"got": None}, id="LANG-223"),
        pytest.param("context", ["no", "seen", "v"], id="LANG-225"),
    ],
)
def test_ad_hoc_actions(call: str, result: Any) -> None:
    body = f"""w:
  input: [given]
  tasks:
    first: {{publish: {{published: seen}}, on-success: t}}
    t:
      action: {call}
      publish: {{r: <% task().result %>}}
  output: {{r: <% $.r %>}}"""
    row = Simulator(HEAD + body, actions=ACTIONS).run("w", {"given": 1}, env={"k": "v"})
    assert (row["state"], row["output"]) == (SUCCESS, {"r": result}), row["state_info"]


@pytest.mark.parametrize(
    ("call", "states"),
    [
        pytest.param("wrap", {"t": ERROR}, id="LANG-220 missing"),
        pytest.param('wrap text="a" x=1', {"t": ERROR}, id="LANG-220 unexpected"),
        pytest.param("a_cycle", {"t": ERROR, "b": SUCCESS}, id="LANG-224 handled"),
    ],
)
def test_ad_hoc_actions_that_fail(call: str, states: dict[str, str]) -> None:
    body = f"w: {{tasks: {{t: {{action: {call}, on-error: b}}, b: {{join: 0}}}}}}"
    sim = Simulator(HEAD + body, actions=ACTIONS)
    row = sim.run("w")
    assert sim.states(row["id"]) == states


ENVIRONMENT = {"a": 1, "b": "<% env().a + 1 %>", "c": "<% env().b %>"}
SHOWS_ENVIRONMENT = HEAD + "w: {output: {e: <% env() %>}, tasks: {t: {join: 0}}}"


def test_lang_226_environments_are_evaluated_once_at_the_start() -> None:
    sim = Simulator(SHOWS_ENVIRONMENT)
    row = sim.run("w", env=ENVIRONMENT)
    # A value sees its neighbours as they were written.
    assert row["output"] == {"e": {"a": 1, "b": 2, "c": "<% env().a + 1 %>"}}
    row = sim.run("w", env=ENVIRONMENT, evaluate_env=False)
    assert row["output"] == {"e": ENVIRONMENT}


def test_lang_228_action_defaults_fill_gaps_and_override_nothing() -> None:
    body = """w:
  tasks:
    a: {action: std.echo, publish: {a: <% task().result %>}}
    b: {action: std.echo output="given", publish: {b: <% task().result %>}}"""
    env = {"who": "sea", "__actions": {"std.echo": {"output": "<% env().who %>"}}}
    row = Simulator(HEAD + body).run("w", env=env)
    assert row["output"] == {"a": "sea", "b": "given"}


def test_lang_229_an_unknown_environment_refuses_the_start() -> None:
    sim = Simulator(SHOWS_ENVIRONMENT)
    with pytest.raises(MistralError, match="Environment is not found: nowhere"):
        sim.start("w", env="nowhere")
    assert not sim.store.runs


def test_lang_265_the_spec_of_a_task_has_name_type_and_version() -> None:
    body = "w: {tasks: {t: {action: std.noop, publish: {s: <% task().spec %>}}}}"
    found = Simulator(HEAD + body).run("w")["output"]["s"]
    injected = {"name": "t", "type": "direct", "version": "2.0"}
    assert found == {
        "action": "std.noop", "publish": {"s": "<% task().spec %>"}, **injected,
    }  # fmt: skip


def test_lang_263_the_token_and_the_catalogue_read_as_stars() -> None:
    body = """w:
  output: {seen: '<% [$.openstack.auth_token, $.openstack.service_catalog] %>'}
  tasks: {t: {join: 0}}"""
    sim = Simulator(HEAD + body)
    who = {**CONTEXT, "user_id": "u", "auth_token": "secret", "service_catalog": "[]"}
    start = StartWorkflow(
        run_id="run", workflow_name="w", input={}, params={}, request_id="r",
        context=who,
    )  # fmt: skip
    sim.request(start)
    sim.settle()
    row = sim.store.runs["run"]
    assert row["output"] == {"seen": ["***", "***"]}
    assert "secret" not in str(row)
