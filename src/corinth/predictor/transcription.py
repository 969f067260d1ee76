"""Transcription for its user: recordings in, what is said in them out."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corinth.data import Batch, Loader, SequenceData, Sequences, SequenceStore, SeriesEncoding
from corinth.data.sequences.loose import loose_series
from corinth.data.sequences.source import TranscriptSource, spoken
from corinth.errors import DataError, UsageError, WeightsError
from corinth.layers.ctc import beam_search
from corinth.predictor.predictor import Predictor, check_sizes
from corinth.predictor.sequences import answers
from corinth.tasks.editing import alignment, distance
from corinth.tasks.transcription import Transcription

BEAM = 16  # beginnings that are kept; 1: the best path


@dataclass(frozen=True)
class Transcript:
    """What is said in a recording, and how likely the network finds just that; or `error`, why there is none."""

    name: str
    text: str | None = None
    labels: tuple[str, ...] = ()
    probability: float | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        if self.error is not None:
            return {"name": self.name, "error": self.error}
        return {
            "name": self.name,
            "text": self.text,
            "labels": list(self.labels),
            "probability": self.probability,
        }


@dataclass(frozen=True)
class TranscriptEvaluation:
    """The errors in N transcripts. `error_rate` is the fewest edits (labels substituted, missed, added) that turn what
    was said into what is true, over the true labels of all recordings: of words the word error rate, of characters the
    character error rate. `word_error_rate` is that of whole words, `exact` the share of recordings without an error,
    `per_sample` (N,) the error rate of each.
    """

    samples: int
    labels: int
    error_rate: float
    word_error_rate: float
    exact: float
    substituted: int
    missed: int
    added: int
    beam: int
    per_sample: np.ndarray
    index: np.ndarray
    classes: tuple[str, ...] = ()
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def score(self) -> float:
        return self.error_rate

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the per-sample arrays are left out."""
        rates = {name: getattr(self, name) for name in ("samples", "labels", "error_rate", "word_error_rate", "exact")}
        edits = {name: getattr(self, name) for name in ("substituted", "missed", "added", "beam")}
        return rates | edits | {"dropped": []}


class Transcriber(Predictor):
    task = "transcription"
    preprocess: SeriesEncoding

    @property
    def units(self) -> str:
        """What a label is, "words" or "characters"."""
        return (self.data or {}).get("transcript_units", "words")

    def predict(self, recordings: Any | Iterable[Any], *, batch_size: int = 64, beam: int = BEAM) -> list[Transcript]:
        """What is said in each: recordings by their paths (a folder stands for those in it), or series as
        `SequenceClassifier.predict` takes them. `beam` beginnings of a transcript are kept while it is searched for; 1
        takes the likeliest path, which is fast. A file that cannot be read becomes a transcript with `error`.
        """
        check_sizes(beam=beam)
        if isinstance(recordings, str | Path | Tensor | np.ndarray):
            recordings = [recordings]

        def ask(names: Sequence[str], inputs: Sequences) -> list[Transcript]:
            heard = zip(names, self._heard(inputs, beam), strict=True)
            return [self._transcript(name, labels, likelihood) for name, (labels, likelihood) in heard]

        def fail(name: str, reason: str) -> Transcript:
            return Transcript(name, error=reason)

        return answers(loose_series(recordings, self.preprocess.audio_rate), self.preprocess, batch_size, ask, fail)

    def _transcript(self, name: str, labels: Sequence[int], likelihood: float) -> Transcript:
        words = tuple(self.classes[label] for label in labels)
        return Transcript(name, spoken(words, self.units), words, min(1.0, math.exp(likelihood)))

    @torch.inference_mode()
    def logits(self, inputs: Sequences) -> Tensor:
        """Encoded recordings to (B, T, K + 1), the blank last."""
        batch = Batch(inputs.to(self.device), torch.empty(0), torch.arange(len(inputs)))
        found = Transcription(self.model, self.classes).predict(batch).logits.float()
        if not found.isfinite().all():
            raise WeightsError("the network's outputs are not finite; its weights are damaged")
        return found

    def _heard(self, inputs: Sequences, beam: int) -> list[tuple[list[int], float]]:
        return beam_search(self.logits(inputs), inputs.lengths, beam)

    def evaluate(
        self, data: SequenceData, split: str = "test", *, batch_size: int = 512, beam: int = BEAM
    ) -> TranscriptEvaluation:
        """Score one part of `data`, or all of it (`split="all"`); labels are matched by name."""
        check_sizes(beam=beam)
        if not len(data.positions(split)):
            raise DataError(f"the {split} part of {data.name} is empty; choose another, or all")
        if not isinstance(data.source, TranscriptSource):
            raise UsageError(f"{data.name} holds no recordings with transcripts, which this {self.arch} needs")
        self.preprocess.check_data(data)
        source = data.source.onto(self.classes, data.name)
        index, edits, counts, words, kinds = [], [], [], [], np.zeros(3, dtype=np.int64)
        for position, said in self._transcripts(data, split, batch_size, beam):
            true = source.transcripts[position].tolist()
            pairs = alignment(said, true)
            kinds += [sum(map(kind, pairs)) for kind in (_substituted, _missed, _added)]
            index.append(position)
            edits.append(sum(a != b for a, b in pairs))
            counts.append(len(true))
            words.append(self._word_edits(said, source.text(position)))
        return TranscriptEvaluation(
            samples=len(index),
            labels=sum(counts),
            error_rate=sum(edits) / sum(counts),
            word_error_rate=sum(edits for edits, _ in words) / sum(count for _, count in words),
            exact=float(np.mean(np.array(edits) == 0)),
            substituted=int(kinds[0]),
            missed=int(kinds[1]),
            added=int(kinds[2]),
            beam=beam,
            per_sample=np.array(edits) / np.array(counts),
            index=np.array(index),
        )

    def _transcripts(
        self, data: SequenceData, split: str, batch_size: int, beam: int
    ) -> Iterator[tuple[int, list[int]]]:
        for batch in Loader(SequenceStore(data, split, self.preprocess), batch_size):
            heard = self._heard(batch.inputs, beam)
            yield from ((i, labels) for i, (labels, _) in zip(batch.index.tolist(), heard, strict=True))

    def _word_edits(self, said: list[int], true: str) -> tuple[int, int]:
        """Edits of whole words, and how many words are true."""
        words = [spoken([self.classes[label] for label in said], self.units).split(), true.split()]
        number = {word: i for i, word in enumerate(dict.fromkeys(words[0] + words[1]))}
        return distance(*([number[word] for word in side] for side in words)), len(words[1])


def _substituted(pair: tuple[int | None, int | None]) -> bool:
    return None not in pair and pair[0] != pair[1]


def _missed(pair: tuple[int | None, int | None]) -> bool:
    return pair[1] is None


def _added(pair: tuple[int | None, int | None]) -> bool:
    return pair[0] is None
