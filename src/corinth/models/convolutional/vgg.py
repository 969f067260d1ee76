"""VGG: depth from nothing but 3x3 convolutions.

Simonyan & Zisserman, *Very Deep Convolutional Networks for Large-Scale Image Recognition*, 2014 (arXiv:1409.1556).

Stacks of 3x3 convolutions see as far as one large filter with fewer parameters and more non-linearities
(section 2.3); five max pools halve the map, widths double from 64 to 512, three fully connected layers follow.

Shapes: B batch, C channels, H W pixels.
Deviations from the paper: convolutions start from He et al. 2015 and fully connected layers from N(0, 0.01²), as
torchvision's, in place of N(0, 0.1²) with pre-training of the shallow net (section 3.1: "10⁻² variance"); an adaptive
7x7 average pool (the identity at 224) lets other sizes in. The `_bn` variants normalise each convolution (which keeps
its bias, as torchvision's does); the paper has no batch normalisation.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.init import gaussian_, scaled_normal_
from corinth.registry import Card, register

WIDTHS = (64, 128, 256, 512, 512)  # table 1: one width per stage


@dataclass(frozen=True, kw_only=True)
class VggConfig:
    """One column of the paper's table 1."""

    depth: tuple[int, ...]  # 3x3 convolutions in each of the five stages
    batch_norm: bool = False
    fc_dim: int = 4096  # width of the two hidden fully connected layers
    drop_rate: float = 0.5
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features, the output of the second fully connected layer

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", checks.entries("depth", self.depth))
        if len(self.depth) != len(WIDTHS):
            raise ValueError(f"depth {self.depth} needs {len(WIDTHS)} entries, one a stage, such as (2, 2, 3, 3, 3)")
        for count in self.depth:
            checks.whole("depth", count, 1)
        checks.switch("batch_norm", self.batch_norm)
        checks.whole("fc_dim", self.fc_dim, 1)
        checks.head_fields(self)

    @property
    def min_size(self) -> int:
        return 2 ** len(WIDTHS)  # each stage halves


def stages(cfg: VggConfig) -> nn.Sequential:
    """The convolutional part, numbered flat as torchvision's: convolution, (norm,) ReLU, ..., pool, ..."""
    layers: list[nn.Module] = []
    chans = cfg.in_chans
    for width, depth in zip(WIDTHS, cfg.depth):
        for _ in range(depth):
            layers.append(nn.Conv2d(chans, width, 3, padding=1))
            if cfg.batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU(inplace=True))
            chans = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class Vgg(nn.Module):
    def __init__(self, cfg: VggConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.features = stages(cfg)
        self.fc6 = nn.Linear(WIDTHS[-1] * 7 * 7, cfg.fc_dim)
        self.fc7 = nn.Linear(cfg.fc_dim, cfg.fc_dim)
        self.drop = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        scaled_normal_(self.features, mode="fan_out")
        for fc in (self.fc6, self.fc7, self.head):
            if isinstance(fc, nn.Linear):
                gaussian_(fc)

    def reset_head(self, num_classes: int) -> None:
        """A fresh classifier for `num_classes`; 0 removes it."""
        self.cfg = replace(self.cfg, num_classes=num_classes)
        self.head = nn.Identity()
        if num_classes:
            self.head = nn.Linear(self.cfg.fc_dim, num_classes)
            gaussian_(self.head)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the map behind the last pool, (B, 512, H/32, W/32)."""
        checks.at_least(x, self.cfg.min_size)
        return self.features(x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, num_classes)."""
        x = F.adaptive_avg_pool2d(self.forward_features(x), 7).flatten(1)
        x = self.drop(F.relu(self.fc6(x)))
        x = self.drop(F.relu(self.fc7(x)))
        return self.head(x)


# Section 3.1: batches of 256, momentum 0.9, weight decay 5e-4, rate 0.01 cut by ten three times, 74 epochs, crops
# of 224 from images rescaled to 256 or more, mirrored; the rate was cut when the validation accuracy stood still.
PUBLISHED: dict[str, Any] = {
    "budget": "74ep",
    "batch_size": 256,
    "optimizer": "sgd",
    "lr": 0.01,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 5e-4,
    "schedule": "step",
    "step_at": (0.25, 0.5, 0.75),
    "step_gamma": 0.1,
    "augmentation": {"random_resized_crop": (0.191, 0.766), "flip": True},
}
# Without norms Adam starts much sooner than SGD does.
SMALL: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 3e-4,
    "weight_decay": 0.02,
    "schedule": "onecycle",
    "warmup": 0.2,
    "clip_norm": 1.0,
    "img_size": 32,
    "augmentation": {"crop_padding": 0.125, "flip": True},
}
SMALL_19: dict[str, Any] = {**SMALL, "batch_size": 64}  # the deepest takes the most steps to start
SMALL_BN: dict[str, Any] = {
    "optimizer": "sgd",
    "lr": 0.05,
    "schedule": "onecycle",
    "warmup": 0.2,
    "clip_norm": 1.0,
    "img_size": 32,
    "augmentation": {"crop_padding": 0.125, "flip": True},
}
DEVIATIONS = (
    "convolutions start from He et al. 2015 (fan-out) and fully connected layers from N(0, 0.01²), as torchvision's, "
    "where the paper starts from N(0, 0.1²) and the layers of the trained 11-layer net (section 3.1)",
    "an adaptive average pool in front of the first fully connected layer (the identity at 224) admits other sizes",
    "published_recipe cuts the rate at a quarter, a half and three quarters, where the paper watched the validation "
    "accuracy, lets the aspect of its crops vary, and leaves out the colour shift",
)

for name, column, depth, params, params_bn, macs, top1, top1_bn in (  # table 1; accuracy of torchvision's weights
    ("vgg11", "A", (1, 1, 2, 2, 2), 132_863_336, 132_868_840, 7_609_090_048, "69.0", "70.4"),
    ("vgg13", "B", (2, 2, 2, 2, 2), 133_047_848, 133_053_736, 11_308_466_176, "69.9", "71.6"),
    ("vgg16", "D", (2, 2, 3, 3, 3), 138_357_544, 138_365_992, 15_470_264_320, "71.6", "73.4"),
    ("vgg19", "E", (2, 2, 4, 4, 4), 143_667_240, 143_678_248, 19_632_062_464, "72.4", "74.2"),
):
    for suffix, count, accuracy, batch_norm in (("", params, top1, False), ("_bn", params_bn, top1_bn, True)):
        register(
            name + suffix,
            Vgg,
            VggConfig(depth=depth, batch_norm=batch_norm),
            Card(
                params=count,
                macs=macs,
                paper=f"Very Deep Convolutional Networks for Large-Scale Image Recognition, configuration {column}",
                arxiv="1409.1556",
                year=2014,
                input_size=(3, 224, 224),
                published={"ImageNet top-1": f"{accuracy} % (torchvision IMAGENET1K_V1)"},
                deviations=(*DEVIATIONS, "batch normalisation, which the paper has not") if batch_norm else DEVIATIONS,
                references=(f"torchvision:{name}{suffix}", f"timm:{name}{suffix}"),
                synonyms={"fc_dim": "4096 channels", "drop_rate": "dropout (torchvision)"},
                recipe=SMALL_BN if batch_norm else SMALL_19 if name == "vgg19" else SMALL,
                published_recipe=PUBLISHED,
            ),
        )
