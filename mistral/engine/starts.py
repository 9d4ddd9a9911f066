"""Starts that travel in one message (decision 0050).

All of them are put into the intake at the same moment, so that one turn takes them, and
are answered together. One that takes longer than the others does not keep them: it is
asked for again, by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, wait
from typing import Any, Final

from mistral.clock import Clock
from mistral.engine.intake import Answer, Intake
from mistral.errors import BadRequest, Unavailable, as_told, to_wire
from mistral.messages import KINDS, StartTogether, StartWorkflow, decode

GRACE_SECONDS: Final = 0.05
"""For the others, once the first is answered, and for the runs below to follow. At
least: where the first has taken longer, the others have as long again."""


class Starts:
    """Of one engine; safe from any thread.

    :param clock: its monotonic side.
    :param answer_seconds: how long all of them may wait for a turn.
    """

    def __init__(self, intake: Intake, clock: Clock, answer_seconds: float) -> None:
        self._intake = intake
        self._clock = clock
        self._answer_seconds = answer_seconds

    def answer(self, message: StartTogether) -> list[dict[str, Any]]:
        """What became of each.

        :raises Unavailable: too much waits here, or none was answered in time.
        :raises BadRequest: one of them is no start.
        """
        starts = [_start_of(wire) for wire in message.requests]
        begun = self._clock.monotonic()
        answers = self._intake.put_all(starts)
        if not wait(answers, self._answer_seconds, FIRST_COMPLETED).done:
            raise Unavailable("The engine could not answer in time.")
        now = self._clock.monotonic()
        grace = max(GRACE_SECONDS, now - begun)
        wait(answers, grace)
        return [self._told(answer, now + grace) for answer in answers]

    def _told(self, answer: Answer, until: float) -> dict[str, Any]:
        if not answer.done():
            return {"later": True}
        error = answer.exception()
        if error is not None:
            return {"error": to_wire(as_told(error))}
        answer.spread(max(0.0, until - self._clock.monotonic()), self._clock)
        return {"answer": answer.result()}


def _start_of(wire: Mapping[str, Any]) -> StartWorkflow:
    event = decode(wire) if wire.get("kind") in KINDS else None
    if not isinstance(event, StartWorkflow) or not (event.run_id and event.request_id):
        raise BadRequest(f"A {wire.get('kind')} is not started together with others")
    return event
