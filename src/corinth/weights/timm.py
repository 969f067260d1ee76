"""timm's names."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from corinth.models.convolutional.densenet import DenseNet
from corinth.models.convolutional.resnet import ResNet
from corinth.models.convolutional.vgg import Vgg, VggConfig
from corinth.weights import torchvision
from corinth.weights.keymap import KeyMap, Rule, flatten_kernel, renames


def vgg(_: VggConfig) -> KeyMap:
    """timm runs the fully connected layers as convolutions over the 7x7 map."""
    return KeyMap(
        (
            *renames([("features.{}", "features.{}"), ("head.fc", "head")]),
            Rule("pre_logits.fc1.weight", "fc6.weight", flatten_kernel(7)),
            Rule("pre_logits.fc1.bias", "fc6.bias"),
            Rule("pre_logits.fc2.weight", "fc7.weight", flatten_kernel(1)),
            Rule("pre_logits.fc2.bias", "fc7.bias"),
        )
    )


# timm's DenseNets and ResNets were named after torchvision's
KEY_MAPS: Mapping[type[nn.Module], Callable[[Any], KeyMap | None]] = {
    DenseNet: torchvision.densenet,
    ResNet: torchvision.resnet,
    Vgg: vgg,
}


def key_map(model: nn.Module) -> KeyMap | None:
    """timm's names for this model, or None where timm has no such architecture."""
    make = KEY_MAPS.get(type(model))
    return None if make is None else make(model.cfg)
