"""The size formula agrees with what torch's layers really leave."""

import pytest
import torch
from torch import nn

from corinth.layers.sizes import smallest, window_out


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 3, 1), (5, 1, 2), (2, 3, 0)]
)
def test_window_out(kernel: int, stride: int, padding: int, ceil: bool) -> None:
    pool = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
    for size in range(kernel, 40):
        assert window_out(size, kernel, stride, padding, ceil=ceil) == pool(torch.empty(1, 1, size, size)).shape[-1]


def test_smallest() -> None:
    assert smallest(lambda size: window_out(size, 11, 4) >= 3) == 19
    with pytest.raises(ValueError, match="no image of up to 64 pixels fits"):
        smallest(lambda size: False, limit=64)
