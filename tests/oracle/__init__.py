"""What a workflow must come to: a slow interpreter of the language.

Written from the specification (``language.md``, ``engine.md``), not from the
engine: no events, no rows, no timers. A workflow is its YAML as a dict, with
``Expr`` objects where the text has expressions; calls are answered by a script.
``Oracle.run`` gives the final state, the output and what each task published.

Where the language leaves something to the order of events, the oracle says so:

* a *value* that depends on it is ``UNSURE``; a context of which even the names
  depend on it is ``fuzzy``. Equal versions of one leaf at a merge (Q54),
  contexts of joins that start or fail before all arrived (LANG § 16.3).
* ``Undetermined`` is raised where the control flow depends on it: ``fail``,
  ``succeed`` or a forced failure beside open tasks (LANG § 15.3, § 28.2), an
  inbound task of a join that runs more than once in a round (ENG § 2.7.3), a
  failing join in a cycle, guards over unsure values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oracle.direct import Direct
from oracle.expressions import Expr, rendered
from oracle.reverse import Reverse
from oracle.runs import STEPS, RunResult, Script, TaskResult
from oracle.unsure import UNSURE, Undetermined, fits

__all__ = [
    "UNSURE", "Expr", "Oracle", "RunResult", "TaskResult", "Undetermined", "fits",
    "rendered",
]  # fmt: skip


class Oracle:
    """:param definitions: workflows by name, with ``Expr`` for expressions."""

    def __init__(self, definitions: Mapping[str, Any], script: Script) -> None:
        self.definitions = definitions
        self.script = script
        self.left = STEPS

    def run(self, name: str, input: Mapping[str, Any], **params: Any) -> RunResult:
        """:raises Undetermined: the language does not say."""
        body = self.definitions[name]
        kind = Reverse if body.get("type") == "reverse" else Direct
        return kind(self, name, body, input, params).run()
