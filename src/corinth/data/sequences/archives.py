"""NumPy archives of sequences: their arrays, and the labels, lengths and parts that these have."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from corinth.errors import DataError

ENDS = ("", "_train", "_val", "_test")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of an archive; a file that is none is a `DataError`."""
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(f"{path}: is a single array; an archive has x and y")
        with archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: not a readable NumPy archive ({reason})") from error


def ends_of(arrays: Mapping[str, np.ndarray], path: Path) -> list[str]:
    """What stands behind the names of the arrays of each part: nothing, or `_train`, `_val`, `_test`."""
    ends = [end for end in ENDS if f"x{end}" in arrays]
    if not ends:
        raise DataError(
            f"{path}: has the arrays {', '.join(arrays) or '(none)'}; it needs x and y, or x_train, y_train"
        )
    return ends


def lengths_of(arrays: Mapping[str, np.ndarray], end: str, path: Path) -> np.ndarray:
    """Steps of each sequence, (N,): all of `x` where there are no `lengths`."""
    x, lengths = arrays[f"x{end}"], arrays.get(f"lengths{end}")
    steps = np.full(len(x), x.shape[1]) if lengths is None else lengths
    whole = steps.shape == x.shape[:1] and steps.dtype.kind in "iu"
    if not whole or (steps < 0).any() or (steps > x.shape[1]).any():
        raise DataError(f"{path}: lengths{end} must be {len(x)} whole numbers from 0 to {x.shape[1]}")
    return steps


def labels_of(y: np.ndarray, count: int, where: str, unit: str = "series") -> list[str]:
    """Labels (N,) as text: of whole numbers without a point."""
    if y.shape != (count,):
        raise DataError(f"{where} has the shape {y.shape}; it needs a label for each of {count} {unit}")
    return _as_text(y, where)


def step_labels_of(y: np.ndarray, x: np.ndarray, lengths: np.ndarray, where: str) -> list[tuple[str, ...]]:
    """The labels of the steps of each sequence, of `y` (N, T) as far as the sequence goes; none may be missing."""
    if y.shape != x.shape[:2]:
        raise DataError(f"{where} has the shape {y.shape}, and x {x.shape}; a label for each step is {x.shape[:2]}")
    inside = np.arange(x.shape[1]) < lengths[:, None]
    empty = np.zeros_like(inside)
    if y.dtype.kind in "fSU":
        empty = np.isnan(y) if y.dtype.kind == "f" else y == y.dtype.type()
    if (lacking := np.argwhere(inside & empty)).size:
        row, step = lacking[0].tolist()
        raise DataError(f"{where}[{row}, {step}] is empty; every step within lengths needs a label")
    known = np.where(inside & ~empty, y, y.dtype.type())  # what stands behind an end may be anything
    texts = np.array(_as_text(known.ravel(), where), dtype=object).reshape(y.shape)
    return [tuple(row[:length]) for row, length in zip(texts, lengths.tolist())]


def _as_text(y: np.ndarray, where: str) -> list[str]:
    if y.dtype.kind == "f" and (np.isfinite(y) & (y == np.round(y))).all():
        y = y.astype(np.int64)
    if y.dtype.kind not in "iubSU":
        raise DataError(f"{where} is {y.dtype}; labels are whole numbers or text")
    return [label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label) for label in y.tolist()]


def groups_of(arrays: Mapping[str, np.ndarray], end: str, count: int, where: str) -> tuple[list[str], list[float]]:
    """The group of each series, "" without one, and its place there: that in the file, unless the archive says it."""
    group, order = arrays.get(f"group{end}"), arrays.get(f"order{end}")
    for name, values, kinds in (("group", group, "iubSU"), ("order", order, "fiu")):
        if values is not None and (values.shape != (count,) or values.dtype.kind not in kinds):
            wanted = "a whole number or a text" if name == "group" else "a number"
            raise DataError(f"{where}: {name}{end} is {values.dtype} {values.shape}; it needs {wanted} for each series")
    names = [""] * count if group is None else labels_of(group, count, f"{where}: group{end}")
    places = [0.0] * count if group is None else [float(row) for row in range(1, count + 1)]
    return names, places if order is None else order.astype(np.float64).tolist()
