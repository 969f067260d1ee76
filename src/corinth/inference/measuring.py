"""Two ways to do the same, timed in turn, so that a drift of the machine meets both alike."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

LEAST_ROUNDS, MOST_ROUNDS = 5, 200


@dataclass(frozen=True)
class Measured:
    """Medians in milliseconds; `gain` is the median of the rounds' own ratios before / after."""

    before_ms: float
    after_ms: float
    gain: float
    rounds: int


def measure(before: Callable[[], object], after: Callable[[], object], *, seconds: float) -> Measured:
    """Rounds of both calls until `seconds` are over, 5 to 200 of them, behind one call each to warm up."""
    before(), after()
    deadline = time.perf_counter() + seconds
    pairs: list[tuple[float, float]] = []
    while len(pairs) < LEAST_ROUNDS or (len(pairs) < MOST_ROUNDS and time.perf_counter() < deadline):
        first = _milliseconds(before)
        pairs.append((first, _milliseconds(after)))
    before_ms, after_ms = (statistics.median(times) for times in zip(*pairs))
    gain = statistics.median(old / new for old, new in pairs)
    return Measured(before_ms, after_ms, gain, len(pairs))


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3
