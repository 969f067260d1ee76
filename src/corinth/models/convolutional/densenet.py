"""DenseNet: every layer sees the maps of all layers before it.

Huang, Liu, van der Maaten & Weinberger, *Densely Connected Convolutional Networks*, 2016 (arXiv:1608.06993).

Within a dense block a layer reads the concatenation of all earlier maps and adds k of its own (equation 2), so it
can be narrow: k = 32, where ResNets have hundreds. A 1x1 bottleneck of 4k channels stands in front of each 3x3
(DenseNet-B), and a transition between blocks halves both the channels (compression 0.5, DenseNet-C) and the side.

Stored for the backward pass, the concatenations grow with the square of the depth. `memory_efficient` computes them
and their norms again instead, as Pleiss et al. 2017 (arXiv:1707.06990) do: the same numbers, less memory, more time.

Shapes: B batch, C channels, H W pixels, k growth_rate.
Deviations from the paper: it does not say how the classifier starts; here uniform in +-1/sqrt(fan_in) with zero
bias. `densenet161` (k = 48) is its authors' own, published with their code.
"""

import contextlib
import dataclasses
from collections.abc import Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from corinth.layers import checks
from corinth.layers.mobile import PointwiseConv2d
from corinth.layers.norm_act import norm_act, norm_relu
from corinth.layers.sizes import smallest, window_out
from corinth.registry import Card, register

BOTTLENECK = 4  # section 3, "bottleneck layers": each 1x1 convolution makes 4k maps
COMPRESSION = 0.5  # section 3, "compression": theta, the share of the channels that a transition keeps


@dataclass(frozen=True, kw_only=True)
class DenseNetConfig:
    """One column of the paper's table 1: DenseNet-BC for ImageNet."""

    depth: tuple[int, ...]  # layers per dense block
    growth_rate: int = 32  # k
    drop_rate: float = 0.0  # after every convolution but the first (section 4.2; the paper uses 0.2 on small sets)
    memory_efficient: bool = False  # compute concatenations and bottlenecks again in the backward pass
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", checks.entries("depth", self.depth))
        if not self.depth:
            raise ValueError("depth () has no dense block; (6, 12, 24, 16) is DenseNet-121's")
        for layers in self.depth:
            checks.whole("depth", layers, 1)
        checks.whole("growth_rate", self.growth_rate, 1)
        checks.switch("memory_efficient", self.memory_efficient)
        checks.head_fields(self)

    @property
    def stem_width(self) -> int:
        return 2 * self.growth_rate  # section 3, "implementation details"

    @property
    def num_features(self) -> int:
        width = self.stem_width
        for index, layers in enumerate(self.depth):
            width = (width if index == 0 else compressed(width)) + layers * self.growth_rate
        return width

    @property
    def min_size(self) -> int:
        return smallest(self._fits)

    def _fits(self, size: int) -> bool:
        size = window_out(window_out(size, 7, 2, 3), 3, 2, 1)
        for _ in self.depth[1:]:
            size = window_out(size, 2, 2)
        return size >= 1


def compressed(width: int) -> int:
    return int(width * COMPRESSION)


@contextlib.contextmanager
def _without_trace(norm: nn.BatchNorm2d) -> Generator[None]:
    """Inside, the norm's running statistics are copies: what is computed again is not counted again."""
    kept = dict(norm.named_buffers())
    for name, buffer in kept.items():
        setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for name, buffer in kept.items():
            setattr(norm, name, buffer)


class DenseLayer(nn.Module):
    """H of equation 2: BN-ReLU-Conv(1x1)-BN-ReLU-Conv(3x3)."""

    def __init__(self, cfg: DenseNetConfig, in_chans: int) -> None:
        super().__init__()
        width = BOTTLENECK * cfg.growth_rate
        self.memory_efficient = cfg.memory_efficient
        self.norm1 = nn.BatchNorm2d(in_chans)
        self.conv1 = PointwiseConv2d(in_chans, width)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, cfg.growth_rate, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(cfg.drop_rate) if cfg.drop_rate else nn.Identity()

    def forward(self, *maps: Tensor) -> Tensor:
        """The maps of all layers before, or their concatenation, to (B, k, H, W)."""
        x = self._recomputing(*maps) if self.memory_efficient and torch.is_grad_enabled() else self._bottleneck(*maps)
        return self.dropout(self.conv2(norm_relu(self.dropout(x), self.norm2)))

    def _bottleneck(self, *maps: Tensor) -> Tensor:
        x = torch.cat(maps, dim=1) if len(maps) > 1 else maps[0]
        return self.conv1(norm_relu(x, self.norm1))

    def _recomputing(self, *maps: Tensor) -> Tensor:
        """As `_bottleneck`, of which the backward pass keeps nothing but `maps`."""

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return contextlib.nullcontext(), _without_trace(self.norm1)

        options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}  # nothing here is random
        if not torch.compiler.is_compiling():  # a compiled graph repeats no update of a buffer
            options["context_fn"] = contexts
        return checkpoint(self._bottleneck, *maps, **options)


class DenseBlock(nn.Module):
    """Figure 1: x_l = H_l([x_0, ..., x_(l-1)])."""

    def __init__(self, cfg: DenseNetConfig, in_chans: int, depth: int) -> None:
        super().__init__()
        self.memory_efficient = cfg.memory_efficient
        self.layers = nn.ModuleList(DenseLayer(cfg, in_chans + i * cfg.growth_rate) for i in range(depth))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) to (B, C + depth * k, H, W)
        if self.memory_efficient and torch.is_grad_enabled():
            maps = [x]
            for layer in self.layers:
                maps.append(layer(*maps))
            return torch.cat(maps, dim=1)
        for layer in self.layers:  # each concatenation extends the one before: less to add up than from single maps
            x = torch.cat((x, layer(x)), dim=1)
        return x


class Transition(nn.Module):
    """Between blocks: BN-ReLU-Conv(1x1), then the average of each 2x2 pixels."""

    def __init__(self, cfg: DenseNetConfig, in_chans: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_chans)
        self.conv = PointwiseConv2d(in_chans, compressed(in_chans))
        self.dropout = nn.Dropout(cfg.drop_rate)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) to (B, C/2, H/2, W/2)
        return F.avg_pool2d(self.dropout(self.conv(norm_relu(x, self.norm))), 2)


class DenseNet(nn.Module):
    def __init__(self, cfg: DenseNetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.stem_conv = nn.Conv2d(cfg.in_chans, cfg.stem_width, 7, stride=2, padding=3, bias=False)
        self.stem_norm = nn.BatchNorm2d(cfg.stem_width)
        self.act = nn.ReLU(inplace=True)  # of both single norms: a module, so that its maps can be had
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        width = cfg.stem_width
        for depth in cfg.depth:
            if self.blocks:
                self.transitions.append(Transition(cfg, width))
                width = compressed(width)
            self.blocks.append(DenseBlock(cfg, width, depth))
            width += depth * cfg.growth_rate
        self.norm = nn.BatchNorm2d(width)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """Section 4.2: as He et al. 2015 (1502.01852); norms start as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)

    def reset_head(self, num_classes: int) -> None:
        """A fresh classifier for `num_classes`; 0 removes it."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = nn.Linear(self.cfg.num_features, num_classes) if num_classes else nn.Identity()
        if isinstance(self.head, nn.Linear):
            nn.init.zeros_(self.head.bias)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to the last block's map, normalised and rectified, (B, C, H/32, W/32)."""
        checks.at_least(x, self.cfg.min_size)
        x = norm_act(self.stem_conv(x), self.stem_norm, self.act)
        x = self.blocks[0](F.max_pool2d(x, 3, stride=2, padding=1))
        for transition, block in zip(self.transitions, self.blocks[1:], strict=True):
            x = block(transition(x))
        return norm_act(x, self.norm, self.act)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to logits (B, num_classes), or pooled features (B, C) with num_classes 0."""
        return self.head(F.adaptive_avg_pool2d(self.forward_features(x), 1).flatten(1))


SYNONYMS = {
    "depth": "block_config (torchvision, timm)",
    "stem_conv, stem_norm": "features.conv0 and features.norm0 (torchvision, timm)",
    "blocks.i.layers.j": "features.denseblock(i+1).denselayer(j+1) (torchvision, timm)",
    "transitions.i": "features.transition(i+1) (torchvision, timm)",
    "norm": "features.norm5 (torchvision, timm)",
    "head": "classifier (torchvision, timm)",
    "drop_rate": "proj_drop_rate (timm), there not within a layer; drop_rate (torchvision), likewise",
}
DEVIATIONS = ("the classifier starts uniform in +-1/sqrt(fan_in) with zero bias: the paper does not say how",)
AUTHORS = "not in the paper's table 1: its authors published it with their code"
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
IMAGENET: dict[str, Any] = {  # section 4.2: 90 epochs of batches of 256, the rate divided by ten at 30 and 60
    "optimizer": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 1e-4,
    "decay_norm_and_bias": True,
    "batch_size": 256,
    "budget": "90ep",
    "schedule": "step",
    "step_at": (1 / 3, 2 / 3),
    "step_gamma": 0.1,
    # that of fb.resnet.torch, which the authors' code builds on
    "augmentation": {"random_resized_crop": (0.08, 1.0), "flip": True, "color_jitter": 0.4},
}

for name, depth, growth_rate, params, macs, published in (  # table 1; errors of table 3, one crop
    ("densenet121", (6, 12, 24, 16), 32, 7_978_856, 2_834_161_664, "25.02 % (paper, table 3)"),
    ("densenet161", (6, 12, 36, 24), 48, 28_681_000, 7_727_907_072, "22.2 % (the authors' code)"),
    ("densenet169", (6, 12, 32, 32), 32, 14_149_480, 3_359_843_328, "23.80 % (paper, table 3)"),
    ("densenet201", (6, 12, 48, 32), 32, 20_013_928, 4_291_365_888, "22.58 % (paper, table 3)"),
):
    register(
        name,
        DenseNet,
        DenseNetConfig(depth=depth, growth_rate=growth_rate),
        Card(
            params=params,
            macs=macs,
            paper="Densely Connected Convolutional Networks",
            year=2016,
            arxiv="1608.06993",
            input_size=(3, 224, 224),
            published={"ImageNet top-1 error, one crop": published},
            deviations=(AUTHORS, *DEVIATIONS) if name == "densenet161" else DEVIATIONS,
            references=(f"timm:{name}", f"torchvision:{name}"),
            synonyms=SYNONYMS,
            recipe=SMALL,
            published_recipe=IMAGENET,
        ),
    )
