"""The layouts in which weights of a model can be read and written."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from corinth.errors import UsageError
from corinth.models.convolutional.fcos import FCOS
from corinth.models.convolutional.inception import BnInception
from corinth.models.convolutional.resnet import ResNet
from corinth.weights import corinth, plain, pytorchcv, timm, torchvision
from corinth.weights import torch as torch_names
from corinth.weights.adapting import config_of
from corinth.weights.keymap import KeyMap

Source = Literal["auto", "corinth", "torchvision", "timm", "torch", "plain", "pytorchcv"]
_KEY_MAPS: dict[str, Callable[[nn.Module], KeyMap | None]] = {  # in the order in which `auto` prefers them
    "corinth": corinth.key_map,
    "torchvision": torchvision.key_map,
    "timm": timm.key_map,
    "torch": torch_names.key_map,
    "plain": plain.key_map,
    "pytorchcv": pytorchcv.key_map,
}

OF_LIBRARIES: dict[type[nn.Module], dict[str, Any]] = {  # options without which no layout is another library's
    BnInception: {"conv_bias": True},
    FCOS: {"distance": "relu"},
    ResNet: {"shortcut": "B"},  # the CIFAR networks
}


def key_maps(model: nn.Module) -> dict[str, KeyMap]:
    """Source -> names: the layouts in which weights of this model can be read and written."""
    made = {source: make(model) for source, make in _KEY_MAPS.items()}
    return {source: keys for source, keys in made.items() if keys is not None}


def best_layout(state: Mapping[str, Tensor], model: nn.Module) -> tuple[Source, int]:
    """The layout under which most of the tensors have a place in the model, and how many have."""
    ours = model.state_dict()
    places = {
        source: sum(target is not None and target[0] in ours for target in map(keys.to_ours, state))
        for source, keys in key_maps(model).items()
    }
    best = max(places, key=lambda source: places[source])
    return cast("Source", best), places[best]


def no_layout(name: str, source: str, model: nn.Module) -> UsageError:
    known = get_args(Source)
    if source not in known:
        return UsageError(f"weights source {source!r} is none of {', '.join(known)}")
    said = f"{name} in this configuration has no weights layout {source!r}; it has {', '.join(key_maps(model))}"
    if options := OF_LIBRARIES.get(type(model)):
        with torch.device("meta"):
            theirs = type(model)(dataclasses.replace(config_of(model), **options))
        if source in key_maps(theirs):
            said += (
                f", and with {', '.join(f'{option}={value!r}' for option, value in options.items())} it has {source}"
            )
    return UsageError(said)
