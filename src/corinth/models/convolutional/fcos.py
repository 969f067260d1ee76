"""FCOS: every point of a feature map says what it lies in, and how far away the sides of that box are.

Tian, Shen, Chen & He, *FCOS: Fully Convolutional One-Stage Object Detection*, 2019 (arXiv:1904.01355).

No anchors: a point inside a box is a positive sample for it and regresses its four distances to the sides (equation
1). A feature pyramid separates boxes that overlap by their size (section 3.2), and a centre-ness branch lowers the
score of points far from a box's centre (section 3.3). Which point answers for which box, the losses and the decoding
are the task's (`corinth.tasks.detection`).

Shapes: B batch, K classes, C channels of the pyramid, H_l W_l side of level l.
Deviations from the paper: the improved form of its later versions and of the authors' code: centre-ness on the
regression branch, targets measured in strides of their level. A distance is exp(s_l x) * stride_l, where section 3.2
has exp(s_l x); `distance="relu"` is relu(s_l x) * stride_l, as the improved code has. The backbone's batch norms are
trained, as nothing is pretrained by default.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.fpn import FPN
from corinth.layers.init import gaussian_
from corinth.layers.points import PointOutputs
from corinth.registry import Card, create_model, register

Distance = Literal["exp", "relu"]
STRIDES = (8, 16, 32, 64, 128)  # of P3 to P7
PRIOR = 0.01  # probability of an object that every point starts with; section 4, from RetinaNet


@dataclass(frozen=True, kw_only=True)
class FCOSConfig:
    """A backbone, the width of the pyramid and of the heads, and the heads' depth."""

    backbone: str = "resnet50"  # a registered classifier that has maps of strides 8, 16 and 32
    channels: int = 256  # of the pyramid and the heads
    head_depth: int = 4  # 3x3 convolutions of each head before its output
    norm_groups: int = 32  # of group norm
    distance: Distance = "exp"  # what keeps distances positive: exp(s x) or relu(s x), times the stride
    in_chans: int = 3
    num_classes: int = 80  # 0: pooled features of the pyramid

    def __post_init__(self) -> None:
        if not isinstance(self.backbone, str) or not self.backbone:
            raise ValueError(f"backbone {self.backbone!r} is no name of an architecture, such as 'resnet50'")
        checks.whole("channels", self.channels, 1)
        checks.whole("head_depth", self.head_depth, 1)
        checks.whole("norm_groups", self.norm_groups, 1)
        if self.channels % self.norm_groups:
            raise ValueError(f"channels {self.channels} do not fall into norm_groups {self.norm_groups} of one size")
        if self.channels == self.norm_groups:
            raise ValueError(f"norm_groups {self.norm_groups} leave one channel a group; there must be at least two")
        checks.one_of("distance", self.distance, get_args(Distance))
        checks.head_fields(self)

    @property
    def stride(self) -> int:
        """What the input's sides should be multiples of; other sizes run, but their border is cut unevenly."""
        return 32

    @property
    def min_size(self) -> int:
        """Every layer is padded, so any size runs; below this the coarse levels see nothing but padding."""
        return 64


class Tower(nn.Sequential):
    """3x3 convolutions with group norm (Wu & He 2018, 1803.08494) and rectifiers."""

    def __init__(self, cfg: FCOSConfig) -> None:
        layers: list[nn.Module] = []
        for _ in range(cfg.head_depth):
            layers.append(nn.Conv2d(cfg.channels, cfg.channels, 3, padding=1))
            layers += [nn.GroupNorm(cfg.norm_groups, cfg.channels), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class FCOSHead(nn.Module):
    """Figure 2, shared by all levels but for the scalars s_l of section 3.2."""

    def __init__(self, cfg: FCOSConfig) -> None:
        super().__init__()
        self.distance = cfg.distance
        self.class_tower = Tower(cfg)
        self.box_tower = Tower(cfg)
        self.classify: nn.Module = nn.Identity()  # made by `reset_head`
        self.regress = nn.Conv2d(cfg.channels, 4, 3, padding=1)
        self.centre = nn.Conv2d(cfg.channels, 1, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(STRIDES)))

    def forward(self, levels: tuple[Tensor, ...]) -> PointOutputs:  # (B, C, H_l, W_l) each
        logits, distances, centreness = [], [], []
        positive = torch.exp if self.distance == "exp" else F.relu
        for x, scale, stride in zip(levels, self.scales, STRIDES, strict=True):
            logits.append(self.classify(self.class_tower(x)))
            box = self.box_tower(x)
            distance = scale * self.regress(box)
            distances.append(positive(distance.to(torch.promote_types(distance.dtype, torch.float32))) * stride)
            centreness.append(self.centre(box))
        return PointOutputs(tuple(logits), tuple(distances), tuple(centreness), STRIDES)


class FCOS(nn.Module):
    def __init__(self, cfg: FCOSConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.backbone: Any = create_model(cfg.backbone, features=STRIDES[:3], in_chans=cfg.in_chans)
        self.fpn = FPN(self.backbone.channels, cfg.channels, extra=len(STRIDES) - 3)
        self.head = FCOSHead(cfg)
        self.init_weights()
        self.reset_head(cfg.num_classes)

    def init_weights(self) -> None:
        """The heads' convolutions from N(0, 0.01²), as RetinaNet's and the authors' code."""
        for module in self.head.modules():
            if isinstance(module, nn.Conv2d):
                gaussian_(module)

    def reset_head(self, num_classes: int) -> None:
        """Fresh class outputs for `num_classes`, which start at a probability of 0.01; 0 removes them."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head.classify = nn.Identity()
        if num_classes:
            self.head.classify = nn.Conv2d(self.cfg.channels, num_classes, 3, padding=1)
            gaussian_(self.head.classify, bias=-math.log((1 - PRIOR) / PRIOR))

    def forward_features(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, in_chans, H, W) to the maps P3 to P7, (B, C, H/8, W/8) to (B, C, H/128, W/128), sides rounded up."""
        checks.at_least(x, self.cfg.min_size)
        return self.fpn(self.backbone(x))

    def forward(self, x: Tensor) -> PointOutputs | Tensor:
        """(B, in_chans, H, W) to what each point says, or with num_classes 0 to features (B, C): P3 to P7, pooled."""
        levels = self.forward_features(x)
        if self.cfg.num_classes:
            return self.head(levels)
        return torch.stack([level.mean(dim=(2, 3)) for level in levels]).mean(dim=0)


SYNONYMS = {
    "class_tower": "cls_tower (authors' code), classification_head.conv (torchvision)",
    "box_tower": "bbox_tower (authors' code), regression_head.conv (torchvision)",
    "classify": "cls_logits (authors' code, torchvision)",
    "regress": "bbox_pred (authors' code), bbox_reg (torchvision)",
    "centre": "centerness (paper, authors' code), bbox_ctrness (torchvision)",
    "laterals, smooths": "inner_blocks, layer_blocks (torchvision)",
}
DEVIATIONS = (
    "the improved form of the authors' code: centre-ness on the regression branch, targets in strides of their level",
    "a distance is exp(s x) * stride; section 3.2 has exp(s x), the improved code relu(s x) * stride",
    "the backbone starts from fresh weights and its batch norms are trained; the paper freezes pretrained ones",
)
SMALL: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 1e-3,
    "schedule": "onecycle",
    "batch_size": 16,
    "weight_decay": 0.05,
    "clip_norm": 1.0,
    "eval_batch_size": 32,
    "fit": "pad",
    "augmentation": {"random_resized_crop": (0.5, 1.0), "flip": True},
}
PUBLISHED: dict[str, Any] = {  # section 4: 90k iterations of 16 images, the rate divided by ten at 60k and 80k
    "optimizer": "sgd",
    "lr": 0.01,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 1e-4,
    "decay_norm_and_bias": True,
    "batch_size": 16,
    "eval_batch_size": 16,
    "budget": "1440000samples",
    "schedule": "step",
    "step_at": (0.6667, 0.8889),
    "step_gamma": 0.1,
    "fit": "pad",
    "warmup": 0.0056,  # 500 iterations, of the authors' code
    "augmentation": {"flip": True},
}

for name, backbone, channels, side, params, macs in (
    ("fcos_resnet18", "resnet18", 128, 320, 13_310_234, 6_788_022_016),
    ("fcos_mobilenetv2_100", "mobilenetv2_100", 96, 320, 3_009_594, 2_331_669_824),
    ("fcos_resnet50", "resnet50", 256, 800, 32_297_370, 127_868_887_808),
):
    is_paper = backbone == "resnet50"
    register(
        name,
        FCOS,
        FCOSConfig(backbone=backbone, channels=channels),
        Card(
            params=params,
            macs=macs,
            paper="FCOS: Fully Convolutional One-Stage Object Detection",
            year=2019,
            arxiv="1904.01355",
            input_size=(3, side, side),
            tasks=("object-detection",),
            published={"COCO minival AP": "38.6 % (paper, table 3, all improvements)"} if is_paper else {},
            deviations=DEVIATIONS
            if is_paper
            else (*DEVIATIONS, f"a smaller backbone than the paper's, and a pyramid and heads of {channels} channels"),
            references=("torchvision:fcos_resnet50_fpn",) if is_paper else (),
            synonyms=SYNONYMS,
            recipe=SMALL,
            published_recipe=PUBLISHED if is_paper else {},
        ),
    )
