"""What is learned from what: networks, losses, metrics and whose turn it is. Knows no device, file or process."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection


@runtime_checkable
class Batch(Protocol):
    """What a loader yields: tensors of the task's own choosing and the number of samples in them."""

    @property
    def size(self) -> int: ...


@dataclass(frozen=True)
class Term:
    """One named part of a loss.

    `value` is a scalar tensor, a mean over `count` samples (or tokens, or boxes): under accumulation and over
    several processes the means are put together again in proportion to their counts. A term with weight 0 is
    only watched: it is logged and no gradient flows from it.
    """

    value: Tensor
    weight: float = 1.0
    count: float = 1.0


@dataclass(frozen=True)
class Phase:
    """Who is optimised when it is this phase's turn, and with which optimizer settings.

    `overrides` are fields of the recipe that differ for this phase, such as `{"lr": 2e-4, "betas": (0.5, 0.999)}`.
    """

    nets: tuple[str, ...]
    overrides: Mapping[str, Any] = field(default_factory=dict)


def weights_of_classes(weights: Sequence[float] | Tensor | None, classes: Sequence[str]) -> Tensor | None:
    """One float a class, or none; any other number of them is a `ValueError`."""
    if weights is None:
        return None
    if len(weights) != len(classes):
        raise ValueError(f"{len(weights)} class weights for {len(classes)} classes; give one a class")
    return torch.as_tensor(weights, dtype=torch.float32)


@dataclass(frozen=True)
class Predictions:
    """Classification: `logits` and `probs`, both (B, K) float32."""

    logits: Tensor
    probs: Tensor


class Task(ABC):
    """Base of every task; a supervised one has one phase, an adversarial one several.

    The loop calls, for every batch: `turns`, and for each of them `losses` and, after the optimizer's step,
    `after_turn`. State beyond the weights and buffers of `nets` goes through `state` and `load_state`.
    """

    name: str
    nets: nn.ModuleDict
    phases: Mapping[str, Phase]

    def turns(self, step: int) -> Sequence[str]:
        """The phases that take their turn on this batch, in order: `("train",)`, or `("D", "D", "G")`."""
        return tuple(self.phases)

    @abstractmethod
    def losses(self, phase: str, batch: Any, rng: torch.Generator) -> dict[str, Term]:
        """The terms of the phase's loss on a (micro-)batch; randomness comes from `rng` or torch's own generator."""

    def after_turn(self, phase: str) -> None:
        """Called after the optimizer's step: weight clipping, moving averages of latents, pools."""

    def metrics(self) -> MetricCollection:
        """Fresh streaming metrics of the validation part."""
        return MetricCollection({})

    @abstractmethod
    def predict(self, batch: Any) -> Any:
        """What the networks say about a batch: evaluate, predict, export and serve all call this."""

    def random_targets(self, size: int, shape: tuple[int, ...]) -> Tensor:
        """Targets of `size` made-up samples, (H, W) pixels if they are images, to time a training step with."""
        return torch.arange(size) % 2

    def measure(self, metrics: MetricCollection, batch: Any) -> None:
        """Add a validation batch to `metrics`; nothing where there are none."""

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """Orders evaluations: the largest is the best. Empty: there is no better, so the latest is kept."""
        return ()

    def state(self) -> dict[str, Tensor]:
        """Tensors to save beside the networks, such as a pool of past images."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""

    def own_state(self) -> dict[str, Tensor]:
        """Tensors to save that differ from process to process, such as the state that a network carries on."""
        return {}

    def load_own_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `own_state` gave in this process."""
