"""Regression: one number for each sequence or row, such as the capacity of a battery from its charging curve."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MetricCollection

from corinth.tasks.means import CountedMean, Largest, RootMean
from corinth.tasks.task import Phase, Task, Term

Loss = Literal["squared", "huber", "absolute"]


def checked_loss(loss: Loss) -> Loss:
    """The name of a loss; a `ValueError` where there is none of it."""
    if loss not in get_args(Loss):
        raise ValueError(f"loss {loss!r} is none of {', '.join(get_args(Loss))}")
    return loss


def error_of(output: Tensor, standard: Tensor, loss: Loss) -> Tensor:
    """The mean loss of standardised outputs."""
    if loss == "absolute":
        return F.l1_loss(output, standard)
    return F.mse_loss(output, standard) if loss == "squared" else F.huber_loss(output, standard)


class Regression(Task):
    """`batch.targets` (B,) float are standardised: less `mean`, over `std`, both of the training part in the user's
    unit. What `batch.inputs` are says the subclass.

    The network's one output is such a number too. The loss is over that:
    its squared error, its absolute one, or Huber's, which is linear beyond one `std` (Huber 1964).
    """

    def __init__(self, model: nn.Module, *, mean: float, std: float, loss: Loss = "squared") -> None:
        if not std > 0:
            raise ValueError(f"std {std} is not more than 0")
        self.loss = checked_loss(loss)
        self.nets = nn.ModuleDict({"model": model})
        self.phases = {"train": Phase(nets=("model",))}
        self.mean, self.std = mean, std

    def losses(self, phase: str, batch: Any, rng: torch.Generator) -> dict[str, Term]:
        """`loss`, and `mae`, the mean absolute error in the user's unit, watched only."""
        output = self.outputs(batch)
        loss = error_of(output, batch.targets, self.loss)
        apart = (output.detach() - batch.targets).abs().mean() * self.std
        return {"loss": Term(loss, count=batch.size), "mae": Term(apart, weight=0.0, count=batch.size)}

    @abstractmethod
    def outputs(self, batch: Any) -> Tensor:
        """What the network says, (B,) float32, in standard deviations from the mean."""

    def metrics(self) -> MetricCollection:
        """`loss` as trained; `rmse`, `mae` and `max_error` in the user's unit."""
        named: Any = {"loss": CountedMean(), "rmse": RootMean(), "mae": CountedMean(), "max_error": Largest()}
        return MetricCollection(named, compute_groups=False)

    def measure(self, metrics: MetricCollection, batch: Any) -> None:
        output, found = self.outputs(batch), dict(metrics.items())
        errors = (output - batch.targets).abs() * self.std
        updates: Any = found
        updates["loss"].update(error_of(output, batch.targets, self.loss), batch.size)
        updates["rmse"].update(errors.square().mean(), batch.size)
        updates["mae"].update(errors.mean(), batch.size)
        updates["max_error"].update(errors)

    def predict(self, batch: Any) -> Tensor:
        """Numbers (B,) in the user's unit, float64, on the CPU: some devices have no float64."""
        return self.outputs(batch).cpu().double() * self.std + self.mean

    def random_targets(self, size: int, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(size)

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        return (-metrics["rmse"],)


class SequenceRegression(Regression):
    """`batch.inputs` are `corinth.data.Sequences`."""

    name = "sequence-regression"

    def outputs(self, batch: Any) -> Tensor:
        return self.nets["model"](batch.inputs.values, batch.inputs.lengths)[:, 0].float()


class TabularRegression(Regression):
    """`batch.inputs` (B, F) float, rows as `corinth.data.rows.RowEncoding` makes them."""

    name = "tabular-regression"

    def outputs(self, batch: Any) -> Tensor:
        return self.nets["model"](batch.inputs)[:, 0].float()
