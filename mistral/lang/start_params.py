"""What no start can take as ``params``, whatever it starts and whenever: what a trigger
is refused for when it is made, since nobody is there to be told when it fires."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mistral.errors import BadRequest
from mistral.lang import appointments, priorities
from mistral.lang.shapes import kind_of
from mistral.messages import START_TIMES

INTERNAL: Final = ("task_execution_id", "root_execution_id", "index")
"""Of sub-workflows: the engine sets them (Q-50)."""


def check(params: Mapping[str, Any]) -> None:
    """
    :raises BadRequest: the first of ``faults``.
    """
    for _, fault in faults(params):
        raise fault


def faults(params: Mapping[str, Any]) -> Iterator[tuple[str, BadRequest]]:
    """Each with the name of a parameter that it is about.

    ``notify`` that is no list is passed over at a start (spec/rest-api.md § 9.1.3),
    so it is none.
    """
    for name, judge in _JUDGES:
        if name in params:
            try:
                judge(params)
            except BadRequest as error:
                yield name, error
    timed = [name for name in START_TIMES if params.get(name) is not None]
    if timed:
        try:
            appointments.check(params)
        except BadRequest as error:
            yield timed[-1], error
    for name in INTERNAL:
        if name in params:
            yield (
                name,
                BadRequest(f"The parameter {name} is the service's own; leave it out."),
            )


def _env(params: Mapping[str, Any]) -> None:
    env = params["env"]
    if env and not isinstance(env, Mapping | str):
        raise BadRequest(
            f"Expected a mapping or a name in 'params.env', found {kind_of(env)}"
        )


def _namespace(params: Mapping[str, Any]) -> None:
    namespace = params["namespace"]
    if not isinstance(namespace, str):
        raise BadRequest(
            f"Expected a text in 'params.namespace', found {kind_of(namespace)}"
        )


_JUDGES: Final[tuple[tuple[str, Callable[[Mapping[str, Any]], Any]], ...]] = (
    ("priority", priorities.of_params),
    ("env", _env),
    ("namespace", _namespace),
)
