"""Depthwise convolutions of several kernel sizes in one layer: MixConv, and the mixed layer with weighted branches."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from corinth.layers import checks, filters
from corinth.layers.activations import ACTIVATIONS, Activation
from corinth.layers.init import gaussian_
from corinth.layers.mobile import ConvNormAct, DepthwiseConv2d, PointwiseConv2d, StochasticDepth, init_mobile_
from corinth.layers.norm_act import NormAct, is_watched

Fusion = Literal["concat", "add"]
FUSIONS: tuple[Fusion, ...] = ("concat", "add")
LEAST_HIDDEN = 4  # units of the attention's hidden layer


def group_widths(chans: int, groups: int) -> list[int]:
    """`chans` in equal groups, of which the first takes what does not divide."""
    each, rest = divmod(chans, groups)
    return [each + rest, *[each] * (groups - 1)]


class MixConv(nn.Module):
    """Tan & Le 2019 (1907.09595), equation 2 and figure 2: groups of channels, each with its own kernel size."""

    def __init__(self, chans: int, kernels: tuple[int, ...], stride: int, *, same: bool) -> None:
        super().__init__()
        self.widths = group_widths(chans, len(kernels))
        self.stride = (stride, stride)
        self.taps = max(kernels) ** 2  # at most so many weights make an output value
        self.convs = nn.ModuleList(
            DepthwiseConv2d(width, kernel, stride, same=same) for width, kernel in zip(self.widths, kernels)
        )

    @property
    def depthwise_parts(self) -> tuple[DepthwiseConv2d, ...]:
        """The convolutions of the groups; none if one has become another than it was made as."""
        convs: Any = tuple(self.convs._modules.values())
        return (
            convs
            if all(getattr(conv, "depthwise_parts", ()) for conv in convs) and not any(map(is_watched, convs))
            else ()
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) to (B, C, H/stride, W/stride)
        if convs := self.depthwise_parts:
            weights = tuple(conv.weight for conv in convs)
            if filters.suits(x, weights):
                return filters.filtered(x, weights, filters.window(x, convs))
        return torch.cat([conv(part) for conv, part in zip(self.convs, x.split(self.widths, dim=1))], dim=1)

    def scaled(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """`forward` times scale (C) plus shift (C)."""
        convs: Any = self.convs
        parts = zip(convs, x.split(self.widths, dim=1), scale.split(self.widths), shift.split(self.widths))
        return torch.cat([conv.scaled(*part) for conv, *part in parts], dim=1)


@dataclass(frozen=True, kw_only=True)
class MixedConfig:
    """A mixed layer from `in_chans` to `chans` channels, with one branch for each kernel size."""

    in_chans: int
    chans: int
    kernels: tuple[int, ...] = (3, 5, 7)
    fusion: Fusion = "concat"  # the branches share the channels and are concatenated, or each has all and they add up
    expansion: int = 1  # the branches work on so many times `in_chans`; 1: on the input itself
    reduction: int = 4  # the attention's hidden layer is so much narrower than the branches
    cascade: bool = False  # each branch also takes in what the one before it gives; at stride 1
    stride: int = 1
    act: Activation = "swish"
    drop_path_rate: float = 0.0  # stochastic depth, where there is a residual connection
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1  # weight of a new batch in the running statistics

    def __post_init__(self) -> None:
        for field in ("in_chans", "chans", "expansion", "reduction", "stride"):
            checks.whole(field, getattr(self, field), 1)
        object.__setattr__(self, "kernels", checks.entries("kernels", self.kernels))
        for kernel in self.kernels:
            checks.whole("kernels", kernel, 1)
        if len(set(self.kernels)) < max(2, len(self.kernels)) or any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels {self.kernels!r} are not two or more different odd sizes, such as (3, 5, 7)")
        checks.one_of("fusion", self.fusion, FUSIONS)
        checks.one_of("act", self.act, tuple(ACTIVATIONS))
        checks.switch("cascade", self.cascade)
        checks.share("drop_path_rate", self.drop_path_rate)
        checks.above_zero("norm_eps", self.norm_eps)
        checks.share("norm_momentum", self.norm_momentum)
        if self.fusion == "concat" and self.mid < len(self.kernels):
            raise ValueError(f"kernels {self.kernels!r} are more than the {self.mid} channels that they share")

    @property
    def mid(self) -> int:
        """Channels of the expanded input, and of the fused branches."""
        return self.in_chans * self.expansion

    @property
    def widths(self) -> list[int]:
        """Channels of each branch."""
        branches = len(self.kernels)
        return group_widths(self.mid, branches) if self.fusion == "concat" else [self.mid] * branches

    @property
    def norm(self) -> dict[str, Any]:
        return {"eps": self.norm_eps, "momentum": self.norm_momentum}


class Branches(nn.Module):
    """Depthwise convolutions side by side, one for each kernel size, each on its share of the channels or on all.

    `cascade`: each also takes in what the one before it gave (Gao et al. 2019, 1904.01169, equation 1), so that large
    kernels see what small ones found and channels of different branches meet; a branch takes the first of the other's
    channels if it has fewer.
    """

    def __init__(
        self, widths: list[int], kernels: tuple[int, ...], stride: int, *, shared: bool, cascade: bool
    ) -> None:
        super().__init__()
        self.widths, self.shared, self.cascade = widths, shared, cascade
        self.convs = nn.ModuleList(DepthwiseConv2d(width, kernel, stride) for width, kernel in zip(widths, kernels))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) to (B, sum of widths, H/stride, W/stride)
        parts = [x] * len(self.widths) if self.shared else x.split(self.widths, dim=1)
        maps: list[Tensor] = []
        for conv, part in zip(self.convs, parts):
            before = maps[-1][:, : part.shape[1]] if self.cascade and maps else None
            maps.append(conv(part if before is None else part + before))
        return torch.cat(maps, dim=1)


class BranchAttention(nn.Module):
    """A weight for each branch that depends on the image: global average pooling and two fully connected layers.

    The weights are a softmax over the branches times their number: they compete, and are 1 where all are equal.
    """

    def __init__(self, widths: list[int], hidden: int, act: Activation) -> None:
        super().__init__()
        self.widths = widths
        self.reduce = PointwiseConv2d(sum(widths), hidden, bias=True)
        self.act = ACTIVATIONS[act]()
        self.expand = PointwiseConv2d(hidden, len(widths), bias=True)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) of all branches to (B, branches, 1, 1)
        means = x.sum((2, 3), keepdim=True) / (x.shape[-2] * x.shape[-1])
        return len(self.widths) * self.expand(self.act(self.reduce(means))).softmax(dim=1)


class MixedLayer(nn.Module):
    """Parallel branches of different kernel sizes, weighted by what the image shows, fused, with a residual connection.

    1. `expand`: a 1x1 convolution to `mid` channels, where `expansion` is more than 1;
    2. `branches`: a depthwise convolution of each kernel size, batch norm, activation;
    3. `attention`: global average pooling and fully connected layers give each branch a weight;
    4. fusion of the weighted branches: concatenation or addition;
    5. `project`: a 1x1 convolution to `chans`; plus the input where the shape stays.
    """

    def __init__(self, cfg: MixedConfig) -> None:
        super().__init__()
        self.cfg = cfg
        mid, widths, total = cfg.mid, cfg.widths, sum(cfg.widths)
        self.expand: nn.Module = (
            ConvNormAct(cfg.in_chans, mid, act=cfg.act, **cfg.norm) if cfg.expansion > 1 else nn.Identity()
        )
        added = cfg.fusion == "add"
        cascade = cfg.cascade and cfg.stride == 1  # a map of half the size adds to no other
        branches: nn.Module = (
            Branches(widths, cfg.kernels, cfg.stride, shared=added, cascade=cascade)
            if added or cascade
            else MixConv(mid, cfg.kernels, cfg.stride, same=False)
        )
        self.branches = NormAct(branches, total, cfg.act, **cfg.norm)
        self.attention = BranchAttention(widths, max(LEAST_HIDDEN, total // cfg.reduction), cfg.act)
        self.project = ConvNormAct(mid, cfg.chans, **cfg.norm)
        self.is_residual = cfg.stride == 1 and cfg.in_chans == cfg.chans
        self.stochastic_depth = StochasticDepth(cfg.drop_path_rate)
        self.init_weights()

    def init_weights(self) -> None:
        """Convolutions as `init_mobile_` draws them; the attention starts with nearly equal weights."""
        init_mobile_(self)
        gaussian_(self.attention.expand)

    def fuse(self, maps: Tensor, weights: Tensor) -> Tensor:
        """The branches' maps (B, sum of widths, H, W) times their weights (B, branches, 1, 1): (B, mid, H, W)."""
        if self.cfg.fusion == "add":
            return (maps.unflatten(1, (len(self.cfg.kernels), self.cfg.mid)) * weights[..., None]).sum(dim=1)
        parts = zip(weights.split(1, dim=1), self.cfg.widths)
        return maps * torch.cat([weight.expand(-1, width, -1, -1) for weight, width in parts], dim=1)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_chans, H, W) to (B, chans, H/stride, W/stride)
        maps = self.branches(self.expand(x))
        y = self.project(self.fuse(maps, self.attention(maps)))
        return self.stochastic_depth(y).add_(x) if self.is_residual else y


def mixed_layer(in_chans: int, chans: int, **options: Any) -> MixedLayer:
    """A `MixedLayer`; `options` are the other fields of `MixedConfig`, such as `kernels=(3, 5)` or `fusion="add"`."""
    return MixedLayer(MixedConfig(in_chans=in_chans, chans=chans, **options))
