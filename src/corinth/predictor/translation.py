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
from corinth.errors import DataError, UsageError, WeightsError
from corinth.layers.search import beam_search
from corinth.predictor.predictor import Predictor
from corinth.tasks import Translation
from corinth.tasks.bleu import bleu_tokenizer
from corinth.tasks.translation import limits

BEAM = 5
AT_ONCE = 1024  # beams that are extended together, at most: each has a row of logits over the whole vocabulary


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


@dataclass(frozen=True)
class TranslationEvaluation:
    """The scores of N translations, found with a beam of `beam`.

    `bleu` is that of the corpus (Papineni et al. 2002), `chrf` too (Popovic 2015), both as shares of 1, by sacrebleu,
    whose signatures say how. `per_sample` (N,) are chrF of each sentence. `loss` is the mean cross-entropy of the
    references' tokens in nats, and `accuracy` the share of them that were the likeliest, given those before.
    """

    samples: int
    bleu: float
    chrf: float
    loss: float
    accuracy: float
    beam: int
    signature: str
    chrf_signature: str
    translations: tuple[str, ...]
    per_sample: np.ndarray
    index: np.ndarray
    classes: tuple[str, ...] = ()
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def score(self) -> float:
        """BLEU."""
        return self.bleu

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; translations and per-sample arrays are left out."""
        names = ("samples", "bleu", "chrf", "loss", "accuracy", "beam", "signature", "chrf_signature")
        return {name: getattr(self, name) for name in names} | {"dropped": []}


class Translator(Predictor):
    task = "translation"
    preprocess: PairEncoding

    def predict(
        self, sentences: str | Path | Iterable[str | Path], *, batch_size: int = 64, beam: int = BEAM
    ) -> list[TranslationPrediction]:
        """A translation of each sentence: strings; a path (`Path`) is a UTF-8 file with a sentence a line. A file that
        cannot be read becomes a prediction with `error`. `beam` 1 is greedy search."""
        _check_sizes(batch_size, beam)
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
        from sacrebleu.metrics import BLEU, CHRF  # takes a while, and few tasks need it

        _check_sizes(batch_size, beam)
        if not len(data.positions(split)):
            raise DataError(f"the {split} part of {data.name} is empty; choose another, or all")
        if not isinstance(data.source, PairSource):
            raise UsageError(f"{data.name} holds no translations, which this {self.arch} needs")
        self.preprocess.check_data(data)
        if not all(bool(parameter.isfinite().all()) for parameter in self.model.parameters()):
            raise WeightsError("the network's weights are not finite; they are damaged")
        encoding = self.preprocess
        task = Translation(self.model, begin=encoding.begin, end=encoding.end, decode=encoding.decoded)
        metrics = task.metrics(validated=0).to(self.device)
        index: list[int] = []
        texts: list[str] = []
        with torch.inference_mode():
            for batch in Loader(SequenceStore(data, split, encoding), batch_size, device=self.device):
                task.measure(metrics, batch)
                texts += encoding.decoded(self.search(batch.inputs, beam)[0])
                index += batch.index.tolist()
        references = [data.source.translations[i] for i in index]
        bleu, chrf = BLEU(tokenize=bleu_tokenizer(data.source.translations)), CHRF()
        whole = bleu.corpus_score(texts, [references]).score / 100
        measured = {name: float(value) for name, value in metrics.compute().items()}
        return TranslationEvaluation(
            samples=len(index),
            bleu=whole,
            chrf=chrf.corpus_score(texts, [references]).score / 100,
            loss=measured["loss"],
            accuracy=measured["accuracy"],
            beam=beam,
            signature=str(bleu.get_signature()),
            chrf_signature=str(chrf.get_signature()),
            translations=tuple(texts),
            per_sample=np.array([chrf.sentence_score(a, [b]).score / 100 for a, b in zip(texts, references)]),
            index=np.array(index),
        )


def _check_sizes(batch_size: int, beam: int) -> None:
    for name, value in (("batch_size", batch_size), ("beam", beam)):
        if value < 1:
            raise UsageError(f"{name} {value} is not at least 1")


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
