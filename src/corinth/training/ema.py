"""A moving average of the weights, evaluated and saved in their place."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Average of every parameter of `nets`; buffers (running statistics) are taken as they are.

    Early on the decay is smaller, min(decay, (1 + n) / (10 + n)) at update n as in TensorFlow, so that the random
    first weights are soon forgotten.
    """

    def __init__(self, nets: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.parameters = list(nets.parameters())
        self.average = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)

    @contextmanager
    def in_place(self) -> Generator[None]:
        """Within the block the networks hold the averages; no copy is made."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for i, parameter in enumerate(self.parameters):
            parameter.data, self.average[i] = self.average[i], parameter.data

    def state(self) -> dict[str, Tensor]:
        return {str(i): average for i, average in enumerate(self.average)}

    @torch.no_grad()
    def load_state(self, state: dict[str, Tensor], updates: int) -> None:
        for i, average in enumerate(self.average):
            average.copy_(state[str(i)])
        self.updates = updates
