"""How far one sequence of labels is from another: the fewest insertions, deletions and substitutions (Levenshtein)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

Edit = tuple[int | None, int | None]  # a true label and the one that was said for it; None where there is none


def distance(said: Sequence[int], true: Sequence[int]) -> int:
    """The fewest edits that make `true` of `said`."""
    return int(_table(said, true)[-1, -1])


def alignment(said: Sequence[int], true: Sequence[int]) -> list[Edit]:
    """Both side by side with the fewest edits: (a, a) right, (a, b) substituted, (a, None) missed, (None, b) added."""
    costs = _table(said, true)
    i, j = len(true), len(said)
    found: list[Edit] = []
    while i or j:
        if i and j and costs[i, j] == costs[i - 1, j - 1] + (true[i - 1] != said[j - 1]):
            i, j = i - 1, j - 1
            found.append((true[i], said[j]))
        elif i and costs[i, j] == costs[i - 1, j] + 1:
            i -= 1
            found.append((true[i], None))
        else:
            j -= 1
            found.append((None, said[j]))
    return found[::-1]


def _table(said: Sequence[int], true: Sequence[int]) -> np.ndarray:
    """Edits between all beginnings, int64 (true + 1, said + 1)."""
    along = np.arange(len(said) + 1)
    other = np.asarray(said, dtype=np.int64)
    rows = [along]
    for label in true:
        before = rows[-1]
        row = before + 1  # the label is missed
        row[1:] = np.minimum(row[1:], before[:-1] + (other != label))
        rows.append(np.minimum.accumulate(row - along) + along)  # labels are added
    return np.stack(rows)


class ErrorRate(Metric):
    """Edits over true labels, of all sequences together; more than 1 where much is added."""

    full_state_update = False
    edits: Tensor
    labels: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("edits", "labels"):
            self.add_state(name, torch.zeros(()), dist_reduce_fx="sum")

    def update(self, said: Sequence[Sequence[int]], true: Sequence[Sequence[int]]) -> None:
        self.edits += sum(distance(a, b) for a, b in zip(said, true, strict=True))
        self.labels += sum(map(len, true))

    def compute(self) -> Tensor:
        return self.edits / self.labels.clamp(min=1)
