"""One labelled data set with its splits: what images and sequences have in common."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from corinth.data.collect import CLASSIFICATION
from corinth.data.source import Source, TargetSource
from corinth.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Samples, labels and splits; nothing is prepared for a network yet.

    `splits` maps "train", "val" and "test" to sorted int64 positions in `source`; a part may be empty. `corrupt` lists
    what was left out because it cannot be used, as (place, reason).
    """

    name: str
    spec: str
    source: Any
    splits: dict[str, np.ndarray]
    declared_splits: tuple[str, ...]  # the parts that the data itself declares
    notes: tuple[str, ...]  # what was inferred, said aloud
    fingerprint: str  # sha256 of samples, label names and splits; not of where the data lies
    corrupt: tuple[tuple[str, str], ...] = ()
    max_corrupt: float = 0.05
    opened_with: Mapping[str, Any] = field(default_factory=dict)  # the options that open it like this again
    task: str = CLASSIFICATION  # what can be learnt from it

    @property
    def classes(self) -> tuple[str, ...]:
        return self.source.classes

    @property
    def num_classes(self) -> int:
        return len(self.source.classes)

    def __len__(self) -> int:
        return len(self.source)

    def facts(self) -> dict[str, Any]:
        """What is measured of the samples of this kind, as plain values."""
        return {}

    def describe(self) -> str:
        """The same in a few words."""
        return ""

    def positions(self, split: str) -> np.ndarray:
        """Positions of a part, or of "all"."""
        if split == "all":
            return np.arange(len(self.source))
        if split not in self.splits:
            raise UsageError(f"split {split!r} is none of {', '.join(self.splits)}, all")
        return self.splits[split]

    def scorable(self, split: str) -> bool:
        """Whether a part has samples and, where targets are of classes by place, a pixel, a box or a word with one."""
        rows = self.positions(split)
        if isinstance(self.source, TargetSource) and self.source.classes:
            return bool(self.source.amounts()[rows].any())
        return len(rows) > 0

    def labels(self, split: str = "all") -> np.ndarray:
        """int64 labels of a part, in the order of `positions`."""
        return self.source.labels[self.positions(split)]

    def with_shuffled_labels(self, seed: int) -> Self:
        """The same samples with the labels of the training and validation parts permuted: a control for leaks.

        A `UsageError` where the targets are masks or boxes.
        """
        labels = self.source.labels.copy()
        for split in ("train", "val"):
            rows = self.splits[split]
            labels[rows] = np.random.default_rng([seed, len(rows)]).permutation(labels[rows])
        source = relabelled(self.source, labels)
        notes = (*self.notes, "labels of the training and validation parts are shuffled (control)")
        return replace(self, source=source, notes=notes, fingerprint=fingerprint(source, self.splits))


def relabelled(source: Source, labels: np.ndarray, classes: tuple[str, ...] | None = None) -> Any:
    """The same samples with other labels; a `UsageError` where their targets are no labels."""
    if isinstance(source, TargetSource):
        raise UsageError(f"labels of a {type(source).__name__} cannot be replaced")
    copy: Any = source
    return replace(copy, labels=labels, classes=source.classes if classes is None else classes)


def fingerprint(source: Source, splits: dict[str, np.ndarray]) -> str:
    """The same for the same samples, labels and splits, wherever they lie."""
    digest = hashlib.sha256()
    for part in source.content():
        digest.update(part)
    if isinstance(source, TargetSource):
        digest.update("\n".join(source.classes).encode())
        for part in source.fingerprint_bytes():
            digest.update(part)
    else:
        digest.update("\n".join(source.classes[label] for label in source.labels).encode())
    for name in sorted(splits):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(splits[name], dtype="<i8").data)
    return digest.hexdigest()
