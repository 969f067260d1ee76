"""Series to forecast: of every window the steps behind it are to be foretold, and parts lie one behind the other.

A sample is a window, named by the first time that it forecasts. What is to be foretold of it lies in one part whole;
what a network sees of it may reach back into the part before, and never ahead.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from corinth.data.collect import counted
from corinth.data.sequences.clock import Clock
from corinth.errors import DataError, UsageError

FORECASTING = "forecasting"
PARTS = ("train", "val", "test")
CONSTANT = 1e-6  # spread over the largest value, up to which it is rounding
NO_PART = -1  # a row that belongs to none


@dataclass(frozen=True, kw_only=True)
class ForecastSource:
    """Series of C channels at equal steps, float64 (T, C), finite, of which K `targets` are to be forecast.

    `filled` bool (T,) marks rows with a target that was missing: such a value is read, and never foretold. `parts` int8
    (T,) says of each row which of `PARTS` the data declare it to be in; there are none where they declare nothing.
    """

    series: tuple[np.ndarray, ...]
    filled: tuple[np.ndarray, ...]
    parts: tuple[np.ndarray, ...]
    clocks: tuple[Clock, ...]
    names: tuple[str, ...]  # of the series, such as "shop 3"; "" of the only one
    where: str  # the table's name
    channel_names: tuple[str, ...]
    targets: tuple[int, ...]  # positions among the channels
    time_column: str
    window: int
    horizon: int
    season: int
    unit: ClassVar[str] = "window"
    classes: ClassVar[tuple[str, ...]] = ()

    @cached_property
    def origins(self) -> np.ndarray:
        """int64 (N, 2): of each window its series and the first row that it forecasts."""
        found = []
        for number, (values, filled) in enumerate(zip(self.series, self.filled, strict=True)):
            rows = np.arange(self.window, len(values) - self.horizon + 1)
            bad = np.concatenate([[0], np.cumsum(filled)])
            rows = rows[bad[rows + self.horizon] == bad[rows]]
            found.append(np.stack([np.full_like(rows, number), rows], axis=1))
        return np.concatenate(found)

    def __len__(self) -> int:
        return len(self.origins)

    @property
    def channels(self) -> int:
        return len(self.channel_names)

    @property
    def target_names(self) -> tuple[str, ...]:
        return tuple(self.channel_names[place] for place in self.targets)

    @property
    def labels(self) -> np.ndarray:
        return np.zeros(len(self), dtype=np.int64)

    @property
    def lengths(self) -> np.ndarray:
        """int64 (N,): steps of each window."""
        return np.full(len(self), self.window, dtype=np.int64)

    def sequence(self, i: int) -> np.ndarray:
        """What a network sees, (W, C), in the data's units."""
        number, row = self.origins[i]
        return self.series[number][row - self.window : row]

    def target(self, i: int) -> np.ndarray:
        """What it has to foretell, (H, K)."""
        number, row = self.origins[i]
        return self.series[number][row : row + self.horizon, list(self.targets)]

    def times(self, i: int) -> tuple[str, ...]:
        """Of the steps of a window and of those behind it, as the table writes them."""
        number, row = self.origins[i].tolist()
        return tuple(self.clocks[number].text(place) for place in range(row - self.window, row + self.horizon))

    def name(self, i: int) -> str:
        number, row = self.origins[i].tolist()
        series = f"{self.names[number]}, " if self.names[number] else ""
        return f"{self.where}, {series}from {self.clocks[number].text(row)} on"

    def key(self, i: int) -> str:
        return self.name(i)

    def apart(self, rows: np.ndarray) -> np.ndarray:
        """Those of some windows, in order, whose targets have no step in common: from the first one on, each the next
        that lies behind the last."""
        kept, ends = [], {}
        for i in np.sort(rows).tolist():
            number, row = self.origins[i].tolist()
            if row >= ends.get(number, 0):
                kept.append(i)
                ends[number] = row + self.horizon
        return np.array(kept, dtype=np.int64)

    def touched(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """bool (T,) of each series: what some windows see and foretell."""
        edges = [np.zeros(len(values) + 1, dtype=np.int64) for values in self.series]
        for number, change in enumerate(edges):
            mine = self.origins[rows][self.origins[rows][:, 0] == number][:, 1]
            np.add.at(change, mine - self.window, 1)
            np.add.at(change, mine + self.horizon, -1)
        return tuple(np.cumsum(change)[:-1] > 0 for change in edges)

    def duplicate_groups(self) -> np.ndarray:
        """Each by itself: windows share nearly all they have, and that is how it is meant."""
        return np.arange(len(self))

    def content(self) -> Iterable[bytes]:
        for values, clock in zip(self.series, self.clocks, strict=True):
            yield np.ascontiguousarray(values, dtype="<f8").tobytes() + clock.text(0).encode()

    def fingerprint_bytes(self) -> Iterable[bytes]:
        yield f"{self.window}\0{self.horizon}\0{self.targets}\0{self.channel_names}".encode()
        yield from (filled.tobytes() for filled in self.filled)

    def amounts(self) -> np.ndarray:
        return np.zeros((len(self), 0), dtype=np.int64)

    def onto(self, classes: Sequence[str], where: str) -> "ForecastSource":
        return self


def in_time(
    source: ForecastSource, *, val_share: float, test_share: float, where: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The windows of each part, and notes of how they were made: parts that the data declare, the others from the end
    of what may be trained on, first validation and then test, at the same times for all series. A test part is cut from
    the end of a declared validation part, as it has to be the latest."""
    for name, share in (("val_share", val_share), ("test_share", test_share)):
        if not 0 <= share < 1:
            raise UsageError(f"{name} {share} is not in [0, 1)")
    if val_share + test_share >= 1:
        raise UsageError(f"val_share {val_share} and test_share {test_share} leave nothing to train on")
    rows, notes = _rows_of_parts(source, {"val": val_share, "test": test_share}, where)
    splits = windows_of(source, rows)
    if not len(splits["train"]):
        raise DataError(
            f"{where}: no window of {counted(source.window, 'step')} with {source.horizon} behind it is left to train "
            "on; take a shorter window or horizon, or smaller shares for validation and test"
        )
    return splits, [*notes, *_without_windows(source, splits)]


def _without_windows(source: ForecastSource, splits: dict[str, np.ndarray]) -> list[str]:
    """A note of the series that have no window, and one for each part that has windows of some others only."""
    numbers = {part: set(source.origins[rows, 0].tolist()) for part, rows in splits.items()}
    somewhere = set().union(*numbers.values())
    places = {"no part has a window": set(range(len(source.names))) - somewhere}
    places |= {f"the {part} part has no window": somewhere - mine for part, mine in numbers.items() if mine}
    notes = []
    for what, lacking in places.items():
        names = [source.names[number] for number in sorted(lacking)]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        notes += [f"{what} of {', '.join(names[:3])}{more}"] if names else []
    return notes


def windows_of(source: ForecastSource, rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Of parts by rows, int8 (T,) of each series, the windows all of whose targets lie in them."""
    first, last = (
        np.array([rows[n][row + end] for n, row in source.origins.tolist()], dtype=np.int8)
        for end in (0, source.horizon - 1)
    )
    return {name: np.flatnonzero((first == part) & (last == part)) for part, name in enumerate(PARTS)}


def declared_windows(source: ForecastSource) -> dict[str, np.ndarray]:
    """The windows of the parts that the data declare."""
    if not source.parts:
        return {}
    there = {PARTS[part] for rows in source.parts for part in np.unique(rows) if part != NO_PART}
    return {name: rows for name, rows in windows_of(source, source.parts).items() if name in there}


def check_varies(source: ForecastSource, train: np.ndarray, where: str) -> None:
    """A target that is the same all through the training part is a `DataError`."""
    seen = np.concatenate([v[t] for v, t in zip(source.series, source.touched(train), strict=True)])
    for place, name in zip(source.targets, source.target_names):
        if np.ptp(seen[:, place]) <= CONSTANT * np.abs(seen[:, place]).max():
            raise DataError(
                f"{where}: the column {name!r} is {seen[0, place]:g} all through the training part, so there is "
                "nothing to learn of it; leave it out with target_column or channel_columns"
            )


def _rows_of_parts(source: ForecastSource, shares: dict[str, float], where: str) -> tuple[list[np.ndarray], list[str]]:
    """The part of each row, int8 (T,) of each series, as `in_time` has it, and the note."""
    rows = [part.copy() for part in source.parts] or [np.zeros(len(v), dtype=np.int8) for v in source.series]
    there = {PARTS[part] for part in np.unique(np.concatenate(rows)) if part != NO_PART}
    wanted = {name: share for name, share in shares.items() if share and name not in there}
    if not wanted:
        return rows, []
    pool = "val" if "val" in there else "train"  # test is behind validation
    stamps = [  # whole steps, which series that are half a step apart have in common
        np.floor(np.round(clock.stamp, 6) + np.arange(len(part)))
        for clock, part in zip(source.clocks, rows, strict=True)
    ]
    mine = PARTS.index(pool)
    left = np.unique(np.concatenate([times[part == mine] for times, part in zip(stamps, rows, strict=True)]))
    counts = {name: max(source.horizon, round(share * len(left))) for name, share in wanted.items()}
    need = source.horizon + (source.window if pool == "train" else 0)
    if len(left) < (least := need + sum(counts.values())):
        if pool == "val":
            raise DataError(
                f"{where}: the validation part has {counted(len(left), 'step')}, and to cut a test part from its end "
                f"takes {least} for a horizon of {source.horizon}; declare a test part, or set test_share 0"
            )
        raise DataError(
            f"{where}: has {counted(len(left), 'step')} to train on, validate and test, and a window of "
            f"{source.window} and a horizon of {source.horizon} need {least}; take shorter ones, or smaller shares"
        )
    for name in ("test", "val"):  # test is the end, validation is before it
        if name in counts:
            cut = left[-counts[name]]
            left = left[left < cut]
            for times, part in zip(stamps, rows, strict=True):
                part[(part == mine) & (times >= cut)] = PARTS.index(name)
    said = ", ".join(f"{shares[name]:.0%} {name}" for name in counts)
    of = "the series" if not source.parts else f"the {'training' if pool == 'train' else 'validation'} part"
    return rows, [f"split here in time, nothing shuffled: from the end of {of} {said}, each at least one horizon long"]
