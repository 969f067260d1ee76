"""Times of a table's rows: how far apart they are, what comes after the last one, and when they come round again."""

import datetime
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from corinth.errors import DataError

PATTERNS = (  # how dates are written; others come out in ISO 8601
    "%Y-%m",
    "%Y-%m-%d",
    "%Y%m%d",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
)
DAY = 86400  # seconds
UNITS = ((DAY, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
Unit = Literal["number", "second", "month"]


@dataclass(frozen=True)
class Clock:
    """Times that are `step` apart from `start` on, in numbers, seconds or months. `pattern` is how dates are written,
    and with `month_end` each is the last day of its month. `zones` says from which step on dates are written in another
    time zone than the start's, as where summer time begins."""

    start: Any  # a number or a datetime
    step: float
    unit: Unit
    pattern: str = ""
    month_end: bool = False
    zones: tuple[tuple[int, datetime.tzinfo], ...] = ()

    def at(self, place: int) -> Any:
        """The time so many steps after the start."""
        if self.unit == "number":
            return self.start + place * self.step
        zone = next((zone for first, zone in reversed(self.zones) if place >= first), self.start.tzinfo)
        if self.unit == "second":
            time = self.start + datetime.timedelta(seconds=place * self.step)
            return time.astimezone(zone) if zone else time
        return _months_later(self.start, round(place * self.step), end=self.month_end).replace(tzinfo=zone)

    def text(self, place: int) -> str:
        """The same as the table writes it."""
        time = self.at(place)
        if self.unit == "number":
            return f"{time:.15g}"
        return time.strftime(self.pattern) if self.pattern else time.isoformat()

    def later(self, place: int) -> "Clock":
        """The clock that starts there."""
        zones = tuple((first - place, zone) for first, zone in self.zones if first > place)
        return replace(self, start=self.at(place), zones=zones)

    def at_month_ends(self, steps: int) -> "Clock":
        """The same on the last days of months, if its first so many times are such days: 30 June and 30 September are
        followed by 31 December."""
        ends = replace(self, month_end=True)
        same = self.unit == "month" and all(ends.at(place) == self.at(place) for place in range(steps))
        return ends if same else self

    @property
    def stamp(self) -> float:
        """Where the start is on a scale that all clocks of a table share: in steps of this one."""
        if self.unit == "number":
            return self.start / self.step
        if self.unit == "month":
            return _month(self.start) / self.step
        return _seconds(self.start) / self.step

    @property
    def said(self) -> str:
        """The step in words, such as 1 hour."""
        return _said(self.step, self.unit)

    @property
    def season(self) -> int:
        """After how many steps times come round again: a day of what is shorter, a week of days, a year of weeks,
        months and quarters; 1 where nothing is known."""
        if self.unit == "month":
            return round(12 / self.step) if 12 % self.step == 0 else 1
        if self.unit == "number" or self.step > 7 * DAY:
            return 1
        if self.step == 7 * DAY:
            return 52
        whole = 7 * DAY if self.step == DAY else DAY
        return round(whole / self.step) if whole % self.step == 0 else 1


def read_clock(
    cells: Sequence[str],
    column: str,
    place: Callable[[int], str],
    *,
    gaps: bool,
    hint: str = "",
    like: Clock | None = None,
) -> tuple[Clock, np.ndarray]:
    """The clock of a column, and at which of its steps each row is, int64 (T,). Times that do not rise, and without
    `gaps` steps that are not all alike, are a `DataError` that says where, with a `hint` in the first case. A single
    time has the steps of the clock that it is `like`."""
    times = _parsed(cells, column, place)
    dates = isinstance(times[0], datetime.datetime)
    stamps = np.array([_seconds(time) for time in times] if dates else times, dtype=np.float64)
    differences = np.diff(stamps)
    if (differences <= 0).any():
        row = int((differences <= 0).argmax()) + 1
        what = "stands twice" if stamps[row] == stamps[row - 1] else f"comes after {cells[row - 1]}"
        raise DataError(
            f"{place(row)}: the time {cells[row]} {what}; the times of a series must rise from row to row{hint}"
        )
    unit: Unit = "second" if dates else "number"
    step = _usual(differences)
    end = False
    if dates and len(times) > 1 and (differences >= 28 * DAY).all() and (ends := _monthly(times)) is not None:
        unit, end = "month", ends == "end"
        stamps = np.array([_month(time) for time in times], dtype=np.float64)
        step = _usual(np.diff(stamps))
    if len(times) == 1 and like is not None and dates == (like.unit != "number"):
        unit, step, end = like.unit, like.step, like.month_end
    clock = Clock(times[0], step, unit, _pattern(cells[-1], times[-1], unit, step) if dates else "", end)
    exact = (stamps - stamps[0]) / step
    places = np.rint(exact).astype(np.int64)
    whole = np.abs(exact - places) < 1e-6 * np.maximum(1, places)
    steps = np.diff(places)
    wrong = ~whole[1:] | ((steps < 1) if gaps else (steps != 1))
    if wrong.any():
        row = int(wrong.argmax()) + 1
        apart = _said(float(stamps[row] - stamps[row - 1]), unit)
        fill = "" if gaps or not whole.all() else "; missing fill puts rows in where some are not there"
        raise DataError(
            f"{place(row)}: the time {cells[row]} is {apart} after {cells[row - 1]}, and a step is {clock.said} "
            f"elsewhere; all steps must be alike{fill}"
        )
    return replace(clock, zones=_zones(times, places) if dates else ()), places


def is_time(cell: str) -> bool:
    """Whether a cell is a date; a number is one only where a person says so."""
    return _date(cell) is not None and not cell.isdecimal()


def _parsed(cells: Sequence[str], column: str, place: Callable[[int], str]) -> list[Any]:
    """Numbers, or dates: all of one kind."""
    compact = all(len(cell) == 8 and cell.isdecimal() and _date(cell) is not None for cell in cells)
    found: list[Any] = []
    for row, cell in enumerate(cells):
        time = _date(cell) if compact else _number(cell)
        time = _date(cell) if time is None else time
        if time is None:
            raise DataError(
                f"{place(row)}: column {column!r} says {cell!r}; times are numbers, or dates such as 2026-05, "
                "2026-05-31 or 2026-05-31T12:00:00"
            )
        if found and _kind(time) != _kind(found[0]):
            raise DataError(
                f"{place(row)}: column {column!r} says {cell!r} and before {cells[0]!r}; all times must be numbers, "
                "all dates, and all with a time zone or none"
            )
        found.append(time)
    return found


def _kind(time: Any) -> str:
    return "number" if isinstance(time, float) else "date" if time.tzinfo is None else "date with a zone"


def _number(cell: str) -> float | None:
    try:
        found = float(cell)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _date(cell: str) -> datetime.datetime | None:
    for text in (cell, f"{cell}-01"):  # a month too
        try:
            return datetime.datetime.fromisoformat(text)
        except ValueError:
            continue
    return None


def _zones(times: Sequence[datetime.datetime], places: np.ndarray) -> tuple[tuple[int, datetime.tzinfo], ...]:
    """At which steps the time zone changes, and to which."""
    changes = zip(itertools.pairwise(times), places[1:].tolist())
    return tuple((place, now.tzinfo) for (before, now), place in changes if now.tzinfo and now.tzinfo != before.tzinfo)


def _seconds(time: datetime.datetime) -> float:
    zoned = time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
    return zoned.timestamp()


def _month(time: datetime.datetime) -> int:
    return 12 * time.year + time.month - 1


def _usual(differences: np.ndarray) -> float:
    """The difference that most have, of several the smallest; 1 where there is none."""
    counts = Counter(np.round(differences, 6).tolist())
    return min(counts, key=lambda value: (-counts[value], value)) if counts else 1.0


def _monthly(times: Sequence[datetime.datetime]) -> str | None:
    """Whether all are on the same day of their months ("day"), or on the last one ("end"), at the same hour."""
    if len({time.time() for time in times}) > 1:
        return None
    if len({time.day for time in times}) == 1:
        return "day"
    return "end" if all((time + datetime.timedelta(days=1)).day == 1 for time in times) else None


def _months_later(time: datetime.datetime, months: int, *, end: bool) -> datetime.datetime:
    year, month = divmod(_month(time) + months, 12)
    first = time.replace(year=year, month=month + 1, day=1)
    last = (first.replace(day=28) + datetime.timedelta(days=4)).replace(day=1) - datetime.timedelta(days=1)
    return last if end else first.replace(day=min(time.day, last.day))


def _pattern(cell: str, time: datetime.datetime, unit: Unit, step: float) -> str:
    """How a cell writes its time; of days and months only where steps are whole days."""
    found = next((pattern for pattern in PATTERNS if time.strftime(pattern) == cell), "")
    short = found and "%H" not in found and unit == "second" and step % DAY
    return "%Y-%m-%d %H:%M:%S" if short else found


def _said(step: float, unit: Unit) -> str:
    if unit == "number":
        return f"{step:.6g}"
    if unit == "month":
        count, word = (step / 12, "year") if step % 12 == 0 else (step, "month")
    else:
        size, word = next((entry for entry in UNITS if step % entry[0] == 0), (1, "second"))
        count = step / size
    return f"{count:.6g} {word}{'' if count == 1 else 's'}"
