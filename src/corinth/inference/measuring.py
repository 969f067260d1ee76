"""Two ways to do the same, timed in turn, so that a drift of the machine meets both alike."""

import math
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

LEAST_ROUNDS, MOST_ROUNDS = 5, 200
PAUSE = 0.02  # seconds, in which threads that wait busily for the next call have gone to sleep


@dataclass(frozen=True)
class Measured:
    """Medians in milliseconds; `gain` is the median of the rounds' own ratios before / after.

    `least` is the lower end of that median's 95 % interval: above 1, the gain is more than the noise of the rounds.
    """

    before_ms: float
    after_ms: float
    gain: float
    least: float
    rounds: int


def measure(
    before: Callable[[], object], after: Callable[[], object], *, seconds: float, apart: bool = False
) -> Measured:
    """Rounds of both calls until `seconds` are over, 5 to 200 of them, behind one call each to warm up.

    `apart`: of two that have threads of their own, each is called after a pause, and then timed, so that the threads
    of the one do not take the cores from the other; short calls three times, as there are fewer rounds.
    """
    before(), after()
    time_one = _after_pause if apart else _milliseconds
    return _compare(lambda: (time_one(before), time_one(after)), seconds)


def measure_within(
    call: Callable[[], object], place: Callable[[], AbstractContextManager], *, seconds: float
) -> Measured:
    """The same call outside of a context and inside of it, in rounds as of `measure`, each behind calls to warm up."""

    def blocks() -> tuple[float, float]:
        outside = _settled(call)
        with place():
            return outside, _settled(call)

    return _compare(blocks, seconds)


def _after_pause(call: Callable[[], object]) -> float:
    time.sleep(PAUSE)
    call()
    times = [_milliseconds(call)]
    while len(times) < 3 and sum(times) < PAUSE * 1e3:
        times.append(_milliseconds(call))
    return statistics.median(times)


def _settled(call: Callable[[], object]) -> float:
    call(), call()
    return statistics.median(_milliseconds(call) for _ in range(3))


def _compare(round: Callable[[], tuple[float, float]], seconds: float) -> Measured:
    deadline = time.perf_counter() + seconds
    pairs: list[tuple[float, float]] = []
    while len(pairs) < LEAST_ROUNDS or (len(pairs) < MOST_ROUNDS and time.perf_counter() < deadline):
        pairs.append(round())
    before_ms, after_ms = (statistics.median(times) for times in zip(*pairs))
    ratios = sorted(old / new for old, new in pairs)
    rank = max(0, math.floor(len(ratios) / 2 - 0.98 * math.sqrt(len(ratios))))  # of a binomial distribution
    return Measured(before_ms, after_ms, statistics.median(ratios), ratios[rank], len(pairs))


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3
