"""Which tracebacks in the logs of processes tell of more than a fault."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BEGINS = "Traceback (most recent call last)"
_LINE = re.compile(r"\S+ \S+ \d+ [A-Z]+ (\S+) ?(.*)")
"""Date, time, process, level, logger, text."""

_PIECE = re.compile(r"\d [A-Z]+ [\w.]+ \[")
"""Of a line that a full disk has cut, or of the next one behind what it has left."""

_LAST = re.compile(r"([A-Za-z_][\w.]*)(: .*)?")

OF_FAULTS = frozenset(
    "ConnectionResetError BrokenPipeError ConnectionRefusedError OSError TimeoutError"
    " RecoverableConnectionError MessageDeliveryFailure MessagingTimeout NotAllowed"
    " NotFound ConnectionForced AccessRefused PreconditionFailed OperationalError"
    " InterfaceError AdminShutdown".split()
)
"""What libraries log when a broker or database is away; we have to say it in a line."""


_CHAINED = (
    "During handling of the above exception",
    "The above exception was the direct cause",
)


def strange(lines: Iterable[str]) -> list[str]:
    """Last lines of tracebacks of anything else; of a chain of them the last one
    counts, which is what was raised."""
    found: list[str] = []
    within = last_is_found = False
    for line in lines:
        match = _LINE.fullmatch(line)
        logger, text = (match[1], match[2]) if match else ("", line)
        if text.startswith(_CHAINED) and last_is_found:
            found.pop()
        if text:
            last_is_found = False
        if _PIECE.search(text):
            within = False
        elif _BEGINS in text:
            within = True
        elif within and text and not text.startswith(" "):
            within = False
            last = _LAST.fullmatch(text)
            # what nobody has caught stands there without a logger
            ours = not logger or logger.startswith("mistral")
            if ours or last is None or last[1].rpartition(".")[2] not in OF_FAULTS:
                found.append(text[:300])
                last_is_found = True
    return found
