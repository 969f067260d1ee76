"""The feature pyramid: maps of every scale with the meaning of the coarsest.

Lin, Dollár, Girshick, He, Hariharan & Belongie, *Feature Pyramid Networks for Object Detection*, 2017
(arXiv:1612.03144), section 3 and figure 3. The coarser levels P6 and P7 are those of FCOS (Tian et al. 2019,
arXiv:1904.01355, section 3.2): strided convolutions on P5, with the rectifier of RetinaNet's code before P7.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks


class FPN(nn.Module):
    """A 1x1 convolution brings each map to `channels`, coarser maps are added to finer ones, a 3x3 one smooths.

    `in_channels` are those of the backbone's maps, finest first. The coarser map grows to the exact size of the finer
    one by its nearest pixels, so sides need not be even. `extra` appends levels, each half the size of the one before.
    No norms and no activations, as in the paper; its weights start as in the authors' code (Glorot's uniform of the
    fan-in: variance 1 / fan_in), biases at zero.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, *, extra: int = 0) -> None:
        super().__init__()
        if not in_channels:
            raise ValueError("in_channels () has no map; give the channels of at least one")
        for chans in (*in_channels, channels):
            checks.whole("channels", chans, 1)
        checks.whole("extra", extra, 0)
        self.laterals = nn.ModuleList(nn.Conv2d(chans, channels, 1) for chans in in_channels)
        self.smooths = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels)
        self.extras = nn.ModuleList(nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in range(extra))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight, a=1)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """(B, C_i, H_i, W_i), finest first, to as many (B, channels, H_i, W_i), and the extra levels behind them."""
        if len(maps) != len(self.laterals):
            raise ValueError(f"{len(maps)} maps for a pyramid of {len(self.laterals)}")
        merged: list[Tensor] = []  # coarsest first
        for lateral, x in zip(reversed(self.laterals), reversed(maps)):
            side = lateral(x)
            if merged:
                side = side + F.interpolate(merged[-1], size=side.shape[-2:], mode="nearest")
            merged.append(side)
        levels = [smooth(x) for smooth, x in zip(self.smooths, reversed(merged))]
        for number, extra in enumerate(self.extras):
            levels.append(extra(F.relu(levels[-1]) if number else levels[-1]))
        return tuple(levels)
