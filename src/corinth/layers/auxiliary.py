"""What a network with auxiliary classifiers returns while it trains."""

from typing import NamedTuple

from torch import Tensor


class WithAux(NamedTuple):
    """Logits of the network and of its auxiliary heads; the loss is L(logits) + weight * sum of L(aux)."""

    logits: Tensor  # (B, num_classes)
    aux: tuple[Tensor, ...]  # each (B, num_classes)
    weight: float
