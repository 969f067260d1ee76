"""GoogLeNet: layers that look at several scales at once, and auxiliary classifiers to train them.

Szegedy et al., *Going Deeper with Convolutions*, 2014 (arXiv:1409.4842).

An Inception module (figure 2b) runs 1x1, 3x3, 5x5 convolutions and a pool side by side and concatenates them; 1x1
convolutions in front keep it affordable. Two auxiliary heads (section 5) push gradients into the middle of the
network; they exist while training only, and their losses count 0.3.

`googlenet` is the paper's: 13,378,280 parameters with the two auxiliary heads of training, 6,998,552 without.
`googlenet_bn` is the form of torchvision's public weights: batch norm in place of response norm and biases, a 3x3
in the branch that the paper gives a 5x5, a 2x2 last pool; 6,624,904 parameters without auxiliary heads (as public
weights have them), 13,004,888 with.

Shapes: B batch, C channels, H W pixels.
Deviations from the paper: the auxiliary heads pool to 4x4 adaptively, which is the paper's 5x5/3 pool for 224
pixels up to the window's edges and works at any other size. The paper gives neither the constants of the response
norm nor an initialisation; both are those of BVLC's Caffe form (uniform, variance 1 / fan-in, biases 0.2).
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.auxiliary import WithAux
from corinth.layers.norm_act import norm_relu
from corinth.layers.sizes import smallest, window_out
from corinth.registry import Card, register

# table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
TABLE = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
AUX_AFTER = {"4a": 512, "4d": 528}  # and the channels there
NUM_FEATURES = 1024
AUX_DIM = 1024


@dataclass(frozen=True, kw_only=True)
class GoogLeNetConfig:
    """The paper's table 1, or torchvision's variation of it."""

    batch_norm: bool = False  # in place of response norm and of the biases of convolutions
    five_kernel: int = 5  # kernel of the branch that the paper calls 5x5; torchvision's is 3
    last_pool: int = 3  # kernel of the pool before stage 5; torchvision's is 2
    aux_heads: bool = True
    aux_weight: float = 0.3
    drop_rate: float = 0.4
    aux_drop_rate: float = 0.7
    in_chans: int = 3
    num_classes: int = 1000  # 0: pooled features, without auxiliary heads

    def __post_init__(self) -> None:
        checks.head_fields(self)
        checks.share("aux_drop_rate", self.aux_drop_rate)
        checks.switch("batch_norm", self.batch_norm)
        checks.switch("aux_heads", self.aux_heads)
        checks.whole("five_kernel", self.five_kernel, 3)
        checks.whole("last_pool", self.last_pool, 2)
        if self.five_kernel not in (3, 5):
            raise ValueError(f"five_kernel {self.five_kernel!r} is neither 5 (the paper) nor 3 (torchvision)")
        if self.last_pool not in (2, 3):
            raise ValueError(f"last_pool {self.last_pool!r} is neither 3 (the paper) nor 2 (torchvision)")
        checks.at_least_zero("aux_weight", self.aux_weight)

    @property
    def min_size(self) -> int:
        return smallest(self._fits)

    def _fits(self, size: int) -> bool:
        size = window_out(size, 7, 2, 3)
        for kernel in (3, 3, 3, self.last_pool):
            size = window_out(size, kernel, 2, ceil=True)
            if size < 1:
                return False
        return True


class ConvUnit(nn.Module):
    """Convolution (batch norm) ReLU; the map keeps its size at stride 1."""

    def __init__(self, cfg: GoogLeNetConfig, in_chans: int, chans: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, chans, kernel, stride, kernel // 2, bias=not cfg.batch_norm)
        self.norm = nn.BatchNorm2d(chans, eps=1e-3) if cfg.batch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return norm_relu(self.conv(x), self.norm)


class Inception(nn.Module):
    """Figure 2(b); `widths` is a row of table 1."""

    def __init__(self, cfg: GoogLeNetConfig, in_chans: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        one, three_reduce, three, five_reduce, five, pool_proj = widths
        self.one = ConvUnit(cfg, in_chans, one, 1)
        self.three_reduce = ConvUnit(cfg, in_chans, three_reduce, 1)
        self.three = ConvUnit(cfg, three_reduce, three, 3)
        self.five_reduce = ConvUnit(cfg, in_chans, five_reduce, 1)
        self.five = ConvUnit(cfg, five_reduce, five, cfg.five_kernel)
        self.pool_proj = ConvUnit(cfg, in_chans, pool_proj, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.max_pool2d(x, 3, stride=1, padding=1, ceil_mode=True)
        return torch.cat(
            (
                self.one(x),
                self.three(self.three_reduce(x)),
                self.five(self.five_reduce(x)),
                self.pool_proj(pooled),
            ),
            dim=1,
        )


class AuxHead(nn.Module):
    """Section 5: average pool to 4x4, 128 1x1 filters, 1024 units, dropout 0.7, a linear classifier."""

    def __init__(self, cfg: GoogLeNetConfig, in_chans: int) -> None:
        super().__init__()
        self.conv = ConvUnit(cfg, in_chans, 128, 1)
        self.fc = nn.Linear(128 * 4 * 4, AUX_DIM)
        self.dropout = nn.Dropout(cfg.aux_drop_rate)
        self.head = nn.Linear(AUX_DIM, cfg.num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) to (B, num_classes)
        x = self.conv(F.adaptive_avg_pool2d(x, 4)).flatten(1)
        return self.head(self.dropout(F.relu(self.fc(x))))


class GoogLeNet(nn.Module):
    def __init__(self, cfg: GoogLeNetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.conv1 = ConvUnit(cfg, cfg.in_chans, 64, 7, stride=2)
        self.conv2_reduce = ConvUnit(cfg, 64, 64, 1)
        self.conv2 = ConvUnit(cfg, 64, 192, 3)
        # Caffe's constants; torch, like Caffe, divides alpha by the window
        self.response_norm = nn.Identity() if cfg.batch_norm else nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        in_chans = 192
        for name, widths in TABLE.items():
            self.add_module(f"inception{name}", Inception(cfg, in_chans, widths))
            in_chans = widths[0] + widths[2] + widths[4] + widths[5]
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.head: nn.Module = nn.Identity()
        self.aux_heads = nn.ModuleList()
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """Caffe's "xavier", biases 0.2 (BVLC) or, with batch norm, N(0, 0.01²) (torchvision); classifier biases 0."""
        _init(self, self.cfg)
        self._zero_classifier_biases()

    def reset_head(self, num_classes: int) -> None:
        """Fresh classifiers for `num_classes`, the auxiliary ones included; 0 removes all of them."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = nn.Linear(NUM_FEATURES, num_classes) if num_classes else nn.Identity()
        _init(self.head, self.cfg)
        if not num_classes or not self.cfg.aux_heads:
            self.aux_heads = nn.ModuleList()
        elif not len(self.aux_heads):
            self.aux_heads = nn.ModuleList(AuxHead(self.cfg, chans) for chans in AUX_AFTER.values())
            _init(self.aux_heads, self.cfg)
        else:
            for aux in self.aux_heads:
                aux.head = head = nn.Linear(AUX_DIM, num_classes)
                _init(head, self.cfg)
        self._zero_classifier_biases()

    def _zero_classifier_biases(self) -> None:
        for head in (self.head, *(aux.get_submodule("head") for aux in self.aux_heads)):
            if isinstance(head, nn.Linear):
                nn.init.zeros_(head.bias)

    def _run(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The last map, and the maps that the auxiliary heads look at."""
        checks.at_least(x, self.cfg.min_size)
        x = self.response_norm(F.max_pool2d(self.conv1(x), 3, stride=2, ceil_mode=True))
        x = self.response_norm(self.conv2(self.conv2_reduce(x)))
        x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
        seen = []
        for name in TABLE:
            if name == "4a":
                x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
            elif name == "5a":
                x = F.max_pool2d(x, self.cfg.last_pool, stride=2, ceil_mode=True)
            x = self.get_submodule(f"inception{name}")(x)
            if name in AUX_AFTER:
                seen.append(x)
        return x, seen

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to the map of the last Inception module, (B, 1024, H/32, W/32)."""
        return self._run(x)[0]

    def forward(self, x: Tensor) -> Tensor | WithAux:
        """(B, in_chans, H, W) to logits (B, num_classes), while training with those of the auxiliary heads."""
        x, seen = self._run(x)
        logits = self.head(self.dropout(F.adaptive_avg_pool2d(x, 1).flatten(1)))
        if not self.training or not len(self.aux_heads):
            return logits
        return WithAux(logits, tuple(aux(y) for aux, y in zip(self.aux_heads, seen)), self.cfg.aux_weight)


def _init(root: nn.Module, cfg: GoogLeNetConfig) -> None:
    for layer in root.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if cfg.batch_norm:
                nn.init.trunc_normal_(layer.weight, std=0.01, a=-2, b=2)
            else:
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")  # Caffe's "xavier" knows the fan-in only
            if layer.bias is not None:
                nn.init.constant_(layer.bias, 0.0 if cfg.batch_norm else 0.2)


SYNONYMS = {
    "five_reduce, five": "branch3 (torchvision), #5x5 reduce and #5x5 (paper)",
    "pool_proj": "branch4 (torchvision), pool proj (paper)",
    "aux_heads": "aux1 and aux2 (torchvision), loss1 and loss2 (BVLC)",
}
SMALL: dict[str, Any] = {  # without norms Adam starts much sooner than SGD does
    "optimizer": "adamw",
    "lr": 5e-4,
    "weight_decay": 0.02,
    "schedule": "onecycle",
    "warmup": 0.2,
    "batch_size": 64,
    "clip_norm": 1.0,
    "img_size": 64,
    "augmentation": {"random_resized_crop": (0.5, 1.0), "flip": True},
}
SMALL_BN: dict[str, Any] = {
    **SMALL,
    "optimizer": "sgd",
    "lr": 0.1,
    "weight_decay": 5e-4,
    "warmup": 0.0,
    "batch_size": 128,
}
PUBLISHED: dict[str, Any] = {
    # section 6: momentum 0.9, the rate falls by 4 % every 8 epochs; BVLC's solver for what the paper leaves open:
    # batches of 32, rate 0.01, weight decay 2e-4, 10 million iterations. Section 6 also averages the weights of the
    # end (Polyak) without saying how.
    "budget": "250ep",
    "batch_size": 32,
    "optimizer": "sgd",
    "lr": 0.01,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 2e-4,
    "schedule": "step",
    "step_at": tuple(8 * i / 250 for i in range(1, 32)),
    "step_gamma": 0.96,
    # section 6: 8 % to 100 % of the area, photometric distortions
    "augmentation": {"random_resized_crop": (0.08, 1.0), "flip": True, "color_jitter": 0.4},
}
NO_INIT = "initialisation and constants of the response norm are those of BVLC's Caffe form: the paper gives none"
RECIPE = (
    "published_recipe takes batch, rate and weight decay from BVLC's solver, and leaves out the averaging of weights "
    "at the end (section 6): the paper does not print them"
)
AUX_POOL = "auxiliary heads pool to 4x4 adaptively, where the paper has 5x5/3 windows"

register(
    "googlenet",
    GoogLeNet,
    GoogLeNetConfig(),
    Card(
        params=13_378_280,  # 6,998,552 without the auxiliary heads
        macs=1_582_671_872,
        paper="Going Deeper with Convolutions",
        year=2014,
        arxiv="1409.4842",
        input_size=(3, 224, 224),
        published={
            "ImageNet top-5 error, one crop": "10.07 % (paper, table 3)",
            "ImageNet top-1": "68.7 % (BVLC GoogLeNet, centre crop)",
            "parameters without auxiliary heads": "6,998,552 (BVLC GoogLeNet, deploy)",
        },
        deviations=(AUX_POOL, NO_INIT, RECIPE),
        references=("BVLC:bvlc_googlenet",),
        synonyms=SYNONYMS,
        recipe=SMALL,
        published_recipe=PUBLISHED,
    ),
)
register(
    "googlenet_bn",
    GoogLeNet,
    GoogLeNetConfig(batch_norm=True, five_kernel=3, last_pool=2, aux_heads=False, drop_rate=0.2),
    Card(
        params=6_624_904,
        macs=1_498_376_192,
        paper="Going Deeper with Convolutions",
        year=2014,
        arxiv="1409.4842",
        input_size=(3, 224, 224),
        published={
            "ImageNet top-1": "69.778 % (torchvision IMAGENET1K_V1)",
            "parameters with auxiliary heads": "13,004,888 (torchvision, aux_logits)",
        },
        deviations=(
            "batch norm (eps 1e-3) in place of response norm and of convolution biases",
            "3x3 convolutions in the 5x5 branch, a 2x2 last pool and dropout 0.2, as torchvision's public weights have",
            "no auxiliary heads unless aux_heads is set; they pool to 4x4 adaptively",
            "initialisation is torchvision's: the paper gives none",
            RECIPE,
        ),
        references=("torchvision:googlenet",),
        synonyms=SYNONYMS,
        recipe=SMALL_BN,
        published_recipe=PUBLISHED,
    ),
)
