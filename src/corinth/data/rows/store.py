"""Encoded rows, in memory."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from corinth.data.measured import standardised
from corinth.data.rows.encoding import RowEncoding
from corinth.data.rows.source import MeasuredRows, RowData


class RowStore:
    """All rows of a part; targets are classes, or numbers in standard deviations from the mean."""

    dropped: Sequence[tuple[str, str]] = ()

    def __init__(self, data: RowData, split: str, encoding: RowEncoding) -> None:
        positions = data.positions(split)
        self.index = torch.from_numpy(positions.copy())
        self.inputs = encoding.encode(data.source, positions)
        source = data.source
        if isinstance(source, MeasuredRows):
            self.targets = standardised(source.targets[positions], encoding)
        else:
            self.targets = torch.from_numpy(source.labels[positions])

    def __len__(self) -> int:
        return len(self.index)

    def arrange(self, order: Tensor, batch_size: int) -> Tensor:
        return order

    def ready(self, inputs: Tensor) -> Tensor:
        return inputs

    def stream(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for rows in batches:
            yield rows, self.inputs[rows], self.targets[rows]
