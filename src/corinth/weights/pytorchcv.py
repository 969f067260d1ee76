"""pytorchcv's names: it has ResNets with the paper's stride, CIFAR-10 networks and the 2012 AlexNet without groups."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from corinth.models.convolutional.alexnet import AlexNet, AlexNetConfig
from corinth.models.convolutional.nin import Nin, NinConfig
from corinth.models.convolutional.resnet import ResNet, ResNetConfig
from corinth.weights.keymap import KeyMap, renames


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


KEY_MAPS: Mapping[type[nn.Module], Callable[[Any], KeyMap | None]] = {AlexNet: alexnet, Nin: nin, ResNet: resnet}


def key_map(model: nn.Module) -> KeyMap | None:
    """pytorchcv's names for this model, or None where pytorchcv has no such architecture."""
    make = KEY_MAPS.get(type(model))
    return None if make is None else make(model.cfg)
