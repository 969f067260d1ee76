"""MobileNet V2: residual blocks turned inside out, thin where they are added, wide where they filter.

Sandler, Howard, Zhu, Zhmoginov & Chen, *MobileNetV2: Inverted Residuals and Linear Bottlenecks*, 2018
(arXiv:1801.04381).

A block expands its input by 1x1, filters each channel by 3x3, and projects to few channels by a 1x1 convolution
without activation, as a rectifier on few channels would lose what they hold (section 3.2). The residual connects
the thin ends (section 3.3), so little needs to be kept in memory.

Shapes: B batch, C channels, H W pixels, t expansion.
Deviations from the paper: the first block, whose t is 1, has no expansion, as in the authors' code. Symmetric padding
and a batch-norm epsilon of 1e-5, as PyTorch's public weights expect. The paper gives no initialisation: it is that of
TensorFlow's implementations of its successors.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.mobile import ConvNormAct, classifier, init_mobile_, round_width, zero_init_residual_
from corinth.registry import Card, register

# table 2: expansion t, channels c, layers n, first stride s
TABLE = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM_WIDTH = 32
LAST_WIDTH = 1280
ACT = "relu6"


@dataclass(frozen=True, kw_only=True)
class MobileNetV2Config:
    """Table 2, with a width multiplier."""

    width: float = 1.0
    drop_rate: float = 0.2  # before the classifier; that of the authors' code, the paper prints none
    same_padding: bool = False  # pad strided convolutions as TensorFlow does
    zero_init_residual: bool = False  # start each residual block as the identity (1706.02677); not in the paper
    norm_eps: float = 1e-5  # TensorFlow's own weights want 1e-3
    norm_momentum: float = 0.1  # weight of a new batch in the running statistics
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features

    def __post_init__(self) -> None:
        checks.head_fields(self)
        checks.share("norm_momentum", self.norm_momentum)
        checks.switch("same_padding", self.same_padding)
        checks.switch("zero_init_residual", self.zero_init_residual)
        for field in ("width", "norm_eps"):
            checks.above_zero(field, getattr(self, field))

    @property
    def num_features(self) -> int:
        """Section 4, "trade-off hyper parameters": multipliers below 1 leave the last convolution as wide as it is."""
        return round_width(LAST_WIDTH * max(1.0, self.width))

    @property
    def min_size(self) -> int:
        """Every layer is padded, so any size runs; below this nothing but padding is left to the last stages."""
        return 32

    @property
    def unit(self) -> dict[str, Any]:
        """What all convolutions have in common."""
        return {"eps": self.norm_eps, "momentum": self.norm_momentum, "same": self.same_padding}


class InvertedResidual(nn.Module):
    """Table 1: expand to t times the channels, filter them, project without activation."""

    def __init__(self, cfg: MobileNetV2Config, in_chans: int, chans: int, expansion: int, stride: int) -> None:
        super().__init__()
        mid = in_chans * expansion
        self.expand = ConvNormAct(in_chans, mid, act=ACT, **cfg.unit) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNormAct(mid, mid, 3, stride, groups=mid, act=ACT, **cfg.unit)
        self.project = ConvNormAct(mid, chans, **cfg.unit)
        self.is_residual = stride == 1 and in_chans == chans

    def forward(self, x: Tensor) -> Tensor:  # (B, in_chans, H, W) to (B, chans, H/stride, W/stride)
        y = self.project(self.depthwise(self.expand(x)))
        return y.add_(x) if self.is_residual else y


class MobileNetV2(nn.Module):
    head_parts = ("last",)  # its wide map serves the classifier alone

    def __init__(self, cfg: MobileNetV2Config) -> None:
        super().__init__()
        self.cfg = cfg
        in_chans = round_width(STEM_WIDTH * cfg.width)
        self.stem = ConvNormAct(cfg.in_chans, in_chans, 3, 2, act=ACT, **cfg.unit)
        stages = []
        for expansion, base, layers, first_stride in TABLE:
            chans = round_width(base * cfg.width)
            blocks = []
            for layer in range(layers):
                blocks.append(InvertedResidual(cfg, in_chans, chans, expansion, first_stride if layer == 0 else 1))
                in_chans = chans
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.last = ConvNormAct(in_chans, cfg.num_features, act=ACT, **cfg.unit)
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """As TensorFlow's MobileNet V3 and EfficientNet; see `init_mobile_`."""
        init_mobile_(self)
        if self.cfg.zero_init_residual:
            zero_init_residual_(self)

    def reset_head(self, num_classes: int) -> None:
        """A fresh classifier for `num_classes`; 0 removes it."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = classifier(self.cfg.num_features, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to the map before pooling, (B, num_features, H/32, W/32)."""
        checks.at_least(x, self.cfg.min_size)
        return self.last(self.stages(self.stem(x)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to logits (B, num_classes), or pooled features with num_classes 0."""
        x = F.adaptive_avg_pool2d(self.forward_features(x), 1).flatten(1)
        return self.head(self.dropout(x))


SYNONYMS = {
    "width": "width multiplier (paper), depth multiplier (authors' code), channel multiplier (timm)",
    "stages": "blocks (timm), features (torchvision)",
    "expand": "conv_pw and bn1 (timm)",
    "project": "conv_pwl and bn3 (timm), linear bottleneck (paper)",
    "last": "conv_head and bn2 (timm)",
    "head": "classifier (timm, torchvision)",
}
DEVIATIONS = (
    "no expansion in the first block, whose t is 1, as in the authors' code",
    "symmetric padding and a batch-norm epsilon of 1e-5, as PyTorch's public weights want",
    "initialisation is that of TensorFlow's implementations of its successors: the paper gives none",
    "published_recipe has a length of its own, as the paper prints none, the batches of one of its 16 asynchronous "
    "workers, and RMSprop with torch's 0.99 for the squares, not 0.9",
)
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
EPOCHS = 300
PUBLISHED: dict[str, Any] = {  # section 6.1
    "budget": f"{EPOCHS}ep",
    "batch_size": 96,
    "optimizer": "rmsprop",
    "lr": 0.045,
    "momentum": 0.9,
    "weight_decay": 4e-5,
    "schedule": "step",
    "step_at": tuple(i / EPOCHS for i in range(1, EPOCHS)),  # 0.98 every epoch
    "step_gamma": 0.98,
    "augmentation": {"random_resized_crop": (0.08, 1.0), "flip": True},
}

for name, width, params, macs, top1 in (
    ("mobilenetv2_035", 0.35, 1_677_128, 59_285_808, "60.3 % (authors' code)"),
    ("mobilenetv2_050", 0.5, 1_968_680, 97_131_840, "65.4 % (authors' code)"),
    ("mobilenetv2_075", 0.75, 2_636_424, 209_069_792, "69.8 % (authors' code)"),
    ("mobilenetv2_100", 1.0, 3_504_872, 300_774_272, "72.0 % (paper, table 4)"),
    ("mobilenetv2_140", 1.4, 6_108_776, 582_195_824, "74.7 % (paper, table 4)"),
):
    register(
        name,
        MobileNetV2,
        MobileNetV2Config(width=width),
        Card(
            params=params,
            macs=macs,
            paper="MobileNetV2: Inverted Residuals and Linear Bottlenecks",
            year=2018,
            arxiv="1801.04381",
            input_size=(3, 224, 224),
            published={"ImageNet top-1": top1},
            deviations=DEVIATIONS,
            references=(f"timm:{name}",) + (("torchvision:mobilenet_v2",) if width == 1 else ()),
            synonyms=SYNONYMS,
            recipe=SMALL,
            published_recipe=PUBLISHED,
        ),
        aliases=("mobilenet_v2",) if width == 1 else (),
    )
