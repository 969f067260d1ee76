"""LSTM cells over all steps of their sequences in one kernel on a CPU.

Shapes: T steps, B sequences, H hidden units.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from corinth.layers import native

SPREADS = 6  # of a sequence at a step: mean and inverse deviation of the two products and the cell state
Step = TypeVar("Step", bound=Callable[..., Any])


@dataclass(frozen=True)
class LSTM:
    """What the kernel knows of a step: which weights of single units it takes."""

    peepholes: bool
    normed: bool

    def takes(self, x: Tensor, u_weight: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor]) -> bool:
        """Whether the sizes are those that the kernel relies on; with others torch's operators fit them, or refuse."""
        if len(states) != 2 or x.ndim != 3 or states[0].ndim != 3:
            return False
        (steps, batch), hidden = x.shape[:2], states[0].shape[2]
        wanted = [4, 4, 4] * self.normed + [3] * self.peepholes + [1, 1] * self.normed  # in H
        return (
            x.shape[2] == 4 * hidden
            and u_weight.shape == (4 * hidden, hidden)
            and all(state.shape == (steps + 1, batch, hidden) for state in states)
            and [weight.shape for weight in weights] == [(times * hidden,) for times in wanted]
        )


_known: dict[Callable[..., Any], LSTM] = {}


def lstm(*, peepholes: bool = False, normed: bool = False) -> Callable[[Step], Step]:
    """The step that follows is the one that native/cells.cpp has, with or without peepholes and layer norms."""

    def remember(step: Step) -> Step:
        _known[step] = LSTM(peepholes, normed)
        return step

    return remember


def kernel_for(
    step: Callable[..., Any],
    x: Tensor,
    u_weight: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    mask: Tensor | None,
) -> LSTM | None:
    """The kernel that takes such a step of these tensors, if there is one and they suit it."""
    kind, masks = _known.get(step), () if mask is None else (mask,)
    if kind is None or not native.is_plain() or not native.are_single(x, u_weight, *states, *weights, *masks):
        return None
    fits = kind.takes(x, u_weight, states, weights) and all(mask.shape == states[0].shape[1:] for mask in masks)
    return kind if fits and native.is_there() else None


def forward(
    kind: LSTM,
    x: Tensor,
    u_weight: Tensor,
    weights: Sequence[Tensor],
    mask: Tensor | None,
    h: Tensor,
    c: Tensor,
    *,
    keeps: bool,
) -> list[Tensor | None]:
    """All states, into h and c (T + 1, B, H) behind the first ones there; with `keeps` what `backward` wants.

    x (T, B, 4H) are the input products, u_weight (4H, H), mask (B, H) as in `corinth.layers.recurrence.recur`.
    """
    kept = torch.empty_like(x) if keeps else None
    spreads = x.new_empty(*x.shape[:2], SPREADS) if keeps and kind.normed else None
    given = (native.addresses(weights), x, u_weight, mask, kept, spreads, h, c)
    native.call("lstm_forward", kind.peepholes, kind.normed, *given, *_sizes(x, h))
    return [kept, spreads]


def backward(
    kind: LSTM,
    x: Tensor,
    u_weight: Tensor,
    weights: Sequence[Tensor],
    mask: Tensor | None,
    h: Tensor,
    c: Tensor,
    kept: Sequence[Tensor | None],
    grads: Sequence[Tensor | None],
    *,
    of_u_weight: bool,
) -> tuple[Tensor, Tensor | None, list[Tensor], list[Tensor]]:
    """From the gradients of all h and c to those of x, of the recurrent weight where it is wanted, of both first
    states, and of the weights."""
    of_x, of_u = torch.empty_like(x), torch.empty_like(u_weight) if of_u_weight else None
    seen = h if mask is None else h[:-1] * mask
    of_state = [torch.empty_like(c[0]) for _ in range(2)]
    lengths = [len(weight) for weight in weights]
    of_weights = x.new_empty(sum(lengths))
    outer = [None if grad is None else grad.contiguous() for grad in grads]
    given = (native.addresses(weights), x, u_weight, mask, *kept, seen, c, *outer)
    into = (of_x, of_u, *of_state, of_weights)
    native.call("lstm_backward", kind.peepholes, kind.normed, *given, *into, *_sizes(x, c))
    return of_x, of_u, of_state, [part.clone() for part in of_weights.split(lengths)]


def sum_of_products(grad: Tensor, x: Tensor) -> Tensor:
    """grad (R, N) and x (R, K), without gaps, to grad.T @ x (N, K)."""
    total = x.new_empty(grad.shape[1], x.shape[1])
    native.call("sum_of_products", grad, x, total, len(x), grad.shape[1], x.shape[1])
    return total


def _sizes(x: Tensor, states: Tensor) -> tuple[int, int, int]:
    return x.shape[0], x.shape[1], states.shape[2]
