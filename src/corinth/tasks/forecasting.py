"""Forecasting: from a window of a series all steps behind it at once, up to a horizon."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from corinth.data.sequences.forecast_encoding import Relative, relative_to
from corinth.tasks.means import CountedMean
from corinth.tasks.regression import Loss, checked_loss, error_of
from corinth.tasks.task import Phase, Task, Term


class Forecasting(Task):
    """`batch.inputs` are `corinth.data.Sequences` (B, W, C), `batch.targets` (B, H, K) float, both standardised by the
    training part; `targets` are the K positions among the C channels.

    The network gives all H x K numbers at once from what it has read of the window (a direct forecast): of the window
    as `relative` changes it, and what was taken away is put back. The loss is over standardised numbers, and so are
    `mse` and `mae`, as the field reports them.
    """

    name = "forecasting"

    def __init__(
        self,
        model: nn.Module,
        *,
        horizon: int,
        targets: Sequence[int],
        relative: Relative = "last",
        loss: Loss = "squared",
    ) -> None:
        self.loss = checked_loss(loss)
        self.nets = nn.ModuleDict({"model": model})
        self.phases = {"train": Phase(nets=("model",))}
        self.horizon, self.targets, self.relative = horizon, list(targets), relative

    def losses(self, phase: str, batch: Any, rng: torch.Generator) -> dict[str, Term]:
        """`loss`, and `mse` and `mae`, watched only."""
        output = self.predict(batch)
        error = (output.detach() - batch.targets).abs()
        return {
            "loss": Term(error_of(output, batch.targets, self.loss), count=batch.size),
            "mse": Term(error.square().mean(), weight=0.0, count=batch.size),
            "mae": Term(error.mean(), weight=0.0, count=batch.size),
        }

    def metrics(self) -> MetricCollection:
        """`loss` as trained, `mse` and `mae` of standardised numbers."""
        named: Any = {"loss": CountedMean(), "mse": CountedMean(), "mae": CountedMean()}
        return MetricCollection(named, compute_groups=False)

    def measure(self, metrics: MetricCollection, batch: Any) -> None:
        output, found = self.predict(batch), metrics
        error = (output - batch.targets).abs()
        updates: Any = dict(found.items())
        updates["loss"].update(error_of(output, batch.targets, self.loss), batch.size)
        updates["mse"].update(error.square().mean(), batch.size)
        updates["mae"].update(error.mean(), batch.size)

    def predict(self, batch: Any) -> Tensor:
        """Standardised forecasts (B, H, K)."""
        inputs, taken, spread = relative_to(batch.inputs.values, self.relative)
        output = self.nets["model"](inputs).float().unflatten(1, (self.horizon, len(self.targets)))
        return output * spread[:, :, self.targets] + taken[:, :, self.targets]

    def random_targets(self, size: int, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(size, self.horizon, len(self.targets))

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        return (-metrics["mse"],)
