"""Encoded sequences by row, and the order that puts those of similar length into one batch."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from corinth.data.measured import standardised
from corinth.data.sequences.batch import NO_TAG, Sequences
from corinth.data.sequences.clip_encoding import ClipEncoding
from corinth.data.sequences.encoding import Encoding, SeriesEncoding
from corinth.data.sequences.labelled import FRAMES, StepLabels
from corinth.data.sequences.language_encoding import LanguageEncoding
from corinth.data.sequences.pair_encoding import PairEncoding
from corinth.data.sequences.pairs import PairSource
from corinth.data.sequences.source import MeasuredSource, SequenceData, TranscriptSource

FINISHED = SeriesEncoding | ClipEncoding  # a batch at a time
POOL = 32  # batches whose sequences are sorted by length together in a shuffled pass


class SequenceStore:
    """All sequences of a part, encoded, in memory."""

    dropped: Sequence[tuple[str, str]] = ()

    def __init__(self, data: SequenceData, split: str | np.ndarray, encoding: Encoding | LanguageEncoding) -> None:
        positions = data.positions(split) if isinstance(split, str) else np.asarray(split, dtype=np.int64)
        self.index = torch.from_numpy(positions.copy())
        self.encoding: Any = encoding
        encode: Any = encoding.rows if isinstance(encoding, FINISHED) else encoding
        self.rows = encode([data.source.sequence(int(i)) for i in positions])
        self.targets = _targets(data, positions, encoding)
        if data.task == FRAMES:  # of a sequence that is cut, as far as it is kept
            self.targets = [tags[: len(row)] for tags, row in zip(self.targets, self.rows)]
        self.lengths = torch.tensor([len(row) for row in self.rows])
        if isinstance(encoding, PairEncoding):
            self.lengths += torch.tensor([len(row) for row in self.targets])  # both sides cost

    def __len__(self) -> int:
        return len(self.rows)

    def predict_last(self) -> None:
        """Of each row of tokens keep all but the last, which becomes the target: a passage to go on with."""
        self.targets = [row[-1] for row in self.rows]
        self.rows = [row[:-1] for row in self.rows]
        self.lengths = self.lengths - 1

    def arrange(self, order: Tensor, batch_size: int) -> Tensor:
        """The same rows in another order, in which each batch has similar lengths.

        Pools of `POOL` batches are sorted, and their batches taken in an order that the lengths do not decide: that of
        their first rows in `order`.
        """
        return arrange(order, self.lengths, batch_size)

    def ready(self, inputs: Sequences) -> Sequences:
        return self.encoding.finish(inputs) if isinstance(self.encoding, FINISHED) else inputs

    def stream(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Sequences, Tensor]]:
        for rows in batches:
            chosen = rows.tolist()
            targets = [self.targets[row] for row in chosen]
            yield rows, Sequences.of([self.rows[row] for row in chosen]), collate_targets(targets)


def _targets(data: SequenceData, positions: np.ndarray, encoding: Any) -> Sequence[Tensor]:
    """A class, or a number in standard deviations from the mean, (); the tags (T,) of a sentence or of steps, the
    tokens (T,) of a translation or the labels (U,) of a recording."""
    source = data.source
    if isinstance(source, PairSource):
        assert isinstance(encoding, PairEncoding)
        return encoding.targets([source.translations[i] for i in positions])
    if isinstance(source, MeasuredSource):
        return list(standardised(source.targets[positions], encoding))
    if isinstance(source, StepLabels | TranscriptSource):
        return [torch.from_numpy(source.target(i)) for i in positions]
    return list(torch.from_numpy(source.labels[positions]))


def collate_targets(targets: Sequence[Tensor]) -> Tensor:
    """Classes or numbers (B,), or tags, tokens or labels (B, T) with `NO_TAG` behind each end."""
    if targets[0].ndim == 0:
        return torch.stack(list(targets))
    return pad_sequence(list(targets), batch_first=True, padding_value=NO_TAG)


def arrange(order: Tensor, lengths: Tensor, batch_size: int) -> Tensor:
    """As `SequenceStore.arrange`. A last batch that is not full stays the last."""
    full = len(order) // batch_size * batch_size
    last = order[full:]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    batches: list[Tensor] = []
    for pool in order[:full].split(POOL * batch_size) if full else ():
        alike = pool[lengths[pool].argsort(stable=True)].split(batch_size)
        batches += sorted(alike, key=lambda rows: int(rank[rows].min()))
    return torch.cat([*batches, last])
