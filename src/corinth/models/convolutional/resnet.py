"""ResNet: convolutional networks made very deep by letting each block learn a residual.

He, Zhang, Ren & Sun, *Deep Residual Learning for Image Recognition*, 2015 (arXiv:1512.03385).

A block computes y = F(x) + x: when more layers do not help, F can go to zero, so depth no longer hurts.
Where the shape changes the identity is replaced by a parameter-free padded subsampling (shortcut "A") or by
a 1x1 convolution (shortcut "B"); section 3.3. Deep ImageNet variants use 1x1-3x3-1x1 bottlenecks (figure 5).

Shapes: B batch, C channels, H W pixels.
Deviations from the paper: `resnet50/101/152` are "v1.5": the stride of a stage sits in the 3x3 convolution, not
in the first 1x1 (which is `resnet50_v1`); same parameters, better accuracy, and what public weights were trained
with. The paper leaves the order of padded channels open: here half of the zeros go before, half behind. It does
not say how the classifier starts: here uniform in +-1/sqrt(fan_in) with zero bias.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.norm_act import norm_act, norm_relu
from corinth.registry import Card, register

Block = Literal["basic", "bottleneck"]
Stem = Literal["imagenet", "cifar"]
Shortcut = Literal["A", "B"]
StrideIn = Literal["3x3", "1x1"]


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """One column of the paper's table 1, or one n of section 4.2 (CIFAR-10)."""

    depth: tuple[int, ...]  # blocks per stage
    block: Block = "basic"
    width: int = 64  # channels of the first stage; each further stage doubles them
    stem: Stem = "imagenet"  # 7x7/2 convolution and 3x3/2 pool, or one 3x3 convolution for small images
    shortcut: Shortcut = "B"  # section 3.3: A pads with zeros, B projects
    stride_in: StrideIn = "3x3"  # which convolution of a bottleneck subsamples: 3x3 (v1.5) or 1x1 (the paper)
    zero_init_residual: bool = False  # start each block's last norm at zero, as 1706.02677 does; not in the paper
    drop_rate: float = 0.0  # before the classifier; the paper uses none
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features

    def __post_init__(self) -> None:
        for field, allowed in (("block", Block), ("stem", Stem), ("shortcut", Shortcut), ("stride_in", StrideIn)):
            checks.one_of(field, getattr(self, field), get_args(allowed))
        object.__setattr__(self, "depth", checks.entries("depth", self.depth))
        if not self.depth:
            raise ValueError("depth () has no stage; (2, 2, 2, 2) is ResNet-18's")
        for blocks in self.depth:
            checks.whole("depth", blocks, 1)
        checks.whole("width", self.width, 1)
        checks.switch("zero_init_residual", self.zero_init_residual)
        checks.head_fields(self)

    @property
    def expansion(self) -> int:
        """Channels that leave a block per channel inside it."""
        return 4 if self.block == "bottleneck" else 1

    @property
    def num_features(self) -> int:
        return self.width * 2 ** (len(self.depth) - 1) * self.expansion

    @property
    def min_size(self) -> int:
        """Every layer is padded, so any size runs; below this the first stage itself sees little but padding."""
        return 8 if self.stem == "imagenet" else 4


class Stem7x7(nn.Module):
    """conv1 and the pool of table 1: a quarter of the image's side."""

    def __init__(self, cfg: ResNetConfig) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cfg.in_chans, cfg.width, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(cfg.width)
        self.act = nn.ReLU(inplace=True)  # a module, so that its map can be had
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_chans, H, W) to (B, width, H/4, W/4)
        return self.pool(norm_act(self.conv(x), self.norm, self.act))


class Stem3x3(nn.Module):
    """Section 4.2: the first layer is one 3x3 convolution."""

    def __init__(self, cfg: ResNetConfig) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cfg.in_chans, cfg.width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(cfg.width)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_chans, H, W) to (B, width, H, W)
        return norm_relu(self.conv(x), self.norm)


class PadShortcut(nn.Module):
    """Option A: take every stride-th pixel, fill the new channels with zeros. No parameters."""

    def __init__(self, in_chans: int, out_chans: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        before = (out_chans - in_chans) // 2
        self.pad = (0, 0, 0, 0, before, out_chans - in_chans - before)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], self.pad)


class ProjectShortcut(nn.Module):
    """Option B, W_s of equation 2: a strided 1x1 convolution."""

    def __init__(self, in_chans: int, out_chans: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, out_chans, 1, stride=stride, bias=False)
        self.norm = nn.BatchNorm2d(out_chans)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


def make_shortcut(cfg: ResNetConfig, in_chans: int, out_chans: int, stride: int) -> nn.Module:
    if stride == 1 and in_chans == out_chans:
        return nn.Identity()
    return (PadShortcut if cfg.shortcut == "A" else ProjectShortcut)(in_chans, out_chans, stride)


class BasicBlock(nn.Module):
    """Equations 1 and 2 with F two 3x3 convolutions (figure 5, left).

    Sums and rectifiers work in place: nothing reads a norm's output again, its gradient included.
    """

    def __init__(self, cfg: ResNetConfig, in_chans: int, chans: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, chans, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(chans)
        self.conv2 = nn.Conv2d(chans, chans, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(chans)
        self.shortcut = make_shortcut(cfg, in_chans, chans, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.norm2

    def forward(self, x: Tensor) -> Tensor:
        y = norm_relu(self.conv1(x), self.norm1)
        return F.relu(self.norm2(self.conv2(y)).add_(self.shortcut(x)), inplace=True)


class Bottleneck(nn.Module):
    """Equations 1 and 2 with F a 1x1, a 3x3 and a 1x1 convolution (figure 5, right)."""

    def __init__(self, cfg: ResNetConfig, in_chans: int, chans: int, stride: int) -> None:
        super().__init__()
        first, second = (stride, 1) if cfg.stride_in == "1x1" else (1, stride)
        out_chans = chans * cfg.expansion
        self.conv1 = nn.Conv2d(in_chans, chans, 1, stride=first, bias=False)
        self.norm1 = nn.BatchNorm2d(chans)
        self.conv2 = nn.Conv2d(chans, chans, 3, stride=second, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(chans)
        self.conv3 = nn.Conv2d(chans, out_chans, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out_chans)
        self.shortcut = make_shortcut(cfg, in_chans, out_chans, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.norm3

    def forward(self, x: Tensor) -> Tensor:
        y = norm_relu(self.conv1(x), self.norm1)
        y = norm_relu(self.conv2(y), self.norm2)
        return F.relu(self.norm3(self.conv3(y)).add_(self.shortcut(x)), inplace=True)


class ResNet(nn.Module):
    def __init__(self, cfg: ResNetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.stem = (Stem7x7 if cfg.stem == "imagenet" else Stem3x3)(cfg)
        block = BasicBlock if cfg.block == "basic" else Bottleneck
        stages, in_chans = [], cfg.width
        for index, depth in enumerate(cfg.depth):
            chans = cfg.width * 2**index
            blocks = []
            for position in range(depth):
                stride = 2 if index > 0 and position == 0 else 1
                blocks.append(block(cfg, in_chans, chans, stride))
                in_chans = chans * cfg.expansion
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """Section 3.4: as He et al. 2015 (1502.01852), here by fan-out; norms start as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        if self.cfg.zero_init_residual:
            for module in self.modules():
                if isinstance(module, BasicBlock | Bottleneck):
                    nn.init.zeros_(module.last_norm.weight)

    def reset_head(self, num_classes: int) -> None:
        """A fresh classifier for `num_classes`; 0 removes it."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = nn.Linear(self.cfg.num_features, num_classes) if num_classes else nn.Identity()
        if isinstance(self.head, nn.Linear):
            nn.init.zeros_(self.head.bias)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to the last stage's map (B, C, H/32, W/32), or H/4 with the CIFAR stem."""
        checks.at_least(x, self.cfg.min_size)
        return self.stages(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to logits (B, num_classes), or pooled features (B, C) with num_classes 0."""
        x = F.adaptive_avg_pool2d(self.forward_features(x), 1).flatten(1)
        return self.head(self.dropout(x))


PAPER = "Deep Residual Learning for Image Recognition"
SYNONYMS = {
    "stem": "conv1 and maxpool (paper, torchvision)",
    "stages": "conv2_x to conv5_x (paper), layer1 to layer4 (torchvision, timm)",
    "shortcut": "downsample (torchvision, timm)",
    "head": "fc (torchvision, timm)",
}
V15 = "stride 2 of a stage in its 3x3 convolution, not in the first 1x1 (v1.5)"
PADDED = "shortcut A puts half of its zero channels before and half behind: the paper does not say where they go"
DEVIATIONS = ("the classifier starts uniform in +-1/sqrt(fan_in) with zero bias: the paper does not say how",)
SMALL: dict[str, Any] = {  # small images
    "optimizer": "sgd",
    "lr": 0.2,
    "schedule": "onecycle",
    "batch_size": 128,
    "weight_decay": 5e-4,
    "label_smoothing": 0.1,
    # a border of 2 of 32 pixels: the 4 of section 4.2 want more epochs than a small budget has
    "augmentation": {"crop_padding": 0.0625, "flip": True},
}
# a smaller rate and more steps an epoch for the deeper ones, the deepest of which section 4.2 warms up
SMALL_DEEP: dict[str, Any] = {**SMALL, "lr": 0.1, "batch_size": 64, "clip_norm": 1.0}
SMALL_IMAGENET: dict[str, Any] = {**SMALL, "lr": 0.1, "img_size": 64}
SMALL_BOTTLENECK: dict[str, Any] = {  # these start from large gradients, which Adam does not mind
    **SMALL_IMAGENET,
    "optimizer": "adamw",
    "lr": 1e-3,
    "weight_decay": 0.05,
    "warmup": 0.2,
    "batch_size": 64,
    "clip_norm": 1.0,
}
IMAGENET: dict[str, Any] = {  # section 3.4: 60e4 iterations of 256 images, the rate falls on plateaus (figure 4)
    "optimizer": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 1e-4,
    "decay_norm_and_bias": True,
    "batch_size": 256,
    "budget": "153600000samples",
    "schedule": "step",
    "step_at": (0.25, 0.5),
    "step_gamma": 0.1,
    # 224 pixels out of a shorter side of 256 to 480, as a share of the area; the paper keeps the aspect
    "augmentation": {"random_resized_crop": (0.22, 0.77), "flip": True, "color_jitter": 0.1},
}
CIFAR: dict[str, Any] = {  # section 4.2: 64k iterations of 128 images, the rate divided by ten at 32k and 48k
    "optimizer": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 1e-4,
    "decay_norm_and_bias": True,
    "batch_size": 128,
    "budget": "8192000samples",
    "schedule": "step",
    "step_at": (0.5, 0.75),
    "step_gamma": 0.1,
    "augmentation": {"crop_padding": 0.125, "flip": True},
}

for name, depth, block, stride_in, params, macs, error in (  # table 1; errors of tables 2 and 3, ten crops
    ("resnet18", (2, 2, 2, 2), "basic", "3x3", 11_689_512, 1_814_073_344, "27.88 % with shortcut A"),
    ("resnet34", (3, 4, 6, 3), "basic", "3x3", 21_797_672, 3_663_761_408, "24.52 %"),
    ("resnet50", (3, 4, 6, 3), "bottleneck", "3x3", 25_557_032, 4_089_184_256, "22.85 % as v1"),
    ("resnet101", (3, 4, 23, 3), "bottleneck", "3x3", 44_549_160, 7_801_405_440, "21.75 % as v1"),
    ("resnet152", (3, 8, 36, 3), "bottleneck", "3x3", 60_192_808, 11_513_626_624, "21.43 % as v1"),
    ("resnet50_v1", (3, 4, 6, 3), "bottleneck", "1x1", 25_557_032, 3_857_973_248, "22.85 %"),
):
    v15 = block == "bottleneck" and stride_in == "3x3"
    peers = ("pytorchcv:resnet50",) if name == "resnet50_v1" else (f"timm:{name}", f"torchvision:{name}")
    register(
        name,
        ResNet,
        ResNetConfig(depth=depth, block=block, stride_in=stride_in),
        Card(
            params=params,
            macs=macs,
            paper=PAPER,
            year=2015,
            arxiv="1512.03385",
            input_size=(3, 224, 224),
            published={"ImageNet top-1 error, ten crops": f"{error} (paper, tables 2 and 3)"},
            deviations=(V15, *DEVIATIONS) if v15 else DEVIATIONS,
            references=peers,
            synonyms=SYNONYMS,
            recipe=SMALL_BOTTLENECK if block == "bottleneck" else SMALL_IMAGENET,
            published_recipe=IMAGENET,
        ),
    )

for layers, params, macs, error in (  # table 6; 6n + 2 layers
    (20, 269_722, 40_551_040, "8.75"),
    (32, 464_154, 68_862_592, "7.51"),
    (44, 658_586, 97_174_144, "7.17"),
    (56, 853_018, 125_485_696, "6.97"),
    (110, 1_727_962, 252_887_680, "6.43"),
):
    register(
        f"resnet{layers}_cifar10",
        ResNet,
        ResNetConfig(depth=((layers - 2) // 6,) * 3, width=16, stem="cifar", shortcut="A", num_classes=10),
        Card(
            params=params,
            macs=macs,
            paper=PAPER,
            year=2015,
            arxiv="1512.03385",
            input_size=(3, 32, 32),
            published={"CIFAR-10 test error": f"{error} % (paper, table 6)"},
            deviations=(PADDED, *DEVIATIONS),
            references=("akamaster:pytorch_resnet_cifar10",)
            + ((f"pytorchcv:resnet{layers}_cifar10",) if layers in (20, 56, 110) else ()),
            synonyms=SYNONYMS,
            recipe=SMALL if layers == 20 else SMALL_DEEP,
            published_recipe=CIFAR | ({"warmup": 0.00625} if layers == 110 else {}),  # 400 iterations of 64k
        ),
    )
