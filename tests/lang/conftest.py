"""Short ways to write definitions: tests give the part that matters."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest

from mistral.lang.parse import Report, check_workflows, parse_workflows
from mistral.lang.specs import TaskSpec, WorkflowSpec


def document(body: str, name: str = "w") -> str:
    """A workflow list with one workflow of this body."""
    text = textwrap.dedent(body).strip("\n")
    return f"version: '2.0'\n{name}:\n{textwrap.indent(text, '  ')}\n"


def one_task(task: str) -> str:
    """A document with the task ``t`` of this body, and ``b`` to lead to."""
    body = textwrap.indent(textwrap.dedent(task).strip("\n"), "    ")
    return document(f"tasks:\n  t:\n{body}\n  b: {{description: target}}")


@pytest.fixture
def judge() -> Callable[..., Report]:
    """body of a workflow → Report, without what is said of a whole text"""
    return lambda body, **options: check_workflows(
        document(body), **{"advice": None, **options}
    )


@pytest.fixture
def judge_task() -> Callable[..., Report]:
    """body of a task → Report, without what is said of a whole text"""
    return lambda task, **options: check_workflows(
        one_task(task), **{"advice": None, **options}
    )


@pytest.fixture
def workflow() -> Callable[[str], WorkflowSpec]:
    """body of a workflow → WorkflowSpec"""
    return lambda body: parse_workflows(document(body))[0].spec


@pytest.fixture
def task() -> Callable[[str], TaskSpec]:
    """body of a task → TaskSpec"""
    return lambda body: parse_workflows(one_task(body))[0].spec.tasks["t"]


@pytest.fixture
def rules() -> Callable[[Report], list[str]]:
    """Report → the rules that are broken"""
    return lambda report: [problem.rule for problem in report.problems]


@pytest.fixture
def lints() -> Callable[[Report], set[str]]:
    """Report → the rules of the warnings"""
    return lambda report: {warning.rule for warning in report.warnings}
