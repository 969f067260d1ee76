"""Texts of classes: a class is what a network is told, the tokens of a text what it writes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from corinth.data.sequences.asked import Asked
from corinth.data.sequences.source import SequenceData, TextSource
from corinth.data.sequences.store import arrange, collate_targets
from corinth.data.sequences.wording import Wording
from corinth.errors import UsageError

FROM_LABEL = "text-from-label"


@dataclass(frozen=True, kw_only=True)
class LabelEncoding(Asked):
    """The tokens of texts, and how many classes they are of; saved with the weights."""

    words: Wording
    num_labels: int
    kind: ClassVar[str] = "texts-of-labels"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a typical text."""
        return (self.words.typical,)

    @property
    def max_len(self) -> int:
        return self.words.max_len

    @property
    def vocab_size(self) -> int:
        return self.words.vocab_size

    def network_options(self) -> dict[str, int]:
        return {"vocab_size": self.vocab_size}

    def count_cut(self, data: SequenceData) -> int:
        assert isinstance(data.source, TextSource)
        return self.words.count_cut(data.source.texts)

    def random_inputs(self, size: int, steps: int | None = None) -> Tensor:
        """Made-up classes, to time and to measure a training step with; the task makes up their texts."""
        return torch.randint(self.num_labels, (size,))

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "words": self.words.to_dict(), "num_labels": self.num_labels}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "LabelEncoding":
        """The inverse of `to_dict`; an unknown or missing key is a `UsageError`."""
        if wrong := sorted({"kind", "words", "num_labels"} ^ set(values)):
            raise UsageError(f"an encoding of kind {cls.kind} has words and num_labels; check {', '.join(wrong)}")
        return cls(words=Wording.from_dict(values["words"]), num_labels=values["num_labels"])


class LabelStore:
    """All texts of a part by their classes: inputs int64 (B,), targets tokens (B, T) with -100 behind each end."""

    dropped: Sequence[tuple[str, str]] = ()

    def __init__(self, data: SequenceData, split: str | np.ndarray, encoding: LabelEncoding) -> None:
        source = data.source
        assert isinstance(source, TextSource)
        positions = data.positions(split) if isinstance(split, str) else np.asarray(split, dtype=np.int64)
        self.index = torch.from_numpy(positions.copy())
        self.labels = torch.from_numpy(source.labels[positions])
        self.targets = encoding.words.targets([source.texts[i] for i in positions])
        self.lengths = torch.tensor([len(row) for row in self.targets])

    def __len__(self) -> int:
        return len(self.labels)

    def arrange(self, order: Tensor, batch_size: int) -> Tensor:
        """So that each batch has texts of similar lengths."""
        return arrange(order, self.lengths, batch_size)

    def ready(self, inputs: Tensor) -> Tensor:
        return inputs

    def stream(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for rows in batches:
            yield rows, self.labels[rows], collate_targets([self.targets[row] for row in rows.tolist()])
