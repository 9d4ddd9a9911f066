"""Sub-workflows over REST, on the whole service in one thread.

spec/engine.md § 6: ENG-164 to ENG-176, ENG-189, ENG-199.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rest import Service

HEAD = "version: '2.0'\n"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.close()


def test_eng_164_input_that_is_not_declared_becomes_a_parameter(
    service: Service,
) -> None:
    service.upload(
        HEAD
        + """
w:
  tasks:
    t: {workflow: s a=1 task_name="last" other=2}
s:
  type: reverse
  input: [a]
  tasks:
    first: {description: x}
    last: {requires: first, action: std.echo output=<% $.a %>}
    never: {description: x}
"""
    )
    run = service.run("w")
    assert run["state"] == "SUCCESS", run["state_info"]
    [child] = service.children(run["id"])
    assert child["input"] == {"a": 1}
    assert child["params"]["task_name"] == "last"
    assert child["params"]["other"] == 2
    assert service.states(child["id"]) == {"first": "SUCCESS", "last": "SUCCESS"}


SAYS = "{output: {said: '%s'}, tasks: {t: {description: x}}}"


def test_eng_165_names_resolve_in_the_workbook_then_in_the_namespace(
    service: Service,
) -> None:
    for namespace in ("", "n"):
        for name in ("only", "both", "plain"):
            if (name, namespace) == ("plain", "n"):
                continue
            text = f"{name}: " + SAYS % f"{namespace or 'default'} {name}"
            service.upload(text, namespace=namespace)
    book = f"""{HEAD}
name: book
workflows:
  only: {SAYS % "book only"}
  w:
    output:
      only: <% $.only %>
      both: <% $.both %>
      plain: <% $.plain %>
    tasks:
      a: {{workflow: only, publish: {{only: <% task().result.said %>}}}}
      b: {{workflow: both, publish: {{both: <% task().result.said %>}}}}
      c: {{workflow: plain, publish: {{plain: <% task().result.said %>}}}}
"""
    answer = service.api.post("/v2/workbooks?namespace=n", book)
    assert answer.status == 201, answer.body
    run = service.run("book.w", workflow_namespace="n")
    assert run["output"] == {
        "only": "book only",
        "both": "n both",
        "plain": "default plain",
    }
    namespaces = {c["params"]["namespace"] for c in service.children(run["id"])}
    assert namespaces == {"n"}


def test_eng_166_the_result_of_a_failed_sub_workflow(service: Service) -> None:
    service.upload(
        HEAD
        + """
w:
  output: {seen: <% $.seen %>, why: <% $.why %>}
  tasks:
    t:
      workflow: s
      publish-on-error:
        seen: <% task().result.left %>
        why: <% task().result.result %>
      on-error: noop
s:
  output-on-error: {left: <% $.x %>}
  tasks:
    a: {publish: {x: 5}, on-success: b}
    b: {action: std.noop, on-success: [fail msg="enough"]}
"""
    )
    run = service.run("w")
    assert run["state"] == "SUCCESS", run["state_info"]
    assert run["output"]["seen"] == 5
    assert run["output"]["why"] == "enough"
    [child] = service.children(run["id"])
    assert child["output"] == {"result": "enough", "left": 5}


TWO_CHILDREN = (
    HEAD
    + """
w:
  tasks:
    a: {workflow: s}
    b: {workflow: s}
s:
  tasks:
    held: {action: std.async_noop}
"""
)


def states_of(service: Service, run_id: str) -> list[str]:
    return [each["state"] for each in service.children(run_id)]


def finish_all(service: Service, run_id: str, state: str = "SUCCESS") -> None:
    for child in service.children(run_id):
        for task in service.tasks(child["id"]):
            for action in service.actions(task["id"]):
                if action["state"] == "RUNNING":
                    assert service.answer(action["id"], state).status == 200


def test_eng_167_pause_and_resume_go_down(service: Service) -> None:
    service.upload(TWO_CHILDREN)
    run = service.run("w")
    assert service.change(run["id"], state="PAUSED").status == 200
    assert states_of(service, run["id"]) == ["PAUSED", "PAUSED"]
    assert service.change(run["id"], state="RUNNING").status == 200
    assert states_of(service, run["id"]) == ["RUNNING", "RUNNING"]
    finish_all(service, run["id"])
    assert service.execution(run["id"])["state"] == "SUCCESS"


def test_eng_168_169_pause_and_resume_of_one_child_go_up(service: Service) -> None:
    service.upload(TWO_CHILDREN)
    run = service.run("w")
    one, other = service.children(run["id"])
    service.change(one["id"], state="PAUSED")
    assert service.execution(run["id"])["state"] == "PAUSED"
    assert states_of(service, run["id"]) == ["PAUSED", "PAUSED"]
    assert service.states(run["id"]) == {"a": "PAUSED", "b": "PAUSED"}
    service.change(one["id"], state="RUNNING")
    # § 6.3: the other one was paused by the cascade and is resumed by itself.
    assert service.execution(run["id"])["state"] == "PAUSED"
    service.change(other["id"], state="RUNNING")
    assert service.execution(run["id"])["state"] == "RUNNING"
    finish_all(service, run["id"])
    assert service.execution(run["id"])["state"] == "SUCCESS"


def test_eng_169_resuming_the_only_paused_child_resumes_the_parent(
    service: Service,
) -> None:
    service.upload(TWO_CHILDREN.replace("    b: {workflow: s}\n", ""))
    run = service.run("w")
    [child] = service.children(run["id"])
    service.change(child["id"], state="PAUSED")
    assert service.execution(run["id"])["state"] == "PAUSED"
    service.change(child["id"], state="RUNNING")
    assert service.execution(run["id"])["state"] == "RUNNING"
    assert service.states(run["id"]) == {"a": "RUNNING"}


def test_eng_170_cancel_goes_down_with_its_message(service: Service) -> None:
    service.upload(TWO_CHILDREN)
    run = service.run("w")
    answer = service.change(run["id"], state="CANCELLED", state_info="enough")
    assert answer.status == 200
    for child in service.children(run["id"]):
        assert (child["state"], child["state_info"]) == ("CANCELLED", "enough")
        assert child["output"] == {"result": "enough"}
    assert service.states(run["id"]) == {"a": "CANCELLED", "b": "CANCELLED"}
    for task in service.tasks(run["id"]):
        assert task["state_info"] == "enough"


def test_eng_171_cancelling_a_child_cancels_the_parent_in_the_end(
    service: Service,
) -> None:
    service.upload(TWO_CHILDREN)
    run = service.run("w")
    one, _ = service.children(run["id"])
    service.change(one["id"], state="CANCELLED", state_info="not this one")
    assert service.execution(run["id"])["state"] == "RUNNING"
    assert sorted(service.states(run["id"]).values()) == ["CANCELLED", "RUNNING"]
    finish_all(service, run["id"])
    run = service.execution(run["id"])
    [name] = [n for n, s in service.states(run["id"]).items() if s == "CANCELLED"]
    assert run["state"] == "CANCELLED"
    assert run["state_info"] == f"Cancelled tasks: {name}"


@pytest.mark.parametrize(("state", "went"), [("SUCCESS", "good"), ("ERROR", "bad")])
def test_eng_172_stopping_a_child_fires_the_clause_of_its_task(
    service: Service, state: str, went: str
) -> None:
    service.upload(
        HEAD
        + """
w:
  tasks:
    t: {workflow: s, on-success: good, on-error: bad}
    good: {description: x}
    bad: {description: x}
s:
  tasks:
    held: {action: std.async_noop}
"""
    )
    run = service.run("w")
    [child] = service.children(run["id"])
    assert service.change(child["id"], state=state, state_info="hand").status == 200
    states = service.states(run["id"])
    assert states == {"t": state, went: "SUCCESS"}
    assert service.execution(run["id"])["state"] == "SUCCESS"


def test_eng_173_each_retry_has_a_sub_workflow_of_its_own(service: Service) -> None:
    service.upload(
        HEAD
        + """
w:
  tasks:
    t:
      workflow: s
      retry: {count: 2, delay: 1}
      on-error: noop
s:
  tasks:
    a: {action: std.fail}
"""
    )
    run = service.run("w")
    service.house.advance(1)
    service.house.advance(1)
    assert service.execution(run["id"])["state"] == "SUCCESS"
    assert states_of(service, run["id"]) == ["ERROR"] * 3


@pytest.mark.parametrize("items", [False, True])
def test_eng_174_a_sub_workflow_that_cannot_start_leaves_nothing(
    service: Service, items: bool
) -> None:
    body = "workflow: s, on-error: after"
    if items:
        body += ", with-items: 'i in <% [1, 2] %>'"
    service.upload(
        HEAD
        + f"""
w: {{tasks: {{t: {{{body}}}, after: {{description: x}}}}}}
s: {{input: [needed], tasks: {{a: {{description: x}}}}}}
"""
    )
    run = service.run("w")
    assert run["state"] == "SUCCESS", run["state_info"]
    assert service.states(run["id"]) == {"t": "ERROR", "after": "SUCCESS"}
    assert service.children(run["id"]) == []
    if not items:
        assert "needed" in service.task(run["id"], "t")["state_info"]


def test_eng_175_the_text_of_a_deep_failure_stays_short(service: Service) -> None:
    levels = "".join(
        f"l{n}: {{tasks: {{t{n}: {{workflow: l{n + 1}}}}}}}\n" for n in range(10)
    )
    error = "e" * 900
    leaf = f"l10: {{tasks: {{t10: {{action: std.fail error_data={error}}}}}}}\n"
    service.upload(HEAD + levels + leaf)
    run = service.run("l0")
    assert run["state"] == "ERROR"
    assert len(run["state_info"]) < 20_000
    assert "t0" in run["state_info"]


def test_eng_189_rerun_deep_down(service: Service) -> None:
    service.upload(
        HEAD
        + """
top: {tasks: {t: {workflow: mid, on-success: after}, after: {description: x}}}
mid: {tasks: {m: {workflow: low, on-success: next}, next: {description: x}}}
low: {tasks: {l: {action: std.async_noop}}}
"""
    )
    top = service.start("top")
    [mid] = service.children(top)
    [low] = service.children(mid["id"])
    task = service.task(low["id"], "l")["id"]
    service.answer(service.actions(task)[0]["id"], "ERROR")
    assert service.execution(top)["state"] == "ERROR"
    assert service.redo(task, reset=True).status == 200
    for id in (top, mid["id"], low["id"]):
        assert service.execution(id)["state"] == "RUNNING"
    [action] = [x for x in service.actions(task) if x["state"] == "RUNNING"]
    service.answer(action["id"], "SUCCESS")
    for id in (top, mid["id"], low["id"]):
        assert service.execution(id)["state"] == "SUCCESS"
        assert service.execution(id)["state_info"] is None
    assert service.states(top) == {"t": "SUCCESS", "after": "SUCCESS"}


def test_eng_176_notify_of_the_root_reaches_the_whole_tree(service: Service) -> None:
    service.upload(
        HEAD
        + """
top: {tasks: {t: {workflow: mid}}}
mid: {tasks: {m: {workflow: low}}}
low: {tasks: {l: {description: x}}}
"""
    )
    notify = [{"type": "webhook", "url": "http://127.0.0.1:1/"}]
    top = service.run("top", params={"notify": notify, "other": 1})
    [mid] = service.children(top["id"])
    [low] = service.children(mid["id"])
    for run in (mid, low):
        assert run["params"]["notify"] == notify
        assert "other" not in run["params"]


def test_flat_tasks_leave_out_what_only_repeats_a_sub_workflow(
    service: Service,
) -> None:
    """spec/language.md § 6 (``tasks``): workflow tasks stay whose state differs
    from that of all executions they started."""
    service.upload(
        HEAD
        + """
w:
  output:
    flat: <% tasks(execution().id, false, null, true).select($.name).orderBy($) %>
  tasks:
    act: {description: x}
    same: {workflow: good}
    unlike: {workflow: nowhere, on-error: noop}
    repeats: {workflow: bad, on-error: noop}
good: {tasks: {g: {description: x}}}
bad: {tasks: {b: {action: std.fail}}}
"""
    )
    run = service.run("w")
    assert run["state"] == "SUCCESS", run["state_info"]
    assert run["output"] == {"flat": ["act", "unlike"]}


def test_eng_199_deletion(service: Service) -> None:
    service.upload(TWO_CHILDREN)
    id = service.start("w")
    below = [child["id"] for child in service.children(id)]
    tasks = [task["id"] for each in (id, *below) for task in service.tasks(each)]
    answer = service.api.delete(f"/v2/executions/{id}")
    assert answer.status == 403
    assert answer.fault.startswith("Only completed executions can be deleted")
    assert service.api.delete(f"/v2/executions/{id}?force=true").status == 204
    for each in (id, *below):
        assert service.api.get(f"/v2/executions/{each}").status == 404
    for each in tasks:
        assert service.api.get(f"/v2/tasks/{each}").status == 404
    assert service.api.get("/v2/action_executions").json["action_executions"] == []


@pytest.mark.parametrize("paused", [False, True])
def test_eng_199_a_running_sub_workflow_that_is_deleted_fails_its_task(
    service: Service, paused: bool
) -> None:
    """Nobody else would ever move its parent (decision 0035)."""
    service.upload(
        HEAD
        + """
w:
  tasks:
    t: {workflow: s, on-error: rescue}
    rescue: {action: std.noop}
s: {tasks: {t: {action: std.async_noop}}}
"""
    )
    id = service.start("w")
    [child] = service.children(id)
    if paused:
        service.change(child["id"], state="PAUSED")
        assert service.execution(id)["state"] == "PAUSED"
    path = f"/v2/executions/{child['id']}"
    assert service.api.delete(path).status == 403
    assert service.api.delete(f"{path}?force=true").status == 204
    service.house.settle()
    if paused:
        service.change(id, state="RUNNING")
    assert service.states(id) == {"t": "ERROR", "rescue": "SUCCESS"}
    assert service.execution(id)["state"] == "SUCCESS"
    told = service.task(id, "t")["state_info"]
    assert told == f"The sub-workflow was deleted [wf_ex_id={child['id']}]."
    assert service.house.examined() == []


def test_a_sub_workflow_that_is_over_is_deleted_without_a_word(
    service: Service,
) -> None:
    service.upload(HEAD + "w: {tasks: {t: {workflow: s}}}\n" + "s: " + SAYS % "x")
    id = service.run("w")["id"]
    [child] = service.children(id)
    assert service.api.delete(f"/v2/executions/{child['id']}").status == 204
    assert service.states(id) == {"t": "SUCCESS"}
    assert service.house.examined() == []
