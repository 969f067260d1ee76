"""U-Net: a contracting path, an expanding path as long, and copies of the maps from one to the other.

Ronneberger, Fischer & Brox, *U-Net: Convolutional Networks for Biomedical Image Segmentation*, 2015 (arXiv:1505.04597).

The contracting path says what is in the image, the expanding one where: at each level it grows the map by a 2x2
up-convolution and puts the contracting path's map of the same size beside it (figure 1). Elastic deformations made it
learn from thirty images.

Shapes: B batch, C channels, H W pixels, K classes.
Deviations from the paper: every 3x3 convolution is padded by one pixel, so that the answer is as large as the image,
where the paper's are not and answer for its middle alone (572 pixels in, 388 out). `unet_bn` normalises each 3x3
convolution (without its bias), which the paper does not. Where the paper's dropout stands it does not say exactly: it
is behind the two deepest levels of the contracting path.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from corinth.errors import UsageError
from corinth.layers import checks
from corinth.layers.init import scaled_normal_
from corinth.registry import Card, register


@dataclass(frozen=True, kw_only=True)
class UnetConfig:
    """Figure 1."""

    width: int = 64  # channels of the finest level; each deeper level has twice as many
    depth: int = 4  # how often the map is halved
    batch_norm: bool = False
    drop_rate: float = 0.5  # behind the two deepest levels of the contracting path (section 3.1)
    in_chans: int = 1
    num_classes: int = 2  # 0: the last map, (B, width, H, W)

    def __post_init__(self) -> None:
        checks.whole("width", self.width, 1)
        checks.whole("depth", self.depth, 1)
        checks.switch("batch_norm", self.batch_norm)
        checks.head_fields(self)

    @property
    def stride(self) -> int:
        """What must divide the image's sides, so that every map can be halved and doubled again."""
        return 2**self.depth

    @property
    def min_size(self) -> int:
        return self.stride

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, the finest first."""
        return tuple(self.width * 2**level for level in range(self.depth + 1))


def double_conv(cfg: UnetConfig, in_chans: int, chans: int) -> nn.Sequential:
    """Two 3x3 convolutions, each rectified: what every level of either path is made of."""
    layers: list[nn.Module] = []
    for source in (in_chans, chans):
        layers.append(nn.Conv2d(source, chans, 3, padding=1, bias=not cfg.batch_norm))
        if cfg.batch_norm:
            layers.append(nn.BatchNorm2d(chans))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class Unet(nn.Module):
    def __init__(self, cfg: UnetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        widths = cfg.widths
        self.down = nn.ModuleList(
            double_conv(cfg, source, chans) for source, chans in zip((cfg.in_chans, *widths[:-1]), widths)
        )
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(cfg.drop_rate)
        # of the expanding path, from the deepest level to the finest
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * chans, chans, 2, stride=2) for chans in widths[-2::-1])
        self.merge = nn.ModuleList(double_conv(cfg, 2 * chans, chans) for chans in widths[-2::-1])
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """Section 3: N(0, 2/N), N the inputs of one unit; of an up-convolution these are its input's channels."""
        scaled_normal_(self)
        for layer in self.up.modules():
            if isinstance(layer, nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, 0.0, (2 / layer.in_channels) ** 0.5)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def reset_head(self, num_classes: int) -> None:
        """A fresh last 1x1 convolution for `num_classes`; 0 removes it."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = nn.Conv2d(self.cfg.width, num_classes, 1) if num_classes else nn.Identity()
        scaled_normal_(self.head)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to the last map, (B, width, H, W); `cfg.stride` must divide H and W."""
        checks.at_least(x, self.cfg.min_size)
        height, width = x.shape[-2:]
        if height % self.cfg.stride or width % self.cfg.stride:
            raise UsageError(
                f"images of {height}x{width} pixels do not fit a U-Net of depth {self.cfg.depth}; "
                f"both sides must be multiples of {self.cfg.stride}"
            )
        passed: list[Tensor] = []
        for level, conv in enumerate(self.down):
            x = conv(self.pool(x) if level else x)
            if level >= self.cfg.depth - 1:
                x = self.dropout(x)
            passed.append(x)
        for up, merge, beside in zip(self.up, self.merge, passed[-2::-1]):
            x = merge(torch.cat((beside, up(x)), dim=1))
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to logits (B, num_classes, H, W)."""
        return self.head(self.forward_features(x))


PADDED = "3x3 convolutions are padded, so that the answer is as large as the image (paper: 572 pixels in, 388 out)"
DROPOUT = "dropout 0.5 stands behind the two deepest levels of the contracting path: the paper does not say exactly"
LOSS = "published_recipe has batches of one image, no elastic deformations and no weights for narrow borders"
SMALL: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 1e-3,
    "weight_decay": 0.01,
    "schedule": "onecycle",
    "warmup": 0.2,
    "clip_norm": 1.0,
    "batch_size": 4,
    "eval_batch_size": 8,
    "fit": "pad",
    "augmentation": {"random_resized_crop": (0.5, 1.0), "flip": True},
}
PUBLISHED: dict[str, Any] = {  # section 3: one large tile a batch, momentum 0.99; rate and length as in public code
    "optimizer": "sgd",
    "lr": 1e-3,
    "momentum": 0.99,
    "nesterov": False,
    "weight_decay": 0.0,
    "schedule": "constant",
    "batch_size": 1,
    "eval_batch_size": 8,
    "budget": "40ep",
    "fit": "pad",
    "augmentation": {"flip": True},
}

for name, batch_norm, params in (("unet", False, 31_030_658), ("unet_bn", True, 31_036_546)):
    register(
        name,
        Unet,
        UnetConfig(batch_norm=batch_norm),
        Card(
            params=params,
            macs=192_384_335_872,
            paper="U-Net: Convolutional Networks for Biomedical Image Segmentation",
            arxiv="1505.04597",
            year=2015,
            input_size=(1, 512, 512),
            tasks=("semantic-segmentation",),
            published={"ISBI 2012 warping error": "0.000353 (paper, table 1, with the paper's weighted loss)"},
            deviations=(PADDED, DROPOUT, LOSS) + (("batch normalisation, which the paper has not",) * batch_norm),
            synonyms={
                "width": "64 (paper, figure 1); init_features, base_channels (public code)",
                "down": "contracting path (paper), encoder (public code)",
                "up": "up-conv 2x2 (paper), decoder (public code)",
                "merge": "copy and crop, conv 3x3 (paper)",
            },
            recipe=SMALL,
            published_recipe=PUBLISHED,
        ),
    )
