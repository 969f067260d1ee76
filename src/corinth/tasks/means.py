"""A streaming mean of values that are means themselves."""

import torch
from torch import Tensor
from torchmetrics import Metric


class CountedMean(Metric):
    """The mean of means, each weighed by the number that it is over."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor, count: float) -> None:
        self.total += value.detach() * count
        self.count += count

    def compute(self) -> Tensor:
        return self.total / self.count
