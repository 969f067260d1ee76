"""The feature pyramid against its definition, written out level by level."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from corinth.layers.fpn import FPN


def grown(x: Tensor, height: int, width: int) -> Tensor:
    """Each pixel of the finer grid takes the pixel of the coarser one that lies over its upper left corner."""
    rows = torch.arange(height) * x.shape[-2] // height
    columns = torch.arange(width) * x.shape[-1] // width
    return x[..., rows, :][..., columns]


@pytest.mark.parametrize("sides", [((8, 12), (4, 6), (2, 3)), ((9, 7), (5, 4), (3, 2))])
def test_top_down_and_sideways(sides: tuple[tuple[int, int], ...]) -> None:
    torch.manual_seed(0)
    pyramid = FPN((3, 4, 5), 6, extra=2)
    with torch.no_grad():
        for parameter in pyramid.parameters():
            parameter.normal_()
    maps = [torch.randn(2, chans, *side) for chans, side in zip((3, 4, 5), sides)]
    levels = pyramid(maps)
    state = pyramid.state_dict()

    def conv(name: str, x: Tensor, **how: int) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **how)

    m5 = conv("laterals.2", maps[2])
    m4 = conv("laterals.1", maps[1]) + grown(m5, *sides[1])
    m3 = conv("laterals.0", maps[0]) + grown(m4, *sides[0])
    expected = [conv(f"smooths.{i}", m, padding=1) for i, m in enumerate((m3, m4, m5))]
    expected.append(conv("extras.0", expected[-1], stride=2, padding=1))
    expected.append(conv("extras.1", expected[-1].relu(), stride=2, padding=1))
    assert len(levels) == 5
    for level, want in zip(levels, expected):
        torch.testing.assert_close(level, want)


def test_every_parameter_receives_a_gradient() -> None:
    torch.manual_seed(0)
    pyramid = FPN((3, 4), 4, extra=2)
    levels = pyramid([torch.randn(1, 3, 8, 8), torch.randn(1, 4, 4, 4)])
    sum(level.sin().sum() for level in levels).backward()
    assert all(p.grad is not None and p.grad.any() for p in pyramid.parameters())


def test_wrong_maps_and_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="1 maps for a pyramid of 2"):
        FPN((3, 4), 4)([torch.randn(1, 3, 8, 8)])
    with pytest.raises(ValueError, match="extra -1"):
        FPN((3, 4), 4, extra=-1)
    with pytest.raises(ValueError, match="no map"):
        FPN((), 4)
