"""From what a network says of the next token to the one that is taken."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from corinth.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """A text that a network wrote, and how."""

    text: str
    sample: int
    seed: int
    temperature: float
    top_k: int | None
    top_p: float | None

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Refuse, in a sentence, what no token could be drawn by."""
    if not 0 <= temperature < float("inf"):
        raise UsageError(f"temperature {temperature:g} is not valid; it must be 0, for the likeliest token, or more")
    if top_k is not None and top_k < 1:
        raise UsageError(f"top_k {top_k} is not valid; it must be a whole number from 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise UsageError(f"top_p {top_p:g} is not valid; it must be more than 0 and at most 1")


def next_probs(
    logits: Tensor, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Logits (V,) to the probabilities that a token is drawn by, float64 (V,).

    The logits are divided by the temperature (0: the likeliest token alone); of the probabilities the `top_k` largest
    are kept, of these the fewest that come to `top_p` (Holtzman et al. 2020, 1904.09751), and what is kept is
    scaled to 1. Of equal ones the first in the vocabulary goes before.
    """
    check_sampling(temperature, top_k, top_p)
    logits = logits.double()
    if temperature == 0:
        return torch.zeros_like(logits).index_fill_(0, logits.argmax(), 1.0)
    probs, order = (logits / temperature).softmax(0).sort(descending=True, stable=True)
    if top_k is not None:
        probs[top_k:] = 0
    if top_p is not None:
        probs /= probs.sum()
        probs[probs.cumsum(0) - probs >= top_p] = 0  # what comes before is enough already
    return torch.zeros_like(probs).index_copy_(0, order, probs / probs.sum())


def draw(probs: Tensor, chance: torch.Generator) -> int:
    """One token by its probability (V,)."""
    return int(torch.multinomial(probs, 1, generator=chance))
