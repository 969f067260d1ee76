"""Time series with a label or a number each: `.ts` files of the UCR / UEA archive, and NumPy archives."""

import math
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corinth.data.collect import Collected, check_left, check_names, check_usable, ordered
from corinth.data.sequences.files import declared_parts
from corinth.data.sequences.source import CLASSIFICATION, REGRESSION, MeasuredSource, SeriesSource
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
    names = ordered({entry.label for entry in good})
    check_names(names, where)
    check_left(names, {entry.label for entry in found}, where)
    number = {name: i for i, name in enumerate(names)}
    labels = np.array([number[entry.label] for entry in good], dtype=np.int64)
    return Collected(SeriesSource(labels=labels, classes=tuple(names), **common), parts, corrupt, [], CLASSIFICATION)


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
    """Arrays `x` (N, T) or (N, T, C), `y` (N,) and, for series of their own length, `lengths` (N,); `group` (N,) where
    some must stay in one part, and `order` (N,), their places in it; or each of them with `_train`, `_val`, `_test`
    behind its name."""
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(f"{path}: is a single array; an archive has x and y")
        with archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: not a readable NumPy archive ({reason})") from error
    ends = [end for end in ("", "_train", "_val", "_test") if f"x{end}" in arrays]
    if not ends:
        raise DataError(
            f"{path}: has the arrays {', '.join(arrays) or '(none)'}; it needs x and y, or x_train, y_train"
        )
    found = []
    for end in ends:
        name = f"{target or 'y'}{end}"
        if name not in arrays and needed:
            raise DataError(
                f"{path}: has x{end} and no {name}; every series needs a label or a number (there are "
                f"{', '.join(arrays)})"
            )
        x, lengths = arrays[f"x{end}"], arrays.get(f"lengths{end}")
        y = arrays.get(name, np.full(len(x), UNLABELLED))
        x = x[:, :, None] if x.ndim == 2 else x
        if x.ndim != 3 or x.dtype.kind not in "fiub":
            raise DataError(f"{path}: x{end} is {x.dtype} {x.shape}; it needs numbers (N, T) or (N, T, C)")
        numbers = target is not None or _are_fractions(y)
        labels = _targets(y, len(x), f"{path}: {name}") if numbers else _labels(y, len(x), f"{path}: {name}")
        groups, order = _groups(arrays, end, len(x), str(path))
        steps = np.full(len(x), x.shape[1]) if lengths is None else lengths
        if (
            steps.shape != x.shape[:1]
            or steps.dtype.kind not in "iu"
            or (steps < 0).any()
            or (steps > x.shape[1]).any()
        ):
            raise DataError(f"{path}: lengths{end} must be {len(x)} whole numbers from 0 to {x.shape[1]}")
        split = end[1:] or part
        for row in range(len(x)):
            values = np.ascontiguousarray(x[row, : steps[row]], dtype=np.float32)
            what: dict[str, Any] = {"target": labels[row]} if numbers else {"label": labels[row]}
            found.append(
                LabelledSeries(
                    values, f"{path.name}, x{end}[{row}]", split=split, group=groups[row], order=order[row], **what
                )
            )
    return found


def _are_fractions(y: np.ndarray) -> bool:
    """Whether numbers are to be predicted, not classes that are numbered; missing ones say nothing."""
    return y.dtype.kind == "f" and bool((np.isfinite(y) & (y != np.round(y))).any())


def _targets(y: np.ndarray, count: int, where: str) -> list[float]:
    if y.shape != (count,) or y.dtype.kind not in "fiu":
        raise DataError(f"{where} is {y.dtype} {y.shape}; it needs a number for each of {count} series")
    return y.astype(np.float64).tolist()


def _groups(arrays: Mapping[str, np.ndarray], end: str, count: int, where: str) -> tuple[list[str], list[float]]:
    """The group of each series, "" without one, and its place there: that in the file, unless the archive says it."""
    group, order = arrays.get(f"group{end}"), arrays.get(f"order{end}")
    for name, values, kinds in (("group", group, "iubSU"), ("order", order, "fiu")):
        if values is not None and (values.shape != (count,) or values.dtype.kind not in kinds):
            wanted = "a whole number or a text" if name == "group" else "a number"
            raise DataError(f"{where}: {name}{end} is {values.dtype} {values.shape}; it needs {wanted} for each series")
    names = [""] * count if group is None else _labels(group, count, f"{where}: group{end}")
    places = [0.0] * count if group is None else [float(row) for row in range(1, count + 1)]
    return names, places if order is None else order.astype(np.float64).tolist()


def _labels(y: np.ndarray, count: int, where: str) -> list[str]:
    """Labels as text: of whole numbers without a point."""
    if y.shape != (count,):
        raise DataError(f"{where} has the shape {y.shape}; it needs a label for each of {count} series")
    if y.dtype.kind == "f" and (np.isfinite(y) & (y == np.round(y))).all():
        y = y.astype(np.int64)
    if y.dtype.kind not in "iubSU":
        raise DataError(f"{where} is {y.dtype}; labels are whole numbers or text")
    return [label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label) for label in y.tolist()]
