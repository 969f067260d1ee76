"""MobileNet V3: MobileNet V2's blocks, chosen layer by layer by a search, with squeeze-and-excitation and hard-swish.

Howard et al., *Searching for MobileNetV3*, 2019 (arXiv:1905.02244).

A platform-aware search set the blocks, NetAdapt then the width of each expansion. By hand came what is cheap on a
phone: hard-swish, x * relu6(x + 3) / 6, in the deeper half only (section 5.2); gates of squeeze-and-excitation a
quarter as wide as the expansion, with a hard sigmoid (section 5.3); and a last stage that pools before its widest
layer (section 5.1, figure 5).

`mobilenetv3_*` pads symmetrically, with a batch-norm epsilon of 1e-5, as timm's public weights expect (torchvision's
want `norm_eps` 1e-3); `tf_mobilenetv3_*` is TensorFlow's own form ("SAME" padding, 1e-3). Equal parameters, but the
weights of one form lose accuracy in the other.

Shapes: B batch, C channels, H W pixels.
Deviations from the paper: no squeeze-and-excitation behind the last 1x1 convolution of the small network, which
table 2 has and no public weights do. Running statistics take 10 % of each new batch, not 1 % (`norm_momentum`), so
that short training has them too. The paper gives no initialisation: it is that of TensorFlow's implementations.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.activations import Activation
from corinth.layers.mobile import (
    ConvNormAct,
    SqueezeExcite,
    classifier,
    init_mobile_,
    round_width,
    zero_init_residual_,
)
from corinth.registry import Card, register

Size = Literal["large", "small"]


@dataclass(frozen=True)
class Bneck:
    """One row of table 1 or 2."""

    kernel: int
    expansion: int  # channels inside
    chans: int  # channels out
    excite: bool  # SE
    act: Activation  # NL
    stride: int


RE: Activation = "relu"
HS: Activation = "hard_swish"
TABLES: dict[str, tuple[tuple[Bneck, ...], ...]] = {  # rows of the same width together
    "large": (
        (Bneck(3, 16, 16, False, RE, 1),),
        (Bneck(3, 64, 24, False, RE, 2), Bneck(3, 72, 24, False, RE, 1)),
        (Bneck(5, 72, 40, True, RE, 2), Bneck(5, 120, 40, True, RE, 1), Bneck(5, 120, 40, True, RE, 1)),
        (
            Bneck(3, 240, 80, False, HS, 2),
            Bneck(3, 200, 80, False, HS, 1),
            Bneck(3, 184, 80, False, HS, 1),
            Bneck(3, 184, 80, False, HS, 1),
        ),
        (Bneck(3, 480, 112, True, HS, 1), Bneck(3, 672, 112, True, HS, 1)),
        (Bneck(5, 672, 160, True, HS, 2), Bneck(5, 960, 160, True, HS, 1), Bneck(5, 960, 160, True, HS, 1)),
    ),
    "small": (
        (Bneck(3, 16, 16, True, RE, 2),),
        (Bneck(3, 72, 24, False, RE, 2), Bneck(3, 88, 24, False, RE, 1)),
        (Bneck(5, 96, 40, True, HS, 2), Bneck(5, 240, 40, True, HS, 1), Bneck(5, 240, 40, True, HS, 1)),
        (Bneck(5, 120, 48, True, HS, 1), Bneck(5, 144, 48, True, HS, 1)),
        (Bneck(5, 288, 96, True, HS, 2), Bneck(5, 576, 96, True, HS, 1), Bneck(5, 576, 96, True, HS, 1)),
    ),
}
STEM_WIDTH = 16
LAST_WIDTHS = {"large": 960, "small": 576}  # of the last convolution
NUM_FEATURES = {"large": 1280, "small": 1024}  # of the layer behind the pool


@dataclass(frozen=True, kw_only=True)
class MobileNetV3Config:
    """Table 1 (large) or 2 (small), with a width multiplier."""

    size: Size
    width: float = 1.0
    drop_rate: float = 0.2  # before the classifier (section 6.1.1)
    same_padding: bool = False  # pad strided convolutions as TensorFlow does
    zero_init_residual: bool = False  # start each residual block as the identity (1706.02677); not in the paper
    norm_eps: float = 1e-5  # TensorFlow's and torchvision's own weights want 1e-3
    norm_momentum: float = 0.1  # weight of a new batch in the running statistics; the paper's is 0.01
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features

    def __post_init__(self) -> None:
        checks.one_of("size", self.size, get_args(Size))
        checks.head_fields(self)
        checks.share("norm_momentum", self.norm_momentum)
        checks.switch("same_padding", self.same_padding)
        checks.switch("zero_init_residual", self.zero_init_residual)
        for field in ("width", "norm_eps"):
            checks.above_zero(field, getattr(self, field))

    @property
    def stages(self) -> tuple[tuple[Bneck, ...], ...]:
        return TABLES[self.size]

    @property
    def last_width(self) -> int:
        return round_width(LAST_WIDTHS[self.size] * self.width)

    @property
    def num_features(self) -> int:
        return NUM_FEATURES[self.size]

    @property
    def min_size(self) -> int:
        """Every layer is padded, so any size runs; below this nothing but padding is left to the last stages."""
        return 32

    @property
    def unit(self) -> dict[str, Any]:
        """What all convolutions have in common."""
        return {"eps": self.norm_eps, "momentum": self.norm_momentum, "same": self.same_padding}


class Block(nn.Module):
    """Figure 4: expand by 1x1, filter each channel, excite, project by 1x1; a residual where the shape stays."""

    def __init__(self, cfg: MobileNetV3Config, in_chans: int, mid: int, chans: int, row: Bneck) -> None:
        super().__init__()
        self.expand = ConvNormAct(in_chans, mid, act=row.act, **cfg.unit) if mid != in_chans else nn.Identity()
        self.depthwise = ConvNormAct(mid, mid, row.kernel, row.stride, groups=mid, act=row.act, **cfg.unit)
        self.excite = SqueezeExcite(mid, round_width(mid / 4), gate="hard_sigmoid") if row.excite else nn.Identity()
        self.project = ConvNormAct(mid, chans, **cfg.unit)
        self.is_residual = row.stride == 1 and in_chans == chans

    def forward(self, x: Tensor) -> Tensor:  # (B, in_chans, H, W) to (B, chans, H/stride, W/stride)
        y = self.project(self.excite(self.depthwise(self.expand(x))))
        return y.add_(x) if self.is_residual else y


class MobileNetV3(nn.Module):
    def __init__(self, cfg: MobileNetV3Config) -> None:
        super().__init__()
        self.cfg = cfg
        in_chans = max(STEM_WIDTH, round_width(STEM_WIDTH * cfg.width))  # as in the authors' code
        self.stem = ConvNormAct(cfg.in_chans, in_chans, 3, 2, act=HS, **cfg.unit)
        stages, base = [], STEM_WIDTH
        for rows in cfg.stages:
            blocks = []
            for row in rows:
                # a width multiplier keeps the factor of the expansion
                mid = round_width(in_chans * row.expansion / base) if row.expansion != base else in_chans
                chans = round_width(row.chans * cfg.width)
                blocks.append(Block(cfg, in_chans, mid, chans, row))
                in_chans, base = chans, row.chans
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.last = ConvNormAct(in_chans, cfg.last_width, act=HS, **cfg.unit)
        self.widen = nn.Linear(cfg.last_width, cfg.num_features)
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """As TensorFlow's implementation; see `init_mobile_`. `widen` is a 1x1 convolution there."""
        init_mobile_(self)
        if self.cfg.zero_init_residual:
            zero_init_residual_(self)
        nn.init.normal_(self.widen.weight, 0.0, (2 / self.widen.out_features) ** 0.5)

    def reset_head(self, num_classes: int) -> None:
        """A fresh classifier for `num_classes`; 0 removes it."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = classifier(self.cfg.num_features, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to the map before pooling, (B, last_width, H/32, W/32)."""
        checks.at_least(x, self.cfg.min_size)
        return self.last(self.stages(self.stem(x)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to logits (B, num_classes), or features (B, num_features) with num_classes 0."""
        x = F.adaptive_avg_pool2d(self.forward_features(x), 1).flatten(1)
        return self.head(self.dropout(F.hardswish(self.widen(x))))


SYNONYMS = {
    "width": "width multiplier (paper), depth multiplier (authors' code), channel multiplier (timm)",
    "stages": "bneck rows (paper), blocks (timm), features (torchvision)",
    "expand": "conv_pw and bn1 (timm)",
    "excite.reduce, excite.expand": "se.conv_reduce and se.conv_expand (timm), fc1 and fc2 (torchvision)",
    "project": "conv_pwl and bn3 (timm)",
    "widen": "conv_head (timm), classifier.0 (torchvision), conv2d 1x1 NBN (paper)",
    "head": "classifier (timm), classifier.3 (torchvision)",
}
DEVIATIONS = (
    "running statistics take 10 % of each batch (norm_momentum 0.1); the paper's 1 % suits long training only",
    "initialisation is that of TensorFlow's implementations: the paper gives none",
    "published_recipe has a length of its own, as the paper prints none, and RMSprop with torch's 0.99 for the squares",
)
PYTORCH = "symmetric padding and a batch-norm epsilon of 1e-5; the authors' own are in the tf_ form"
NO_LAST_EXCITE = "no squeeze-and-excitation behind the last 1x1 convolution, which table 2 has and no public weights do"
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
EPOCHS = 600
PUBLISHED: dict[str, Any] = {  # section 6.1.1
    "budget": f"{EPOCHS}ep",
    "batch_size": 4096,
    "optimizer": "rmsprop",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-5,
    "schedule": "step",
    "step_at": tuple(3 * i / EPOCHS for i in range(1, EPOCHS // 3)),  # 1 % less every 3 epochs
    "step_gamma": 0.99,
    "ema": 0.9999,
    "options": {"norm_momentum": 0.01},
    "augmentation": {"random_resized_crop": (0.08, 1.0), "flip": True},
}

TABLE_3 = "(paper, table 3)"
for size, width, params, macs, top1, tf in (  # tf: timm has TensorFlow's form too
    ("small", 0.5, 1_593_224, 24_188_688, None, False),
    ("small", 0.75, 2_041_872, 43_399_344, f"65.4 % {TABLE_3}", True),
    ("small", 1.0, 2_542_856, 56_510_400, f"67.4 % {TABLE_3}", True),
    ("large", 0.75, 3_993_528, 154_560_624, f"73.3 % {TABLE_3}", True),
    ("large", 1.0, 5_483_032, 216_589_760, f"75.2 % {TABLE_3}", True),
):
    name = f"mobilenetv3_{size}_{round(100 * width):03}"
    named = f"mobilenet_v3_{size}"  # by torchvision
    config = MobileNetV3Config(size=size, width=width)
    common = (NO_LAST_EXCITE, *DEVIATIONS) if size == "small" else DEVIATIONS
    card = Card(
        params=params,
        macs=macs,
        paper="Searching for MobileNetV3",
        year=2019,
        arxiv="1905.02244",
        input_size=(3, 224, 224),
        published={"ImageNet top-1": top1} if top1 else {},
        deviations=(PYTORCH, *common),
        references=(f"timm:{name}",) + ((f"torchvision:{named}",) if width == 1 else ()),
        synonyms=SYNONYMS,
        recipe=SMALL,
        published_recipe=PUBLISHED,
    )
    register(name, MobileNetV3, config, card)
    if tf:
        register(
            f"tf_{name}",
            MobileNetV3,
            dataclasses.replace(config, same_padding=True, norm_eps=1e-3),
            dataclasses.replace(card, deviations=common, references=(f"timm:tf_{name}",)),
        )
