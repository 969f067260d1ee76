"""Classification of texts and time series for its user: sequences in, named classes out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from corinth.data import SequenceData, Sequences, SequenceStore
from corinth.data.sequences.encoding import Encoding, SeriesEncoding, TextEncoding
from corinth.data.sequences.loose import Loose, loose_series, loose_texts
from corinth.errors import DataError, UsageError
from corinth.predictor.classes import Prediction, ranked, score
from corinth.predictor.evaluation import Evaluation
from corinth.predictor.predictor import Answer, Predictor, check_sizes

A = TypeVar("A", bound=Answer)


class SequenceClassifier(Predictor):
    task = "sequence-classification"
    preprocess: Encoding

    @property
    def is_text(self) -> bool:
        return isinstance(self.preprocess, TextEncoding)

    def predict(
        self, sequences: Any | Iterable[Any], *, batch_size: int = 64, top: int = 5, text_column: str | None = None
    ) -> list[Prediction]:
        """The `top` likeliest classes of each sequence.

        Of texts: strings, and paths (`Path`) of .txt files, each one text, or of tables, each row one. Of time series:
        arrays (T, C), and paths of .csv files with a step a row, of .ts and .npz files with many, of recordings. What
        cannot be used becomes a Prediction with `error`; the others are not affected.
        """
        if isinstance(sequences, str | Path | Tensor) or (isinstance(sequences, np.ndarray) and not self.is_text):
            sequences = [sequences]
        usual = (self.data or {}).get("text_column")
        if isinstance(self.preprocess, SeriesEncoding):
            loose = loose_series(sequences, self.preprocess.audio_rate, columns_of(self))
        else:
            loose = loose_texts(sequences, text_column, usual)

        def ask(names: Sequence[str], inputs: Sequences) -> list[Prediction]:
            return ranked(names, self.probabilities(inputs), self.classes, top)

        def fail(name: str, reason: str) -> Prediction:
            return Prediction(name, error=reason)

        return answers(loose, self.preprocess, batch_size, ask, fail)

    @torch.inference_mode()
    def probabilities(self, inputs: Sequences) -> Tensor:
        """Encoded sequences to class probabilities (B, K) on the CPU."""
        return self._logits(inputs.to(self.device)).float().softmax(dim=1).cpu()

    def _logits(self, inputs: Sequences) -> Tensor:
        return self.model(inputs.values, inputs.lengths)

    def evaluate(
        self, data: SequenceData, split: str = "test", *, batch_size: int = 512, keep_probs: bool = True
    ) -> Evaluation:
        """Score one part of `data`, or all of it (`split="all"`), with this network's own encoding.

        Classes are matched by name; a label this network never learnt is a `DataError`.
        """
        if data.is_text != self.is_text:
            mine, theirs = ("texts", "time series") if self.is_text else ("time series", "texts")
            raise UsageError(f"{data.name} holds {theirs}, and this {self.arch} was trained on {mine}")
        self.preprocess.check_data(data)
        return score(
            data,
            split,
            lambda: SequenceStore(data, split, self.preprocess),
            self._logits,
            arch=self.arch,
            classes=self.classes,
            batch_size=batch_size,
            keep_probs=keep_probs,
            device=self.device,
        )


def columns_of(predictor: Predictor) -> Mapping[str, str | None]:
    """How the table of the training was read, its inputs by name."""
    read = {name: value for name, value in (predictor.data or {}).items() if name.endswith("_column")}
    return read | {"channel_columns": ",".join(predictor.preprocess.channel_names)}


def answers(
    loose: Iterable[Loose],
    encode: Any,
    batch_size: int,
    ask: Callable[[Sequence[str], Sequences], Sequence[A]],
    fail: Callable[[str, str], A],
) -> list[A]:
    """One answer for each sequence, in order, asked for in batches of similar lengths.

    `ask(names, inputs)` answers for a batch, as the network takes it; `fail(name, reason)` for one that cannot be used.
    """
    check_sizes(batch_size=batch_size)
    found: list[A | None] = []
    ready: list[tuple[int, str, Tensor]] = []
    for entry in loose:
        try:
            if entry.error is not None:
                raise DataError(entry.error)
            ready.append((len(found), entry.name, encode([entry.value])[0]))
            found.append(None)
        except DataError as error:
            found.append(fail(entry.name, f"{entry.name}: {error}"))
    ready.sort(key=lambda entry: len(entry[2]))
    for start in range(0, len(ready), batch_size):
        places, names, rows = zip(*ready[start : start + batch_size], strict=True)
        for place, answer in zip(places, ask(names, Sequences.of(rows)), strict=True):
            found[place] = answer
    return [answer for answer in found if answer is not None]
