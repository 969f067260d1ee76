"""Samples with a number each that is to be predicted: what rows of tables and time series have alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from corinth.errors import DataError

CONSTANT = 1e-12  # spread of targets over the largest, up to which it is rounding of float64


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of a source whose samples have a number each; there are no classes."""

    targets: np.ndarray  # float64 (N,), finite, in the user's unit
    target_name: str = "target"
    unit: ClassVar[str]

    def target(self, i: int) -> np.ndarray:
        return self.targets[i]

    def fingerprint_bytes(self) -> Iterable[bytes]:
        yield self.targets.astype("<f8").tobytes()

    def amounts(self) -> np.ndarray:
        """int64 (N, 0): there are no classes to have."""
        return np.empty((len(self.targets), 0), dtype=np.int64)

    def onto(self, classes: Sequence[str], where: str) -> Self:
        return self


def standardised(targets: np.ndarray, encoding: Any) -> Tensor:
    """Targets (N,), float64, in standard deviations from the mean that the encoding knows, as float32. In that order:
    large numbers with a small spread would otherwise be the same float32."""
    assert encoding.target_mean is not None
    return torch.from_numpy(((targets - encoding.target_mean) / encoding.target_std).astype(np.float32))


def target_scale(data: Any) -> dict[str, float]:
    """`target_mean` and `target_std` of the training part; a `DataError` where all its targets are the same."""
    source = data.source
    assert isinstance(source, Measured)
    targets = source.targets[data.positions("train")]
    mean, std = float(targets.mean()), float(targets.std())
    if std <= CONSTANT * float(np.abs(targets).max()):
        unit = "sequence" if source.unit == "series" else source.unit
        raise DataError(f"{data.name}: every training {unit} has the target {mean:g}, so there is nothing to learn")
    return {"target_mean": mean, "target_std": std}
