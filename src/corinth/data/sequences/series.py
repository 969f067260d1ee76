"""Time series with a label or a number each: `.ts` files of the UCR / UEA archive, and NumPy archives."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corinth.data.collect import Collected, check_left, check_names, check_usable, ordered
from corinth.data.sequences.archives import ends_of, groups_of, labels_of, lengths_of, read_arrays, step_labels_of
from corinth.data.sequences.files import declared_parts
from corinth.data.sequences.labelled import FRAMES, numbered
from corinth.data.sequences.source import CLASSIFICATION, REGRESSION, MeasuredSource, SeriesSource, SteppedSource
from corinth.errors import DataError, UsageError

SERIES_SUFFIXES = (".ts", ".npz")
UNLABELLED = ""  # the label of a series that need not have one
_PART = re.compile(r"[_-](train|val|test)$", re.IGNORECASE)


@dataclass(frozen=True)
class LabelledSeries:
    values: np.ndarray  # float32 (T, C)
    place: str
    label: str = UNLABELLED
    split: str | None = None
    target: float | None = None  # in place of a label; NaN where it is missing
    group: str = ""  # what must stay in one part with it
    order: float = 0.0  # its place among those of its group
    steps: tuple[str, ...] | None = None  # in place of a label one for each step
    problem: str | None = None  # why it cannot be used, where its reader knows better than `unusable`


def series_files(path: Path) -> list[tuple[Path, str | None]]:
    """The files of one data set and the part that each is: of NAME_TRAIN.ts also NAME_TEST.ts beside it.

    `path` is a file, a folder with the files of one data set, or a path without `_TRAIN.ts`. Empty where there is none.
    """
    if path.is_file():
        found = [path] if path.suffix.lower() in SERIES_SUFFIXES else []
        if not found or _PART.search(path.stem) is None:
            return [(file, None) for file in found]
        return _parts(path.parent, _PART.sub("", path.stem), path.suffix)
    if path.is_dir():
        files = sorted(file for file in _visible(path) if file.suffix.lower() in SERIES_SUFFIXES)
        names = sorted({(_PART.sub("", file.stem), file.suffix) for file in files})
        if len(names) > 1:
            said = ", ".join(str(path / name) for name, _ in names)
            raise UsageError(f"{path} holds several data sets; name one of {said}")
        if not names:
            return []
        return _parts(path, *names[0]) or [(file, None) for file in files]
    return next((found for suffix in SERIES_SUFFIXES if (found := _parts(path.parent, path.name, suffix))), [])


def _parts(folder: Path, name: str, suffix: str) -> list[tuple[Path, str | None]]:
    if not folder.is_dir():
        return []
    files = sorted(file for file in _visible(folder) if file.suffix == suffix and _PART.sub("", file.stem) == name)
    return [(file, found[1].lower()) for file in files if (found := _PART.search(file.stem)) is not None]


def _visible(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if not file.name.startswith(".")]


def open_series(
    files: Sequence[tuple[Path, str | None]], *, max_corrupt: float, target: str | None = None
) -> Collected:
    """All series of some files as one data set. `target` is the array of an archive whose numbers are to be predicted;
    by default those of y, where they are not whole."""
    found: list[LabelledSeries] = []
    for path, part in files:
        found += read_series(path, part, target=target)
    where = str(files[0][0].parent if len(files) > 1 else files[0][0])
    return gather(found, where, max_corrupt, target_name=target or "target")


def read_series(
    path: Path, part: str | None = None, *, labelled: bool = True, target: str | None = None
) -> list[LabelledSeries]:
    """All series of one file; without `labelled` they may lack labels. `target` is as in `open_series`."""
    if path.suffix.lower() != ".ts":
        return _read_npz(path, part, labelled, target)
    if target is not None:
        raise UsageError(f"{path}: target_column belongs to a table or an archive; @targetLabel true says it here")
    return _read_ts(path, part, labelled)


def gather(
    found: Sequence[LabelledSeries],
    where: str,
    max_corrupt: float,
    *,
    channel_names: Sequence[str] = (),
    target_name: str = "target",
) -> Collected:
    """Series that were read as one data set: of classes, or of numbers where they have these."""
    if not found:
        raise DataError(f"{where}: there are no series")
    widths = {entry.values.shape[1] for entry in found}
    if len(widths) > 1:
        few = next(entry for entry in found if entry.values.shape[1] != found[0].values.shape[1])
        raise DataError(
            f"{few.place}: has {few.values.shape[1]} channels and {found[0].place} has {found[0].values.shape[1]}; "
            "all series need the same"
        )
    good, corrupt = [], []
    for entry in found:
        reason = entry.problem or unusable(entry.values)
        if reason is None and entry.target is not None and not math.isfinite(entry.target):
            reason = f"its {target_name} is missing" if math.isnan(entry.target) else f"its {target_name} is not finite"
        if reason is None:
            good.append(entry)
        else:
            corrupt.append((entry.place, reason))
    check_usable(corrupt, len(found), max_corrupt, where, "series")
    common: dict[str, Any] = {
        "series": tuple(entry.values for entry in good),
        "places": tuple(entry.place for entry in good),
        "groups": tuple(entry.group for entry in good) if any(entry.group for entry in good) else (),
        "order": tuple(entry.order for entry in good) if any(entry.order for entry in good) else (),
        "channel_names": tuple(channel_names),
    }
    parts = declared_parts([entry.split for entry in good])
    if any(entry.target is not None for entry in good):
        if (other := next((entry for entry in good if entry.target is None), None)) is not None:
            raise DataError(f"{other.place}: has a label, and other series have numbers; all need the same")
        targets = np.array([entry.target for entry in good], dtype=np.float64)
        source = MeasuredSource(
            labels=np.zeros(len(good), dtype=np.int64), classes=(), targets=targets, target_name=target_name, **common
        )
        return Collected(source, parts, corrupt, [], REGRESSION)
    if any(entry.steps is not None for entry in good):
        return _of_steps(found, good, common, Collected(None, parts, corrupt), where)
    names = ordered({entry.label for entry in good})
    check_names(names, where)
    check_left(names, {entry.label for entry in found}, where)
    number = {name: i for i, name in enumerate(names)}
    labels = np.array([number[entry.label] for entry in good], dtype=np.int64)
    return Collected(SeriesSource(labels=labels, classes=tuple(names), **common), parts, corrupt, [], CLASSIFICATION)


def _of_steps(
    found: Sequence[LabelledSeries],
    good: Sequence[LabelledSeries],
    common: dict[str, Any],
    collected: Collected,
    where: str,
) -> Collected:
    """Series with a label for every step; one that has a label of its own has it at all of them."""
    steps = [(entry.label,) * len(entry.values) if entry.steps is None else entry.steps for entry in good]
    names = ordered({label for labels in steps for label in labels})
    check_names(names, where)
    check_left(names, {label for entry in found for label in entry.steps or (entry.label,)}, where)
    collected.source = SteppedSource(tags=numbered(steps, names), classes=tuple(names), **common)
    collected.task = FRAMES
    return collected


def unusable(values: np.ndarray) -> str | None:
    """Why a series (T, C) cannot be used; None if it can."""
    if not len(values):
        return "the series has no steps"
    bad = np.argwhere(~np.isfinite(values))
    if not len(bad):
        return None
    step, channel = bad[0].tolist()
    what = "is missing" if math.isnan(values[step, channel]) else "is not finite"
    more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
    return f"the value of channel {channel + 1} at step {step + 1} {what}{more}"


def _read_ts(path: Path, part: str | None, needed: bool) -> list[LabelledSeries]:
    """Loning et al.'s format: `@` lines, then a case a line, channels between colons, the label behind the last."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    found: list[LabelledSeries] = []
    labelled = measured = in_data = False
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        place = f"{path.name}, line {number}"
        if line.startswith("@"):
            word, *rest = line[1:].lower().split() or [""]
            measured = measured or (word == "targetlabel" and rest[:1] == ["true"])
            labelled = labelled or measured or (word == "classlabel" and rest[:1] == ["true"])
            in_data = word == "data"
            if word == "timestamps" and rest[:1] == ["true"]:
                raise DataError(f"{place}: series with timestamps are not read; write the values alone")
        elif not in_data:
            raise DataError(f"{place}: a case stands before the line @data")
        elif not labelled and needed:
            raise DataError(
                f"{path}: its series have no labels; it needs the line @classLabel true with their names, or "
                "@targetLabel true where they are numbers"
            )
        else:
            *channels, label = line.split(":") if labelled else [*line.split(":"), UNLABELLED]
            if not channels or (labelled and not label):
                raise DataError(f"{place}: has no label behind the last colon")
            values = _values(channels, place)
            if measured:
                found.append(LabelledSeries(values, place, split=part, target=_target(label.strip(), place)))
            else:
                found.append(LabelledSeries(values, place, label.strip(), part))
    return found


def _target(word: str, place: str) -> float:
    try:
        return math.nan if word == "?" else float(word)
    except ValueError:
        raise DataError(f"{place}: the target {word!r} is no number") from None


def _values(channels: Sequence[str], place: str) -> np.ndarray:
    """Channels of numbers between commas, `?` where one is missing, to float32 (T, C)."""
    columns = []
    for number, channel in enumerate(channels, start=1):
        words = channel.split(",") if channel.strip() else []
        try:
            columns.append(np.array([math.nan if word.strip() == "?" else float(word) for word in words], np.float32))
        except ValueError as error:
            raise DataError(f"{place}, channel {number}: {error}; values are numbers, or ? where missing") from error
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise DataError(f"{place}: its channels have {', '.join(map(str, sorted(lengths)))} steps; all need the same")
    return np.stack(columns, axis=1)


def _read_npz(path: Path, part: str | None, needed: bool, target: str | None) -> list[LabelledSeries]:
    """Arrays `x` (N, T) or (N, T, C), `y` (N,), or (N, T) where every step has a label, and, for series of their own
    length, `lengths` (N,); `group` (N,) where some must stay in one part, and `order` (N,), their places in it; or each
    of them with `_train`, `_val`, `_test` behind its name."""
    arrays = read_arrays(path)
    found = []
    for end in ends_of(arrays, path):
        name = f"{target or 'y'}{end}"
        if name not in arrays and needed:
            raise DataError(
                f"{path}: has x{end} and no {name}; every series needs a label or a number (there are "
                f"{', '.join(arrays)})"
            )
        x = arrays[f"x{end}"]
        y = arrays.get(name, np.full(len(x), UNLABELLED))
        x = x[:, :, None] if x.ndim == 2 else x
        if x.ndim != 3 or x.dtype.kind not in "fiub":
            raise DataError(f"{path}: x{end} is {x.dtype} {x.shape}; it needs numbers (N, T) or (N, T, C)")
        where, lengths = f"{path}: {name}", lengths_of(arrays, end, path)
        if y.ndim == 2 and target is None:
            kept = [{"steps": labels} for labels in step_labels_of(y, x, lengths, where)]
        elif target is not None or _are_fractions(y):
            kept = [{"target": value} for value in _targets(y, len(x), where)]
        else:
            kept = [{"label": label} for label in labels_of(y, len(x), where)]
        groups, order = groups_of(arrays, end, len(x), str(path))
        for row, what in enumerate(kept):
            values = np.ascontiguousarray(x[row, : lengths[row]], dtype=np.float32)
            common: dict[str, Any] = {"split": end[1:] or part, "group": groups[row], "order": order[row], **what}
            found.append(LabelledSeries(values, f"{path.name}, x{end}[{row}]", **common))
    return found


def _are_fractions(y: np.ndarray) -> bool:
    """Whether numbers are to be predicted, not classes that are numbered; missing ones say nothing."""
    return y.dtype.kind == "f" and bool((np.isfinite(y) & (y != np.round(y))).any())


def _targets(y: np.ndarray, count: int, where: str) -> list[float]:
    if y.shape != (count,) or y.dtype.kind not in "fiu":
        raise DataError(f"{where} is {y.dtype} {y.shape}; it needs a number for each of {count} series")
    return y.astype(np.float64).tolist()
