"""Heat's resources of this service: Keystone's URL, name, password, project.

Runs in Heat's environment (``tools/heat``). Stacks are Heat's own, in a database in
memory, and so are the resource plug-ins and their client: what they ask is asked of the
running service, found by the catalogue. Heat's API, engine process and queue are left
out, and ``[DEFAULT] keystone_backend``, an option of Heat's, keeps it from making users
for signals.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

from heat.common import config, context, messaging, template_format
from heat.db import api as db_api
from heat.db import models
from heat.engine import environment, resources, stack, template
from heat.engine.clients.os.keystone import (
    heat_keystoneclient,  # noqa: F401, registers the option
)
from keystoneauth1.identity import v3
from oslo_config import cfg
from oslo_db import options

FAKE_USERS = "heat.engine.clients.os.keystone.fake_keystoneclient.FakeKeystoneClient"

TEMPLATE = """\
heat_template_version: 2016-10-14
parameters:
  times: {type: number, default: 2}
resources:
  greeting:
    type: OS::Mistral::Workflow
    properties:
      name: heat_greeting
      type: direct
      description: Says something
      tags: [of_heat]
      input: {whom: nobody}
      output: {said: <% $.said %>}
      params: {env: {tone: kind}}
      task_defaults: {on_error: [fail]}
      tasks:
        - name: say
          action: std.echo
          input: {output: "<% env().tone %> <% $.whom %>"}
          publish: {said: <% task().result %>}
          retry: {count: 1, delay: 1}
          on_success: [rest]
        - name: rest
          action: std.noop
  quiet:
    type: OS::Mistral::Workflow
    properties:
      type: direct
      input: {whom: nobody}
      tasks: [{name: only, action: std.noop}]
  backwards:
    type: OS::Mistral::Workflow
    properties:
      type: reverse
      params: {task_name: last}
      tasks:
        - {name: first, action: std.noop}
        - {name: last, action: std.noop, requires: [first]}
  yearly:
    type: OS::Mistral::CronTrigger
    properties:
      name: heat_yearly
      pattern: 0 0 1 1 *
      count: {get_param: times}
      workflow: {name: {get_resource: greeting}, input: {whom: trigger}}
  outside:
    type: OS::Mistral::ExternalResource
    properties:
      input: {whom: outside}
      description: by a stack
      actions:
        CREATE: {workflow: {get_resource: greeting}, params: {env: {tone: kind}}}
        UPDATE: {workflow: {get_resource: greeting}, params: {env: {tone: new}}}
        SUSPEND: {workflow: {get_resource: quiet}}
        RESUME: {workflow: {get_resource: quiet}}
        DELETE: {workflow: {get_resource: quiet}}
outputs:
  next: {value: {get_attr: [yearly, next_execution_time]}}
  left: {value: {get_attr: [yearly, remaining_executions]}}
  said: {value: {get_attr: [outside, output]}}
  known: {value: {get_attr: [greeting, data]}}
"""


class Walk:
    """What was done, and what of it failed."""

    def __init__(self, heat: Any) -> None:
        self.heat = heat
        self.id = ""
        self.failed = 0

    def step(self, name: str, act: Callable[[], Any], expected: Any) -> None:
        try:
            found = act()
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        good = found == expected
        self.failed += not good
        print(f"{' ok ' if good else 'FAIL'} {name}", "" if good else f"{found!r}")

    @property
    def client(self) -> Any:
        """The one that resources use."""
        return self.heat.clients.client("mistral")

    @property
    def stack(self) -> Any:
        """As Heat's engine has it for each request: read from Heat's database. What
        belongs to a stack does not keep it."""
        return stack.Stack.load(self.heat, stack_id=self.id)

    def all(self) -> None:
        made = self._parsed(TEMPLATE)
        self.step("the template is valid", made.validate, None)
        self.id = made.store()
        self._act("create")
        self.step("a workflow is there", self._definition, ["of_heat"])
        self.step("signal", lambda: self._signal("greeting"), 1)
        self.step("signal a reverse one", lambda: self._signal("backwards"), 1)
        self.step("outputs", self._outputs, (True, 2, "nobody"))
        self.step("what was said", self._said, "kind outside")
        for name in ("check", "suspend", "resume"):
            self._act(name)
        changed = TEMPLATE.replace("whom: outside", "whom: changed")
        changed = changed.replace("Says something", "Says something else")
        self._act("update", self._parsed(changed))
        self.step("what is said now", self._said, "new changed")
        other = changed.replace("0 0 1 1 *", "0 0 2 2 *")
        other = other.replace("heat_yearly", "heat_monthly")
        self._act("update", self._parsed(other))
        self.step("the trigger is another", self._patterns, ["0 0 2 2 *"])
        wrong = TEMPLATE.replace("name: {get_resource: greeting}", "name: no")
        self.step("an unknown workflow is said", lambda: self._refusal(wrong), True)
        self._act("delete")
        self.step("nothing is left", self._left, [])

    def _parsed(self, text: str) -> Any:
        parsed = template.Template(
            template_format.parse(text), env=environment.Environment()
        )
        return stack.Stack(self.heat, "of_heat", parsed, disable_rollback=True)

    def _act(self, name: str, *given: Any) -> None:
        def act() -> tuple[str, str]:
            made = self.stack
            getattr(made, name)(*given)
            made.persist_state_and_release_lock("nobody")
            return made.status, "" if made.status == "COMPLETE" else made.status_reason

        self.step(name, act, ("COMPLETE", ""))

    def _definition(self) -> list[str]:
        return list(self.client.workflows.get("heat_greeting").tags)

    def _signal(self, name: str) -> int:
        made = self.stack
        of = made[name]
        of.signal({"input": {}} if name == "backwards" else None)
        return len(of.FnGetAtt("executions"))

    def _with_outputs(self) -> Any:
        """As Heat's engine shows a stack."""
        made = self.stack
        made._update_all_resource_data(for_resources=False, for_outputs=True)
        return made

    def _outputs(self) -> tuple[bool, int, str]:
        made = self._with_outputs()
        found = {name: each.get_value() for name, each in made.outputs.items()}
        known = found["known"]["input"]["whom"]
        return found["next"].endswith("01-01 00:00:00"), found["left"], known

    def _said(self) -> str:
        made = self._with_outputs()
        return str(json.loads(made.outputs["said"].get_value())["said"])

    def _patterns(self) -> list[str]:
        return [each.pattern for each in self.client.cron_triggers.list()]

    def _refusal(self, text: str) -> bool:
        try:
            self._parsed(text).validate()
        except Exception as refused:
            return "no" in str(refused) and "Workflow" in str(refused)
        return False

    def _left(self) -> list[str]:
        found = [*self.client.workflows.list(), *self.client.cron_triggers.list()]
        return [each.name for each in found]


def main() -> int:
    url, name, password, project = sys.argv[1:]
    logging.disable(logging.WARNING)
    cfg.CONF([], project="heat", default_config_files=[])
    config.set_config_defaults()
    cfg.CONF.set_override("keystone_backend", FAKE_USERS)
    cfg.CONF.set_override("auth_encryption_key", "0123456789abcdef" * 2)
    cfg.CONF.set_override("region_name_for_services", "RegionOne")
    options.set_defaults(cfg.CONF, connection="sqlite://")
    models.BASE.metadata.create_all(db_api.get_engine())
    resources.initialise()
    # nobody listens
    messaging.setup("fake://")
    account = v3.Password(
        auth_url=url, username=name, password=password, project_name=project,
        user_domain_id="default", project_domain_id="default",
    )  # fmt: skip
    heat = context.RequestContext(
        user_name=name, project_name=project, auth_url=url, auth_plugin=account,
        is_admin=False, region_name="RegionOne",
    )  # fmt: skip
    heat.project_id = account.get_project_id(heat.keystone_session)
    heat.auth_token = account.get_token(heat.keystone_session)
    walk = Walk(heat)
    walk.all()
    print(f"{walk.failed} failed")
    return 1 if walk.failed else 0


if __name__ == "__main__":
    sys.exit(main())
