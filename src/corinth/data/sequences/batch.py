"""Sequences of different lengths in one tensor."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

NO_TAG = -100  # a target behind a sequence's end, which no loss and no score counts


@dataclass(frozen=True)
class Sequences:
    """`values` (B, T) tokens or (B, T, C) numbers, padded behind each end with zeros; `lengths` int64 (B,), on the
    CPU, from 1 to T."""

    values: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, rows: Tensor | Sequence[Tensor]) -> "Sequences":
        """One sequence a row."""
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        values = rows if isinstance(rows, Tensor) else pad_sequence(list(rows), batch_first=True)
        return cls(values, lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def inside(self) -> Tensor:
        """bool (B, T) on the device of the values, true up to each end."""
        steps = torch.arange(self.values.shape[1], device=self.values.device)
        return steps < self.lengths.to(self.values.device)[:, None]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Sequences":
        return Sequences(self.values.to(device, non_blocking=non_blocking), self.lengths)

    def tensor_split(self, parts: int) -> list["Sequences"]:
        """In so many parts along the batch, as `Tensor.tensor_split`, each no longer than its own longest."""
        pieces = zip(self.values.tensor_split(parts), self.lengths.tensor_split(parts))
        return [Sequences(values[:, : int(lengths.max())], lengths) for values, lengths in pieces]
