"""Classification of texts and time series for its user: sequences in, named classes out."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corinth.data import SequenceData, Sequences, SequenceStore
from corinth.data.sequences.encoding import Encoding, SeriesEncoding, TextEncoding
from corinth.data.sequences.loose import Loose, loose_series, loose_texts
from corinth.errors import DataError, UsageError
from corinth.predictor.classes import Prediction, ranked, score
from corinth.predictor.evaluation import Evaluation
from corinth.predictor.predictor import Predictor


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
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size} is not at least 1")
        if isinstance(sequences, str | Path | Tensor) or (isinstance(sequences, np.ndarray) and not self.is_text):
            sequences = [sequences]
        usual = (self.data or {}).get("text_column")
        rate = self.preprocess.audio_rate if isinstance(self.preprocess, SeriesEncoding) else None
        loose = loose_texts(sequences, text_column, usual) if self.is_text else loose_series(sequences, rate)
        found: list[Prediction | None] = []
        ready: list[tuple[int, str, Tensor]] = []
        for entry in loose:
            encoded = self._encoded(entry)
            if isinstance(encoded, Prediction):
                found.append(encoded)
            else:
                ready.append((len(found), entry.name, encoded))
                found.append(None)
        ready.sort(key=lambda entry: len(entry[2]))  # similar lengths together
        for start in range(0, len(ready), batch_size):
            places, names, rows = zip(*ready[start : start + batch_size], strict=True)
            probs = self.probabilities(Sequences.of(rows))
            for place, answer in zip(places, ranked(names, probs, self.classes, top), strict=True):
                found[place] = answer
        return [answer for answer in found if answer is not None]

    def _encoded(self, entry: Loose) -> "Tensor | Prediction":
        encode: Any = self.preprocess
        if entry.error is None:
            try:
                return encode([entry.value])[0]
            except DataError as error:
                return Prediction(entry.name, error=f"{entry.name}: {error}")
        return Prediction(entry.name, error=f"{entry.name}: {entry.error}")

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
        if isinstance(self.preprocess, SeriesEncoding):
            self.preprocess.check_channels(data)
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
