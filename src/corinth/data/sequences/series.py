"""Time series with a label each: `.ts` files of the UCR / UEA archive, and NumPy archives."""

import math
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corinth.data.collect import Collected, check_left, check_names, check_usable, ordered
from corinth.data.sequences.files import declared_parts
from corinth.data.sequences.source import CLASSIFICATION, SeriesSource
from corinth.errors import DataError, UsageError

SERIES_SUFFIXES = (".ts", ".npz")
UNLABELLED = ""  # the label of a series that need not have one
_PART = re.compile(r"[_-](train|val|test)$", re.IGNORECASE)


@dataclass(frozen=True)
class LabelledSeries:
    values: np.ndarray  # float32 (T, C)
    place: str
    label: str
    split: str | None = None


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


def open_series(files: Sequence[tuple[Path, str | None]], *, max_corrupt: float) -> Collected:
    """All series of some files as one data set."""
    found: list[LabelledSeries] = []
    for path, part in files:
        found += read_series(path, part)
    where = str(files[0][0].parent if len(files) > 1 else files[0][0])
    return _collected(found, where, max_corrupt)


def read_series(path: Path, part: str | None = None, *, labelled: bool = True) -> list[LabelledSeries]:
    """All series of one file; without `labelled` they may lack labels."""
    read = _read_ts if path.suffix.lower() == ".ts" else _read_npz
    return read(path, part, labelled)


def _collected(found: Sequence[LabelledSeries], where: str, max_corrupt: float) -> Collected:
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
        if (reason := unusable(entry.values)) is None:
            good.append(entry)
        else:
            corrupt.append((entry.place, reason))
    check_usable(corrupt, len(found), max_corrupt, where, "series")
    names = ordered({entry.label for entry in good})
    check_names(names, where)
    check_left(names, {entry.label for entry in found}, where)
    number = {name: i for i, name in enumerate(names)}
    source = SeriesSource(
        series=tuple(entry.values for entry in good),
        places=tuple(entry.place for entry in good),
        labels=np.array([number[entry.label] for entry in good], dtype=np.int64),
        classes=tuple(names),
    )
    return Collected(source, declared_parts([entry.split for entry in good]), corrupt, [], CLASSIFICATION)


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
    labelled = in_data = False
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        place = f"{path.name}, line {number}"
        if line.startswith("@"):
            word, *rest = line[1:].lower().split() or [""]
            labelled = labelled or (word == "classlabel" and rest[:1] == ["true"])
            in_data = word == "data"
            if word == "timestamps" and rest[:1] == ["true"]:
                raise DataError(f"{place}: series with timestamps are not read; write the values alone")
        elif not in_data:
            raise DataError(f"{place}: a case stands before the line @data")
        elif not labelled and needed:
            raise DataError(f"{path}: its series have no labels; it needs the line @classLabel true with their names")
        else:
            *channels, label = line.split(":") if labelled else [*line.split(":"), UNLABELLED]
            if not channels or (labelled and not label):
                raise DataError(f"{place}: has no label behind the last colon")
            found.append(LabelledSeries(_values(channels, place), place, label.strip(), part))
    return found


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


def _read_npz(path: Path, part: str | None, needed: bool) -> list[LabelledSeries]:
    """Arrays `x` (N, T) or (N, T, C), `y` (N,) and, for series of their own length, `lengths` (N,); or each of them
    with `_train`, `_val`, `_test` behind its name."""
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
        if f"y{end}" not in arrays and needed:
            raise DataError(f"{path}: has x{end} and no y{end}; every series needs a label")
        x, lengths = arrays[f"x{end}"], arrays.get(f"lengths{end}")
        y = arrays.get(f"y{end}", np.full(len(x), UNLABELLED))
        x = x[:, :, None] if x.ndim == 2 else x
        if x.ndim != 3 or x.dtype.kind not in "fiub":
            raise DataError(f"{path}: x{end} is {x.dtype} {x.shape}; it needs numbers (N, T) or (N, T, C)")
        labels = _labels(y, len(x), f"{path}: y{end}")
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
            found.append(LabelledSeries(values, f"{path.name}, x{end}[{row}]", labels[row], split))
    return found


def _labels(y: np.ndarray, count: int, where: str) -> list[str]:
    """Labels as text: of whole numbers without a point."""
    if y.shape != (count,):
        raise DataError(f"{where} has the shape {y.shape}; it needs a label for each of {count} series")
    if y.dtype.kind == "f" and (np.isfinite(y) & (y == np.round(y))).all():
        y = y.astype(np.int64)
    if y.dtype.kind not in "iubSU":
        raise DataError(f"{where} is {y.dtype}; labels are whole numbers or text")
    return [label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label) for label in y.tolist()]
