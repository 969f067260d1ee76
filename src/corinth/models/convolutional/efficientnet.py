"""EfficientNet: width, depth and resolution of a network scaled together.

Tan & Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*, 2019 (arXiv:1905.11946).

B0 came out of a search (table 1): inverted bottlenecks (MBConv) of MobileNet V2 with squeeze-and-excitation and
swish. B1 to B7 are B0 scaled by one coefficient phi: depth by 1.2^phi, width by 1.1^phi, resolution by 1.15^phi
(equation 3), in the rounded factors that the authors' code has.

`efficientnet_b*` pads symmetrically, with a batch-norm epsilon of 1e-5, as PyTorch's public weights expect;
`tf_efficientnet_b*` is TensorFlow's own form ("SAME" padding, 1e-3), for weights that come from there. Equal
parameters, but the weights of one form lose accuracy in the other.

Shapes: B batch, C channels, H W pixels.
Deviations from the paper: running statistics take 10 % of each new batch, not 1 %, so that short training has
them too (`norm_momentum`). The paper gives no initialisation: it is that of the authors' code.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.mobile import (
    ConvNormAct,
    SqueezeExcite,
    StochasticDepth,
    classifier,
    init_mobile_,
    round_width,
    zero_init_residual_,
)
from corinth.registry import Card, register

# table 1, stages 2 to 8: expansion, kernel, stride, channels, layers
TABLE = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
STEM_WIDTH = 32
LAST_WIDTH = 1280
SQUEEZE = 4  # squeeze-and-excitation is this much narrower than the block's input


@dataclass(frozen=True, kw_only=True)
class EfficientNetConfig:
    """Factors on B0, the network of table 1."""

    width: float = 1.0
    depth: float = 1.0
    drop_rate: float = 0.2  # before the classifier
    drop_path_rate: float = 0.2  # stochastic depth of the last block; it grows linearly up to there
    same_padding: bool = False  # pad strided convolutions as TensorFlow does
    zero_init_residual: bool = False  # start each residual block as the identity (1706.02677); not in the paper
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1  # weight of a new batch in the running statistics
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features

    def __post_init__(self) -> None:
        checks.head_fields(self)
        checks.share("drop_path_rate", self.drop_path_rate)
        checks.share("norm_momentum", self.norm_momentum)
        checks.switch("same_padding", self.same_padding)
        checks.switch("zero_init_residual", self.zero_init_residual)
        for field in ("width", "depth", "norm_eps"):
            checks.above_zero(field, getattr(self, field))

    @property
    def layers(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return tuple(math.ceil(self.depth * row[-1]) for row in TABLE)

    @property
    def num_features(self) -> int:
        return round_width(LAST_WIDTH * self.width)

    @property
    def min_size(self) -> int:
        """Every layer is padded, so any size runs; below this nothing but padding is left to the last stages."""
        return 32

    @property
    def unit(self) -> dict[str, Any]:
        """What all convolutions have in common."""
        return {"eps": self.norm_eps, "momentum": self.norm_momentum, "same": self.same_padding}


class MBConv(nn.Module):
    """Expand by 1x1, filter each channel, excite, project by 1x1; a residual where the shape stays."""

    def __init__(
        self,
        cfg: EfficientNetConfig,
        in_chans: int,
        chans: int,
        expansion: int,
        kernel: int,
        stride: int,
        drop_path_rate: float,
    ) -> None:
        super().__init__()
        mid = in_chans * expansion
        self.expand = ConvNormAct(in_chans, mid, act="swish", **cfg.unit) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNormAct(mid, mid, kernel, stride, groups=mid, act="swish", **cfg.unit)
        self.excite = SqueezeExcite(mid, in_chans // SQUEEZE, act="swish")
        self.project = ConvNormAct(mid, chans, **cfg.unit)
        self.is_residual = stride == 1 and in_chans == chans
        self.stochastic_depth = StochasticDepth(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_chans, H, W) to (B, chans, H/stride, W/stride)
        y = self.project(self.excite(self.depthwise(self.expand(x))))
        return self.stochastic_depth(y).add_(x) if self.is_residual else y


class EfficientNet(nn.Module):
    head_parts = ("last",)  # its wide map serves the classifier alone

    def __init__(self, cfg: EfficientNetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        in_chans = round_width(STEM_WIDTH * cfg.width)
        self.stem = ConvNormAct(cfg.in_chans, in_chans, 3, 2, act="swish", **cfg.unit)
        stages, done, total = [], 0, sum(cfg.layers)
        for (expansion, kernel, first_stride, base, _), layers in zip(TABLE, cfg.layers):
            chans = round_width(base * cfg.width)
            blocks = []
            for layer in range(layers):
                stride = first_stride if layer == 0 else 1
                rate = cfg.drop_path_rate * done / total
                blocks.append(MBConv(cfg, in_chans, chans, expansion, kernel, stride, rate))
                in_chans, done = chans, done + 1
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.last = ConvNormAct(in_chans, cfg.num_features, act="swish", **cfg.unit)
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """As the authors' code; see `init_mobile_`."""
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
    "width, depth": "width and depth coefficient (authors' code), channel and depth multiplier (timm)",
    "stages": "blocks (timm), features (torchvision)",
    "excite.reduce, excite.expand": "se.conv_reduce and se.conv_expand (timm), fc1 and fc2 (torchvision)",
    "project": "conv_pwl (timm)",
    "last": "conv_head (timm), stage 9 (paper)",
    "drop_path_rate": "1 - survival probability (paper), drop_connect_rate (authors' code), stochastic_depth_prob "
    "(torchvision)",
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
PUBLISHED: dict[str, Any] = {
    # section 5.2, and the authors' code for batch, epochs, warm-up, label smoothing and moving average
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
    "label_smoothing": 0.1,
    "ema": 0.9999,
    "options": {"norm_momentum": 0.01},
    "augmentation": {"random_resized_crop": (0.08, 1.0), "flip": True},
}
DEVIATIONS = (
    "running statistics take 10 % of each batch (norm_momentum 0.1); the paper's 1 % suits long training only",
    "initialisation is that of the authors' code: the paper gives none",
    "published_recipe is without AutoAugment, and its RMSprop smooths squares by torch's 0.99, not by 0.9",
)
PYTORCH = "symmetric padding and a batch-norm epsilon of 1e-5; the authors' own are in the tf_ form"

for name, width, depth, size, drop_rate, params, macs, top1 in (  # factors of the authors' code; table 2
    ("b0", 1.0, 1.0, 224, 0.2, 5_288_548, 385_814_752, "77.1"),
    ("b1", 1.0, 1.1, 240, 0.2, 7_794_184, 686_802_832, "79.1"),
    ("b2", 1.1, 1.2, 260, 0.3, 9_109_994, 993_561_872, "80.1"),
    ("b3", 1.2, 1.4, 300, 0.3, 12_233_232, 1_827_141_392, "81.6"),
    ("b4", 1.4, 1.8, 380, 0.4, 19_341_616, 4_393_771_024, "82.9"),
    ("b5", 1.6, 2.2, 456, 0.4, 30_389_784, 10_266_384_752, "83.6"),
    ("b6", 1.8, 2.6, 528, 0.5, 43_040_704, 19_067_593_536, "84.0"),
    ("b7", 2.0, 3.1, 600, 0.5, 66_347_960, 37_745_884_192, "84.3"),
):
    config = EfficientNetConfig(width=width, depth=depth, drop_rate=drop_rate)
    card = Card(
        params=params,
        macs=macs,
        paper="EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        year=2019,
        arxiv="1905.11946",
        input_size=(3, size, size),
        published={"ImageNet top-1, one crop": f"{top1} % (paper, table 2)"},
        deviations=(PYTORCH, *DEVIATIONS),
        references=(f"timm:efficientnet_{name}", f"torchvision:efficientnet_{name}"),
        synonyms=SYNONYMS,
        recipe=SMALL,
        published_recipe={**PUBLISHED, "img_size": size},
    )
    register(f"efficientnet_{name}", EfficientNet, config, card)
    register(
        f"tf_efficientnet_{name}",
        EfficientNet,
        dataclasses.replace(config, same_padding=True, norm_eps=1e-3),
        dataclasses.replace(card, deviations=DEVIATIONS, references=(f"timm:tf_efficientnet_{name}",)),
    )
