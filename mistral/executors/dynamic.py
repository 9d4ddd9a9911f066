"""Dynamic actions: fetch the text that an offer names, let a child run it.

The text comes from an engine by id, version and checksum: executors have no
database. It is never loaded here, but in a process of its own (``dynamic_child``)
that holds nothing of the service and may do little (SEC-01).
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from mistral_lib.actions import Result

from mistral.actions.child_process import ask
from mistral.clock import Clock
from mistral.config import DynamicActionSettings
from mistral.errors import MistralError, Unavailable
from mistral.messages import CallAction, FetchSource, Message

CHILD: Final = Path(__file__).with_name("dynamic_child.py")

KEPT_SOURCES: Final = 100

FETCH_SECONDS: Final = 10.0
"""How long one question for a text waits."""

PATIENCE: Final = 60.0
"""Seconds in which engines may restart before a call fails for want of its text."""

PAUSE: Final = 1.0

_GRACE: Final = 5.0
"""Seconds for the child to start and load libraries."""

_MAX_ERROR: Final = 2000


class DynamicFault(Exception):
    """The class cannot be loaded or made; the text says why."""


class Raised(Exception):
    """What the action raised, as text."""


class NoJson(Exception):
    """The result has no JSON form; the text says why."""


class Asks(Protocol):
    """The part of the bus that is needed here."""

    def call(self, message: Message, *, timeout: float | None = None) -> Any: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """:param result: None: it is asynchronous and was not run."""

    is_sync: bool
    result: Result | None


class CodeTexts:
    """Texts by id, version and checksum; those used last are kept.

    :param pause: waits for seconds, between two questions.
    """

    def __init__(
        self, bus: Asks, clock: Clock, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int, str], str] = OrderedDict()

    def text(self, code: Mapping[str, Any]) -> str:
        """
        :param code: of an offer: ``id``, ``version``, ``checksum``.
        :raises DynamicFault: it is gone, or is not what was offered.
        """
        key = (code["id"], code["version"], code["checksum"])
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        content = self._fetch(*key[:2])
        found = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
        if found != code["checksum"]:
            raise DynamicFault("The code source is not the one that was offered")
        with self._lock:
            self._kept[key] = content
            if len(self._kept) > KEPT_SOURCES:
                self._kept.popitem(last=False)
        return content

    def _fetch(self, source_id: str, version: int) -> str:
        message = FetchSource(source_id=source_id, version=version)
        until = self._clock.monotonic() + PATIENCE
        while True:
            try:
                answer = self._bus.call(message, timeout=FETCH_SECONDS)
                return str(answer["content"])
            except Unavailable as error:
                if self._clock.monotonic() >= until:
                    raise DynamicFault(f"No code source: {error}") from error
            except MistralError as error:
                raise DynamicFault(error.message) from error
            self._pause(PAUSE)


class DynamicActions:
    """Runs calls of dynamic actions, each in a process of its own."""

    def __init__(self, texts: CodeTexts, settings: DynamicActionSettings) -> None:
        self._texts = texts
        self._settings = settings

    def run(
        self, call: CallAction, context: Mapping[str, Any], *, immediate: bool
    ) -> Answer:
        """
        :param context: ``{"execution", "security"}``: arguments of the two
            contexts of ``mistral_lib``.
        :param immediate: an asynchronous action is not run.
        :raises DynamicFault: switched off, no text, or no such class in it.
        :raises Raised: it raised, or ran into a limit.
        :raises NoJson: what it returned is not JSON.
        """
        settings = self._settings
        if not settings.enabled:
            raise DynamicFault(
                "dynamic actions are switched off on this executor"
                " ([dynamic_actions] enabled)"
            )
        code = call.code or {}
        content = self._texts.text(code)
        seconds = min(settings.timeout, float(call.timeout or settings.timeout))
        question = {
            "content": content,
            "file": f"<code source {code['id']} version {code['version']}>",
            "class_name": code["class_name"],
            "input": dict(call.input),
            "context": context,
            "immediate": immediate,
            "seconds": seconds,
            "memory": settings.memory_limit_mb * 1024 * 1024,
            "output": settings.max_output_bytes,
            "confine": settings.confine,
            "readable": list(settings.readable_paths),
        }
        answer = ask(
            CHILD,
            json.dumps(question).encode(),
            seconds=seconds + _GRACE,
            most=settings.max_output_bytes + 4 * _MAX_ERROR,
        )
        return _read(answer)


def _read(text: bytes) -> Answer:
    if not text:
        raise Raised(
            "The process of the action ended without a result: it ran out of time"
            " or memory, or ended itself"
        )
    try:
        answer = json.loads(text)
        stage, said = answer["stage"], answer.get("error")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise NoJson("it cannot be read") from error
    if stage == "done":
        result = answer.get("result")
        made = None if result is None else Result(**result)
        return Answer(is_sync=bool(answer["is_sync"]), result=made)
    why = {"load": DynamicFault, "run": Raised, "value": NoJson}[stage]
    raise why(str(said)[:_MAX_ERROR])
