"""Sequences with a class for each of their steps: what sentences with tags, series and clips of frames have alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from corinth.errors import DataError

FRAMES = "frame-classification"


@dataclass(frozen=True, kw_only=True)
class StepLabels:
    """Of a source whose sequences have a class for every step."""

    tags: tuple[np.ndarray, ...]  # int64 (T,) of each, positions in `classes`
    classes: tuple[str, ...]
    label_word: ClassVar[str] = "label"  # what the class of a step is called

    @property
    def labels(self) -> np.ndarray:
        """int64 (N,), all 0: no sequence has a class of its own."""
        return np.zeros(len(self.tags), dtype=np.int64)

    def target(self, i: int) -> np.ndarray:
        return self.tags[i]

    def check_trained(self, rows: np.ndarray, where: str) -> None:
        """At least two classes among the training sequences at `rows`; else a `DataError`."""
        trained = np.flatnonzero(self.amounts()[rows].sum(axis=0)) if len(rows) else np.empty(0, dtype=np.int64)
        if len(trained) == 1:
            raise DataError(
                f"{where}: has only one {self.label_word}, {self.classes[trained[0]]!r}; at least two are needed to "
                "tell apart"
            )

    def fingerprint_bytes(self) -> Iterable[bytes]:
        for tags in self.tags:
            yield tags.astype("<i8").tobytes() + b"\n"

    def amounts(self) -> np.ndarray:
        """int64 (N, K): steps of every class."""
        return np.stack([np.bincount(tags, minlength=len(self.classes)) for tags in self.tags])

    def onto(self, classes: Sequence[str], where: str) -> Self:
        """The same with the classes of a run; one that it does not know is a `DataError`."""
        number = {name: i for i, name in enumerate(classes)}
        used = self.amounts().sum(axis=0)
        if unknown := [name for name, count in zip(self.classes, used) if count and name not in number]:
            raise DataError(
                f"{where}: the {self.label_word} {unknown[0]!r} was not seen in training; the run knows "
                f"{', '.join(classes)}"
            )
        table = np.array([number.get(name, -1) for name in self.classes], dtype=np.int64)
        copy: Any = self
        return replace(copy, tags=tuple(table[tags] for tags in self.tags), classes=tuple(classes))


def numbered(steps: Sequence[Sequence[str]], names: Sequence[str]) -> tuple[np.ndarray, ...]:
    """The labels of the steps of each sequence as positions in `names`."""
    number = {name: i for i, name in enumerate(names)}
    return tuple(np.array([number[label] for label in labels], dtype=np.int64) for labels in steps)
