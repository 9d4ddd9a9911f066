"""The budget of an evaluation: steps, sizes, depth and time.

Expressions run on the thread that decides for everybody, so nothing that an
author writes may compute for long or grow without end (SEC-13). Two rules make
that hold:

* *Every* call of a function and every turn of a loop charges a step.
* What one call computes in C, where nothing can interrupt it, is bounded
  before it computes: by the sizes of its arguments, and for hashing, comparing
  and printing by the size of the value *as a tree* (``[a, a]`` forty times over
  is a small graph and a tree of 2^40 nodes, and C walks the tree).

The budget is found through a context variable, because neither language hands
a value of ours through to all of its functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from mistral.expressions.faults import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mistral.expressions.settings import ExpressionSettings

RESULTS: Final = 4
"""Results of the largest size that the expressions of one tree may have."""

MAX_INTEGER_BITS: Final = 14_000
"""About 4,200 digits: the most that Python prints."""

_MAX_INTEGER: Final = 1 << MAX_INTEGER_BITS

_STEPS_BETWEEN_CLOCK_READINGS: Final = 256

_BYTES_PER_STEP: Final = 128

_BIG_HASH_BITS: Final = 60
"""Python hashes integers modulo 2**61 - 1, so only larger ones can be made to
collide."""


class LimitExceeded(Refused):
    """The budget does not reach."""


class Allowance:
    """Seconds that several evaluations share, one after the other.

    :param seconds: for all of them.
    """

    __slots__ = ("left", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = self.left = seconds

    @property
    def used(self) -> float:
        return self.seconds - self.left


class Budget:
    """What the evaluation of a tree may still use: steps and time of the expression
    that is evaluated, and bytes of all results.

    :param monotonic: seconds that never run back; None: time is not limited.
    :param allowance: time that its expressions share with others. Without it they
        share steps and time of a single one.
    """

    __slots__ = (
        "_allowance",
        "_began",
        "_big_keys",
        "_clock",
        "_deadline",
        "_held",
        "_is_short",
        "_until_clock",
        "max_bytes",
        "max_depth",
        "max_items",
        "max_steps",
        "seconds",
        "steps_left",
    )

    def __init__(
        self,
        settings: ExpressionSettings,
        monotonic: Callable[[], float] | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self.max_steps = settings.max_steps
        self.max_bytes = settings.max_output_bytes
        self.max_depth = settings.max_depth
        self.seconds = settings.deadline_seconds
        self.max_items = (
            settings.limit_iterators
            if settings.limit_iterators >= 0
            else settings.max_output_bytes // 8
        )
        self._clock = monotonic
        self._allowance = allowance
        self._began = 0.0 if monotonic is None else monotonic()
        self._held = 0
        self._renew(self._began)

    def _renew(self, now: float) -> None:
        self.steps_left = self.max_steps
        self._until_clock = _STEPS_BETWEEN_CLOCK_READINGS
        self._big_keys = 0
        most, shared = self.seconds, self._allowance
        self._is_short = False
        if shared is not None:
            left = shared.left - (now - self._began)
            self._is_short = left < most
            most = min(left, most)
        self._deadline = now + most

    def next_expression(self) -> None:
        """Steps and time of the one before it do not count any more, but for what
        all share."""
        if self._allowance is not None:
            self._renew(0.0 if self._clock is None else self._clock())

    def charge(self, steps: int = 1) -> None:
        """Take steps.

        :raises LimitExceeded: none are left, or time is up.
        """
        self.steps_left -= steps
        if self.steps_left < 0:
            raise LimitExceeded(f"it takes more than {self.max_steps} steps")
        if self._clock is not None:
            self._until_clock -= steps
            if self._until_clock < 0:
                self._until_clock = _STEPS_BETWEEN_CLOCK_READINGS
                if self._clock() > self._deadline:
                    self._too_late()

    def _too_late(self) -> None:
        shared = self._allowance
        if shared is not None and self._is_short:
            raise LimitExceeded(
                f"the expressions of one step take longer than {shared.seconds:g} s"
            )
        raise LimitExceeded(f"it takes longer than {self.seconds:g} s")

    def close(self) -> None:
        """Take what was used from the allowance."""
        if self._allowance is not None and self._clock is not None:
            self._allowance.left -= self._clock() - self._began

    def items(self, count: int) -> None:
        """Refuse a collection of so many items."""
        if count > self.max_items:
            raise LimitExceeded(f"a collection has more than {self.max_items} items")
        if count * 8 > self.max_bytes:
            self.bytes(count * 8)

    def bytes(self, count: int) -> None:
        """Refuse a value of so many bytes."""
        if count > self.max_bytes:
            raise LimitExceeded(f"a value is larger than {self.max_bytes} bytes")

    def holds(self, size: int) -> None:
        """The result of an expression has so many bytes. It is kept until the whole
        tree is evaluated."""
        self._held += size
        most = RESULTS * self.max_bytes
        if self._held > most:
            raise LimitExceeded(f"all results together are larger than {most} bytes")

    def made(self, size: int) -> None:
        """A value of so many bytes was made. What one evaluation makes in all
        stays below ``max_steps`` times 128 bytes."""
        self.bytes(size)
        self.charge(size // _BYTES_PER_STEP)

    def number(self, value: float) -> None:
        """Refuse integers that cannot be printed."""
        if not -_MAX_INTEGER < value < _MAX_INTEGER and isinstance(value, int):
            self.bits(MAX_INTEGER_BITS + 1)

    def bits(self, count: int) -> None:
        if count > MAX_INTEGER_BITS:
            raise LimitExceeded(f"an integer has more than {MAX_INTEGER_BITS} bits")

    def weigh(self, value: Any) -> int:
        """Charge the nodes of a value as a tree, and answer their number.

        Call it before C code hashes, compares or prints the value.

        :raises LimitExceeded: too many nodes, too deep.
        """
        return self._weigh(value, self.max_depth)

    def _weigh(self, value: Any, depth: int) -> int:
        if isinstance(value, str | bytes):
            weight = 1 + len(value) // 64
            self.charge(weight // 8)
            return weight
        if isinstance(value, Mapping):
            parts: Iterable[Any] = value.values()
        elif isinstance(value, tuple | list | Set):
            parts = value
        else:
            return 1
        if depth <= 0:
            raise LimitExceeded(f"a value is nested more than {self.max_depth} deep")
        self.charge(1 + len(value) // 8)
        weight = len(value) + 1
        for part in parts:
            if part is not None and not isinstance(part, int | float):
                weight += self._weigh(part, depth - 1)
        return weight

    def prints(self, value: Any) -> int:
        """Call it before the text form of a value is made; about its size."""
        if value is None or isinstance(value, int | float):
            return 24
        size = self._printed(value, self.max_depth)
        self.bytes(size)
        return size

    def _printed(self, value: Any, depth: int) -> int:
        if isinstance(value, str | bytes):
            return len(value) + 2
        if isinstance(value, Mapping):
            parts: Iterable[Any] = [*value.keys(), *value.values()]
        elif isinstance(value, tuple | list | Set):
            parts = value
        else:
            return 24
        if depth <= 0:
            raise LimitExceeded(f"a value is nested more than {self.max_depth} deep")
        self.charge(1 + len(value) // 8)
        size = 2
        for part in parts:
            size += 2 + self._printed(part, depth - 1)
            if size > self.max_bytes:
                break
        return size

    def hashes(self, key: Any) -> None:
        """Call it before ``key`` is hashed into a set or mapping.

        Beside the tree, big integers count: they can be chosen to collide, and
        then the n-th costs n comparisons.
        """
        kind = type(key)
        if kind is str:
            return
        if kind is int:
            if key.bit_length() > _BIG_HASH_BITS:
                self._big_keys += 1
                self.charge(1 + self._big_keys // 16)
            return
        if kind is tuple or isinstance(key, Mapping | Set):
            self.weigh(key)
            parts = key.items() if isinstance(key, Mapping) else key
            for part in parts:
                self.hashes(part)

    def compares(self, value: Any, others: Any) -> None:
        """Call it before ``value`` is looked for among ``others``."""
        weight = self.weigh(value)
        if isinstance(value, str | bytes | int | float) or value is None:
            count = len(others) if hasattr(others, "__len__") else 0
            self.charge(count * weight // 256)
        else:
            self.weigh(others)


_current: ContextVar[Budget] = ContextVar("expression_budget")

budget = _current.get
"""The budget of the evaluation that runs."""


@contextmanager
def spending(of: Budget) -> Iterator[Budget]:
    """Make a budget the current one."""
    token = _current.set(of)
    try:
        yield of
    finally:
        of.close()
        _current.reset(token)
