"""Pairs of a text and its translation, by position."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from corinth.data.collect import Collected, check_usable
from corinth.data.sequences.files import declared_parts
from corinth.data.sequences.strings import Texts
from corinth.errors import DataError

TRANSLATION = "translation"


@dataclass(frozen=True)
class Pair:
    """A text and its translation; either may be empty as it was read."""

    source: str
    target: str
    place: str  # where it was read, such as "train.en, line 3"
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class PairSource(Texts):
    """Texts and their translations, none of them empty. Those with the same text are the same sample: another
    translation of it must not be tested on either."""

    translations: tuple[str, ...]
    direction: tuple[str, str]  # what the two are called, such as ("en", "de")
    unit: ClassVar[str] = "pair"
    classes: ClassVar[tuple[str, ...]] = ()

    @property
    def labels(self) -> np.ndarray:
        return np.zeros(len(self), dtype=np.int64)

    def target(self, i: int) -> Any:
        return self.translations[i]

    def fingerprint_bytes(self) -> Iterable[bytes]:
        for text in self.translations:
            yield text.encode() + b"\0"

    def amounts(self) -> np.ndarray:
        return np.zeros((len(self), 0), dtype=np.int64)

    def onto(self, classes: Sequence[str], where: str) -> "PairSource":
        return self


def collected(
    pairs: Sequence[Pair], direction: tuple[str, str], notes: Sequence[str], where: str, max_corrupt: float
) -> Collected:
    """Pairs as a data set; those with an empty side are left out."""
    if not pairs:
        raise DataError(f"{where}: there are no pairs of sentences")
    good = [pair for pair in pairs if pair.source and pair.target]
    empty = [
        (pair.place, f"the {'target' if pair.source else 'source'} is empty")
        for pair in pairs
        if not (pair.source and pair.target)
    ]
    check_usable(empty, len(pairs), max_corrupt, where, "pair")
    source = PairSource(
        texts=tuple(pair.source for pair in good),
        translations=tuple(pair.target for pair in good),
        places=tuple(pair.place for pair in good),
        direction=direction,
    )
    return Collected(source, declared_parts([pair.split for pair in good]), empty, list(notes), TRANSLATION)
