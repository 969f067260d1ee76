"""torchvision's names."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from corinth.models.convolutional.alexnet import AlexNet, AlexNetConfig
from corinth.models.convolutional.densenet import DenseNet, DenseNetConfig
from corinth.models.convolutional.googlenet import GoogLeNet, GoogLeNetConfig
from corinth.models.convolutional.resnet import ResNet, ResNetConfig
from corinth.models.convolutional.vgg import Vgg, VggConfig
from corinth.weights.keymap import KeyMap, renames

GOOGLENET_INPUT = (
    "torchvision's public googlenet weights rescale their input to [-1, 1] (transform_input): "
    "preprocess with mean 0.5 and std 0.5"
)


def alexnet(cfg: AlexNetConfig) -> KeyMap | None:
    """The single tower of 2014 only."""
    if cfg.response_norm or set(cfg.groups) != {1} or cfg.drop_at != "input":
        return None
    convs = zip((0, 3, 6, 8, 10), range(1, 6))
    return KeyMap(
        renames(
            [
                *((f"features.{theirs}", f"conv{ours}") for theirs, ours in convs),
                ("classifier.1", "fc6"),
                ("classifier.4", "fc7"),
                ("classifier.6", "head"),
            ]
        )
    )


def vgg(_: VggConfig) -> KeyMap:
    return KeyMap(
        renames(
            [
                ("features.{}", "features.{}"),
                ("classifier.0", "fc6"),
                ("classifier.3", "fc7"),
                ("classifier.6", "head"),
            ]
        )
    )


def googlenet(cfg: GoogLeNetConfig) -> KeyMap | None:
    """The form with batch norm only; the paper's has no public torchvision weights."""
    if not cfg.batch_norm or (cfg.five_kernel, cfg.last_pool) != (3, 2):
        return None
    parts = ("conv", "conv"), ("bn", "norm")  # of each convolution
    layers = [
        ("conv1", "conv1"),
        ("conv2", "conv2_reduce"),
        ("conv3", "conv2"),
        ("inception{}.branch1", "inception{}.one"),
        ("inception{}.branch2.0", "inception{}.three_reduce"),
        ("inception{}.branch2.1", "inception{}.three"),
        ("inception{}.branch3.0", "inception{}.five_reduce"),
        ("inception{}.branch3.1", "inception{}.five"),
        ("inception{}.branch4.1", "inception{}.pool_proj"),
        ("aux1.conv", "aux_heads.0.conv"),
        ("aux2.conv", "aux_heads.1.conv"),
    ]
    return KeyMap(
        renames(
            [
                *((f"{theirs}.{their}", f"{ours}.{our}") for theirs, ours in layers for their, our in parts),
                *((f"aux{i + 1}.fc1", f"aux_heads.{i}.fc") for i in (0, 1)),
                *((f"aux{i + 1}.fc2", f"aux_heads.{i}.head") for i in (0, 1)),
                ("fc", "head"),
            ]
        ),
        optional=("aux_heads.",),
        note=GOOGLENET_INPUT,
    )


def resnet(cfg: ResNetConfig) -> KeyMap | None:
    """The ImageNet form with projections; torchvision has neither CIFAR networks nor the stride of the paper."""
    if cfg.stem != "imagenet" or cfg.shortcut != "B" or (cfg.block == "bottleneck" and cfg.stride_in != "3x3"):
        return None
    stages = [(f"layer{i + 1}.{{}}", f"stages.{i}.{{}}") for i in range(len(cfg.depth))]
    return KeyMap(
        renames(
            [
                ("conv1", "stem.conv"),
                ("bn1", "stem.norm"),
                *((f"{theirs}.conv{j}", f"{ours}.conv{j}") for theirs, ours in stages for j in (1, 2, 3)),
                *((f"{theirs}.bn{j}", f"{ours}.norm{j}") for theirs, ours in stages for j in (1, 2, 3)),
                *((f"{theirs}.downsample.0", f"{ours}.shortcut.conv") for theirs, ours in stages),
                *((f"{theirs}.downsample.1", f"{ours}.shortcut.norm") for theirs, ours in stages),
                ("fc", "head"),
            ]
        )
    )


def densenet(cfg: DenseNetConfig) -> KeyMap:
    """The public files are older than the library's own names, which have no dot within `norm1`."""
    layers = [
        (f"features.denseblock{i + 1}.denselayer{j + 1}", f"blocks.{i}.layers.{j}")
        for i, depth in enumerate(cfg.depth)
        for j in range(depth)
    ]
    parts = [(part, number) for part in ("norm", "conv") for number in (1, 2)]
    between = [(f"features.transition{i + 1}", f"transitions.{i}") for i in range(len(cfg.depth) - 1)]
    return KeyMap(
        renames(
            [
                ("features.conv0", "stem_conv"),
                ("features.norm0", "stem_norm"),
                *((f"{theirs}.{part}{n}", f"{ours}.{part}{n}") for theirs, ours in layers for part, n in parts),
                *((f"{theirs}.{part}", f"{ours}.{part}") for theirs, ours in between for part in ("norm", "conv")),
                (f"features.norm{len(cfg.depth) + 1}", "norm"),
                ("classifier", "head"),
            ]
        ),
        older=renames((f"{theirs}.{part}.{n}", f"{ours}.{part}{n}") for theirs, ours in layers for part, n in parts),
    )


KEY_MAPS: Mapping[type[nn.Module], Callable[[Any], KeyMap | None]] = {
    AlexNet: alexnet,
    DenseNet: densenet,
    GoogLeNet: googlenet,
    ResNet: resnet,
    Vgg: vgg,
}


def key_map(model: nn.Module) -> KeyMap | None:
    """torchvision's names for this model, or None where torchvision has no such architecture."""
    make = KEY_MAPS.get(type(model))
    return None if make is None else make(model.cfg)
