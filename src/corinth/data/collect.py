"""What the readers of folders, tables and binary files hand on: labelled files or arrays, before any split is made."""

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from corinth.data.decode import Header, UnreadableImage, quiet, read_header
from corinth.data.source import FileSource
from corinth.errors import DataError

CLASSIFICATION = "image-classification"
Progress = Callable[[str, int, int], None]  # what is done, how many of how many

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass
class Collected:
    """Samples of one data set and what it says itself about its splits."""

    source: Any
    declared: dict[str, np.ndarray]  # "train", "val", "test" -> positions, as far as the data declares them
    corrupt: list[tuple[str, str]] = field(default_factory=list)  # (path, reason), already left out of `source`
    notes: list[str] = field(default_factory=list)
    task: str = CLASSIFICATION


@dataclass(frozen=True)
class LabelledFile:
    path: str
    key: str  # relative to the data's folder, forward slashes
    label: str
    split: str | None = None


def collect_files(
    files: Sequence[LabelledFile], *, where: str, max_corrupt: float, progress: Progress | None = None
) -> Collected:
    """Read every header, set aside what cannot be used, number the classes.

    Classes are sorted by name, or by value where all names are whole numbers.
    """
    headers: list[Header | None] = []
    corrupt: list[tuple[str, str]] = []
    with quiet(), ThreadPoolExecutor(workers()) as pool:
        for done, (file, found) in enumerate(zip(files, pool.map(_try_header, files)), start=1):
            headers.append(found if isinstance(found, Header) else None)
            if isinstance(found, str):
                corrupt.append((file.path, found))
            if progress and (done % 500 == 0 or done == len(files)):
                progress("reading image headers", done, len(files))
    check_usable(corrupt, len(files), max_corrupt, where)
    good = [(file, header) for file, header in zip(files, headers, strict=True) if header is not None]
    names = ordered({file.label for file in files})
    check_names(names, where)
    if gone := sorted({file.label for file in files} - {file.label for file, _ in good}):
        raise DataError(f"{where}: no image of class {gone[0]!r} can be read; the first reason: {corrupt[0][1]}")
    index = {name: i for i, name in enumerate(names)}
    source = FileSource(
        paths=tuple(file.path for file, _ in good),
        keys=tuple(file.key for file, _ in good),
        labels=np.array([index[file.label] for file, _ in good], dtype=np.int64),
        classes=tuple(names),
        headers=tuple(header for _, header in good),
    )
    splits = np.array([file.split or "" for file, _ in good], dtype=object)
    declared = {name: np.flatnonzero(splits == name) for name in ("train", "val", "test") if (splits == name).any()}
    return Collected(source, declared, corrupt)


def check_usable(
    corrupt: Sequence[tuple[str, str]], total: int, max_corrupt: float, where: str, unit: str = "image"
) -> None:
    """Stop past the allowed share, naming the first place."""
    if len(corrupt) > max_corrupt * total:
        path, reason = corrupt[0]
        raise DataError(
            f"{where}: {len(corrupt)} of {total} {plural(unit)} cannot be used ({len(corrupt) / total:.1%}, allowed "
            f"are {max_corrupt:.1%}); repair or remove them; the first is {path}: {reason}"
        )


def check_left(names: Sequence[str], labels: Iterable[str], where: str) -> None:
    """No class may be gone with the samples that cannot be used."""
    if gone := sorted(set(labels) - set(names)):
        raise DataError(f"{where}: nothing of class {gone[0]!r} can be used; repair it, or take the class out")


def plural(unit: str) -> str:
    return unit if unit.endswith("s") else f"{unit}s"


def counted(count: int, unit: str) -> str:
    """How many there are of something: "1 step", "1,200 steps"."""
    return f"{count:,} {unit if count == 1 else plural(unit)}"


def check_names(names: Iterable[str], where: str) -> None:
    """Two classes whose names look the same are one class written in two ways."""
    seen: dict[str, str] = {}
    for name in names:
        plain = unicodedata.normalize("NFC", name).strip()
        if not plain:
            raise DataError(f"{where}: a class has an empty name; give every sample a label")
        if plain in seen:
            raise DataError(f"{where}: the classes {seen[plain]!r} and {name!r} look the same; merge or rename one")
        seen[plain] = name


def ordered(names: Iterable[str]) -> list[str]:
    names = sorted(names)
    return sorted(names, key=int) if all(name.isascii() and name.isdigit() for name in names) else names


def workers() -> int:
    """Threads for reading and decoding, which release Python's lock; as many as this process has cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(16, cores))


def _try_header(file: LabelledFile) -> Header | str:
    try:
        return read_header(file.path)
    except UnreadableImage as error:
        return str(error)
