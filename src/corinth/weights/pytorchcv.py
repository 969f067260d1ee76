"""pytorchcv's names.

It has ResNets with the paper's stride, CIFAR-10 networks, the 2012 AlexNet without groups, and BN-Inception.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from corinth.models.convolutional.alexnet import AlexNet, AlexNetConfig
from corinth.models.convolutional.inception import BN_TABLE, BnInception, BnInceptionConfig
from corinth.models.convolutional.nin import Nin, NinConfig
from corinth.models.convolutional.resnet import ResNet, ResNetConfig
from corinth.weights.keymap import KeyMap, renames, units


def alexnet(cfg: AlexNetConfig) -> KeyMap | None:
    """Its `alexnet` has the widths of 2012 without groups; its `alexnetb` is the tower of 2014."""
    if set(cfg.groups) != {1}:
        return None
    units = ("stage1.unit1", "stage2.unit1", "stage3.unit1", "stage3.unit2", "stage3.unit3")
    return KeyMap(
        renames(
            [
                *((f"features.{unit}.conv", f"conv{i + 1}") for i, unit in enumerate(units)),
                ("output.fc1.fc", "fc6"),
                ("output.fc2.fc", "fc7"),
                ("output.fc3", "head"),
            ]
        )
    )


def bn_inception(_: BnInceptionConfig) -> KeyMap:
    """Its weights, ported from Caffe, need `conv_bias`."""
    places = {"3a": (1, 1), "3b": (1, 2), "3c": (2, 1), "4e": (3, 1), "5a": (3, 2), "5b": (3, 3)}
    places |= {f"4{letter}": (2, i + 2) for i, letter in enumerate("abcd")}
    layers = [
        ("features.init_block.conv1", "stem.0"),
        ("features.init_block.conv2.conv1", "stem.2"),
        ("features.init_block.conv2.conv2", "stem.3"),
    ]
    for name, (stage, unit) in places.items():
        theirs, ours = f"features.stage{stage}.unit{unit}.branches.branch", f"inception{name}.branches."
        first = 1 if BN_TABLE[name][0] else 0  # the 1x1 branch stands before the others
        if first:
            layers += [(f"{theirs}1", f"{ours}0"), (f"{theirs}4.conv", f"{ours}3.1")]
        for branch, count in ((first, 2), (first + 1, 3)):
            layers += [(f"{theirs}{branch + 1}.conv{i + 1}", f"{ours}{branch}.{i}") for i in range(count)]
    return KeyMap(renames([*units(layers), ("output", "head")]))


def nin(cfg: NinConfig) -> KeyMap:
    convs = [(i, j) for i, widths in enumerate(cfg.channels) for j in range(len(widths))]
    return KeyMap(
        renames(
            [
                *((f"features.stage{i + 1}.unit{j + 1}.conv", f"layers.{i}.{2 * j}") for i, j in convs),
                ("output.final_conv.conv", "head"),
            ]
        )
    )


def resnet(cfg: ResNetConfig) -> KeyMap | None:
    if cfg.shortcut != "B":
        return None
    stem = "features.init_block.conv" if cfg.stem == "imagenet" else "features.init_block"
    units = [
        (f"features.stage{i + 1}.unit{j + 1}", f"stages.{i}.{j}") for i, n in enumerate(cfg.depth) for j in range(n)
    ]
    return KeyMap(
        renames(
            [
                (f"{stem}.conv", "stem.conv"),
                (f"{stem}.bn", "stem.norm"),
                *((f"{theirs}.body.conv{k}.conv", f"{ours}.conv{k}") for theirs, ours in units for k in (1, 2, 3)),
                *((f"{theirs}.body.conv{k}.bn", f"{ours}.norm{k}") for theirs, ours in units for k in (1, 2, 3)),
                *((f"{theirs}.identity_conv.conv", f"{ours}.shortcut.conv") for theirs, ours in units),
                *((f"{theirs}.identity_conv.bn", f"{ours}.shortcut.norm") for theirs, ours in units),
                ("output", "head"),
            ]
        )
    )


KEY_MAPS: Mapping[type[nn.Module], Callable[[Any], KeyMap | None]] = {
    AlexNet: alexnet,
    BnInception: bn_inception,
    Nin: nin,
    ResNet: resnet,
}


def key_map(model: nn.Module) -> KeyMap | None:
    """pytorchcv's names for this model, or None where pytorchcv has no such architecture."""
    make = KEY_MAPS.get(type(model))
    return None if make is None else make(model.cfg)
