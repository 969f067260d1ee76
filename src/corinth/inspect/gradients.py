"""How far back in time a recurrent network learns from: the gradient of the loss at every step of the input.

What the loss at the end says to a step t comes back through a product of Jacobians, one for every step between; its
norm shrinks or grows about geometrically with their number (Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio
2013, arXiv:1211.5063, section 2). An LSTM's cell state is kept by a gate instead, so it need not.
"""

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corinth.errors import UsageError


@dataclass(frozen=True)
class GradientProfile:
    """Norms of the loss's gradient with respect to the input of a step (of tokens: to their embedding).

    `norms[k]` is the median over the sequences that are longer than k of the norm k steps before their last one;
    `counts[k]` says how many those are.
    """

    norms: np.ndarray
    counts: np.ndarray

    def at(self, back: int) -> float:
        """The norm so many steps back as a share of that of the last step."""
        return float(self.norms[back] / self.norms[0])

    @property
    def half(self) -> int | None:
        """How many steps back it first is below half of that at the last step; None: nowhere."""
        below = np.flatnonzero(self.norms < self.norms[0] / 2)
        return int(below[0]) if len(below) else None


def gradients_by_step(
    model: nn.Module, batches: Iterable[Any], loss: Callable[[Any], Tensor], *, least: int = 8
) -> GradientProfile:
    """The profile of `model` over some batches of sequences, in evaluation mode, without changing it.

    `batches` have `inputs` (`corinth.data.Sequences`); `loss(batch)` calls the model and gives the mean over the
    batch's sequences, each of which must depend on its own inputs alone. Steps that fewer than `least` sequences have,
    or a tenth of them, are left out. A gradient at the last step that is zero or not finite is a `UsageError`.
    """
    found: list[list[float]] = []
    training = model.training
    model.eval()
    try:
        for batch in batches:
            for norms in _norms(model, batch, loss):
                for back, norm in enumerate(norms):
                    if back == len(found):
                        found.append([])
                    found[back].append(norm)
    finally:
        model.train(training)
    most = len(found[0]) if found else 0
    kept = [values for values in found if len(values) >= max(min(least, most), most / 10)]
    if not kept or not np.isfinite(np.concatenate(kept)).all() or not np.median(kept[0]) > 0:
        raise UsageError(
            "the gradient at the last step is zero or not finite, so that no other can be compared with it"
        )
    return GradientProfile(np.array([np.median(v) for v in kept]), np.array([len(v) for v in kept]))


def _norms(model: nn.Module, batch: Any, loss: Callable[[Any], Tensor]) -> list[list[float]]:
    """Of every sequence the norm at each step, the last step first."""
    # cuDNN has no gradients of recurrent networks in evaluation mode
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False), _watched(model, batch.inputs.values) as seen:
        total = loss(batch) * len(batch.inputs)  # each sequence's own loss has its own gradient
        (gradient,) = torch.autograd.grad(total, seen())
    lengths = batch.inputs.lengths.tolist()
    return [row[:length].flip(0).tolist() for row, length in zip(gradient.norm(dim=2), lengths, strict=True)]


@contextmanager
def _watched(model: Any, values: Tensor) -> Any:
    """Make what the first layer sees ask for its gradient; gives a function that returns it after the pass."""
    if getattr(model, "embed", None) is None:
        values.requires_grad_(True)
        try:
            yield lambda: values
        finally:
            values.requires_grad_(False)
        return
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        kept.append(output if output.requires_grad else output.requires_grad_(True))
        return kept[-1]

    handle = model.embed.register_forward_hook(keep)
    try:
        yield lambda: kept[-1]
    finally:
        handle.remove()
