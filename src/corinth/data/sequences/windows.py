"""A text for training and validation: streams that are read side by side, window by window, with the state carried on.

A training step back-propagates through one window of every stream, and the state behind it is where the next step
begins (truncated back-propagation through time). At the same number of windows this came to a lower validation loss
than shuffled windows, each of which begins with an empty state: `docs/language.md` has the numbers.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from corinth.data.sequences.batch import NO_TAG, Sequences
from corinth.data.sequences.language_encoding import LanguageEncoding, part_of
from corinth.data.sequences.source import SequenceData
from corinth.errors import DataError

MOST_STREAMS = 64  # of a part that is validated on
WARM_UP = 256  # tokens that a stream of it reads before those that it is scored on
SHARE = 4  # times so many tokens a stream has at least, so that few are read twice


@dataclass(frozen=True)
class Windows(Sequences):
    """Rows of `values` (B, T) that go on where those of the step before ended: `streams` int64 (B,) says which each row
    belongs to, `fresh` bool (B,) which begin one; `chars` int64 (B,) counts the characters of the scored targets."""

    streams: Tensor
    fresh: Tensor
    chars: Tensor

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Windows":
        return Windows(
            self.values.to(device, non_blocking=non_blocking), self.lengths, self.streams, self.fresh, self.chars
        )

    def tensor_split(self, parts: int) -> list["Sequences"]:
        fields = (self.values, self.lengths, self.streams, self.fresh, self.chars)
        return [Windows(*pieces) for pieces in zip(*(field.tensor_split(parts) for field in fields), strict=True)]


class WindowStore(ABC):
    """Windows (N, T) as a loader takes them in batches of `streams` rows: row k * streams + b is stream b's k-th."""

    dropped: Sequence[tuple[str, str]] = ()

    def __init__(self, streams: int, windows: int) -> None:
        self.streams = streams
        self.index = torch.arange(windows)

    def __len__(self) -> int:
        return len(self.index)

    def ready(self, inputs: Sequences) -> Sequences:
        return inputs

    def arrange(self, order: Tensor, batch_size: int) -> Tensor:
        return torch.arange(len(self))

    def stream(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Windows, Tensor]]:
        for rows in batches:
            values, targets, chars = self.rows(rows)
            lengths = torch.full((len(rows),), values.shape[1])
            yield rows, Windows(values, lengths, rows % self.streams, rows < self.streams, chars), targets

    @abstractmethod
    def rows(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens and targets (B, T) and the scored characters (B,) of some windows."""


class TrainingWindows(WindowStore):
    """The training text in `batch_size` streams, or as many windows as there are.

    The text is a ring that is cut open at another place in every epoch, so that windows do not always end at the same
    characters. The rest that fills no window of every stream is left out, another one each time.
    """

    def __init__(self, data: SequenceData, encoding: LanguageEncoding, batch_size: int) -> None:
        self.tokens, self.widths = _part(data, "train", encoding)
        left = len(self.tokens) - 1
        self.window = min(encoding.max_len, left)
        streams = min(batch_size, left // self.window)
        self.steps = left // (self.window * streams)
        self.cut = 0
        super().__init__(streams, streams * self.steps)

    def arrange(self, order: Tensor, batch_size: int) -> Tensor:
        """The windows in order; where the ring is cut depends on the shuffled `order` alone."""
        self.cut = (int(order[0]) * self.window + int(order[-1])) % len(self.tokens)
        return super().arrange(order, batch_size)

    def rows(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        places = (rows % self.streams) * self.steps + rows // self.streams
        first = self.cut + places[:, None] * self.window + torch.arange(self.window)
        values, targets = (self.tokens[place % len(self.tokens)] for place in (first, first + 1))
        return values, targets, self.widths[(first + 1) % len(self.tokens)].sum(1)


class ScoredWindows(WindowStore):
    """All tokens of a part but the first, each scored once, in up to `MOST_STREAMS` streams for speed.

    A stream reads `WARM_UP` tokens that it is not scored on before its own, so that it has about the state that one
    pass through the whole text would have there: what is left of the difference is in the fourth digit of the loss.
    """

    def __init__(self, data: SequenceData, split: str, encoding: LanguageEncoding) -> None:
        tokens, widths = _part(data, split, encoding)
        left = len(tokens) - 1
        streams = max(1, min(MOST_STREAMS, left // (SHARE * WARM_UP)))
        own = -(-left // streams)
        starts = torch.arange(streams)[:, None] * own
        begin = (starts - WARM_UP).clamp(min=0)
        longest = int((starts - begin).max()) + own
        windows = -(-longest // encoding.max_len)
        place = begin + torch.arange(windows * encoding.max_len)
        scored = (place >= starts) & (place < starts + own) & (place < left)
        inside = place.clamp(max=left - 1)
        self.values = tokens[inside]
        self.targets = torch.where(scored, tokens[inside + 1], NO_TAG)
        self.chars = torch.where(scored, widths[inside + 1], 0)
        self.window = encoding.max_len
        super().__init__(streams, streams * windows)

    def rows(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        columns = (rows // self.streams)[:, None] * self.window + torch.arange(self.window)
        values, targets, chars = (
            table[(rows % self.streams)[:, None], columns] for table in (self.values, self.targets, self.chars)
        )
        return values, targets, chars.sum(1)


def _part(data: SequenceData, split: str, encoding: LanguageEncoding) -> tuple[Tensor, Tensor]:
    """The tokens of a part and the characters that each stands for."""
    tokens, widths = encoding.tokens("".join(part_of(data, split, lowercase=encoding.lowercase)))
    if len(tokens) < 2:
        raise DataError(
            f"the {split} part of {data.name} has {len(tokens)} tokens; to predict one takes another before"
        )
    return torch.from_numpy(np.ascontiguousarray(tokens)), torch.from_numpy(widths)
