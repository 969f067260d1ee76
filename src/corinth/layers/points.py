"""What a detector without anchors says at every point of its feature maps."""

from typing import NamedTuple

import torch
from torch import Tensor


class PointOutputs(NamedTuple):
    """One entry a pyramid level, finest first. A point of level l stands for the input pixels around its centre."""

    logits: tuple[Tensor, ...]  # (B, num_classes, H_l, W_l), one sigmoid a class
    distances: tuple[Tensor, ...]  # (B, 4, H_l, W_l), from the point to the left, top, right, lower side, in pixels
    centreness: tuple[Tensor, ...]  # (B, 1, H_l, W_l), logits
    strides: tuple[int, ...]  # input pixels between neighbouring points


def grid_points(height: int, width: int, stride: int, like: Tensor) -> Tensor:
    """Centres (x, y) of the cells of a map in input pixels, (H * W, 2), row by row.

    stride / 2 + stride * (column, row): Tian et al. 2019 (arXiv:1904.01355), section 3.1.
    """
    xs = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) * stride
    ys = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) * stride
    return torch.stack((xs.repeat(height), ys.repeat_interleave(width)), dim=1)
