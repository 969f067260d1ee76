"""Small made-up tables to forecast: a wave with a trend, an hour, a day or a month a row."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np

AHEAD = {"horizon": 4, "window": 8}


def hours(count: int, start: str = "2026-01-30 00:00:00") -> list[str]:
    first = datetime.datetime.fromisoformat(start)
    return [str(first + datetime.timedelta(hours=i)) for i in range(count)]


def months(count: int) -> list[str]:
    return [f"{2000 + i // 12}-{i % 12 + 1:02}" for i in range(count)]


def wave(count: int = 120, channels: int = 2, seed: int = 0) -> np.ndarray:
    """float64 (T, C): waves of 12 steps on a slope, with a little noise."""
    rng = np.random.default_rng(seed)
    steps = np.arange(count)[:, None]
    return (
        20
        + 0.1 * steps
        + 5 * np.sin(2 * np.pi * steps / 12 + np.arange(channels))
        + rng.normal(0, 0.1, (count, channels))
    )


def write_series(
    path: Path,
    values: np.ndarray,
    times: Sequence[str] | None = None,
    names: Sequence[str] = ("a", "b"),
    **more: Sequence,
) -> Path:
    """A CSV with a time column and the channels, and of `more` a column each; what is NaN is empty."""
    times = hours(len(values)) if times is None else times
    lines = [",".join(["date", *names[: values.shape[1]], *more])]
    for i, time in enumerate(times):
        cells = ["" if np.isnan(v) else repr(float(v)) for v in values[i]]
        lines.append(",".join([time, *cells, *(str(column[i]) for column in more.values())]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
