"""Values on their way through rows, on each database (ENG § 8.3, LANG § 13.4, Q28).

Whatever JSON can hold comes back as it went in, wherever it is kept; what JSON
cannot hold is refused where it appears, and never stored: in a definition when it
is uploaded, in an expression where it is evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from rest import Service
from sqlalchemy import URL

from mistral.engine.core.ports import Rules
from mistral.errors import DefinitionFault
from mistral.lang.parse import parse_workflows

HEAD = "version: '2.0'\n"


@pytest.fixture
def service(tmp_path: Path, empty_url: URL) -> Iterator[Callable[..., Service]]:
    """A service on each kind of database in turn."""
    opened: list[Service] = []

    def make(**given: Any) -> Service:
        url = empty_url.render_as_string(hide_password=False)
        opened.append(Service(tmp_path, url=url, **given))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


KEPT = {
    "NUL in a text": "a\0b",
    "NUL in a name": {"a\0b": 1},
    "an empty name": {"": {"": 1}},
    "four bytes": "\U0001f600\U0010ffff",
    "a name of four bytes": {"\U0001f600": 1},
    "no character": "\uffff\ufffe\x7f\x01",
    "separators": "\u2028\u2029\u00ad\ufeff",
    "not normalised": ["e\u0301", "\u00e9"],
    "64 bits and more": [2**63, 2**64, -(2**64) - 1, 10**300],
    "floats": [1e308, 5e-324, 0.1, 1.0, 1e16],
    "deep": nested(190),
    "words": ["NaN", "Infinity", "null", "true", "\\u0000", "\\ud800", "'\"\\"],
}
LOOKS_LIKE_A_REFERENCE = {"$ref": "x"}
TRAVEL = (
    HEAD
    + """
w:
  input: [v]
  vars: {var: <% $.v %>}
  output:
    var: <% $.var %>
    branch: <% $.branch %>
    jinja: <% $.jinja %>
    met: <% $.met %>
    all: <% global(all) %>
    items: <% $.items %>
    sub: <% $.sub %>
    said: <% $.said %>
    env: <% env().e %>
  tasks:
    a:
      action: std.echo output=<% $.v %>
      publish: {branch: <% task().result %>, jinja: "{{ _.v }}"}
      on-success:
        publish: {global: {all: <% $.v %>}}
        next: [b, c]
    b: {action: std.noop, publish: {met: {l: <% $.v %>}}, on-success: j}
    c: {action: std.noop, publish: {met: {r: <% $.v %>}}, on-success: j}
    j: {join: all, action: std.noop, on-success: i}
    i:
      with-items: i in <% [$.v, $.branch] %>
      action: ad v=<% $.i %>
      publish: {items: <% task().result %>}
      on-success: s
    s: {workflow: x v=<% $.v %>, publish: {sub: <% task().result %>}, on-success: u}
    u: {action: std.async_noop, publish: {said: <% task().result %>}}
x:
  input: [v]
  output: {v: <% $.v %>}
  tasks: {t: {action: std.noop}}
"""
)
AD_HOC = (
    HEAD
    + """
ad: {input: [v], base: std.echo, base-input: {output: <% $.v %>}, output: {o: <% $ %>}}
"""
)


@pytest.mark.parametrize("large", [1, 4096], ids=["stored apart", "in rows"])
def test_lang_136_what_json_can_hold_comes_back_as_it_was(
    large: int, service: Callable[..., Service]
) -> None:
    """Input, vars, results, branch and global variables, items, ad-hoc actions,
    sub-workflows, the environment, answers from outside."""
    one = service(rules=Rules(large_value=large))
    one.upload(AD_HOC, "actions")
    one.upload(TRAVEL)
    for value in (KEPT, LOOKS_LIKE_A_REFERENCE):
        id = one.start("w", {"v": value}, params={"env": {"e": value}})
        [waiting] = one.actions(one.task(id, "u")["id"])
        one.finish(waiting["id"], json.dumps(value))
        found = one.execution(id)
        assert found["state"] == "SUCCESS", found["state_info"]
        assert found["input"] == {"v": value}
        assert found["output"] == {
            **dict.fromkeys(["var", "branch", "jinja", "all", "said", "env"], value),
            "met": {"l": value, "r": value},
            "items": [{"o": value}] * 2,
            "sub": {"v": value},
        }
        assert json.loads(one.task(id, "a")["published"])["branch"] == value
        assert one.action(id, "u")["output"] == {"result": value}


UNSTORABLE = {
    "infinite": ("{{ 1e308 * 10 }}", "a number that is not finite"),
    "overflow": ("<% float('1e308') * 10.0 %>", "a number that is not finite"),
    "not a number": ("{{ 'nan' | float }}", "a number that is not finite"),
    "parsed": (
        "<% json_parse('[[NaN]]') %>",
        "at [0][0] is a number that is not finite",
    ),
    "half a character": ("<% json_parse($.half) %>", "holds half a surrogate pair"),
    "too deep": ("<% [[[$.deep]]] %>", "nested more than 200 deep"),
    "a list as a name": ("<% {[1] => 2} %>", "has a list or mapping as a key"),
}
PLACES = {
    "publish": "publish: {x: [1, @]}",
    "global": "on-success: {publish: {global: {x: @}}}",
    "input": "action: std.echo\n      input: {output: @}",
    "items": "with-items: i in @\n      action: std.noop",
    "condition": "on-success: [{noop: @}]",
    "sub-workflow": "workflow: x\n      input: {v: @}",
    "policy": "retry: {count: 1, delay: 0, continue-on: @}",
}


def test_lang_136_q28_what_json_cannot_hold_is_a_forced_failure(
    service: Callable[..., Service],
) -> None:
    """Task and run are in ERROR at once, say what is wrong and where, and nothing
    of the value is stored."""
    one = service()
    for (kind, (text, reason)), (place, body) in product(
        UNSTORABLE.items(), PLACES.items()
    ):
        name = f"{kind}, {place}".replace(", ", "_").replace(" ", "_")
        quoted = text if place == "items" else json.dumps(text)
        one.upload(
            f"{name}:\n  input: [half, deep]\n  tasks:\n    t:\n      "
            f"{body.replace('@', quoted)}\n"
            "    aside: {action: std.async_noop}\n"
        )
        found = one.run(name, {"half": '"\\ud800"', "deep": nested(199)})
        assert found["state"] == "ERROR", name
        assert reason in found["state_info"], (name, found["state_info"])
        assert "tasks.t." in found["state_info"]
        assert len(found["state_info"]) < 500
        task = one.task(found["id"], "t")
        assert (task["state"], task["processed"]) == ("ERROR", False), name
        assert found["output"] == {"result": found["state_info"]}


def test_lang_136_an_output_that_json_cannot_hold_ends_the_run_in_error(
    service: Callable[..., Service],
) -> None:
    one = service()
    one.upload("w: {output: {x: '{{ 1e308 * 10 }}'}, tasks: {t: {action: std.noop}}}")
    found = one.run("w")
    assert found["state"] == "ERROR"
    assert "a number that is not finite" in found["state_info"]
    assert one.states(found["id"]) == {"t": "SUCCESS"}
    one.upload("v: {vars: {x: '{{ 1e308 * 10 }}'}, tasks: {t: {action: std.noop}}}")
    answer = one.begin("v")
    assert answer.status == 400
    assert "a number that is not finite" in answer.fault


@pytest.mark.parametrize("text", [".nan", ".inf", "-.INF", "1.0e+999"])
@pytest.mark.parametrize(
    "place",
    [
        "tasks: {t: {publish: {x: {y: [1, @]}}}}",
        "tasks: {t: {action: std.echo, input: {output: @}}}",
        "input: [{i: @}]\n  tasks: {t: {action: std.noop}}",
        "vars: {x: @}\n  tasks: {t: {action: std.noop}}",
        "output: {x: @}\n  tasks: {t: {action: std.noop}}",
        "tasks: {t: {retry: {count: 1, delay: @}}}",
    ],
    ids=["publish", "input", "default", "vars", "output", "policy"],
)
def test_q28_a_literal_that_json_cannot_hold_is_a_fault_of_the_definition(
    place: str, text: str
) -> None:
    """Said once, with its place, when the text is uploaded."""
    with pytest.raises(DefinitionFault) as caught:
        parse_workflows(f"{HEAD}w:\n  {place.replace('@', text)}\n")
    [problem] = caught.value.problems
    assert problem.line and problem.column
    if "retry" not in place:
        assert "that JSON can hold, found one that is not finite" in problem.message


def test_q28_all_such_literals_are_said_in_one_pass() -> None:
    text = "w:\n  vars: {a: .nan}\n  tasks: {t: {publish: {b: [.inf], c: 1}, x: 1}}\n"
    with pytest.raises(DefinitionFault) as caught:
        parse_workflows(HEAD + text)
    found = {problem.path for problem in caught.value.problems}
    assert found == {"w.vars.a", "w.tasks.t.publish.b[0]", "w.tasks.t.x"}


@pytest.mark.parametrize("text", ["[NaN]", "[-Infinity]", "[1e999]"])
def test_v_13_an_inline_list_of_what_is_no_json_number_is_no_list(text: str) -> None:
    """LANG § 10: in a parameter it is a text, with-items has no such form."""
    with pytest.raises(DefinitionFault, match="the list is not JSON"):
        parse_workflows(f"{HEAD}w: {{tasks: {{t: {{with-items: 'i in {text}'}}}}}}")
    [parsed] = parse_workflows(
        f"{HEAD}w: {{tasks: {{t: {{action: 'std.echo output={text}'}}}}}}"
    )
    assert parsed.spec.tasks["t"].input == {"output": text}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"workflow_name": "w", "input": {"v": NaN}}', "NaN is not JSON"),
        ('{"workflow_name": "w", "input": {"v": 1e999}}', "too large"),
        ('{"workflow_name": "w", "input": "{\\"v\\": Infinity}"}', "Infinity"),
        ('{"workflow_name": "w", "input": {"v": "\\ud800"}}', "surrogate pair"),
        (f'{{"workflow_name": "w", "input": {{"v": {"[" * 300}{"]" * 300}}}}}', "220"),
    ],
    ids=["NaN", "1e999", "in a text", "half a character", "deep"],
)
def test_requests_with_what_json_cannot_hold_are_refused(
    body: str, reason: str, tmp_path: Path
) -> None:
    one = Service(tmp_path)
    one.upload("w: {input: [v], tasks: {t: {action: std.noop}}}")
    answer = one.api.request(
        "POST", "/v2/executions", body, {"Content-Type": "application/json"}
    )
    one.close()
    assert answer.status == 400
    assert reason in answer.fault
