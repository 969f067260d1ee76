"""The one path from a text or a series to a network's input; it belongs to the weights and is saved with them."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from corinth.data.augmentation import SeriesFeatures
from corinth.data.measured import target_scale
from corinth.data.sequences.asked import Asked
from corinth.data.sequences.batch import Sequences
from corinth.data.sequences.clip_encoding import ClipEncoding
from corinth.data.sequences.features import centred, cepstra, normalised, stacked, with_deltas
from corinth.data.sequences.labelled import FRAMES
from corinth.data.sequences.pair_encoding import PairEncoding
from corinth.data.sequences.series import unusable
from corinth.data.sequences.source import MeasuredSource, SequenceData, Series, TextSource
from corinth.data.sequences.tagged import TaggedSource
from corinth.data.sequences.tokenizing import (
    SPECIAL,
    UNKNOWN,
    Kind,
    looks,
    read_tokenizer,
    train_tokenizer,
    train_word_tokenizer,
)
from corinth.errors import DataError, UsageError

CONSTANT = 1e-6  # spread of a channel over its largest value, up to which it is rounding
LONGEST_TEXT = 512  # tokens, unless a person says otherwise


@dataclass(frozen=True, kw_only=True)
class Tokens(Asked):
    """What encodings by a tokenizer have in common."""

    tokenizer: str  # the library's JSON
    typical: int = 1  # tokens of the median training sample
    longest: int = 1  # of the longest, as far as it is kept

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return read_tokenizer(self.tokenizer)

    @property
    def vocab_size(self) -> int:
        return self._tokenizer.get_vocab_size()

    def network_options(self) -> dict[str, int]:
        return {"vocab_size": self.vocab_size}

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a typical input."""
        return (self.typical,)

    def random_inputs(self, size: int, steps: int | None = None) -> Sequences:
        """Made-up inputs of so many steps, by default of the longest, to time and to measure a training step with."""
        return Sequences.of(torch.randint(self.vocab_size, (size, self.longest if steps is None else steps)))


@dataclass(frozen=True, kw_only=True)
class TextEncoding(Tokens):
    """Texts to tokens, int64 (T,), of which the first `max_len` are kept."""

    max_len: int = LONGEST_TEXT
    kind: ClassVar[str] = "text"

    def __call__(self, texts: Sequence[str]) -> list[Tensor]:
        """A text without a single token, as one of blanks is, becomes the unknown token."""
        unknown = self._tokenizer.token_to_id(UNKNOWN)
        found = (encoding.ids[: self.max_len] for encoding in self._tokenizer.encode_batch(list(texts)))
        return [torch.tensor(ids or [unknown], dtype=torch.int64) for ids in found]

    def count_cut(self, data: SequenceData) -> int:
        assert isinstance(data.source, TextSource)
        return sum(count > self.max_len for count in self.counts(data.source.texts))

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, those behind `max_len` too."""
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch(list(texts))]

    def tokens(self, text: str) -> list[str]:
        return self._tokenizer.encode(text).tokens[: self.max_len]

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)

    @classmethod
    def trained(
        cls, data: SequenceData, *, tokenizer: Kind, vocab_size: int, lowercase: bool, max_len: int | None
    ) -> "TextEncoding":
        """With a tokenizer of the training part alone."""
        source = data.source
        assert isinstance(source, TextSource)
        texts = [source.texts[i] for i in data.positions("train")]
        trained = train_tokenizer(texts, tokenizer, vocab_size, lowercase=lowercase)
        most = LONGEST_TEXT if max_len is None else max_len
        counts = np.array([len(encoding.ids) for encoding in trained.encode_batch(texts)]).clip(1, most)
        return cls(tokenizer=trained.to_str(), max_len=most, typical=int(np.median(counts)), longest=int(counts.max()))


@dataclass(frozen=True, kw_only=True)
class SeriesEncoding(Asked):
    """Series (T, C) to float32 of zero mean and unit spread in each channel; the first `max_len` steps are kept.

    This is done a batch at a time, with what `corinth.data.sequences.features` does: a recording's bands lose
    their own mean, a series has zero mean and unit spread (`normalise`), bands become cosines over them
    (`cepstra`), changes are channels too (`deltas`), and several steps become one (`stack`).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    max_len: int | None = None
    typical: int = 1  # steps of the median training series
    longest: int = 1  # of the longest, as far as it is kept
    audio_rate: int | None = None  # samples a second of the sound that the series are made of
    normalise: bool = False
    cepstra: int = 0
    deltas: bool = False
    stack: int = 1
    target_mean: float | None = None  # of numbers to be predicted, in the training part
    target_std: float | None = None
    channel_names: tuple[str, ...] = ()  # where the data have some
    kind: ClassVar[str] = "series"

    @property
    def channels(self) -> int:
        """Of the series."""
        return len(self.mean)

    @property
    def width(self) -> int:
        """Numbers of a step, as the network takes it."""
        return (self.cepstra or self.channels) * (2 if self.deltas else 1) * self.stack

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a typical input."""
        return (self.steps(self.typical), self.width)

    def steps(self, length: int) -> int:
        """Steps, as the network takes them, of a series of so many."""
        return -(-min(length, self.max_len or length) // self.stack)

    def __call__(self, series: Sequence[np.ndarray]) -> list[Tensor]:
        """Each as the network takes it."""
        return [self.finish(Sequences.of(row[None])).values[0] for row in self.rows(series)]

    def rows(self, series: Sequence[np.ndarray]) -> list[Tensor]:
        """Each (T, C), as far as it is kept, before what is done to a batch."""
        return [torch.from_numpy(self.checked(values)[: self.max_len].copy()) for values in series]

    def finish(self, inputs: Sequences) -> Sequences:
        """Rows of `rows`, as the network takes them."""
        return self.widened(self.levelled(inputs))

    def levelled(self, inputs: Sequences) -> Sequences:
        """The first half of `finish`, before which and behind which training series are changed."""
        inputs = inputs if self.audio_rate is None else centred(inputs)
        mean, std = (torch.tensor(values, device=inputs.values.device) for values in (self.mean, self.std))
        values = (inputs.values - mean) / std * inputs.inside()[:, :, None]
        return normalised(Sequences(values, inputs.lengths)) if self.normalise else Sequences(values, inputs.lengths)

    def widened(self, inputs: Sequences) -> Sequences:
        """The second half."""
        inputs = cepstra(inputs, self.cepstra) if self.cepstra else inputs
        inputs = with_deltas(inputs) if self.deltas else inputs
        return stacked(inputs, self.stack) if self.stack > 1 else inputs

    def network_options(self) -> dict[str, int]:
        return {"input_size": self.width}

    def count_cut(self, data: SequenceData) -> int:
        rows = data.positions("train" if data.task == FRAMES else "all")  # every step of the others gets an answer
        return 0 if self.max_len is None else int((data.source.lengths[rows] > self.max_len).sum())

    def check_data(self, data: SequenceData) -> None:
        """Data of another number of channels are a `DataError`."""
        if not isinstance(data.source, Series):
            raise DataError(f"{data.name} holds no series, and the network takes some of {self.channels} channels")
        if (found := data.source.channels) != self.channels:
            raise DataError(f"{data.name} has series of {found} channels, and the network takes {self.channels}")
        names = data.source.channel_names
        if self.channel_names and names and names != self.channel_names:
            raise DataError(
                f"{data.name} has the channels {', '.join(names)}, and the network takes "
                f"{', '.join(self.channel_names)}; name them in that order with channel_columns"
            )
        rate = getattr(data.source, "audio_rate", None)
        if rate != self.audio_rate:
            have, need = (f"sound at {r} Hz" if r else "no sound" for r in (rate, self.audio_rate))
            raise DataError(
                f"{data.name} has {have}, and the network was trained on {need}; "
                f"open it with audio_rate={self.audio_rate}"
            )

    def checked(self, values: np.ndarray) -> np.ndarray:
        """The series, if it can be used."""
        if values.ndim != 2 or values.shape[1] != self.channels:
            raise DataError(f"a series here is (steps, {self.channels}) numbers, and this one is {values.shape}")
        if (reason := unusable(values)) is not None:
            raise DataError(reason)
        return values

    def random_inputs(self, size: int, steps: int | None = None) -> Sequences:
        """Made-up inputs of so many steps, by default of the longest, to time and to measure a training step with."""
        return Sequences.of(torch.randn(size, self.steps(self.longest) if steps is None else steps, self.width))

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)

    @classmethod
    def measured(
        cls, data: SequenceData, *, max_len: int | None, features: SeriesFeatures | None = None
    ) -> "SeriesEncoding":
        """Mean and spread of the training part alone; a constant channel is only centred."""
        source = data.source
        assert isinstance(source, Series)
        if features is not None and features.cepstra > source.channels:
            raise UsageError(f"cepstra {features.cepstra} are more than the {source.channels} bands they are made of")
        rows = data.positions("train")
        lengths = source.lengths[rows] if max_len is None else np.minimum(source.lengths[rows], max_len)
        series = [source.series[i][:max_len] for i in rows]
        if source.audio_rate is not None:
            series = [centred(Sequences.of(torch.from_numpy(values)[None])).values[0].numpy() for values in series]
        values = np.concatenate(series).astype(np.float64)
        std = values.std(axis=0)
        return cls(
            mean=tuple(values.mean(axis=0).tolist()),
            std=tuple(np.where(std <= CONSTANT * np.abs(values).max(axis=0), 1.0, std).tolist()),
            max_len=max_len,
            typical=int(np.median(lengths)),
            longest=int(lengths.max()),
            audio_rate=source.audio_rate,
            **asdict(features or SeriesFeatures()),
            channel_names=source.channel_names,
            **(target_scale(data) if isinstance(source, MeasuredSource) else {}),
        )


@dataclass(frozen=True, kw_only=True)
class WordEncoding(Tokens):
    """Sentences that are words already to one token a word, int64 (T,)."""

    kind: ClassVar[str] = "words"
    max_len: ClassVar[None] = None

    def __call__(self, sentences: Sequence[Sequence[str]]) -> list[Tensor]:
        return [torch.tensor([self._number(word) for word in words], dtype=torch.int64) for words in sentences]

    def _number(self, word: str) -> int:
        """Of the word, or else of how it looks."""
        normalizer = self._tokenizer.normalizer
        form = word if normalizer is None else normalizer.normalize_str(word)
        found = (self._tokenizer.token_to_id(token) for token in (form, *looks(word)))
        unknown = SPECIAL.index(UNKNOWN)
        return max(next((number for number in found if number is not None), unknown), unknown)  # no word is padding

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)

    @classmethod
    def trained(cls, data: SequenceData, *, vocab_size: int, lowercase: bool) -> "WordEncoding":
        """With the words of the training part alone."""
        source = data.source
        assert isinstance(source, TaggedSource)
        rows = data.positions("train")
        trained = train_word_tokenizer((source.sentences[i] for i in rows), vocab_size, lowercase=lowercase)
        lengths = source.lengths[rows]
        return cls(tokenizer=trained.to_str(), typical=int(np.median(lengths)), longest=int(lengths.max()))


Encoding = TextEncoding | SeriesEncoding | ClipEncoding | WordEncoding | PairEncoding
ENCODINGS = (TextEncoding, SeriesEncoding, ClipEncoding, WordEncoding, PairEncoding)


def uncut(encoding: Any) -> Any:
    """The same encoding for sequences of any length."""
    return replace(encoding, max_len=None)


def to_dict(encoding: Any) -> dict[str, Any]:
    """The fields of an encoding, and its kind."""
    values = {field.name: getattr(encoding, field.name) for field in fields(encoding)}
    return {"kind": encoding.kind} | {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def encoding_from_dict(values: Mapping[str, Any], encodings: Sequence[type[Any]] = ENCODINGS) -> Any:
    """The inverse of `to_dict`; an unknown or missing key is a `UsageError`."""
    kinds: dict[str, Any] = {encoding.kind: encoding for encoding in encodings}
    rest = dict(values)
    cls = kinds.get(rest.pop("kind", ""))
    if cls is None:
        raise UsageError(f"the encoding is of kind {values.get('kind')!r}; it can be {', '.join(kinds)}")
    known = {field.name for field in fields(cls)}
    needed = {field.name for field in fields(cls) if field.default is MISSING}
    if set(rest) - known or needed - set(rest):
        wrong = sorted((set(rest) - known) | (needed - set(rest)))
        raise UsageError(f"an encoding of kind {cls.kind} has {', '.join(sorted(known))}; check {', '.join(wrong)}")
    return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in rest.items()})
