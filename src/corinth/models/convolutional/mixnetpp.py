"""MixNet++: mixed layers whose branches are weighted by the image, and scales that are fused before the classifier.

Corinth's own design; no paper. It goes on where MixNet (Tan & Le 2019, 1907.09595) ends and costs as many
multiply-adds, within 2 %. What is different, and why:

- **Weighted branches.** Each block is a `MixedLayer`: depthwise convolutions of several kernel sizes side by side,
  and a channel attention that gives each branch a weight which depends on the image. MixNet's squeeze-and-excitation
  weighs channels; here kernel sizes compete, and the second fully connected layer has as many outputs as branches.
- **Cascaded branches.** Each branch also takes in what the one before it gives, which costs an addition: large
  kernels see what small ones found.
- **Finer maps.** The last stage works at 1/16 of the image's size, not at 1/32: large kernels already see far, and
  what MixNet spends on many channels of a 7x7 map is spent on a map with four times as many pixels. An image of 32
  pixels ends as a map of 2x2, not as a single pixel.
- **Fewer and wider layers**, of whole 1x1 convolutions that expand four times, where MixNet has many in two groups
  that expand six times, and more channels at fine scales, where MixNet is thinnest. Short training gets further with
  8 layers than with 16, and a CPU spends less time between layers.
- **Fused scales.** The means of the last maps of three scales (1/4, 1/8, 1/16), not of the last alone, are
  concatenated, normalised and mixed by a hidden layer. That works on means and costs 0.1 % of the multiply-adds; the
  convolution to 1536 channels at the end of MixNet costs 6 %.

The price: about half of MixNet's parameters, and fewer channels for many classes. Nobody has trained it on ImageNet.

How the design came about and what each part measured is in benchmarks/README.md.

Shapes: B batch, C channels, H W pixels.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.activations import Swish
from corinth.layers.init import gaussian_
from corinth.layers.mixed import MixedConfig, MixedLayer
from corinth.layers.mobile import ConvNormAct, init_mobile_, round_width, zero_init_residual_
from corinth.registry import Card, register

Variant = Literal["S", "M"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Mixed layers at one scale."""

    chans: int
    layers: int
    kernels: tuple[tuple[int, ...], tuple[int, ...]]  # of the first layer, of the others
    expansion: int = 4
    stride: int = 2  # of the first layer


STAGES: dict[Variant, tuple[Stage, ...]] = {
    "S": (
        Stage(chans=24, layers=1, kernels=((3, 5), (3, 5)), expansion=1, stride=1),
        Stage(chans=40, layers=1, kernels=((3, 5), (3, 5))),
        Stage(chans=64, layers=2, kernels=((3, 5, 7), (3, 5, 7))),
        Stage(chans=128, layers=4, kernels=((3, 5, 7), (3, 5, 7, 9))),
    ),
    "M": (
        Stage(chans=24, layers=1, kernels=((3, 5), (3, 5)), expansion=1, stride=1),
        Stage(chans=40, layers=2, kernels=((3, 5), (3, 5))),
        Stage(chans=64, layers=2, kernels=((3, 5, 7), (3, 5, 7))),
        Stage(chans=136, layers=5, kernels=((3, 5, 7), (3, 5, 7, 9))),
    ),
}
STEM_WIDTH = 24
NUM_FEATURES = 1280  # not scaled with the width
SCALES = 3  # the last so many stages are fused
REDUCTION = 16


@dataclass(frozen=True, kw_only=True)
class MixNetPPConfig:
    """A row of mixed layers, scaled as MixNet is."""

    variant: Variant
    width: float = 1.0  # factor on all channels but the last 1280
    depth: float = 1.0  # factor on the layers of each stage
    drop_rate: float = 0.2  # before the classifier
    drop_path_rate: float = 0.0  # stochastic depth of the last layer; it grows linearly up to there
    zero_init_residual: bool = False  # start each residual layer as the identity: its last norm at zero
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1  # weight of a new batch in the running statistics
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features

    def __post_init__(self) -> None:
        checks.one_of("variant", self.variant, tuple(STAGES))
        checks.head_fields(self)
        checks.share("drop_path_rate", self.drop_path_rate)
        checks.share("norm_momentum", self.norm_momentum)
        checks.switch("zero_init_residual", self.zero_init_residual)
        for field in ("width", "depth", "norm_eps"):
            checks.above_zero(field, getattr(self, field))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The variant's stages, scaled."""
        return tuple(
            dataclasses.replace(
                stage,
                chans=round_width(stage.chans * self.width),
                layers=max(1, round(stage.layers * self.depth)),
            )
            for stage in STAGES[self.variant]
        )

    @property
    def min_size(self) -> int:
        """Every layer is padded, so any size runs; below this nothing but padding is left to the last stage."""
        return 16

    @property
    def norm(self) -> dict[str, Any]:
        return {"norm_eps": self.norm_eps, "norm_momentum": self.norm_momentum}


class MixNetPP(nn.Module):
    def __init__(self, cfg: MixNetPPConfig) -> None:
        super().__init__()
        self.cfg = cfg
        chans = round_width(STEM_WIDTH * cfg.width)
        self.stem = ConvNormAct(cfg.in_chans, chans, 3, 2, act="swish", eps=cfg.norm_eps, momentum=cfg.norm_momentum)
        stages, done, total = [], 0, sum(stage.layers for stage in cfg.stages)
        for stage in cfg.stages:
            layers = []
            for number in range(stage.layers):
                layer = MixedConfig(
                    in_chans=chans,
                    chans=stage.chans,
                    kernels=stage.kernels[min(number, 1)],
                    expansion=stage.expansion,
                    stride=1 if number else stage.stride,
                    reduction=REDUCTION,
                    cascade=True,
                    drop_path_rate=cfg.drop_path_rate * done / total,
                    **cfg.norm,
                )
                layers.append(MixedLayer(layer))
                chans, done = stage.chans, done + 1
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        fused = sum(stage.chans for stage in cfg.stages[-SCALES:])
        self.norm = nn.LayerNorm(fused)
        self.last = nn.Linear(fused, NUM_FEATURES)
        self.act = Swish()
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """Convolutions as `init_mobile_` draws them; classifier from N(0, 0.01^2); see also `MixedLayer`."""
        init_mobile_(self)
        nn.init.kaiming_normal_(self.last.weight, nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, MixedLayer):
                module.init_weights()
        if self.cfg.zero_init_residual:
            zero_init_residual_(self)
        self.reset_head(self.cfg.num_classes)

    def reset_head(self, num_classes: int) -> None:
        """A fresh classifier for `num_classes`; 0 removes it."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head: nn.Module = nn.Linear(NUM_FEATURES, num_classes) if num_classes else nn.Identity()
        if num_classes:
            gaussian_(self.head)

    def maps(self, x: Tensor) -> list[Tensor]:
        """(B, in_chans, H, W) to the last map of each stage: 1/2, 1/4, 1/8 and 1/16 of the image's size."""
        checks.at_least(x, self.cfg.min_size)
        found, x = [], self.stem(x)
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to the last map, (B, C, H/16, W/16)."""
        return self.maps(x)[-1]

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to logits (B, num_classes), or pooled features (B, 1280) with num_classes 0."""
        means = [scale.mean((2, 3)) for scale in self.maps(x)[-SCALES:]]
        x = self.last(self.norm(torch.cat(means, dim=1)))
        return self.head(self.dropout(self.act(x)))


SYNONYMS = {"mixed layer": "block (MixNet), MBConv (EfficientNet)", "attention": "selective kernel attention"}
SMALL: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 3e-3,
    "weight_decay": 0.05,
    "schedule": "onecycle",
    "batch_size": 32,
    "clip_norm": 1.0,
    "label_smoothing": 0.1,
    "options": {"zero_init_residual": True},
    "img_size": 64,
    "augmentation": {"crop_padding": 0.0625, "flip": True},
}
EPOCHS = 350
UNTRIED: dict[str, Any] = {  # MixNet's on ImageNet, with residuals that start at zero
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
    "options": {"zero_init_residual": True, "norm_momentum": 0.01},
    "img_size": 224,
    "augmentation": {"random_resized_crop": (0.08, 1.0), "flip": True},
}

for name, options, params, macs in (
    ("s", MixNetPPConfig(variant="S"), 2_233_439, 241_018_962),
    ("m", MixNetPPConfig(variant="M", drop_rate=0.25), 2_516_443, 334_207_558),
    ("l", MixNetPPConfig(variant="M", width=1.3, drop_rate=0.25), 3_185_053, 558_649_430),
):
    register(
        f"mixnetpp_{name}",
        MixNetPP,
        options,
        Card(
            params=params,
            macs=macs,
            paper="none: Corinth's own design",
            year=2026,
            input_size=(3, 224, 224),
            deviations=(
                f"there is no paper to deviate from: Corinth's own design, of the multiply-adds of mixnet_{name}; the "
                "why of it is in its file and what it measured in benchmarks/README.md",
                "never trained on ImageNet; published_recipe is MixNet's, untried",
            ),
            synonyms=SYNONYMS,
            recipe=SMALL,
            published_recipe=UNTRIED,
        ),
    )
