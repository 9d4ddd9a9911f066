"""AMQP 0-9-1 as it goes over a wire: enough of it to lose or delay one message.

A message that the broker delivers is a method frame (``Basic.Deliver``), a header and
bodies on one channel. Who loses it has to acknowledge it in the consumer's place.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

_METHOD, _HEADER, _BODY = 1, 2, 3
_END = b"\xce"
_DELIVER = (60, 60)
_CONSUME = (60, 20)
_ACK = (60, 80)
_PROTOCOL = 8
"""Bytes of the protocol header, with which a client begins."""


class Frames:
    """Cuts a stream into whole frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are whole now."""
        data = self._rest + data
        found, at = [], 0
        while True:
            size = _length(data, at)
            if size is None or at + size > len(data):
                break
            found.append(data[at : at + size])
            at += size
        self._rest = data[at:]
        return found


def _length(data: bytes, at: int) -> int | None:
    if data[at : at + 4] == b"AMQP":
        return _PROTOCOL
    if len(data) < at + 7:
        return None
    (size,) = struct.unpack_from(">I", data, at + 3)
    return int(size) + 8


@dataclass
class Delivery:
    """One message on its way to a consumer.

    :ivar raw: its frames.
    """

    channel: int
    consumer: str
    tag: int
    exchange: str
    key: str
    raw: bytes
    body: bytes = b""
    left: int = -1
    """Bytes of the body that are still to come; -1: its header is."""

    def ack(self) -> bytes:
        """What its consumer would say."""
        method = struct.pack(">HHQB", *_ACK, self.tag, 0)
        start = struct.pack(">BHI", _METHOD, self.channel, len(method))
        return start + method + _END


@dataclass
class Deliveries:
    """Finds messages among the frames of one connection.

    :ivar unacknowledged: consumers that acknowledge nothing.
    """

    unacknowledged: set[str] = field(default_factory=set)
    _open: dict[int, Delivery] = field(default_factory=dict)

    def sees(self, frame: bytes) -> bytes | Delivery | None:
        """What goes on to the client: this frame, a message that it has made whole,
        or nothing yet."""
        kind, channel = struct.unpack_from(">BH", frame)
        if kind == _METHOD and _method(frame) == _DELIVER:
            self._open[channel] = _delivery(frame, channel)
            return None
        message = self._open.get(channel)
        if message is None or kind not in (_HEADER, _BODY):
            return frame
        message.raw += frame
        if kind == _HEADER:
            (message.left,) = struct.unpack_from(">Q", frame, 11)
        else:
            message.body += frame[7:-1]
            message.left -= len(frame) - 8
        if message.left:
            return None
        return self._open.pop(channel)

    def hears(self, frame: bytes) -> None:
        """What the client says: how it consumes."""
        if frame[:1] != bytes([_METHOD]) or _method(frame) != _CONSUME:
            return
        at = 13
        _queue, at = _short(frame, at)
        tag, at = _short(frame, at)
        if frame[at] & 2:
            self.unacknowledged.add(tag)


def _method(frame: bytes) -> tuple[int, int]:
    number, method = struct.unpack_from(">HH", frame, 7)
    return number, method


def _delivery(frame: bytes, channel: int) -> Delivery:
    consumer, at = _short(frame, 11)
    (tag,) = struct.unpack_from(">Q", frame, at)
    exchange, at = _short(frame, at + 9)
    key, at = _short(frame, at)
    return Delivery(channel, consumer, tag, exchange, key, frame)


def _short(frame: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + frame[at]
    return frame[at + 1 : end].decode(errors="replace"), end
