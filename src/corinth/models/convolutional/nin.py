"""Network in Network: a small perceptron slides over the image, and the maps themselves are averaged into classes.

Lin, Chen & Yan, *Network In Network*, 2013 (arXiv:1312.4400).

An mlpconv layer is a convolution followed by 1x1 convolutions (section 3.1, equation 2): a perceptron shared over
positions. Global average pooling of one map a class replaces the fully connected head (section 3.2).

Shapes: B batch, C channels, H W pixels, K num_classes.
Deviations from the paper: it gives no sizes and no initialisation ("manually set", section 4). Sizes are those of
the authors' released networks, with pools that round up as Caffe's do; weights start from He et al. 2015.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.choices import POOLS
from corinth.layers.init import gaussian_, scaled_normal_
from corinth.layers.sizes import smallest, window_out
from corinth.registry import Card, register


@dataclass(frozen=True, kw_only=True)
class NinConfig:
    """A stack of mlpconv layers, one entry a layer; the last ends in the 1x1 convolution to the classes."""

    channels: tuple[tuple[int, ...], ...]  # of each layer's convolution and the 1x1 convolutions behind it
    kernel_size: tuple[int, ...]  # of each layer's convolution
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    pool: tuple[str, ...]  # 3x3/2 "max" or "avg" between the layers
    drop: tuple[bool, ...]  # whether dropout follows that pool
    pool_padding: int = 0  # 0: windows round up, as the authors' do; 1: pools padded by 1, as pytorchcv's
    head_relu: bool = True  # equation 2 rectifies the class maps too; False leaves the logits free
    drop_rate: float = 0.5
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features

    def __post_init__(self) -> None:
        for name in ("channels", "kernel_size", "stride", "padding", "pool", "drop"):
            object.__setattr__(self, name, checks.entries(name, getattr(self, name)))
        object.__setattr__(self, "channels", tuple(checks.entries("channels", widths) for widths in self.channels))
        depth = len(self.channels)
        if not depth or not all(self.channels):
            raise ValueError(f"channels {self.channels} needs at least one layer of at least one convolution")
        for name, length in (
            ("kernel_size", depth),
            ("stride", depth),
            ("padding", depth),
            ("pool", depth - 1),
            ("drop", depth - 1),
        ):
            if len(getattr(self, name)) != length:
                raise ValueError(f"{name} {getattr(self, name)} needs {length} entries for {depth} layers")
        for name, values, least in (
            ("channels", sum(self.channels, ()), 1),
            ("kernel_size", self.kernel_size, 1),
            ("stride", self.stride, 1),
            ("padding", self.padding, 0),
        ):
            for value in values:
                checks.whole(name, value, least)
        for pool in self.pool:
            checks.one_of("pool", pool, tuple(POOLS))
        for drop in self.drop:
            checks.switch("drop", drop)
        checks.switch("head_relu", self.head_relu)
        if self.pool_padding not in (0, 1):
            raise ValueError(f"pool_padding {self.pool_padding!r} is neither 0 nor 1")
        checks.head_fields(self)

    @property
    def num_features(self) -> int:
        return self.channels[-1][-1]

    @property
    def min_size(self) -> int:
        return smallest(self._fits)

    def _fits(self, size: int) -> bool:
        for index, window in enumerate(zip(self.kernel_size, self.stride, self.padding)):
            if index:
                size = window_out(size, 3, 2, self.pool_padding, ceil=not self.pool_padding)
            size = window_out(size, *window) if size > 0 else 0
            if size < 1:
                return False
        return True


def mlpconv(in_chans: int, widths: tuple[int, ...], kernel: int, stride: int, padding: int) -> nn.Sequential:
    """Equation 2: a convolution, then 1x1 convolutions, each rectified."""
    layers: list[nn.Module] = []
    for index, width in enumerate(widths):
        conv = nn.Conv2d(in_chans, width, 1) if index else nn.Conv2d(in_chans, width, kernel, stride, padding)
        layers += [conv, nn.ReLU(inplace=True)]
        in_chans = width
    return nn.Sequential(*layers)


class Nin(nn.Module):
    def __init__(self, cfg: NinConfig) -> None:
        super().__init__()
        self.cfg = cfg
        sources = (cfg.in_chans, *(widths[-1] for widths in cfg.channels))
        self.layers = nn.ModuleList(
            mlpconv(*layer) for layer in zip(sources, cfg.channels, cfg.kernel_size, cfg.stride, cfg.padding)
        )
        self.pools = nn.ModuleList(
            POOLS[kind](3, 2, padding=cfg.pool_padding, ceil_mode=not cfg.pool_padding) for kind in cfg.pool
        )
        self.drop = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        scaled_normal_(self)
        self._init_head()

    def _init_head(self) -> None:
        """Start rectified class maps near 1: a map that is zero on every image has no gradient and never learns.

        The same bias in all classes leaves their softmax as it is.
        """
        if isinstance(self.head, nn.Conv2d) and self.cfg.head_relu:
            gaussian_(self.head, bias=1.0)
        else:
            scaled_normal_(self.head)

    def reset_head(self, num_classes: int) -> None:
        """A fresh last 1x1 convolution for `num_classes`; 0 removes it."""
        self.cfg = replace(self.cfg, num_classes=num_classes)
        self.head = nn.Conv2d(self.cfg.num_features, num_classes, 1) if num_classes else nn.Identity()
        self._init_head()

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the map in front of the last 1x1 convolution, (B, 192, H/4, W/4) on CIFAR-10."""
        checks.at_least(x, self.cfg.min_size)
        x = self.layers[0](x)
        for layer, pool, drop in zip(self.layers[1:], self.pools, self.cfg.drop):
            x = pool(x)
            x = layer(self.drop(x) if drop else x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, K): the mean of each class's map."""
        x = self.head(self.forward_features(x))  # (B, K, H', W')
        if self.cfg.head_relu:
            x = F.relu(x)
        return x.mean(dim=(2, 3))


PAPER = "Network In Network"
SYNONYMS = {"channels": "cccp (Caffe: cascaded cross-channel parametric pooling)"}
DEVIATIONS = (
    "widths, kernels and pools are those of the authors' released networks: the paper prints none",
    "initialisation is He et al. 2015: the paper sets its own by hand (section 4) and does not give it; rectified "
    "class maps start from N(0, 0.01²) with bias 1, because from zero biases classes die and training often fails",
)

register(
    "nin_cifar10",
    Nin,
    NinConfig(
        channels=((192, 160, 96), (192, 192, 192), (192, 192)),
        kernel_size=(5, 5, 3),
        stride=(1, 1, 1),
        padding=(2, 2, 1),
        pool=("max", "avg"),
        drop=(True, True),
        num_classes=10,
    ),
    Card(
        params=966_986,
        macs=222_486_528,
        paper=PAPER,
        arxiv="1312.4400",
        year=2013,
        input_size=(3, 32, 32),
        published={"CIFAR-10 top-1": "89.6 % (table 1, with dropout, no augmentation); 91.2 % (with augmentation)"},
        deviations=DEVIATIONS,
        references=("pytorchcv:nin_cifar10 (pool_padding=1)",),
        synonyms=SYNONYMS,
        recipe={
            "optimizer": "adamw",
            "lr": 1e-3,
            "batch_size": 64,
            "weight_decay": 0.02,
            "schedule": "onecycle",
            "warmup": 0.2,
            "augmentation": {"crop_padding": 0.125, "flip": True},
        },
    ),
)

# The solver that the authors released with the network: batches of 64, momentum 0.9, weight decay 0.0005, rate 0.01
# cut by ten after 200,000 and 400,000 of 450,000 steps; 224 of 256 pixels cropped at random, mirrored.
PUBLISHED: dict[str, Any] = {
    "budget": "28.8e6samples",
    "batch_size": 64,
    "optimizer": "sgd",
    "lr": 0.01,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 5e-4,
    "schedule": "step",
    "step_at": (4 / 9, 8 / 9),
    "step_gamma": 0.1,
    "augmentation": {"random_resized_crop": (0.766, 0.766), "flip": True},
}

register(
    "nin_imagenet",
    Nin,
    NinConfig(
        channels=((96, 96, 96), (256, 256, 256), (384, 384, 384), (1024, 1024)),
        kernel_size=(11, 5, 3, 3),
        stride=(4, 1, 1, 1),
        padding=(0, 2, 1, 1),
        pool=("max", "max", "max"),
        drop=(False, False, True),
    ),
    Card(
        params=7_595_176,
        macs=1_100_188_800,
        paper=PAPER,
        arxiv="1312.4400",
        year=2013,
        input_size=(3, 224, 224),
        published={"ImageNet top-1": "59.4 % (the authors' Caffe model)"},
        deviations=(*DEVIATIONS, "the paper has no ImageNet network; this is the one its authors released later"),
        synonyms=SYNONYMS,
        recipe={
            "optimizer": "adamw",
            "lr": 1e-3,
            "weight_decay": 0.02,
            "schedule": "onecycle",
            "warmup": 0.2,
            "img_size": 96,
            "augmentation": {"crop_padding": 0.125, "flip": True},
        },
        published_recipe=PUBLISHED,
    ),
)
