"""The plain convolutional network of the textbooks: convolution, activation, pooling, fully connected layers.

Goodfellow, Bengio & Courville, *Deep Learning*, 2016, chapter 9; the notation of the sizes is that of Karpathy's
CS231n notes. Every number is an option, so that the effect of each can be seen.

A stage is one or more convolutions, each with its activation, then a pool. A window of F pixels that moves by S over
N pixels padded by P leaves (N + 2P - F) / S + 1; a stack in which that is no whole number is refused when it is
built. `padding="same"` pads odd windows by (F - 1) / 2, so that a convolution leaves ceil(N / S). Softmax belongs to
the loss.

Shapes: B batch, C channels, H W pixels.
Deviations from the paper: the book leaves the initialisation open; here it is He et al. 2015 (relu) or Glorot &
Bengio 2010 (tanh, sigmoid), the classifier from N(0, 0.01²).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.choices import ACTIVATIONS, POOLS, Activation, Pool
from corinth.layers.init import gaussian_, scaled_normal_
from corinth.layers.sizes import window_out
from corinth.registry import Card, register

Padding = Literal["valid", "same"]
PerStage = int | tuple[int, ...]  # one number holds for every stage
LARGEST = 1024  # the search for an image size that fits ends here


@dataclass(frozen=True, kw_only=True)
class CnnConfig:
    """A plain convolutional network, stage by stage."""

    channels: tuple[int, ...] = (32, 64, 128)  # filters of each stage
    depth: PerStage = 1  # convolutions in each stage
    kernel_size: PerStage = 3
    stride: PerStage = 1  # of a stage's first convolution
    padding: Padding = "same"
    activation: Activation = "relu"
    pool: Pool = "max"
    pool_size: PerStage = 2  # 1: no pool in that stage
    pool_stride: PerStage | None = None  # None: the pool's size, so that windows do not overlap
    fc_dims: tuple[int, ...] = (256,)  # widths of the hidden fully connected layers
    drop_rate: float = 0.5  # in front of each fully connected layer
    img_size: int = 32
    in_chans: int = 3
    num_classes: int = 10  # 0: pooled features, what the last hidden layer gives

    def __post_init__(self) -> None:
        for name in ("channels", "fc_dims"):
            object.__setattr__(self, name, checks.entries(name, getattr(self, name)))
            for width in getattr(self, name):
                checks.whole(name, width, 1)
        if not self.channels:
            raise ValueError("channels () needs at least one stage, such as (32, 64)")
        for name in ("depth", "kernel_size", "stride", "pool_size", "pool_stride"):
            for value in self.per_stage(name):
                checks.whole(name, value, 1)
        checks.one_of("padding", self.padding, get_args(Padding))
        checks.one_of("activation", self.activation, get_args(Activation))
        checks.one_of("pool", self.pool, get_args(Pool))
        even = [size for size in self.per_stage("kernel_size") if size % 2 == 0]
        if self.padding == "same" and even:
            raise ValueError(f"kernel_size {even[0]} with padding 'same' needs an odd number, such as {even[0] + 1}")
        checks.whole("img_size", self.img_size, 1)
        checks.head_fields(self)
        problem = self._misfit(self.img_size)
        if problem:
            raise ValueError(f"img_size {self.img_size} does not fit: {problem}; {self._nearest()}")

    def per_stage(self, name: str) -> tuple[int, ...]:
        """An option's value for each stage."""
        value = getattr(self, name)
        if name == "pool_stride" and value is None:
            return self.per_stage("pool_size")
        if not isinstance(value, list | tuple):
            return (value,) * len(self.channels)
        if len(value) != len(self.channels):
            raise ValueError(f"{name} {tuple(value)} needs {len(self.channels)} entries, one a stage, or one number")
        return tuple(value)

    def pad(self, kernel: int) -> int:
        return (kernel - 1) // 2 if self.padding == "same" else 0

    def windows(self) -> Iterator[tuple[str, int, int, int]]:
        """(layer, F, S, P) of every convolution and pool, in order."""
        names = ("depth", "kernel_size", "stride", "pool_size", "pool_stride")
        for number, (depth, kernel, stride, pool, pool_stride) in enumerate(zip(*map(self.per_stage, names)), 1):
            for index in range(depth):
                yield f"conv{number}.{index + 1}", kernel, 1 if index else stride, self.pad(kernel)
            if pool > 1:
                yield f"pool{number}", pool, pool_stride, 0

    def map_size(self) -> int:
        """Pixels per side of the last map."""
        size = self.img_size
        for _, kernel, stride, padding in self.windows():
            size = window_out(size, kernel, stride, padding)
        return size

    @property
    def min_size(self) -> int:
        """The smallest `img_size` that fits."""
        return next(size for size in range(1, self.img_size + 1) if not self._misfit(size))

    def _misfit(self, size: int) -> str | None:
        """Which layer does not fit an image of `size` pixels per side, and why."""
        for layer, kernel, stride, padding in self.windows():
            formula = f"({size} + {2 * padding} - {kernel})/{stride} + 1"
            if size + 2 * padding < kernel:
                return f"{layer} sees {size} pixels, fewer than its window of {kernel}"
            if (size - kernel) % stride and not padding:  # padding "same" leaves ceil(N / S), which is always whole
                exact = (size - kernel) / stride + 1
                return f"{layer} sees {size} pixels, and {formula} = {exact:g} is not a whole number"
            size = window_out(size, kernel, stride, padding)
        return None

    def _nearest(self) -> str:
        below = next((size for size in range(self.img_size - 1, 0, -1) if not self._misfit(size)), None)
        above = next((size for size in range(self.img_size + 1, LARGEST + 1) if not self._misfit(size)), None)
        fitting = [str(size) for size in (below, above) if size]
        return f"{' or '.join(fitting)} would" if fitting else f"no size up to {LARGEST} does"


class Cnn(nn.Module):
    def __init__(self, cfg: CnnConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.features = self._features()
        layers: list[nn.Module] = []
        dim = cfg.channels[-1] * cfg.map_size() ** 2
        for width in cfg.fc_dims:
            layers += [nn.Dropout(cfg.drop_rate), nn.Linear(dim, width), ACTIVATIONS[cfg.activation]()]
            dim = width
        self.hidden = nn.Sequential(nn.Flatten(), *layers)
        self.drop = nn.Dropout(cfg.drop_rate)
        self.num_features = dim
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def _features(self) -> nn.Sequential:
        cfg = self.cfg
        layers: list[nn.Module] = []
        chans = cfg.in_chans
        widths = iter([width for width, depth in zip(cfg.channels, cfg.per_stage("depth")) for _ in range(depth)])
        for name, kernel, stride, padding in cfg.windows():
            if name.startswith("pool"):
                layers.append(POOLS[cfg.pool](kernel, stride))
            else:
                width = next(widths)
                layers += [nn.Conv2d(chans, width, kernel, stride, padding), ACTIVATIONS[cfg.activation]()]
                chans = width
        return nn.Sequential(*layers)

    def init_weights(self) -> None:
        scaled_normal_(self, self.cfg.activation)
        if isinstance(self.head, nn.Linear):
            gaussian_(self.head)

    def reset_head(self, num_classes: int) -> None:
        """A fresh classifier for `num_classes`; 0 removes it."""
        self.cfg = replace(self.cfg, num_classes=num_classes)
        self.head = nn.Identity()
        if num_classes:
            self.head = nn.Linear(self.num_features, num_classes)
            gaussian_(self.head)  # small, so that the first softmax is nearly even

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the last stage's map."""
        checks.exactly(x, self.cfg.img_size)
        return self.features(x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, num_classes)."""
        x = self.hidden(self.forward_features(x))
        return self.head(self.drop(x)) if self.cfg.num_classes else x


register(
    "cnn",
    Cnn,
    CnnConfig(),
    Card(
        params=620_362,
        macs=10_848_768,
        paper="Deep Learning (Goodfellow, Bengio & Courville), chapter 9",
        year=2016,
        input_size=(3, 32, 32),
        deviations=(
            "initialisation is He et al. 2015 (relu) or Glorot & Bengio 2010 (tanh, sigmoid), the classifier from "
            "N(0, 0.01²): the book leaves it open",
        ),
        synonyms={"channels": "filters", "kernel_size": "F", "stride": "S", "padding": "P", "img_size": "N"},
        recipe={
            "options": {"drop_rate": 0.25},
            "optimizer": "adamw",
            "lr": 2e-3,
            "weight_decay": 0.02,
            "schedule": "onecycle",
            "warmup": 0.2,
            "label_smoothing": 0.1,
            "augmentation": {"crop_padding": 0.0625, "flip": True},
        },
    ),
)
