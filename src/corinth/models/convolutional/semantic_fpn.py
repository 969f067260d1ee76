"""Semantic FPN: a feature pyramid on any backbone, its levels brought to one scale and added up.

Kirillov, Girshick, He & Dollár, *Panoptic Feature Pyramid Networks*, 2019 (arXiv:1901.02446), section 3, "semantic
segmentation branch", and figure 3.

The pyramid of Lin et al. 2017, made for detection, serves semantic segmentation as it is: each of its levels goes
through as many upsampling stages as it takes to reach a quarter of the image's side, the results are added, and one
1x1 convolution names the classes. It is lighter than networks with dilated convolutions and about as accurate.

Shapes: B batch, C channels, H W pixels, K classes, D channels of the pyramid and of the branch.
Deviations from the paper: the pyramid has as few channels as the branch (128; the paper's has 256), and backbones are
light; a level grows to the exact size of the next finer one, so that sides need not be multiples of 32. The branch
starts as He et al. 2015 and the classifier from N(0, 0.01²): the paper does not say.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.fpn import FPN
from corinth.layers.init import gaussian_, scaled_normal_
from corinth.registry import Card, configure, create_model, register

STRIDES = (4, 8, 16, 32)
GROUPS = 32  # of the group norms


@dataclass(frozen=True, kw_only=True)
class SemanticFpnConfig:
    """Figure 3 on a backbone."""

    backbone: str = "resnet18"  # any registered architecture with maps of strides 4 to 32
    channels: int = 128  # of the pyramid and of the branch
    in_chans: int = 3
    num_classes: int = 12  # 0: the sum of the levels, (B, channels, H/4, W/4)

    def __post_init__(self) -> None:
        checks.whole("channels", self.channels, 2 * GROUPS)  # one channel of a map of one pixel has no variance
        if self.channels % GROUPS:
            raise ValueError(f"channels {self.channels} is not a multiple of {GROUPS}, the groups of its norms")
        checks.head_fields(self)

    @property
    def stride(self) -> int:
        """What should divide the image's sides: others run, but their maps do not lie exactly on each other."""
        return STRIDES[-1]

    @property
    def min_size(self) -> int:
        return max(self.stride, configure(self.backbone).min_size)


class ConvNormRelu(nn.Sequential):
    """3x3 convolution, group norm, ReLU."""

    def __init__(self, in_chans: int, chans: int) -> None:
        super().__init__(
            nn.Conv2d(in_chans, chans, 3, padding=1, bias=False), nn.GroupNorm(GROUPS, chans), nn.ReLU(inplace=True)
        )


class Scale(nn.Module):
    """A level's way to the finest scale: convolve and double `steps` times; the finest one is convolved only."""

    def __init__(self, chans: int, steps: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(ConvNormRelu(chans, chans) for _ in range(max(1, steps)))

    def forward(self, x: Tensor, sizes: Sequence[torch.Size]) -> Tensor:
        """(B, D, H', W') to (B, D, H/4, W/4); `sizes` are the (H, W) of the finer levels, the next one first."""
        for index, conv in enumerate(self.convs):
            x = conv(x)
            if sizes:
                x = F.interpolate(x, size=sizes[index], mode="bilinear", align_corners=False)
        return x


class SemanticFpn(nn.Module):
    def __init__(self, cfg: SemanticFpnConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.backbone: Any = create_model(cfg.backbone, features=STRIDES, in_chans=cfg.in_chans)
        self.pyramid = FPN(self.backbone.channels, cfg.channels)
        self.branch = nn.ModuleList(Scale(cfg.channels, steps) for steps in range(len(STRIDES)))
        scaled_normal_(self.branch)
        self.reset_head(cfg.num_classes)

    def reset_head(self, num_classes: int) -> None:
        """A fresh last 1x1 convolution for `num_classes`; 0 removes it."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = nn.Identity()
        if num_classes:
            self.head = nn.Conv2d(self.cfg.channels, num_classes, 1)
            gaussian_(self.head)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to the sum of the levels, (B, D, H/4, W/4)."""
        checks.at_least(x, self.cfg.min_size)
        levels = self.pyramid(self.backbone(x))
        sizes = [level.shape[-2:] for level in levels]
        scaled = [scale(level, sizes[:number][::-1]) for number, (scale, level) in enumerate(zip(self.branch, levels))]
        total = scaled[0]
        for level in scaled[1:]:
            total = total + level
        return total

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to logits (B, num_classes, H, W); without classes (B, D, H/4, W/4)."""
        scores = self.head(self.forward_features(x))
        if not self.cfg.num_classes:
            return scores
        return F.interpolate(scores, size=x.shape[-2:], mode="bilinear", align_corners=False)


DEVIATIONS = (
    "the pyramid has 128 channels, as the branch; the paper's has 256",
    "light backbones in place of the paper's ResNet-50 and deeper; not tied to images whose sides 32 divides",
    "the branch starts as He et al. 2015 and the classifier from N(0, 0.01²): the paper does not say",
)
SMALL: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 1e-3,
    "weight_decay": 0.05,
    "schedule": "onecycle",
    "warmup": 0.2,
    "clip_norm": 1.0,
    "batch_size": 8,
    "eval_batch_size": 16,
    "fit": "pad",
    "augmentation": {"random_resized_crop": (0.5, 1.0), "flip": True},
}

for backbone, params, macs in (
    ("mobilenetv2_100", 3_498_508, 7_013_572_608),
    ("resnet18", 12_925_772, 13_145_997_312),
):
    register(
        f"semantic_fpn_{backbone}",
        SemanticFpn,
        SemanticFpnConfig(backbone=backbone),
        Card(
            params=params,
            macs=macs,
            paper="Panoptic Feature Pyramid Networks",
            arxiv="1901.02446",
            year=2019,
            input_size=(3, 384, 512),
            tasks=("semantic-segmentation",),
            deviations=DEVIATIONS,
            synonyms={
                "branch": "semantic segmentation branch (paper), scale heads (public code)",
                "channels": "128 (paper, of the branch)",
                "pyramid": "FPN, neck (public code)",
            },
            recipe=SMALL,
        ),
    )
