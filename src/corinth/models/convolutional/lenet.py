"""LeNet-5: the convolutional network that read cheques.

LeCun, Bottou, Bengio & Haffner, *Gradient-Based Learning Applied to Document Recognition*, 1998 (Proc. IEEE 86).

Convolutions with shared weights and subsampling alternate until one pixel is left (section II.B, figure 2); C5 and
F6 classify. `lenet5_1998` is the paper's: a connection table between S2 and C3 (table I), trainable subsampling, a
scaled tanh and fixed bitmaps as the targets of the output units: 60,000 trainable parameters. `lenet5` is the form
that textbooks and public weights have: all maps connected, plain pooling, a linear output: 61,706.

Shapes: B batch, C channels, H W pixels, K num_classes.
Deviations from the paper: see the cards below.
"""

import random
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.choices import ACTIVATIONS, POOLS, Activation, Pool
from corinth.layers.init import gaussian_, scaled_normal_
from corinth.registry import Card, register

# Table I: the maps of S2 that each map of C3 sees.
TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),  # three contiguous
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),  # four contiguous
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),  # four not contiguous
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip

# After figure 3: the ten digits as 7x12 bitmaps, the targets of F6; `#` is +1, a dot is -1.
DIGITS = """
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
..###..  ...##..  .#####.  #######  .....#.  #######  ..####.  #######  .#####.  .####..
.#...#.  ..###..  #.....#  .....##  ....##.  #......  .#.....  #.....#  #.....#  #....#.
#.....#  ...##..  ......#  ....##.  ...###.  #......  #......  ......#  #.....#  #.....#
#.....#  ...##..  ......#  ...##..  ..#.##.  #......  #......  .....#.  #.....#  #.....#
#.....#  ...##..  .....#.  ..####.  .#..##.  ######.  #.####.  .....#.  .#####.  .#....#
#.....#  ...##..  ...##..  .....##  #...##.  #.....#  ##....#  ....#..  #.....#  ..#####
#.....#  ...##..  ..#....  ......#  #######  ......#  #.....#  ....#..  #.....#  ......#
#.....#  ...##..  .#.....  ......#  ....##.  ......#  #.....#  ...#...  #.....#  ......#
.#...#.  ...##..  #......  #....##  ....##.  #.....#  .#....#  ...#...  #.....#  .....#.
..###..  ..####.  #######  .#####.  ....##.  .#####.  ..####.  ..#....  .#####.  .####..
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
"""


@dataclass(frozen=True, kw_only=True)
class LeNetConfig:
    """What both forms share; the paper's images have 32 pixels."""

    img_size: int = 32  # C5's windows are as large as S4's maps, 5x5 here
    in_chans: int = 1
    num_classes: int = 10  # 0: pooled features, the 84 units of F6

    def __post_init__(self) -> None:
        checks.whole("img_size", self.img_size, 1)
        if self.img_size % 4 or self.img_size < self.min_size:
            nearest = max(self.min_size, round(self.img_size / 4) * 4)
            raise ValueError(
                f"img_size {self.img_size} does not fit two 5x5 convolutions and two halvings: it must be a multiple "
                f"of 4 and at least {self.min_size}; the nearest is {nearest}"
            )
        checks.head_fields(self)

    @property
    def min_size(self) -> int:
        return 16

    @property
    def last_map(self) -> int:
        """Pixels per side of S4."""
        return ((self.img_size - 4) // 2 - 4) // 2


@dataclass(frozen=True, kw_only=True)
class LeNet5Config(LeNetConfig):
    """The modern form."""

    activation: Activation = "relu"
    pool: Pool = "max"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("activation", self.activation, get_args(Activation))
        checks.one_of("pool", self.pool, get_args(Pool))


class LeNet5(nn.Module):
    """The modern form: plain layers, each as the libraries have it."""

    def __init__(self, cfg: LeNet5Config) -> None:
        super().__init__()
        self.cfg = cfg
        self.c1 = nn.Conv2d(cfg.in_chans, 6, 5)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.c5 = nn.Conv2d(16, 120, cfg.last_map)
        self.f6 = nn.Linear(120, 84)
        self.act = ACTIVATIONS[cfg.activation]()
        self.pool = POOLS[cfg.pool](2)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        scaled_normal_(self, self.cfg.activation)
        if isinstance(self.head, nn.Linear):
            gaussian_(self.head)

    def reset_head(self, num_classes: int) -> None:
        """A fresh classifier for `num_classes`; 0 removes it."""
        self.cfg = replace(self.cfg, num_classes=num_classes)
        self.head = nn.Identity()
        if num_classes:
            self.head = nn.Linear(84, num_classes)
            gaussian_(self.head)  # small, so that the first softmax is nearly even

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to C5, (B, 120, 1, 1)."""
        checks.exactly(x, self.cfg.img_size)
        x = self.pool(self.act(self.c1(x)))  # (B, 6, 14, 14) at 32 pixels
        x = self.pool(self.act(self.c3(x)))  # (B, 16, 5, 5)
        return self.act(self.c5(x))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, K)."""
        x = self.act(self.f6(self.forward_features(x).flatten(1)))
        return self.head(x)


def squash(a: Tensor) -> Tensor:
    """Equation 6 with the constants of appendix A: A tanh(S a), A = 1.7159, S = 2/3, so that f(1) = 1."""
    return 1.7159 * torch.tanh(2 / 3 * a)


class Squash(nn.Module):
    """`squash` as a module, so that its maps can be had."""

    def forward(self, x: Tensor) -> Tensor:
        return squash(x)


class Subsample(nn.Module):
    """S2 and S4: the sum of 2x2 units, times a trainable coefficient, plus a trainable bias, one of each a map."""

    def __init__(self, chans: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.empty(chans))
        self.bias = nn.Parameter(torch.empty(chans))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) to (B, C, H/2, W/2)
        total = 4 * F.avg_pool2d(x, 2)
        return total * self.coefficient[:, None, None] + self.bias[:, None, None]


class TableConv(nn.Module):
    """C3: a 5x5 convolution over the connections of table I alone, 60 kernels in place of 96.

    The kernels are laid into a dense weight with zeros where there is no connection: one fast convolution.
    """

    positions: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(60, 5, 5))
        self.bias = nn.Parameter(torch.empty(16))
        positions = [6 * out + source for out, sources in enumerate(TABLE) for source in sources]
        self.register_buffer("positions", torch.tensor(positions), persistent=False)

    def dense(self) -> Tensor:
        """The weight of the dense convolution, (16, 6, 5, 5)."""
        empty = self.weight.new_zeros(16 * 6, 5, 5)
        return empty.index_copy(0, self.positions, self.weight).view(16, 6, 5, 5)

    def forward(self, x: Tensor) -> Tensor:  # (B, 6, H, W) to (B, 16, H-4, W-4)
        return F.conv2d(x, self.dense(), self.bias)


class Rbf(nn.Module):
    """Equation 7: the output units measure the squared distance of F6 to fixed +-1 codes.

    Returns minus the distances, so that cross-entropy over them is equation 9 without its constant.
    """

    codes: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.tensor(codes(num_classes)))  # (K, 84)

    def forward(self, x: Tensor) -> Tensor:  # (B, 84) to (B, K)
        squares = x.square().sum(dim=1, keepdim=True) + self.codes.square().sum(dim=1)
        return 2 * F.linear(x, self.codes) - squares


def codes(num_classes: int) -> list[list[float]]:
    """The bitmaps of the digits, read row by row, for ten classes; else codes drawn at random, always the same."""
    if num_classes == 10:
        rows = [line.split() for line in DIGITS.split("\n") if line]
        return [[1.0 if dot == "#" else -1.0 for row in rows for dot in row[digit]] for digit in range(10)]
    draw = random.Random(1998)
    return [[draw.choice((-1.0, 1.0)) for _ in range(84)] for _ in range(num_classes)]


class LeNet5Of1998(nn.Module):
    """The paper's network, layer by layer (section II.B)."""

    def __init__(self, cfg: LeNetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.c1 = nn.Conv2d(cfg.in_chans, 6, 5)
        self.s2 = Subsample(6)
        self.c3 = TableConv()
        self.s4 = Subsample(16)
        self.c5 = nn.Conv2d(16, 120, cfg.last_map)
        self.f6 = nn.Linear(120, 84)
        self.squash = Squash()
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """Appendix A: uniform in +-2.4 / F, F the inputs of the unit that a weight (here also a bias) belongs to."""
        fans = [len(sources) for sources in TABLE]
        c1_fan, c5_fan = 25 * self.cfg.in_chans, 16 * self.cfg.last_map**2
        for layer, fan in ((self.c1, c1_fan), (self.s2, 4), (self.s4, 4), (self.c5, c5_fan), (self.f6, 120)):
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -2.4 / fan, 2.4 / fan)
        with torch.no_grad():
            for kernels, bias, fan in zip(self.c3.weight.split(fans), self.c3.bias, fans):
                kernels.uniform_(-2.4 / (25 * fan), 2.4 / (25 * fan))
                bias.uniform_(-2.4 / (25 * fan), 2.4 / (25 * fan))

    def reset_head(self, num_classes: int) -> None:
        """Output units for `num_classes`; 0 removes them."""
        self.cfg = replace(self.cfg, num_classes=num_classes)
        self.head = Rbf(num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to C5, (B, 120, 1, 1)."""
        checks.exactly(x, self.cfg.img_size)
        x = self.squash(self.s2(self.squash(self.c1(x))))  # (B, 6, 14, 14) at 32 pixels
        x = self.squash(self.s4(self.squash(self.c3(x))))  # (B, 16, 5, 5)
        return self.squash(self.c5(x))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, K), minus the distances to the codes of the classes."""
        x = self.squash(self.f6(self.forward_features(x).flatten(1)))
        return self.head(x)


PAPER: dict[str, Any] = {
    "paper": "Gradient-Based Learning Applied to Document Recognition",
    "year": 1998,
    "input_size": (1, 32, 32),
}

SMALL: dict[str, Any] = {  # the images that they were made for: not mirrored, moved by up to a sixteenth
    "optimizer": "adamw",
    "lr": 3e-3,
    "schedule": "onecycle",
    "warmup": 0.2,
    "augmentation": {"crop_padding": 0.0625},
}

register(
    "lenet5",
    LeNet5,
    LeNet5Config(),
    Card(
        **PAPER,
        params=61_706,
        macs=416_520,
        published={"MNIST top-1": "99.05 % (section III.B, the 1998 form)"},
        deviations=(
            "every map of C3 sees all of S2, pools have no parameters, the output is linear: the usual modern form",
            "relu and max pooling, which public weights use; activation='tanh', pool='avg' is nearer to the paper",
            "initialisation is He et al. 2015 (relu) or Glorot & Bengio 2010 (tanh, sigmoid), the output from "
            "N(0, 0.01²), where the paper draws from +-2.4 / fan-in, made for its own activation",
        ),
        synonyms={"head": "output, F7"},
        recipe={**SMALL, "weight_decay": 0.01},
    ),
)
register(
    "lenet5_1998",
    LeNet5Of1998,
    LeNetConfig(),
    Card(
        **PAPER,
        params=60_000,
        macs=416_520,
        published={"MNIST top-1": "99.05 % (section III.B)"},
        deviations=(
            "the logits are minus the distances of equation 7; cross-entropy is then equation 9 without its constant",
            "the bitmaps of the ten digits are drawn after figure 3, which the paper prints as a picture only; for "
            "another number of classes the codes are drawn at random from a fixed seed",
            "C3 runs as one dense convolution with zeros at the connections that table I leaves out: 240,000 of its "
            "multiply-adds where the connections alone need 150,000",
            "trained by a first-order method, where the paper uses stochastic diagonal Levenberg-Marquardt",
        ),
        recipe={**SMALL, "weight_decay": 0.0},
    ),
)
