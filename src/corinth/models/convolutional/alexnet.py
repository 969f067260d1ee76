"""AlexNet: the deep convolutional network that won ImageNet 2012.

Krizhevsky, Sutskever & Hinton, *ImageNet Classification with Deep Convolutional Neural Networks*, NIPS 2012;
Krizhevsky, *One weird trick for parallelizing convolutional neural networks*, 2014 (arXiv:1404.5997).

Five convolutions and three fully connected layers with ReLU (section 3.1), overlapping 3x3/2 pools (3.4) and
dropout (4.2). `alexnet_2012` is the paper's: two towers that meet in conv3 only (groups in conv2, conv4, conv5;
3.5, figure 2) and local response normalisation (3.3). `alexnet` is the single tower of 2014 as torchvision has it,
without the normalisation: the form that public weights fit.

Shapes: B batch, C channels, H W pixels.
Deviations from the paper: the input of 2012 is 227x227, because the paper's 224 does not give its 55x55 maps; an
adaptive 6x6 average pool (the identity at the default size) lets any size in. 2014 pads conv1 by 2 and drops the
inputs of fc6 and fc7, as torchvision does, where 2012 drops their outputs; its classes compete in a softmax, where
its paper trains 1000 independent logistic units; that paper gives no initialisation, so it takes 2012's.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.init import gaussian_
from corinth.layers.sizes import smallest, window_out
from corinth.registry import Card, register

DropAt = Literal["input", "output"]
KERNELS = (11, 5, 3, 3, 3)
STRIDES = (4, 1, 1, 1, 1)
POOLED = (0, 1, 4)  # the convolutions that a 3x3/2 max pool follows
NORMALISED = (0, 1)  # the convolutions that response normalisation follows in 2012
ONES = (1, 3, 4)  # the convolutions whose biases start at 1 (section 5)


@dataclass(frozen=True, kw_only=True)
class AlexNetConfig:
    """Widths of figure 2 (2012) or of the single tower (2014)."""

    channels: tuple[int, ...] = (64, 192, 384, 256, 256)
    groups: tuple[int, ...] = (1, 1, 1, 1, 1)
    stem_padding: int = 2  # of conv1; the others keep the size
    response_norm: bool = False
    fc_dim: int = 4096  # width of fc6 and fc7
    drop_rate: float = 0.5
    drop_at: DropAt = "input"  # of fc6 and fc7
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features, the output of fc7

    def __post_init__(self) -> None:
        for name in ("channels", "groups"):
            object.__setattr__(self, name, checks.entries(name, getattr(self, name)))
            if len(getattr(self, name)) != len(KERNELS):
                raise ValueError(f"{name} {getattr(self, name)} needs {len(KERNELS)} entries, one a convolution")
            for value in getattr(self, name):
                checks.whole(name, value, 1)
        for index, groups in enumerate(self.groups):
            source = self.channels[index - 1] if index else self.in_chans
            if source % groups or self.channels[index] % groups:
                raise ValueError(
                    f"groups {groups} of conv{index + 1} does not divide {source} or {self.channels[index]} channels"
                )
        checks.whole("stem_padding", self.stem_padding, 0)
        checks.switch("response_norm", self.response_norm)
        checks.whole("fc_dim", self.fc_dim, 1)
        checks.one_of("drop_at", self.drop_at, get_args(DropAt))
        checks.head_fields(self)

    @property
    def min_size(self) -> int:
        return smallest(self._fits)

    def _fits(self, size: int) -> bool:
        for index, (kernel, stride) in enumerate(zip(KERNELS, STRIDES)):
            size = window_out(size, kernel, stride, self.stem_padding if index == 0 else kernel // 2)
            if index in POOLED:
                size = window_out(size, 3, 2)
            if size < 1:
                return False
        return True


def response_norm() -> nn.LocalResponseNorm:
    """Section 3.3: b = a / (k + alpha * sum of squares of n neighbours) ^ beta, k=2, n=5, alpha=1e-4, beta=0.75.

    Torch multiplies the mean of the n squares, not their sum, by its alpha.
    """
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


class AlexNet(nn.Module):
    def __init__(self, cfg: AlexNetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        widths = (cfg.in_chans, *cfg.channels)
        paddings = (cfg.stem_padding, *(kernel // 2 for kernel in KERNELS[1:]))
        self.conv1, self.conv2, self.conv3, self.conv4, self.conv5 = (
            nn.Conv2d(widths[i], widths[i + 1], KERNELS[i], STRIDES[i], paddings[i], groups=cfg.groups[i])
            for i in range(len(KERNELS))
        )
        self.act = nn.ReLU(inplace=True)  # a module, so that its maps can be had
        self.norm = response_norm() if cfg.response_norm else nn.Identity()
        self.fc6 = nn.Linear(cfg.channels[-1] * 6 * 6, cfg.fc_dim)
        self.fc7 = nn.Linear(cfg.fc_dim, cfg.fc_dim)
        self.drop = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """Section 5: N(0, 0.01²); biases 1 in conv2, conv4, conv5, fc6 and fc7, else 0."""
        for index, conv in enumerate((self.conv1, self.conv2, self.conv3, self.conv4, self.conv5)):
            gaussian_(conv, bias=float(index in ONES))
        gaussian_(self.fc6, bias=1.0)
        gaussian_(self.fc7, bias=1.0)
        if isinstance(self.head, nn.Linear):
            gaussian_(self.head)

    def reset_head(self, num_classes: int) -> None:
        """A fresh classifier for `num_classes`; 0 removes it."""
        self.cfg = replace(self.cfg, num_classes=num_classes)
        self.head = nn.Identity()
        if num_classes:
            self.head = nn.Linear(self.cfg.fc_dim, num_classes)
            gaussian_(self.head)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the map behind the last pool, (B, 256, 6, 6) at the default size."""
        checks.at_least(x, self.cfg.min_size)
        for index, conv in enumerate((self.conv1, self.conv2, self.conv3, self.conv4, self.conv5)):
            x = self.act(conv(x))
            if index in NORMALISED:
                x = self.norm(x)
            if index in POOLED:
                x = F.max_pool2d(x, 3, 2)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, num_classes)."""
        x = F.adaptive_avg_pool2d(self.forward_features(x), 6).flatten(1)
        for fc in (self.fc6, self.fc7):
            if self.cfg.drop_at == "input":
                x = F.relu(fc(self.drop(x)), inplace=True)
            else:
                x = self.drop(F.relu(fc(x), inplace=True))
        return self.head(x)


# Section 5: batches of 128, momentum 0.9, weight decay 0.0005, rate 0.01 divided by ten three times (when the
# validation error stopped falling: the moments are not published), about 90 cycles; section 4.1: 224 of 256 pixels
# cropped at random, mirrored.
PUBLISHED: dict[str, Any] = {
    "budget": "90ep",
    "batch_size": 128,
    "optimizer": "sgd",
    "lr": 0.01,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 5e-4,
    "schedule": "step",
    "step_at": (0.25, 0.5, 0.75),
    "step_gamma": 0.1,
    "augmentation": {"random_resized_crop": (0.766, 0.766), "flip": True},
}
# Adam leaves the plateau that these small initial weights start on within a few hundred steps, plain SGD does not;
# small batches make those steps few epochs.
SMALL: dict[str, Any] = {
    "optimizer": "adamw",
    "batch_size": 32,
    "lr": 3e-4,
    "weight_decay": 0.02,
    "schedule": "onecycle",
    "warmup": 0.2,
    "clip_norm": 1.0,
    "img_size": 96,
    "augmentation": {"crop_padding": 0.125, "flip": True},
}
# 2014, section 5: exactly 90 epochs, the rate multiplied by 250^(-1/3) after each quarter; else as in 2012.
PUBLISHED_2014: dict[str, Any] = {**PUBLISHED, "step_gamma": 250 ** (-1 / 3)}
SYNONYMS = {"fc_dim": "4096 neurons", "response_norm": "LRN", "drop_rate": "dropout (torchvision)"}

register(
    "alexnet",
    AlexNet,
    AlexNetConfig(),
    Card(
        params=61_100_840,
        macs=714_188_480,
        paper="One weird trick for parallelizing convolutional neural networks",
        arxiv="1404.5997",
        year=2014,
        input_size=(3, 224, 224),
        published={"ImageNet top-1": "56.5 % (torchvision IMAGENET1K_V1)"},
        deviations=(
            "initialisation of 2012 (section 5 there): the 2014 paper gives none",
            "no response normalisation, conv1 padded by 2 and dropout on the inputs of fc6 and fc7, as in torchvision",
            "a softmax over the classes, where the 2014 paper trains 1000 independent logistic units",
            "an adaptive average pool in front of fc6 (the identity at 224) admits other sizes",
            "published_recipe takes from 2012 what the 2014 paper leaves open, lets the aspect of its crops vary, and "
            "leaves out the colour noise",
        ),
        references=("torchvision:alexnet",),
        synonyms=SYNONYMS,
        recipe=SMALL,
        published_recipe=PUBLISHED_2014,
    ),
)
register(
    "alexnet_2012",
    AlexNet,
    AlexNetConfig(
        channels=(96, 256, 384, 384, 256),
        groups=(1, 2, 1, 2, 2),
        stem_padding=0,
        response_norm=True,
        drop_at="output",
    ),
    Card(
        params=60_965_224,
        macs=724_406_816,
        paper="ImageNet Classification with Deep Convolutional Neural Networks",
        year=2012,
        input_size=(3, 227, 227),
        published={"ImageNet top-1": "59.3 % (table 2, one network)"},
        deviations=(
            "227 pixels, where the paper says 224: only 227 gives its 55x55 maps",
            "an adaptive average pool in front of fc6 (the identity at 227) admits other sizes",
            "published_recipe cuts the rate at a quarter, a half and three quarters, where the paper watched the "
            "validation error, lets the aspect of its crops vary, and leaves out the colour noise",
        ),
        synonyms=SYNONYMS,
        recipe=SMALL,
        published_recipe=PUBLISHED,
    ),
)
