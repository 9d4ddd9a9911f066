"""Memory that a process gives back."""

from __future__ import annotations

from mistral.cmd.memory import BUSY, Rest


def test_memory_goes_back_once_after_each_time_of_work() -> None:
    spent = 0.0
    given: list[float] = []
    rest = Rest(lambda: given.append(spent), lambda: spent, interval=10.0)

    def after(seconds: float) -> int:
        nonlocal spent
        spent += seconds
        return rest.run_once().get("given", 0)

    assert after(0.01) == 1, "what the start has left"
    assert after(0.01) == 0
    assert [after(3 * BUSY * 10.0), after(5.0), after(0.1), after(0.1)] == [0, 0, 1, 0]
    assert len(given) == 2


def test_collector_and_heaps_can_be_asked() -> None:
    """Whatever C library there is."""
    assert Rest(used=lambda: 0.0).run_once() == {"given": 1}
