"""MobileNet (V1): a convolution taken apart into one that filters and one that combines.

Howard et al., *MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications*, 2017
(arXiv:1704.04861).

A depthwise separable convolution filters each channel by its own 3x3 kernel and then combines the channels by 1x1,
at about a ninth of the cost of a full 3x3 convolution (section 3.1). A width multiplier makes all layers narrower
(section 3.3), a smaller image makes them cheaper still (section 3.4).

Shapes: B batch, C channels, H W pixels.
Deviations from the paper: ReLU6 in place of ReLU, as the authors' code and public weights have it (`act`). The last
depthwise convolution has stride 1, as its map's size in table 1 wants, where the table prints 2. The paper gives no
initialisation: it is that of TensorFlow's implementations of its successors.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.mobile import ConvNormAct, classifier, init_mobile_, round_width
from corinth.registry import Card, register

Act = Literal["relu", "relu6"]

STEM_WIDTH = 32
TABLE = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 2, 6), (1024, 2, 2))  # table 1: channels, first stride, layers


@dataclass(frozen=True, kw_only=True)
class MobileNetV1Config:
    """Table 1, with the width multiplier alpha of section 3.3."""

    width: float = 1.0  # alpha
    act: Act = "relu6"  # the paper says relu
    drop_rate: float = 0.0  # before the classifier; the paper does not speak of any
    same_padding: bool = False  # pad strided convolutions as TensorFlow does
    norm_eps: float = 1e-5  # TensorFlow's own weights want 1e-3
    norm_momentum: float = 0.1  # weight of a new batch in the running statistics
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features

    def __post_init__(self) -> None:
        checks.head_fields(self)
        checks.one_of("act", self.act, get_args(Act))
        checks.share("norm_momentum", self.norm_momentum)
        checks.switch("same_padding", self.same_padding)
        for field in ("width", "norm_eps"):
            checks.above_zero(field, getattr(self, field))

    @property
    def num_features(self) -> int:
        return round_width(TABLE[-1][0] * self.width)

    @property
    def min_size(self) -> int:
        """Every layer is padded, so any size runs; below this nothing but padding is left to the last stage."""
        return 32

    @property
    def unit(self) -> dict[str, Any]:
        """What all convolutions have in common."""
        return {
            "act": self.act,
            "eps": self.norm_eps,
            "momentum": self.norm_momentum,
            "same": self.same_padding,
        }


class SeparableConv(nn.Module):
    """Figure 3, right: 3x3 depthwise and 1x1 convolution, each with batch norm and activation."""

    def __init__(self, cfg: MobileNetV1Config, in_chans: int, chans: int, stride: int) -> None:
        super().__init__()
        self.depthwise = ConvNormAct(in_chans, in_chans, 3, stride, groups=in_chans, **cfg.unit)
        self.pointwise = ConvNormAct(in_chans, chans, **cfg.unit)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_chans, H, W) to (B, chans, H/stride, W/stride)
        return self.pointwise(self.depthwise(x))


class MobileNetV1(nn.Module):
    def __init__(self, cfg: MobileNetV1Config) -> None:
        super().__init__()
        self.cfg = cfg
        in_chans = round_width(STEM_WIDTH * cfg.width)
        self.stem = ConvNormAct(cfg.in_chans, in_chans, 3, 2, **cfg.unit)
        stages = []
        for base, first_stride, layers in TABLE:
            chans = round_width(base * cfg.width)
            blocks = []
            for layer in range(layers):
                blocks.append(SeparableConv(cfg, in_chans, chans, first_stride if layer == 0 else 1))
                in_chans = chans
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """As TensorFlow's MobileNet V3 and EfficientNet; see `init_mobile_`."""
        init_mobile_(self)

    def reset_head(self, num_classes: int) -> None:
        """A fresh classifier for `num_classes`; 0 removes it."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = classifier(self.cfg.num_features, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to the last stage's map (B, num_features, H/32, W/32)."""
        checks.at_least(x, self.cfg.min_size)
        return self.stages(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to logits (B, num_classes), or pooled features with num_classes 0."""
        x = F.adaptive_avg_pool2d(self.forward_features(x), 1).flatten(1)
        return self.head(self.dropout(x))


SYNONYMS = {
    "width": "alpha (paper), depth multiplier (authors' code), channel multiplier (timm)",
    "stages": "blocks (timm)",
    "depthwise": "conv_dw and bn1 (timm), Conv2d_i_depthwise (authors' code)",
    "pointwise": "conv_pw and bn2 (timm), Conv2d_i_pointwise (authors' code)",
    "head": "classifier (timm), Conv2d_1c_1x1 (authors' code)",
}
DEVIATIONS = (
    "ReLU6 in place of ReLU, as the authors' code has it",
    "the last depthwise convolution has stride 1: table 1 prints 2, but keeps the map's size",
    "symmetric padding and a batch-norm epsilon of 1e-5, as timm's public weights want",
    "initialisation is that of TensorFlow's implementations of its successors: the paper gives none",
    "published_recipe is Inception-v3's, to which the paper refers, with weight decay on depthwise kernels too, and "
    "RMSprop with torch's 0.99 and 1e-8",
)
SMALL: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 3e-3,
    "schedule": "onecycle",
    "batch_size": 32,
    "weight_decay": 0.05,
    "clip_norm": 1.0,
    "label_smoothing": 0.1,
    "img_size": 64,
    "augmentation": {"crop_padding": 0.0625, "flip": True},
}
PUBLISHED: dict[str, Any] = {
    # section 3.2: RMSprop as for Inception-v3 (1512.00567, section 8: 100 epochs, batches of 32, 0.94 every two epochs)
    "budget": "100ep",
    "batch_size": 32,
    "optimizer": "rmsprop",
    "lr": 0.045,
    "momentum": 0.9,
    "weight_decay": 4e-5,
    "schedule": "step",
    "step_at": tuple(2 * i / 100 for i in range(1, 50)),
    "step_gamma": 0.94,
    "augmentation": {"random_resized_crop": (0.08, 1.0), "flip": True},
}

for name, width, params, macs, published in (
    ("mobilenetv1_100", 1.0, 4_231_976, 568_740_352, {"ImageNet top-1": "70.6 % (paper, table 6)"}),
    ("mobilenetv1_125", 1.25, 6_270_840, 879_516_800, {}),
):
    register(
        name,
        MobileNetV1,
        MobileNetV1Config(width=width),
        Card(
            params=params,
            macs=macs,
            paper="MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
            year=2017,
            arxiv="1704.04861",
            input_size=(3, 224, 224),
            published=published,
            deviations=DEVIATIONS if width <= 1 else ("wider than any network of the paper", *DEVIATIONS),
            references=(f"timm:{name}",),
            synonyms=SYNONYMS,
            recipe=SMALL,
            published_recipe=PUBLISHED,
        ),
    )
