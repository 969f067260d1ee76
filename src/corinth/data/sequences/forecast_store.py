"""Windows of series by row, each cut out when it is asked for."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from corinth.data.sequences.batch import Sequences
from corinth.data.sequences.forecast import ForecastSource
from corinth.data.sequences.forecast_encoding import ForecastEncoding
from corinth.data.sequences.source import SequenceData


class ForecastStore:
    """The windows of a part, standardised: inputs (B, W, C), targets (B, H, K)."""

    dropped: Sequence[tuple[str, str]] = ()

    def __init__(self, data: SequenceData, split: str | np.ndarray, encoding: ForecastEncoding) -> None:
        source = data.source
        assert isinstance(source, ForecastSource)
        positions = data.positions(split) if isinstance(split, str) else np.asarray(split, dtype=np.int64)
        self.index = torch.from_numpy(positions.copy())
        series = encoding(source.series)
        starts = np.cumsum([0, *map(len, series)])  # all series one behind the other
        number, row = source.origins[positions].T
        self.values = torch.cat(series)
        self.first = torch.from_numpy(starts[number] + row)  # of what each window foretells
        self.encoding = encoding
        self.before, self.behind = torch.arange(-encoding.window, 0), torch.arange(encoding.horizon)
        self.targets = list(encoding.targets)

    def __len__(self) -> int:
        return len(self.index)

    def arrange(self, order: Tensor, batch_size: int) -> Tensor:
        return order

    def ready(self, inputs: Sequences) -> Sequences:
        return inputs

    def stream(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Sequences, Tensor]]:
        for rows in batches:
            first = self.first[rows][:, None]
            inputs, targets = self.values[first + self.before], self.values[first + self.behind]
            lengths = torch.full((len(rows),), self.encoding.window)
            yield rows, Sequences(inputs, lengths), targets[:, :, self.targets]
