"""Texts and time series with their labels, by position."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np

from corinth.data.dataset import DataSet
from corinth.data.sequences.language import PassageSource
from corinth.data.sequences.pairs import PairSource
from corinth.data.sequences.tagged import TaggedSource
from corinth.data.source import number_groups

CLASSIFICATION, REGRESSION = "sequence-classification", "sequence-regression"
LENGTHS = {
    "text": "characters",
    "series": "steps",
    "sentence": "words",
    "passage": "characters",
    "pair": "characters",
}  # in what they are measured


@dataclass(frozen=True)
class TextSource:
    """Texts, none of them empty; `places` says where each was read, such as "train.tsv, line 3"."""

    texts: tuple[str, ...]
    places: tuple[str, ...]
    labels: np.ndarray  # int64 (N,), positions in `classes`
    classes: tuple[str, ...]
    unit: ClassVar[str] = "text"

    def __len__(self) -> int:
        return len(self.texts)

    def sequence(self, i: int) -> str:
        return self.texts[i]

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 (N,), in characters."""
        return np.array([len(text) for text in self.texts], dtype=np.int64)

    def name(self, i: int) -> str:
        return self.places[i]

    def key(self, i: int) -> str:
        return self.texts[i]

    def duplicate_groups(self) -> np.ndarray:
        return number_groups(text.encode() for text in self.texts)

    def content(self) -> Iterable[bytes]:
        for text in self.texts:
            yield text.encode() + b"\0"


@dataclass(frozen=True)
class SeriesSource:
    """Time series of C channels, float32 (T, C), finite, each with at least one step."""

    series: tuple[np.ndarray, ...]
    places: tuple[str, ...]
    labels: np.ndarray  # int64 (N,), positions in `classes`
    classes: tuple[str, ...]
    audio_rate: int | None = None  # samples a second of the sound that they were made of
    digests: tuple[bytes, ...] = ()  # of that sound: what is computed from it differs in its last digits by machine
    groups: tuple[str, ...] = ()  # of each series what must stay in one part with it, such as the person or the cell
    order: tuple[float, ...] = ()  # of each series its place among those of its group, such as the cycle of a cell
    order_name: str = "place"
    channel_names: tuple[str, ...] = ()
    unit: ClassVar[str] = "series"

    def __len__(self) -> int:
        return len(self.series)

    @property
    def channels(self) -> int:
        return self.series[0].shape[1]

    def sequence(self, i: int) -> np.ndarray:
        return self.series[i]

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 (N,), in steps."""
        return np.array([len(values) for values in self.series], dtype=np.int64)

    def name(self, i: int) -> str:
        return self.places[i]

    def key(self, i: int) -> str:
        return self.places[i]

    def duplicate_groups(self) -> np.ndarray:
        return number_groups(
            self.digests or [blake2b(_bytes(values), digest_size=16).digest() for values in self.series]
        )

    def content(self) -> Iterable[bytes]:
        return iter(self.digests) if self.digests else map(_bytes, self.series)

    def channel_name(self, channel: int) -> str:
        return repr(self.channel_names[channel]) if self.channel_names else f"channel {channel + 1}"


@dataclass(frozen=True)
class MeasuredSource(SeriesSource):
    """Time series with a number each, `targets` float64 (N,), finite, in the user's unit; there are no classes."""

    targets: np.ndarray = field(default_factory=lambda: np.empty(0))
    target_name: str = "target"

    def target(self, i: int) -> np.ndarray:
        return self.targets[i]

    def fingerprint_bytes(self) -> Iterable[bytes]:
        yield self.targets.astype("<f8").tobytes()

    def amounts(self) -> np.ndarray:
        """int64 (N, 0): there are no classes to have."""
        return np.empty((len(self), 0), dtype=np.int64)

    def onto(self, classes: Sequence[str], where: str) -> "MeasuredSource":
        return self


def _bytes(values: np.ndarray) -> bytes:
    return str(values.shape).encode() + np.ascontiguousarray(values, dtype="<f4").tobytes()


@dataclass(frozen=True, kw_only=True)
class SequenceData(DataSet):
    """Texts, time series, tagged sentences, running text or translations. `corrupt` lists those that cannot be used:
    empty ones, and series with missing values."""

    source: TextSource | SeriesSource | TaggedSource | PassageSource | PairSource

    @property
    def is_text(self) -> bool:
        return isinstance(self.source, TextSource)

    def facts(self) -> dict[str, Any]:
        channels = {"channels": self.source.channels} if isinstance(self.source, SeriesSource) else {}
        return {"median_length": int(np.median(self.source.lengths)), **channels}

    def describe(self) -> str:
        found = self.facts()
        what = f"steps of {found['channels']} channels" if "channels" in found else LENGTHS[self.source.unit]
        return f"median length {found['median_length']:,} {what}"
