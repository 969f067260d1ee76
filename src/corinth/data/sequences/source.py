"""Texts and time series with their labels, by position."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, ClassVar, Literal

import numpy as np

from corinth.data.dataset import DataSet
from corinth.data.measured import Measured
from corinth.data.sequences.clips import ClipSource
from corinth.data.sequences.forecast import ForecastSource
from corinth.data.sequences.labelled import StepLabels
from corinth.data.sequences.language import PassageSource
from corinth.data.sequences.pairs import PairSource
from corinth.data.sequences.strings import Texts
from corinth.data.sequences.tagged import TaggedSource
from corinth.data.source import number_groups
from corinth.errors import DataError

CLASSIFICATION, REGRESSION = "sequence-classification", "sequence-regression"
TRANSCRIPTION = "transcription"
SPACE = "\u2423"  # the label between words, where labels are characters
LENGTHS = {
    "text": "characters",
    "series": "steps",
    "sentence": "words",
    "recording": "steps",
    "passage": "characters",
    "window": "steps",
    "pair": "characters",
    "clip": "frames",
}  # in what they are measured


@dataclass(frozen=True, kw_only=True)
class TextSource(Texts):
    """Texts with a label each."""

    labels: np.ndarray  # int64 (N,), positions in `classes`
    classes: tuple[str, ...]
    unit: ClassVar[str] = "text"


@dataclass(frozen=True, kw_only=True)
class Series:
    """Time series of C channels, float32 (T, C), finite, each with at least one step; their labels say the subclass."""

    series: tuple[np.ndarray, ...]
    places: tuple[str, ...]
    audio_rate: int | None = None  # samples a second of the sound that they were made of
    digests: tuple[bytes, ...] = ()  # of that sound: what is computed from it differs in its last digits by machine
    groups: tuple[str, ...] = ()  # of each series what must stay in one part with it, such as the person or the cell
    order: tuple[float, ...] = ()  # of each series its place among those of its group, such as the cycle of a cell
    order_name: str = "place"
    channel_names: tuple[str, ...] = ()

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


@dataclass(frozen=True, kw_only=True)
class SeriesSource(Series):
    """Series with a label each."""

    labels: np.ndarray  # int64 (N,), positions in `classes`
    classes: tuple[str, ...]
    unit: ClassVar[str] = "series"


@dataclass(frozen=True, kw_only=True)
class MeasuredSource(Measured, SeriesSource):
    """Time series with a number each; there are no classes."""


@dataclass(frozen=True, kw_only=True)
class SteppedSource(StepLabels, Series):
    """Time series with a class for every step."""

    unit: ClassVar[str] = "series"

    @classmethod
    def of(cls, source: SeriesSource) -> "SteppedSource":
        """Of series with a label each, which is then that of all steps."""
        common = {field.name: getattr(source, field.name) for field in fields(Series)}
        tags = tuple(np.full(len(values), label) for values, label in zip(source.series, source.labels.tolist()))
        return cls(tags=tags, classes=source.classes, **common)


@dataclass(frozen=True, kw_only=True)
class TranscriptSource(Series):
    """Recordings, each with the labels that are heard in it, one after the other, positions in `classes`."""

    transcripts: tuple[np.ndarray, ...]  # int64 (U,) of each, with at least one label
    classes: tuple[str, ...]
    units: Literal["words", "characters"] = "words"  # what a label is
    unit: ClassVar[str] = "recording"

    @property
    def labels(self) -> np.ndarray:
        return np.zeros(len(self), dtype=np.int64)

    def target(self, i: int) -> np.ndarray:
        return self.transcripts[i]

    def text(self, i: int) -> str:
        """The transcript, as a person writes it."""
        return spoken([self.classes[label] for label in self.transcripts[i]], self.units)

    def fingerprint_bytes(self) -> Iterable[bytes]:
        for labels in self.transcripts:
            yield labels.astype("<i8").tobytes() + b"\n"

    def amounts(self) -> np.ndarray:
        """int64 (N, K): how often each label is heard."""
        return np.stack([np.bincount(labels, minlength=len(self.classes)) for labels in self.transcripts])

    def onto(self, classes: Sequence[str], where: str) -> "TranscriptSource":
        """The same with the labels of a run; one that it does not know is a `DataError`."""
        number = {name: i for i, name in enumerate(classes)}
        for place, labels in zip(self.places, self.transcripts, strict=True):
            if unknown := [self.classes[label] for label in labels if self.classes[label] not in number]:
                raise DataError(
                    f"{where}: the transcript of {place} has {unknown[0]!r}, which was not seen in training; the run "
                    f"knows {', '.join(classes)}"
                )
        table = np.array([number.get(name, -1) for name in self.classes], dtype=np.int64)
        return replace(self, transcripts=tuple(table[labels] for labels in self.transcripts), classes=tuple(classes))


def spoken(labels: Sequence[str], units: str) -> str:
    """Labels as one text: words with blanks between, or characters, of which `SPACE` is a blank."""
    return " ".join(labels) if units == "words" else "".join(labels).replace(SPACE, " ")


def _bytes(values: np.ndarray) -> bytes:
    return str(values.shape).encode() + np.ascontiguousarray(values, dtype="<f4").tobytes()


Sequenced = (
    TextSource
    | SeriesSource
    | SteppedSource
    | ClipSource
    | TaggedSource
    | PassageSource
    | PairSource
    | TranscriptSource
    | ForecastSource
)


@dataclass(frozen=True, kw_only=True)
class SequenceData(DataSet):
    """Texts, time series, clips, tagged sentences, running text, translations, recordings with transcripts or
    series to forecast. `corrupt` lists those that cannot be used: empty ones, and series with missing values."""

    source: Sequenced

    @property
    def is_text(self) -> bool:
        return isinstance(self.source, TextSource)

    def facts(self) -> dict[str, Any]:
        channels = {"channels": self.source.channels} if isinstance(self.source, Series | ForecastSource) else {}
        return {"median_length": int(np.median(self.source.lengths)), **channels}

    def describe(self) -> str:
        found = self.facts()
        if isinstance(self.source, ClipSource):
            return f"median length {found['median_length']:,} frames, {self.source.said}"
        what = f"steps of {found['channels']} channels" if "channels" in found else LENGTHS[self.source.unit]
        return f"median length {found['median_length']:,} {what}"
