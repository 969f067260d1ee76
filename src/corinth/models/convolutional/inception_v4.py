"""Inception-v4 and Inception-ResNet-v2: a uniform Inception network, and one whose modules learn residuals.

Szegedy et al., *Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning*, 2016
(arXiv:1602.07261).

Inception-v4 (figure 9) is stem, 4 x A, reduction A, 7 x B, reduction B, 3 x C, with the same choices wherever the map
has the same size. In Inception-ResNet a 1x1 convolution without activation brings the concatenated branches back to
the width of their input and is added to it. With more than a thousand filters that becomes unstable, so residuals are
scaled down before the sum (section 3.3).

Shapes: B batch, C channels, H W pixels.
Deviations from the paper: the pairs of a 1x7 and a 7x1 are in the order of the authors' released code, which the
figures mirror in places. Inception-ResNet-v2 is the released network as a whole: Inception-v3's stem and one more
Inception module in place of figure 3, 10, 20, 10 modules in place of 5, 10, 5, widths 320, 1088 and 2080 in place of
384, 1154 (a misprint of 1152) and 2048, no activation after the last sum, a 1x1 convolution before the classifier. The
paper does not say how weights start: here as He et al. 2015.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.inception import MIN_SIZE, STEM_CHANS, Conv, ConvUnit, Mixed, PoolProj, chain, classifier, stem
from corinth.layers.init import scaled_normal_
from corinth.registry import Card, register

NUM_FEATURES = 1536  # of both networks


@dataclass(frozen=True, kw_only=True)
class InceptionV4Config:
    """Figure 9, or with `scales` figure 15: the two have one skeleton."""

    depth: tuple[int, int, int]  # modules A, B, C
    scales: tuple[float, float, float] | None = None  # of the residuals of A, B, C; None: no residuals
    drop_rate: float = 0.2
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features

    def __post_init__(self) -> None:
        for field in ("depth", "scales"):
            values = getattr(self, field)
            if values is None and field == "scales":
                continue
            values = checks.entries(field, values)
            if len(values) != 3:
                raise ValueError(f"{field} {values} has not three values, for the modules A, B and C")
            object.__setattr__(self, field, values)
        for modules in self.depth:
            checks.whole("depth", modules, 1)
        for scale in self.scales or ():
            checks.at_least_zero("scales", scale)
        checks.head_fields(self)

    @property
    def min_size(self) -> int:
        return MIN_SIZE


def stem_v4(in_chans: int) -> nn.Sequential:
    """Figure 3: 299 pixels to a map of 35, by convolutions beside pools."""
    return nn.Sequential(
        ConvUnit(in_chans, 32, 3, 2, valid=True),
        ConvUnit(32, 32, 3, valid=True),
        ConvUnit(32, 64, 3),
        Mixed(nn.MaxPool2d(3, 2), ConvUnit(64, 96, 3, 2, valid=True)),
        Mixed(
            chain(160, Conv(64, 1), Conv(96, 3, valid=True)),
            chain(160, Conv(64, 1), Conv(64, (1, 7)), Conv(64, (7, 1)), Conv(96, 3, valid=True)),
        ),
        Mixed(ConvUnit(192, 192, 3, 2, valid=True), nn.MaxPool2d(3, 2)),
    )


def inception_a() -> Mixed:
    """Figure 4, on 35x35."""
    return Mixed(
        ConvUnit(384, 96, 1),
        chain(384, Conv(64, 1), Conv(96, 3)),
        chain(384, Conv(64, 1), Conv(96, 3), Conv(96, 3)),
        PoolProj(384, 96, count_pad=False),
    )


def inception_b() -> Mixed:
    """Figure 5, on 17x17."""
    return Mixed(
        ConvUnit(1024, 384, 1),
        chain(1024, Conv(192, 1), Conv(224, (1, 7)), Conv(256, (7, 1))),
        chain(1024, Conv(192, 1), Conv(192, (7, 1)), Conv(224, (1, 7)), Conv(224, (7, 1)), Conv(256, (1, 7))),
        PoolProj(1024, 128, count_pad=False),
    )


def inception_c() -> Mixed:
    """Figure 6, on 8x8."""
    return Mixed(
        ConvUnit(1536, 256, 1),
        chain(1536, Conv(384, 1), fork=256),
        chain(1536, Conv(384, 1), Conv(448, (3, 1)), Conv(512, (1, 3)), fork=256),
        PoolProj(1536, 256, count_pad=False),
    )


def reduction_a(in_chans: int, k: int, l: int, m: int, n: int) -> Mixed:  # noqa: E741
    """Figure 7, from 35x35 to 17x17; k, l, m, n are table 1's."""
    return Mixed(
        ConvUnit(in_chans, n, 3, 2, valid=True),
        chain(in_chans, Conv(k, 1), Conv(l, 3), Conv(m, 3, 2, valid=True)),
        nn.MaxPool2d(3, 2),
    )


def reduction_b() -> Mixed:
    """Figure 8, from 17x17 to 8x8."""
    return Mixed(
        chain(1024, Conv(192, 1), Conv(192, 3, 2, valid=True)),
        chain(1024, Conv(256, 1), Conv(256, (1, 7)), Conv(320, (7, 1)), Conv(320, 3, 2, valid=True)),
        nn.MaxPool2d(3, 2),
    )


def stem_resnet(in_chans: int) -> nn.Sequential:
    """Inception-v3's stem and a first Inception module, in place of figure 3."""
    widen = Mixed(
        ConvUnit(STEM_CHANS, 96, 1),
        chain(STEM_CHANS, Conv(48, 1), Conv(64, 5)),
        chain(STEM_CHANS, Conv(64, 1), Conv(96, 3), Conv(96, 3)),
        PoolProj(STEM_CHANS, 64, count_pad=False),
    )
    return nn.Sequential(*stem(in_chans), widen)


def residual_reduction_b() -> Mixed:
    """Figure 18, from 17x17 to 8x8."""
    return Mixed(
        chain(1088, Conv(256, 1), Conv(384, 3, 2, valid=True)),
        chain(1088, Conv(256, 1), Conv(288, 3, 2, valid=True)),
        chain(1088, Conv(256, 1), Conv(288, 3), Conv(320, 3, 2, valid=True)),
        nn.MaxPool2d(3, 2),
    )


class Residual(nn.Module):
    """Figure 20: x + scale * (a linear 1x1 convolution of the concatenated branches), then ReLU."""

    def __init__(self, chans: int, mixed: Mixed, mixed_chans: int, scale: float, *, relu: bool = True) -> None:
        super().__init__()
        self.mixed = mixed
        self.up = nn.Conv2d(mixed_chans, chans, 1)
        self.scale = scale
        self.relu = relu

    def extra_repr(self) -> str:
        return f"scale={self.scale}, relu={self.relu}"

    def forward(self, x: Tensor) -> Tensor:
        x = torch.add(x, self.up(self.mixed(x)), alpha=self.scale)
        return F.relu(x, inplace=True) if self.relu else x


def residual_a(scale: float) -> Residual:
    """Figure 16, on 35x35."""
    branches = (
        ConvUnit(320, 32, 1),
        chain(320, Conv(32, 1), Conv(32, 3)),
        chain(320, Conv(32, 1), Conv(48, 3), Conv(64, 3)),
    )
    return Residual(320, Mixed(*branches), 128, scale)


def residual_b(scale: float) -> Residual:
    """Figure 17, on 17x17."""
    branches = ConvUnit(1088, 192, 1), chain(1088, Conv(128, 1), Conv(160, (1, 7)), Conv(192, (7, 1)))
    return Residual(1088, Mixed(*branches), 384, scale)


def residual_c(scale: float, *, relu: bool = True) -> Residual:
    """Figure 19, on 8x8."""
    branches = ConvUnit(2080, 192, 1), chain(2080, Conv(192, 1), Conv(224, (1, 3)), Conv(256, (3, 1)))
    return Residual(2080, Mixed(*branches), 448, scale, relu=relu)


class InceptionV4(nn.Module):
    """Both networks: stem, modules A, reduction A, modules B, reduction B, modules C."""

    def __init__(self, cfg: InceptionV4Config) -> None:
        super().__init__()
        self.cfg = cfg
        a, b, c = cfg.depth
        if cfg.scales is None:
            self.stem = stem_v4(cfg.in_chans)
            self.inception_a = nn.Sequential(*(inception_a() for _ in range(a)))
            self.reduction_a = reduction_a(384, 192, 224, 256, 384)
            self.inception_b = nn.Sequential(*(inception_b() for _ in range(b)))
            self.reduction_b = reduction_b()
            self.inception_c = nn.Sequential(*(inception_c() for _ in range(c)))
            self.last: nn.Module = nn.Identity()
        else:
            scale_a, scale_b, scale_c = cfg.scales
            self.stem = stem_resnet(cfg.in_chans)
            self.inception_a = nn.Sequential(*(residual_a(scale_a) for _ in range(a)))
            self.reduction_a = reduction_a(320, 256, 256, 384, 384)
            self.inception_b = nn.Sequential(*(residual_b(scale_b) for _ in range(b)))
            self.reduction_b = residual_reduction_b()
            self.inception_c = nn.Sequential(*(residual_c(scale_c) for _ in range(c - 1)), residual_c(1.0, relu=False))
            self.last = ConvUnit(2080, NUM_FEATURES, 1)
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """He et al. 2015 (1502.01852), by fan-in; biases zero. The paper does not say."""
        scaled_normal_(self)

    def reset_head(self, num_classes: int) -> None:
        """A fresh classifier for `num_classes`; 0 removes it."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = classifier(NUM_FEATURES, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to the last map, (B, 1536, H/32, W/32)."""
        checks.at_least(x, self.cfg.min_size)
        x = self.inception_a(self.stem(x))
        x = self.inception_b(self.reduction_a(x))
        return self.last(self.inception_c(self.reduction_b(x)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to logits (B, num_classes), or pooled features (B, 1536) with num_classes 0."""
        x = F.adaptive_avg_pool2d(self.forward_features(x), 1).flatten(1)
        return self.head(self.dropout(x))


PAPER = "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning"
SYNONYMS = {
    "stem": "features.0 to features.5, or conv2d_1a to mixed_5b (timm)",
    "inception_a, inception_b, inception_c": "features, or repeat, repeat_1, repeat_2 and block8 (timm)",
    "up": "conv2d (timm)",
    "last": "conv2d_7b (timm)",
    "head": "last_linear, or classif (timm)",
}
INIT = "weights start as He et al. 2015 (fan-in): the paper does not say how"
RECIPE = (
    "published_recipe has momentum 0.9, with which the paper trained its earlier models, in place of RMSProp with "
    "decay 0.9 and epsilon 1; epochs, batch, weight decay, label smoothing, decay of the moving average and "
    "augmentation are assumed"
)
SMALL: dict[str, Any] = {  # small images
    "optimizer": "sgd",
    "lr": 0.1,
    "schedule": "onecycle",
    "batch_size": 64,
    "weight_decay": 5e-4,
    "clip_norm": 1.0,
    "img_size": 96,
    "augmentation": {"crop_padding": 0.0625, "flip": True},
}
PUBLISHED: dict[str, Any] = {  # section 4
    "optimizer": "sgd",
    "lr": 0.045,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 4e-5,
    "batch_size": 32,
    "budget": "200ep",
    "schedule": "step",
    "step_at": tuple(i / 100 for i in range(1, 100)),
    "step_gamma": 0.94,
    "label_smoothing": 0.1,
    "ema": 0.9999,
    "augmentation": {"random_resized_crop": (0.08, 1.0), "flip": True, "color_jitter": 0.4},
}

for name, cfg, params, macs, error, deviations in (
    (
        "inception_v4",
        InceptionV4Config(depth=(4, 7, 3)),
        42_679_816,
        12_253_974_624,
        "20.0 %",
        ("pairs of a 1x7 and a 7x1 convolution are in the order of the authors' released network", INIT, RECIPE),
    ),
    (
        "inception_resnet_v2",
        InceptionV4Config(depth=(10, 20, 10), scales=(0.17, 0.10, 0.20)),
        55_843_464,
        13_155_794_016,
        "19.9 %",
        (
            "stem, depth (10, 20, 10 modules for 5, 10, 5) and widths are those of the authors' released network",
            "residual scales .17, .10 and .20 are the released network's: the paper says between 0.1 and 0.3",
            "the last module has scale 1 and no activation, and a 1x1 convolution to 1536 channels follows it",
            INIT,
            RECIPE,
        ),
    ),
):
    register(
        name,
        InceptionV4,
        cfg,
        Card(
            params=params,
            macs=macs,
            paper=PAPER,
            year=2016,
            arxiv="1602.07261",
            input_size=(3, 299, 299),
            published={"ImageNet top-1 error, one crop": f"{error} (paper, table 2)"},
            deviations=deviations,
            references=(f"timm:{name}",),
            synonyms=SYNONYMS,
            recipe=SMALL,
            published_recipe=PUBLISHED,
        ),
    )
