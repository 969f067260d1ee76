"""Translation for its user: sentences in, their translations out, scored as translations are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corinth.data import Loader, SequenceData, Sequences, SequenceStore
from corinth.data.sequences.files import read_text
from corinth.data.sequences.loose import shortened
from corinth.data.sequences.pair_encoding import PairEncoding
from corinth.data.sequences.pairs import PairSource
from corinth.data.tables import TABLE_SUFFIXES
from corinth.errors import DataError, UsageError
from corinth.layers.search import beam_search
from corinth.predictor.evaluation import alone
from corinth.predictor.predictor import Predictor, check_finite, check_sizes
from corinth.predictor.written import AT_ONCE, BEAM, TextScores
from corinth.tasks import Translation
from corinth.tasks.translation import limits


@dataclass(frozen=True)
class TranslationPrediction:
    """A sentence and its translation, with the log-probability of that, divided by its length penalty; or `error`, why
    there is none."""

    name: str
    source: str = ""
    translation: str = ""
    score: float = 0.0
    error: str | None = None
    tokens: tuple[int, ...] = ()  # of the translation

    columns = ("source", "translation", "score")  # of `rows`, beside the name

    @property
    def summary(self) -> str:
        return self.translation

    def rows(self) -> list[dict[str, Any]]:
        """One row of a table."""
        values = {"source": self.source, "translation": self.translation, "score": f"{self.score:.4f}"}
        return [{"name": self.name, **values}]

    def to_dict(self) -> dict[str, Any]:
        if self.error is not None:
            return {"name": self.name, "error": self.error}
        return {"name": self.name, "source": self.source, "translation": self.translation, "score": self.score}


@dataclass(frozen=True, kw_only=True)
class TranslationEvaluation(TextScores):
    """Of N translations."""


class Translator(Predictor):
    task = "translation"
    preprocess: PairEncoding

    def predict(
        self, sentences: str | Path | Iterable[str | Path], *, batch_size: int = 64, beam: int = BEAM
    ) -> list[TranslationPrediction]:
        """A translation of each sentence: strings; a path (`Path`) is a UTF-8 file with a sentence a line. A file that
        cannot be read becomes a prediction with `error`. `beam` 1 is greedy search."""
        check_sizes(batch_size=batch_size, beam=beam)
        given = [sentences] if isinstance(sentences, str | Path) else sentences
        found = [entry for item in given for entry in _listed(item)]
        ready = [i for i, entry in enumerate(found) if entry.error is None]
        rows = dict(zip(ready, self.preprocess([found[i].source for i in ready]))) if ready else {}
        ready.sort(key=lambda i: len(rows[i]))  # similar lengths together
        for start in range(0, len(ready), batch_size):
            places = ready[start : start + batch_size]
            tokens, scores = self.search(Sequences.of([rows[i] for i in places]), beam)
            texts = self.preprocess.decoded(tokens)
            for place, row, text, score in zip(places, tokens, texts, scores, strict=True):
                found[place] = replace(found[place], translation=text, score=score, tokens=tuple(row))
        return found

    @torch.inference_mode()
    def search(self, inputs: Sequences, beam: int) -> tuple[list[list[int]], list[float]]:
        """The tokens of each translation, and its log-probability over its length penalty."""
        model: Any = self.model
        tokens: list[list[int]] = []
        scores: list[float] = []
        for part in inputs.tensor_split(min(len(inputs), -(-len(inputs) * beam // AT_ONCE))):
            part = part.to(self.device)
            found, values = beam_search(
                model.decode_step,
                model.encode(part.values, part.lengths),
                limits(part.lengths).to(self.device),
                beam,
                begin=self.preprocess.begin,
                end=self.preprocess.end,
            )
            tokens += found
            scores += values
        return tokens, scores

    @torch.inference_mode()
    def alignment(self, source: str, tokens: Sequence[int]) -> Tensor | None:
        """Where the network looked, (T, S), as it wrote each of `tokens`; None of one without attention."""
        (row,) = self.preprocess([source])
        before = torch.tensor([[self.preprocess.begin, *tokens[:-1]]], device=self.device)
        model: Any = self.model
        weights = model.forward_features(row[None].to(self.device), None, before)[1]
        return None if weights is None else weights[0].float().cpu()

    def evaluate(
        self, data: SequenceData, split: str = "test", *, batch_size: int = 512, beam: int = BEAM
    ) -> TranslationEvaluation:
        """Translate one part of `data`, or all of it (`split="all"`), and compare with its translations."""
        check_sizes(batch_size=batch_size, beam=beam)
        if not len(data.positions(split)):
            raise DataError(f"the {split} part of {data.name} is empty; choose another, or all")
        if not isinstance(data.source, PairSource):
            raise UsageError(f"{data.name} holds no translations, which this {self.arch} needs")
        self.preprocess.check_data(data)
        check_finite(self.model)
        encoding = self.preprocess
        task = Translation(self.model, begin=encoding.begin, end=encoding.end, decode=encoding.decoded)
        metrics = alone(task.metrics(validated=0)).to(self.device)
        index: list[int] = []
        texts: list[str] = []
        with torch.inference_mode():
            for batch in Loader(SequenceStore(data, split, encoding), batch_size, device=self.device):
                task.measure(metrics, batch)
                texts += encoding.decoded(self.search(batch.inputs, beam)[0])
                index += batch.index.tolist()
        translations = data.source.translations
        references = [[translations[i]] for i in index]
        return TranslationEvaluation.of(
            texts, references, translations, metrics.compute(), beam=beam, index=np.array(index)
        )


def _listed(item: Any) -> list[TranslationPrediction]:
    """Sentences without translations."""
    if isinstance(item, Path):
        try:
            if item.suffix.lower() in TABLE_SUFFIXES and item.is_file():
                raise DataError(f"{item} is a table; sentences to translate are in .txt files, one a line")
            lines = [line.strip() for line in read_text(item).split("\n") if line.strip()]
        except DataError as error:
            return [TranslationPrediction(str(item), error=str(error))]
        if not lines:
            return [TranslationPrediction(str(item), error=f"{item}: has no sentences")]
        return [TranslationPrediction(f"{item}, sentence {i}", line) for i, line in enumerate(lines, start=1)]
    if not isinstance(item, str):
        raise UsageError(f"a sentence is a string or a path, and this is {type(item).__name__}")
    text = str(item).strip()
    if not text:
        return [TranslationPrediction("(empty)", error="the sentence is empty")]
    return [TranslationPrediction(shortened(text), text)]
