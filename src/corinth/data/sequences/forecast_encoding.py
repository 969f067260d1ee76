"""Windows of series as a forecasting network takes them: it belongs to the weights and is saved with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from corinth.data.sequences.asked import Asked
from corinth.data.sequences.batch import Sequences
from corinth.data.sequences.encoding import CONSTANT, to_dict
from corinth.data.sequences.forecast import ForecastSource
from corinth.data.sequences.source import SequenceData
from corinth.errors import DataError

Relative = Literal["none", "last", "window"]
FLAT = 1e-5  # added to the variance of a window before its root, as Kim et al. 2022 do


@dataclass(frozen=True, kw_only=True)
class ForecastEncoding(Asked):
    """Series (T, C) to float32 of zero mean and unit spread in each channel, both of the training part alone.

    `relative` says what a network sees of a window, and what its output is about: "last", what is above the window's
    last step (as NLinear of Zeng et al. 2023); "window", what is above its mean, over its spread (as RevIN of Kim et
    al. 2022, without its own weights); "none", the values as they are.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_names: tuple[str, ...]
    target_names: tuple[str, ...]
    window: int
    horizon: int
    step: str  # how far apart rows are, in words
    relative: Relative = "last"
    month_end: bool = False  # rows are the last days of months
    kind: ClassVar[str] = "forecast"
    max_len: ClassVar[None] = None

    @property
    def width(self) -> int:
        return len(self.mean)

    @property
    def targets(self) -> tuple[int, ...]:
        """Positions among the channels."""
        return tuple(self.channel_names.index(name) for name in self.target_names)

    @property
    def outputs(self) -> int:
        """Numbers of a forecast, H x K."""
        return self.horizon * len(self.target_names)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.window, self.width)

    def random_inputs(self, size: int, steps: int | None = None) -> Sequences:
        """Made-up windows, to time and to measure a training step with."""
        return Sequences.of(torch.randn(size, self.window if steps is None else steps, self.width))

    def __call__(self, series: Sequence[np.ndarray]) -> list[Tensor]:
        """Standardised."""
        mean, std = np.array(self.mean), np.array(self.std)
        return [torch.from_numpy(((values - mean) / std).astype(np.float32)) for values in series]

    def in_unit(self, forecast: np.ndarray) -> np.ndarray:
        """Standardised forecasts (..., H, K) in the unit of each target."""
        places = list(self.targets)
        return forecast * np.array(self.std)[places] + np.array(self.mean)[places]

    def network_options(self) -> dict[str, int]:
        return {"input_size": self.width, "num_classes": self.outputs}

    def check_data(self, data: SequenceData) -> None:
        """Data to forecast otherwise than the network does are a `DataError`."""
        source = data.source
        if not isinstance(source, ForecastSource):
            raise DataError(f"{data.name} holds no series to forecast, which the network needs")
        for what in ("channel_names", "target_names", "window", "horizon"):
            have, need = getattr(source, what), getattr(self, what)
            if have != need:
                said = [", ".join(value) if isinstance(value, tuple) else value for value in (have, need)]
                raise DataError(
                    f"{data.name} was opened with the {what.replace('_', ' ')} {said[0]}, and the network has {said[1]}"
                )
        self.check_step(source.clocks[0].said, data.name)

    def check_step(self, step: str, where: str) -> None:
        if step != self.step:
            raise DataError(f"{where} has steps of {step}, and the network was trained on steps of {self.step}")

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)

    @classmethod
    def measured(cls, data: SequenceData, *, relative: Relative) -> "ForecastEncoding":
        """Of the training part of some data."""
        assert isinstance(data.source, ForecastSource)
        return cls.of_training(data.source, data.positions("train"), relative=relative)

    @classmethod
    def of_training(cls, source: ForecastSource, train: np.ndarray, *, relative: Relative = "last") -> Self:
        """Mean and spread of all that training windows see or foretell; a constant channel is only centred."""
        there = source.touched(train)
        values = np.concatenate([values[rows] for values, rows in zip(source.series, there, strict=True)])
        std = values.std(axis=0)
        return cls(
            mean=tuple(values.mean(axis=0).tolist()),
            std=tuple(np.where(std <= CONSTANT * np.abs(values).max(axis=0), 1.0, std).tolist()),
            channel_names=source.channel_names,
            target_names=source.target_names,
            window=source.window,
            horizon=source.horizon,
            step=source.clocks[0].said,
            relative=relative,
            month_end=any(clock.month_end for clock in source.clocks),
        )


def relative_to(values: Tensor, relative: Relative) -> tuple[Tensor, Tensor, Tensor]:
    """Windows (B, W, C) as a network sees them, and what is taken from them and what they are divided by, (B, 1, C)."""
    if relative == "none":
        zero = values.new_zeros(len(values), 1, values.shape[2])
        return values, zero, zero + 1
    if relative == "last":
        last = values[:, -1:]
        return values - last, last, torch.ones_like(last)
    mean = values.mean(dim=1, keepdim=True)
    spread = (values.var(dim=1, keepdim=True, correction=0) + FLAT).sqrt()
    return (values - mean) / spread, mean, spread
