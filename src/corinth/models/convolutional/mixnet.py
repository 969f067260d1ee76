"""MixNet: depthwise convolutions that mix kernel sizes within one layer.

Tan & Le, *MixConv: Mixed Depthwise Convolutional Kernels*, 2019 (arXiv:1907.09595).

Large kernels see more, but beyond 9x9 they hurt. A MixConv (section 3, figure 2) cuts the channels into groups
and gives each group its own kernel size; MixNet-S and -M (figure 4) come out of an architecture search over such
layers, and MixNet-L is M widened by 1.3. Of the 1x1 convolutions, some work in two groups of channels.

`mixnet_*` pads symmetrically, with a batch-norm epsilon of 1e-5, as PyTorch's public weights expect;
`tf_mixnet_*` is TensorFlow's own form ("SAME" padding, 1e-3), for weights that come from there. Equal
parameters, but the weights of one form lose accuracy in the other.

Shapes: B batch, C channels, H W pixels.
Deviations from the paper: running statistics take 10 % of each new batch, not 1 %, so that short training has
them too (`norm_momentum`). Groups of 1x1 convolutions and squeeze-and-excitation ratios are those of the authors'
code: figure 4 does not show them. The paper gives no initialisation: it is that of the authors' code.
`mixnet_xl` is timm's own, not in the paper.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.activations import Activation
from corinth.layers.mixed import MixConv
from corinth.layers.mobile import (
    ConvNormAct,
    DepthwiseConv2d,
    PointwiseConv2d,
    SqueezeExcite,
    StochasticDepth,
    classifier,
    init_mobile_,
    pointwise,
    round_width,
    zero_init_residual_,
)
from corinth.layers.norm_act import NormAct
from corinth.registry import Card, register

Variant = Literal["S", "M"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """Blocks of figure 4 that are alike, and what the authors' code adds to it."""

    kernels: tuple[int, ...]  # of the MixConv, one for each group of channels
    chans: int  # that leave the block
    expansion: int = 6
    groups: tuple[int, int] = (1, 1)  # of the expanding and of the projecting 1x1 convolution
    squeeze: float = 0.0  # width of squeeze-and-excitation, as a share of the block's input; 0: none
    act: Activation = "relu"
    stride: int = 1
    blocks: int = 1


def late(kernels: tuple[int, ...], chans: int, **rest: Any) -> Row:
    """From the 40 channels on: swish, and squeeze-and-excitation with .5, in the stage of 80 channels .25."""
    return Row(kernels=kernels, chans=chans, act="swish", squeeze=0.25 if chans == 80 else 0.5, **rest)


FIGURE_4: dict[Variant, tuple[tuple[Row, ...], ...]] = {  # stages by resolution
    "S": (
        (Row(kernels=(3,), chans=16, expansion=1),),
        (
            Row(kernels=(3,), chans=24, groups=(2, 2), stride=2),
            Row(kernels=(3,), chans=24, groups=(2, 2), expansion=3),
        ),
        (late((3, 5, 7), 40, stride=2), late((3, 5), 40, groups=(2, 2), blocks=3)),
        (late((3, 5, 7), 80, groups=(1, 2), stride=2), late((3, 5), 80, groups=(1, 2), blocks=2)),
        (late((3, 5, 7), 120, groups=(2, 2)), late((3, 5, 7, 9), 120, groups=(2, 2), expansion=3, blocks=2)),
        (late((3, 5, 7, 9, 11), 200, stride=2), late((3, 5, 7, 9), 200, groups=(1, 2), blocks=2)),
    ),
    "M": (
        (Row(kernels=(3,), chans=24, expansion=1),),
        (
            Row(kernels=(3, 5, 7), chans=32, groups=(2, 2), stride=2),
            Row(kernels=(3,), chans=32, groups=(2, 2), expansion=3),
        ),
        (late((3, 5, 7, 9), 40, stride=2), late((3, 5), 40, groups=(2, 2), blocks=3)),
        (late((3, 5, 7), 80, stride=2), late((3, 5, 7, 9), 80, groups=(2, 2), blocks=3)),
        (late((3,), 120), late((3, 5, 7, 9), 120, groups=(2, 2), expansion=3, blocks=3)),
        (late((3, 5, 7, 9), 200, stride=2), late((3, 5, 7, 9), 200, groups=(1, 2), blocks=3)),
    ),
}
STEM_WIDTH: dict[Variant, int] = {"S": 16, "M": 24}
NUM_FEATURES = 1536  # not scaled with the width


@dataclass(frozen=True, kw_only=True)
class MixNetConfig:
    """A network of figure 4, scaled."""

    variant: Variant
    width: float = 1.0  # factor on all channels but the last 1536
    depth: float = 1.0  # factor on the blocks of each stage
    drop_rate: float = 0.2  # before the classifier
    drop_path_rate: float = 0.0  # stochastic depth of the last block; it grows linearly up to there
    same_padding: bool = False  # pad strided convolutions as TensorFlow does
    zero_init_residual: bool = False  # start each residual block as the identity (1706.02677); not in the paper
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1  # weight of a new batch in the running statistics
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features

    def __post_init__(self) -> None:
        checks.one_of("variant", self.variant, tuple(FIGURE_4))
        checks.head_fields(self)
        checks.share("drop_path_rate", self.drop_path_rate)
        checks.share("norm_momentum", self.norm_momentum)
        checks.switch("same_padding", self.same_padding)
        checks.switch("zero_init_residual", self.zero_init_residual)
        for field in ("width", "depth", "norm_eps"):
            checks.above_zero(field, getattr(self, field))

    @property
    def stages(self) -> tuple[tuple[Row, ...], ...]:
        """One row a block, scaled; further blocks repeat the last row of their stage."""
        scaled = []
        for rows in FIGURE_4[self.variant]:
            alike = [dataclasses.replace(row, blocks=1) for row in rows for _ in range(row.blocks)]
            blocks = max(len(rows), round(len(alike) * self.depth))
            alike = [*alike[:blocks], *alike[-1:] * (blocks - len(alike))]
            scaled.append(tuple(dataclasses.replace(row, chans=round_width(row.chans * self.width)) for row in alike))
        return tuple(scaled)

    @property
    def min_size(self) -> int:
        """Every layer is padded, so any size runs; below this nothing but padding is left to the last stages."""
        return 32

    @property
    def norm(self) -> dict[str, Any]:
        return {"eps": self.norm_eps, "momentum": self.norm_momentum}


class PairConv2d(nn.Module):
    """A 1x1 convolution in two groups. Its weights are two, as in all checkpoints, but it runs as one."""

    stride = (1, 1)

    def __init__(self, in_chans: int, chans: int) -> None:
        super().__init__()
        self.taps = in_chans // 2
        self.first = nn.Parameter(torch.empty(chans // 2, in_chans // 2, 1, 1))
        self.second = nn.Parameter(torch.empty_like(self.first))
        self.init_weights()

    def init_weights(self) -> None:
        """As `init_mobile_` does with convolutions."""
        for weight in (self.first, self.second):
            nn.init.normal_(weight, 0.0, math.sqrt(2 / len(weight)))

    def forward(self, x: Tensor) -> Tensor:  # (B, in_chans, H, W) to (B, chans, H, W)
        return pointwise(x, torch.cat((self.first, self.second)), groups=2)

    def scaled(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """`forward` times scale (chans) plus shift (chans)."""
        return pointwise(x, torch.cat((self.first, self.second)) * scale.view(-1, 1, 1, 1), shift, groups=2)


class MixBlock(nn.Module):
    """Expand by 1x1, filter with a MixConv, excite, project by 1x1; a residual where the shape stays."""

    def __init__(self, cfg: MixNetConfig, in_chans: int, row: Row, drop_path_rate: float) -> None:
        super().__init__()
        mid = in_chans * row.expansion
        expand, project = (PairConv2d if groups == 2 else PointwiseConv2d for groups in row.groups)
        same = cfg.same_padding
        self.expand = NormAct(expand(in_chans, mid), mid, row.act, **cfg.norm) if row.expansion > 1 else nn.Identity()
        mix: nn.Module = (
            MixConv(mid, row.kernels, row.stride, same=same)
            if len(row.kernels) > 1
            else DepthwiseConv2d(mid, row.kernels[0], row.stride, same=same)
        )
        self.mix = NormAct(mix, mid, row.act, **cfg.norm)
        squeeze = round(in_chans * row.squeeze)
        self.excite = SqueezeExcite(mid, squeeze, act=row.act) if squeeze else nn.Identity()
        self.project = NormAct(project(mid, row.chans), row.chans, None, **cfg.norm)
        self.is_residual = row.stride == 1 and in_chans == row.chans
        self.stochastic_depth = StochasticDepth(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_chans, H, W) to (B, chans, H/stride, W/stride)
        y = self.project(self.excite(self.mix(self.expand(x))))
        return self.stochastic_depth(y).add_(x) if self.is_residual else y


class MixNet(nn.Module):
    head_parts = ("last",)  # its wide map serves the classifier alone

    def __init__(self, cfg: MixNetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        in_chans = round_width(STEM_WIDTH[cfg.variant] * cfg.width)
        self.stem = ConvNormAct(cfg.in_chans, in_chans, 3, 2, act="relu", same=cfg.same_padding, **cfg.norm)
        stages, done, total = [], 0, sum(map(len, cfg.stages))
        for rows in cfg.stages:
            blocks = []
            for row in rows:
                blocks.append(MixBlock(cfg, in_chans, row, cfg.drop_path_rate * done / total))
                in_chans, done = row.chans, done + 1
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.last = ConvNormAct(in_chans, NUM_FEATURES, act="relu", **cfg.norm)
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """As the authors' code; see `init_mobile_`."""
        init_mobile_(self)
        if self.cfg.zero_init_residual:
            zero_init_residual_(self)
        for module in self.modules():
            if isinstance(module, PairConv2d):
                module.init_weights()

    def reset_head(self, num_classes: int) -> None:
        """A fresh classifier for `num_classes`; 0 removes it."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = classifier(NUM_FEATURES, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to the map before pooling, (B, 1536, H/32, W/32)."""
        checks.at_least(x, self.cfg.min_size)
        return self.last(self.stages(self.stem(x)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to logits (B, num_classes), or pooled features (B, 1536) with num_classes 0."""
        x = F.adaptive_avg_pool2d(self.forward_features(x), 1).flatten(1)
        return self.head(self.dropout(x))


SYNONYMS = {
    "MixConv": "MDConv (authors' code), MixedConv2d (timm), MixConv (pytorchcv)",
    "width, depth": "depth multiplier (authors' code; of the width), channel and depth multiplier (timm)",
    "stages": "blocks (timm)",
    "mix": "conv_dw (timm)",
    "expand.first, expand.second": "conv_pw.0, conv_pw.1 (timm)",
    "project.first, project.second": "conv_pwl.0, conv_pwl.1 (timm)",
    "last": "conv_head (timm)",
}
SMALL: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 3e-3,
    "schedule": "onecycle",
    "batch_size": 32,
    "weight_decay": 0.05,
    "clip_norm": 1.0,
    "label_smoothing": 0.1,
    "options": {"zero_init_residual": True},
    "img_size": 64,
    "augmentation": {"crop_padding": 0.0625, "flip": True},
}
EPOCHS = 350
PUBLISHED: dict[str, Any] = {  # section 4.3: as MnasNet (1807.11626, section 5)
    "budget": f"{EPOCHS}ep",
    "batch_size": 4096,
    "optimizer": "rmsprop",
    "lr": 0.256,
    "momentum": 0.9,
    "weight_decay": 1e-5,
    "schedule": "step",
    "warmup": 5 / EPOCHS,
    "step_at": tuple(2.4 * i / EPOCHS for i in range(1, 146)),  # 0.97 every 2.4 epochs
    "step_gamma": 0.97,
    "options": {"norm_momentum": 0.01},
    "augmentation": {"random_resized_crop": (0.08, 1.0), "flip": True},
}
DEVIATIONS = (
    "running statistics take 10 % of each batch (norm_momentum 0.1); the published 1 % suits long training only",
    "initialisation, groups of 1x1 convolutions and squeeze-and-excitation ratios are those of the authors' code: the "
    "paper does not give them",
    "published_recipe's RMSprop smooths squares by torch's 0.99, not by 0.9",
)
PYTORCH = "symmetric padding and a batch-norm epsilon of 1e-5; the authors' own are in the tf_ form"

for name, options, params, macs, top1 in (
    ("s", MixNetConfig(variant="S"), 4_134_606, 239_173_360, "75.8 % (paper, table 2)"),
    ("m", MixNetConfig(variant="M", drop_rate=0.25), 5_014_382, 339_172_672, "77.0 % (paper, table 2)"),
    ("l", MixNetConfig(variant="M", width=1.3, drop_rate=0.25), 7_329_252, 555_251_792, "78.9 % (paper, table 2)"),
    (
        "xl",
        MixNetConfig(variant="M", width=1.6, depth=1.2, drop_rate=0.25),
        11_896_768,
        904_010_880,
        "80.494 % (timm, ra_in1k)",
    ),
):
    card = Card(
        params=params,
        macs=macs,
        paper="MixConv: Mixed Depthwise Convolutional Kernels",
        year=2019,
        arxiv="1907.09595",
        input_size=(3, 224, 224),
        published={"ImageNet top-1, one crop": top1},
        deviations=(PYTORCH, *DEVIATIONS) + (("not in the paper: timm's own size",) if name == "xl" else ()),
        references=(f"timm:mixnet_{name}",),
        synonyms=SYNONYMS,
        recipe=SMALL,
        published_recipe={**PUBLISHED, "img_size": 224},
    )
    register(f"mixnet_{name}", MixNet, options, card)
    if name != "xl":
        register(
            f"tf_mixnet_{name}",
            MixNet,
            dataclasses.replace(options, same_padding=True, norm_eps=1e-3),
            dataclasses.replace(card, deviations=DEVIATIONS, references=(f"timm:tf_mixnet_{name}",)),
        )
