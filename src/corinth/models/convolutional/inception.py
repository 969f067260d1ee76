"""BN-Inception and Inception-v3: GoogLeNet with batch norm, then with its large convolutions factorised.

Ioffe & Szegedy, *Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift*, 2015
(arXiv:1502.03167). A norm over the batch follows every convolution, which allows large learning rates and makes
dropout and response norm superfluous; two 3x3 convolutions replace the 5x5. Later called Inception-v2.

Szegedy et al., *Rethinking the Inception Architecture for Computer Vision*, 2015 (arXiv:1512.00567). A 7x7 becomes a
1x7 and a 7x1 (section 3.2), strided convolutions and pools shrink maps side by side (section 5), one auxiliary head
with batch norm regularises (section 4).

Shapes: B batch, C channels, H W pixels.
Deviations from the papers, as the public weights have them: BN-Inception's first layer is a plain 7x7 convolution, the
paper's a separable one with depth multiplier 8; its modules 4c and 4d have the 608 channels that their branches add up
to, where the paper's table says 576. Inception-v3 is the network that its authors released: table 1 of the paper has
two 3x3 convolutions in place of a 1x1, a 3x3 and a pool before the first module, figure 5 a 3x3 in place of a 5x5.
Neither paper says how weights start: here as He et al. 2015.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.auxiliary import WithAux
from corinth.layers.inception import MIN_SIZE, STEM_CHANS, Conv, ConvUnit, Mixed, PoolProj, chain, classifier, stem
from corinth.layers.init import scaled_normal_
from corinth.registry import Card, register

# figure 5 of 1502.03167: 1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3, pool, projection of the pool;
# 3c and 4e have stride 2, no 1x1, and let the pooled map pass through
BN_TABLE = {
    "3a": (64, 64, 64, 64, 96, "avg", 32),
    "3b": (64, 64, 96, 64, 96, "avg", 64),
    "3c": (0, 128, 160, 64, 96, "max", 0),
    "4a": (224, 64, 96, 96, 128, "avg", 128),
    "4b": (192, 96, 128, 96, 128, "avg", 128),
    "4c": (160, 128, 160, 128, 160, "avg", 128),
    "4d": (96, 128, 192, 160, 192, "avg", 128),
    "4e": (0, 128, 192, 192, 256, "max", 0),
    "5a": (352, 192, 320, 160, 224, "avg", 128),
    "5b": (352, 192, 320, 192, 224, "max", 128),
}
BN_FEATURES = 1024
V3_FEATURES = 2048
AUX_CHANS = 768  # of the last 17x17 map, and of the auxiliary head


@dataclass(frozen=True, kw_only=True)
class BnInceptionConfig:
    """Figure 5 of 1502.03167."""

    conv_bias: bool = False  # a batch norm undoes what a bias does; public weights ported from Caffe have them
    drop_rate: float = 0.0  # before the classifier; section 4.2.1 removes GoogLeNet's
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features

    def __post_init__(self) -> None:
        checks.head_fields(self)
        checks.switch("conv_bias", self.conv_bias)

    @property
    def min_size(self) -> int:
        """The first pool needs 4 pixels a side, so that the second still finds 2."""
        return 7


class HalvingPool(nn.Module):
    """3x3 max pool of stride 2 that leaves ceil(H / 2) rows, as the padded convolutions beside it do."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        return F.max_pool2d(x, 3, stride=2, padding=(height % 2, width % 2), ceil_mode=True)


def bn_module(cfg: BnInceptionConfig, in_chans: int, row: tuple[Any, ...]) -> Mixed:
    """One row of figure 5."""
    one, three_reduce, three, double_reduce, double, pool, proj = row
    how: dict[str, Any] = {"bias": cfg.conv_bias, "eps": 1e-5}
    stride = 1 if proj else 2
    single = chain(in_chans, Conv(three_reduce, 1), Conv(three, 3, stride), **how)
    twice = chain(in_chans, Conv(double_reduce, 1), Conv(double, 3), Conv(double, 3, stride), **how)
    if not proj:
        return Mixed(single, twice, HalvingPool())
    pooling = nn.AvgPool2d(3, 1, 1) if pool == "avg" else nn.MaxPool2d(3, 1, 1)
    pooled = nn.Sequential(pooling, ConvUnit(in_chans, proj, 1, **how))
    return Mixed(ConvUnit(in_chans, one, 1, **how), single, twice, pooled)


class BnInception(nn.Module):
    def __init__(self, cfg: BnInceptionConfig) -> None:
        super().__init__()
        self.cfg = cfg
        how: dict[str, Any] = {"bias": cfg.conv_bias, "eps": 1e-5}
        self.stem = nn.Sequential(
            ConvUnit(cfg.in_chans, 64, 7, 2, **how),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            ConvUnit(64, 64, 1, **how),
            ConvUnit(64, 192, 3, **how),
            nn.MaxPool2d(3, 2, ceil_mode=True),
        )
        in_chans = 192
        for name, row in BN_TABLE.items():
            self.add_module(f"inception{name}", bn_module(cfg, in_chans, row))
            one, _, three, _, double, _, proj = row
            in_chans = one + three + double + (proj or in_chans)
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """He et al. 2015 (1502.01852), by fan-in; biases zero. The paper does not say."""
        scaled_normal_(self)

    def reset_head(self, num_classes: int) -> None:
        """A fresh classifier for `num_classes`; 0 removes it."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = classifier(BN_FEATURES, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to the map of module 5b, (B, 1024, H/32, W/32)."""
        checks.at_least(x, self.cfg.min_size)
        x = self.stem(x)
        for name in BN_TABLE:
            x = self.get_submodule(f"inception{name}")(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to logits (B, num_classes), or pooled features (B, 1024) with num_classes 0."""
        x = F.adaptive_avg_pool2d(self.forward_features(x), 1).flatten(1)
        return self.head(self.dropout(x))


@dataclass(frozen=True, kw_only=True)
class InceptionV3Config:
    """Table 1 of 1512.00567, as its authors released it."""

    aux_heads: bool = False  # one auxiliary head while training: 27,161,264 parameters in place of 23,834,568
    aux_weight: float = 0.4
    drop_rate: float = 0.2
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features, without auxiliary head

    def __post_init__(self) -> None:
        checks.head_fields(self)
        checks.switch("aux_heads", self.aux_heads)
        checks.at_least_zero("aux_weight", self.aux_weight)

    @property
    def min_size(self) -> int:
        return MIN_SIZE


def module35(in_chans: int, proj: int) -> Mixed:
    """Figure 5, with a 5x5 in the second branch."""
    return Mixed(
        ConvUnit(in_chans, 64, 1),
        chain(in_chans, Conv(48, 1), Conv(64, 5)),
        chain(in_chans, Conv(64, 1), Conv(96, 3), Conv(96, 3)),
        PoolProj(in_chans, proj),
    )


def module17(in_chans: int, width: int) -> Mixed:
    """Figure 6 with n = 7: a 7x7 as 1x7 and 7x1, and two of them in a row."""
    return Mixed(
        ConvUnit(in_chans, 192, 1),
        chain(in_chans, Conv(width, 1), Conv(width, (1, 7)), Conv(192, (7, 1))),
        chain(
            in_chans, Conv(width, 1), Conv(width, (7, 1)), Conv(width, (1, 7)), Conv(width, (7, 1)), Conv(192, (1, 7))
        ),
        PoolProj(in_chans, 192),
    )


def module8(in_chans: int) -> Mixed:
    """Figure 7: the filter bank expanded by a 1x3 beside a 3x1."""
    return Mixed(
        ConvUnit(in_chans, 320, 1),
        chain(in_chans, Conv(384, 1), fork=384),
        chain(in_chans, Conv(448, 1), Conv(384, 3), fork=384),
        PoolProj(in_chans, 192),
    )


def reduction17(in_chans: int) -> Mixed:
    """Figure 10: from 35x35 to 17x17 by strided convolutions beside a pool."""
    return Mixed(
        ConvUnit(in_chans, 384, 3, 2, valid=True),
        chain(in_chans, Conv(64, 1), Conv(96, 3), Conv(96, 3, 2, valid=True)),
        nn.MaxPool2d(3, 2),
    )


def reduction8(in_chans: int) -> Mixed:
    """Figure 10 again, from 17x17 to 8x8."""
    return Mixed(
        chain(in_chans, Conv(192, 1), Conv(320, 3, 2, valid=True)),
        chain(in_chans, Conv(192, 1), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, 2, valid=True)),
        nn.MaxPool2d(3, 2),
    )


class AuxHead(nn.Module):
    """Figure 8 and section 4: 5x5/3 average pool to 5x5, a 1x1 and a 5x5 convolution with batch norm, a classifier.

    Maps below 17x17, of images below 299 pixels, are pooled to 5x5 adaptively.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.reduce = ConvUnit(AUX_CHANS, 128, 1)
        self.conv = ConvUnit(128, AUX_CHANS, 5, valid=True)
        self.head = classifier(AUX_CHANS, num_classes)
        scaled_normal_(self)

    def forward(self, x: Tensor) -> Tensor:  # (B, 768, H/16, W/16) to (B, num_classes)
        x = F.avg_pool2d(x, 5, stride=3) if min(x.shape[-2:]) >= 17 else F.adaptive_avg_pool2d(x, 5)
        return self.head(F.adaptive_avg_pool2d(self.conv(self.reduce(x)), 1).flatten(1))


class InceptionV3(nn.Module):
    def __init__(self, cfg: InceptionV3Config) -> None:
        super().__init__()
        self.cfg = cfg
        self.stem = stem(cfg.in_chans)  # to 35x35
        self.mixed5 = nn.Sequential(module35(STEM_CHANS, 32), module35(256, 64), module35(288, 64))
        self.mixed6 = nn.Sequential(reduction17(288), *(module17(768, width) for width in (128, 160, 160, 192)))
        self.aux_heads = nn.ModuleList()
        self.mixed7 = nn.Sequential(reduction8(768), module8(1280), module8(V3_FEATURES))
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """He et al. 2015 (1502.01852), by fan-in; biases zero. The paper does not say."""
        scaled_normal_(self)

    def reset_head(self, num_classes: int) -> None:
        """Fresh classifiers for `num_classes`, the auxiliary one included; 0 removes both."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = classifier(V3_FEATURES, num_classes)
        if not num_classes or not self.cfg.aux_heads:
            self.aux_heads = nn.ModuleList()
        elif not len(self.aux_heads):
            self.aux_heads.append(AuxHead(num_classes))
        for aux in self.aux_heads:
            aux.head = classifier(AUX_CHANS, num_classes)

    def _last17(self, x: Tensor) -> Tensor:
        """The map that the auxiliary head looks at, (B, 768, H/16, W/16)."""
        checks.at_least(x, self.cfg.min_size)
        return self.mixed6(self.mixed5(self.stem(x)))

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to the map of the last module, (B, 2048, H/32, W/32)."""
        return self.mixed7(self._last17(x))

    def forward(self, x: Tensor) -> Tensor | WithAux:
        """(B, in_chans, H, W) to logits (B, num_classes), while training with those of an auxiliary head."""
        seen = self._last17(x)
        x = F.adaptive_avg_pool2d(self.mixed7(seen), 1).flatten(1)
        logits = self.head(self.dropout(x))
        if not self.training or not len(self.aux_heads):
            return logits
        return WithAux(logits, tuple(aux(seen) for aux in self.aux_heads), self.cfg.aux_weight)


INIT = "weights start as He et al. 2015 (fan-in): the paper does not say how"
SMALL: dict[str, Any] = {  # small images
    "optimizer": "sgd",
    "lr": 0.1,
    "schedule": "onecycle",
    "batch_size": 64,
    "weight_decay": 5e-4,
    "clip_norm": 1.0,
    "img_size": 64,
    "augmentation": {"crop_padding": 0.0625, "flip": True},
}
PUBLISHED: dict[str, Any] = {
    "optimizer": "sgd",
    "lr": 0.045,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 4e-5,
    "batch_size": 32,
    "schedule": "step",
}

register(
    "bn_inception",
    BnInception,
    BnInceptionConfig(),
    Card(
        params=11_285_224,
        macs=2_032_600_064,
        paper="Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
        year=2015,
        arxiv="1502.03167",
        input_size=(3, 224, 224),
        published={
            "ImageNet top-1": "74.8 % (paper, figure 3, BN-x30)",
            "parameters with conv_bias": "11,295,240 (the form that public weights ported from Caffe have)",
        },
        deviations=(
            "a plain 7x7 first convolution: the paper's is separable, with depth multiplier 8",
            "modules 4c and 4d have 608 channels, the sum of their branches in the paper's table, which says 576",
            INIT,
            "published_recipe takes momentum, a fifth of BVLC's weight decay, and GoogLeNet's decay of the rate, six "
            "times as fast: the paper prints no numbers",
        ),
        references=("pytorchcv:bninception",),
        synonyms={"inception3a": "stage1.unit1 (pytorchcv)", "stem": "init_block (pytorchcv)"},
        recipe=SMALL,
        published_recipe=PUBLISHED
        | {  # section 4.2.2, BN-x30: rate 0.045, batches of 32, best after 6 million steps
            "budget": "192000000samples",  # 150 epochs
            "step_at": tuple(round(8 / 6 * i / 150, 4) for i in range(1, 113)),
            "step_gamma": 0.96,
            # section 4.2.1: as GoogLeNet, with fewer photometric distortions
            "augmentation": {"random_resized_crop": (0.08, 1.0), "flip": True},
        },
    ),
    aliases=("inception_v2",),
)
register(
    "inception_v3",
    InceptionV3,
    InceptionV3Config(),
    Card(
        params=23_834_568,
        macs=5_713_216_096,
        paper="Rethinking the Inception Architecture for Computer Vision",
        year=2015,
        arxiv="1512.00567",
        input_size=(3, 299, 299),
        published={
            "ImageNet top-1 error, one crop": "21.2 % (paper, table 3)",
            "parameters with the auxiliary head": "27,161,264 (torchvision, aux_logits)",
        },
        deviations=(
            "stem and 5x5 branch of the authors' released network: table 1 has two 3x3 convolutions in place of a 1x1, "
            "a 3x3 and a pool, and figure 5 a 3x3 in place of a 5x5",
            "no auxiliary head unless aux_heads is set; its weight 0.4, dropout 0.2 and averages that count their "
            "padding are those of public code: the paper does not say; it pools maps below 17x17 adaptively",
            INIT,
            "published_recipe has momentum 0.9, as the paper's earlier models, in place of RMSProp with decay 0.9 and "
            "epsilon 1; the averaging's decay, the weight decay and the augmentation are assumed",
        ),
        references=("timm:inception_v3", "torchvision:inception_v3"),
        synonyms={
            "stem": "Conv2d_1a_3x3 to Conv2d_4a_3x3 (timm, torchvision)",
            "mixed5, mixed6, mixed7": "Mixed_5b to Mixed_7c (timm, torchvision)",
            "branches": "branch1x1, branch3x3dbl, ..., branch_pool (timm, torchvision)",
            "aux_heads": "AuxLogits (timm, torchvision)",
        },
        recipe={**SMALL, "img_size": 96},
        published_recipe=PUBLISHED
        | {  # sections 7 and 8
            "budget": "100ep",
            "step_at": tuple(i / 50 for i in range(1, 50)),
            "step_gamma": 0.94,
            "label_smoothing": 0.1,
            "clip_norm": 2.0,
            "ema": 0.9999,
            "options": {"aux_heads": True},
            "augmentation": {"random_resized_crop": (0.08, 1.0), "flip": True, "color_jitter": 0.4},
        },
    ),
)
