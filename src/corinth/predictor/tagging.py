"""Tagging for its user: sentences in, a tag for each word out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corinth.data import Batch, Loader, SequenceData, Sequences, SequenceStore
from corinth.data.sequences.encoding import WordEncoding
from corinth.data.sequences.files import read_text
from corinth.data.sequences.loose import shortened
from corinth.data.sequences.tagged import CONLL_SUFFIXES, TaggedSource, read_words
from corinth.data.tables import TABLE_SUFFIXES
from corinth.errors import DataError, UsageError
from corinth.predictor.evaluation import ClassScore, per_class_scores
from corinth.predictor.predictor import Predictor, check_finite, check_sizes
from corinth.tasks import SequenceTagging
from corinth.tasks.entities import entities_of, has_entities


@dataclass(frozen=True)
class TagPrediction:
    """The words of a sentence and the tag of each; or `error`, why there are none."""

    name: str
    words: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    error: str | None = None

    columns = ("position", "word", "tag")  # of `rows`, beside the name

    @property
    def summary(self) -> str:
        """Such as "flights/NOUN from/ADP boston/PROPN"."""
        return " ".join(f"{word}/{tag}" for word, tag in zip(self.words, self.tags))

    def rows(self) -> list[dict[str, Any]]:
        """A row of a table for each word."""
        pairs = enumerate(zip(self.words, self.tags), start=1)
        return [{"name": self.name, "position": i, "word": word, "tag": tag} for i, (word, tag) in pairs]

    def to_dict(self) -> dict[str, Any]:
        if self.error is not None:
            return {"name": self.name, "error": self.error}
        return {"name": self.name, "words": list(self.words), "tags": list(self.tags)}


@dataclass(frozen=True)
class TagEvaluation:
    """The scores of N sentences. `accuracy` is the share of words with the right tag, `per_sample` (N,) that of each
    sentence. Where tags are of the form B-x, I-x, O, `entities` scores whole entities: those with the right type, first
    and last word (Tjong Kim Sang & De Meulder 2003, CoNLL-2003).
    """

    classes: tuple[str, ...]
    samples: int
    words: int
    accuracy: float
    per_class: tuple[ClassScore, ...]
    entities: ClassScore | None
    per_sample: np.ndarray
    index: np.ndarray
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def score(self) -> float:
        return self.accuracy

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the per-sample arrays are left out."""
        found = self.entities
        return {
            "samples": self.samples,
            "words": self.words,
            "accuracy": self.accuracy,
            **({} if found is None else {"entity_f1": found.f1, "entities": found.to_dict()}),
            "per_class": {score.name: score.to_dict() for score in self.per_class},
            "classes": list(self.classes),
            "dropped": [],
        }


class Tagger(Predictor):
    task = "sequence-tagging"
    preprocess: WordEncoding

    def predict(self, sentences: Any | Iterable[Any], *, batch_size: int = 64) -> list[TagPrediction]:
        """A tag for each word. Sentences are strings, whose words have blanks between, or sequences of words; a path
        (`Path`) is a UTF-8 file with a sentence a line. A file that cannot be read becomes a prediction with `error`.
        """
        check_sizes(batch_size=batch_size)
        if isinstance(sentences, str | Path):
            sentences = [sentences]
        found: list[TagPrediction] = []
        for item in sentences:
            found += _listed(item)
        ready = sorted((i for i, p in enumerate(found) if p.error is None), key=lambda i: len(found[i].words))
        for start in range(0, len(ready), batch_size):
            places = ready[start : start + batch_size]
            rows = self.preprocess([found[place].words for place in places])
            for place, tags in zip(places, self._tags(Sequences.of(rows)), strict=True):
                names = tuple(self.classes[tag] for tag in tags.tolist())
                found[place] = TagPrediction(found[place].name, found[place].words, names)
        return found

    @torch.inference_mode()
    def _tags(self, inputs: Sequences) -> list[np.ndarray]:
        """The tags of each sentence, without padding."""
        batch = Batch(inputs.to(self.device), torch.empty(0), torch.arange(len(inputs)))
        found = SequenceTagging(self.model, self.classes).predict(batch)
        return [row[:length].cpu().numpy() for row, length in zip(found.tags, found.lengths.tolist())]

    def evaluate(self, data: SequenceData, split: str = "test", *, batch_size: int = 512) -> TagEvaluation:
        """Score one part of `data`, or all of it (`split="all"`); tags are matched by name."""
        if not len(data.positions(split)):
            raise DataError(f"the {split} part of {data.name} is empty; choose another, or all")
        if not isinstance(data.source, TaggedSource):
            raise UsageError(f"{data.name} holds no tagged sentences, which this {self.arch} needs")
        check_finite(self.model)
        source = data.source.onto(self.classes, data.name)
        confusion = np.zeros((len(self.classes),) * 2, dtype=np.int64)
        index, shares, spans = [], [], []
        for batch in Loader(SequenceStore(data, split, self.preprocess), batch_size):
            for position, tags in zip(batch.index.tolist(), self._tags(batch.inputs), strict=True):
                true = source.tags[position]
                np.add.at(confusion, (true, tags), 1)
                index.append(position)
                shares.append(float((tags == true).mean()))
                spans.append(
                    (entities_of([self.classes[t] for t in true]), entities_of([self.classes[t] for t in tags]))
                )
        return TagEvaluation(
            classes=self.classes,
            samples=len(index),
            words=int(confusion.sum()),
            accuracy=float(confusion.trace() / confusion.sum()),
            per_class=per_class_scores(self.classes, confusion),
            entities=_entity_score(spans) if has_entities(self.classes) else None,
            per_sample=np.array(shares),
            index=np.array(index),
        )


def _listed(item: Any) -> list[TagPrediction]:
    """Sentences without tags."""
    if isinstance(item, Path):
        try:
            if item.suffix.lower() in CONLL_SUFFIXES:
                return [TagPrediction(f"{item.parent / place}", words) for words, place in read_words(item)]
            if item.suffix.lower() in TABLE_SUFFIXES and item.is_file():
                raise DataError(f"{item} is a table; sentences are in .txt files, one a line, or {CONLL_SUFFIXES[0]}")
            lines = [line for line in read_text(item).split("\n") if line.strip()]
        except DataError as error:
            return [TagPrediction(str(item), error=str(error))]
        if not lines:
            return [TagPrediction(str(item), error=f"{item}: has no sentences")]
        return [TagPrediction(f"{item}, sentence {i}", tuple(line.split())) for i, line in enumerate(lines, start=1)]
    if not isinstance(item, str) and not (isinstance(item, Sequence) and all(isinstance(w, str) for w in item)):
        raise UsageError(f"a sentence is a string, words or a path, and this is {type(item).__name__}")
    words = tuple(item.split()) if isinstance(item, str) else tuple(item)
    name = shortened(" ".join(words)) or "(empty)"
    return [TagPrediction(name, words) if words else TagPrediction(name, error="the sentence has no words")]


def _entity_score(spans: Sequence[tuple[set[tuple[str, int, int]], set[tuple[str, int, int]]]]) -> ClassScore:
    right = sum(len(true & said) for true, said in spans)
    called, support = sum(len(said) for _, said in spans), sum(len(true) for true, _ in spans)
    precision, recall = right / called if called else 0.0, right / support if support else 0.0
    f1 = 2 * right / (called + support) if called + support else 0.0
    return ClassScore("entities", precision, recall, f1, support)
