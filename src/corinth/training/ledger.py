"""The losses of the steps, kept on the device and looked at twice a second, so that no step waits for the device."""

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from corinth.errors import TrainingError
from corinth.tasks import Term

STOPPED = "training stopped and the last good state is kept; try a smaller lr, a warmup or clip_norm"
INTERVAL = 0.5  # seconds
MOST = 512  # steps


class Ledger:
    """Means of every term since the last `take`, weighed by their counts."""

    def __init__(self) -> None:
        self._pending: dict[str, list[tuple[int, Tensor, Any]]] = {}
        self._sums: dict[str, list[float]] = {}  # name -> [sum, count]
        self._added = 0
        self._settled_at = time.monotonic()

    def add(self, step: int, phase: str, terms: Mapping[str, Term]) -> None:
        for name, term in terms.items():
            name = name if phase == "train" else f"{phase}/{name}"
            self._pending.setdefault(name, []).append((step, term.value.detach(), term.count))
        self._added += 1

    @property
    def due(self) -> bool:
        return self._added >= MOST or time.monotonic() - self._settled_at >= INTERVAL

    def settle(self) -> dict[str, float]:
        """Add what is pending to the sums and return its means; a value that is not finite is a `TrainingError`."""
        means = {}
        for name, entries in self._pending.items():
            values = torch.stack([value for _, value, _ in entries]).tolist()
            weighed = counted = 0.0
            total = self._sums.setdefault(name, [0.0, 0.0])
            for (step, _, count), value in zip(entries, values, strict=True):
                if not math.isfinite(value):
                    raise TrainingError(f"{name} is {value} in step {step + 1}: {STOPPED}")
                total[0] += value * float(count)
                total[1] += float(count)
                weighed += value * float(count)
                counted += float(count)
            means[name] = weighed / counted
        self._pending.clear()
        self._added = 0
        self._settled_at = time.monotonic()
        return means

    def take(self) -> dict[str, float]:
        """The means since the last `take`, as `train_<name>`."""
        self.settle()
        means = {f"train_{name}": total / count for name, (total, count) in self._sums.items()}
        self._sums.clear()
        return means

    def state(self) -> dict[str, list[float]]:
        return self._sums

    def load_state(self, state: Mapping[str, list[float]]) -> None:
        self._sums = {name: list(total) for name, total in state.items()}
