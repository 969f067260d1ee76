"""The layouts in which weights of a model can be read and written."""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from torch import nn

from corinth.errors import UsageError
from corinth.weights import corinth, plain, pytorchcv, timm, torchvision
from corinth.weights import torch as torch_names
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


def key_maps(model: nn.Module) -> dict[str, KeyMap]:
    """Source -> names: the layouts in which weights of this model can be read and written."""
    made = {source: make(model) for source, make in _KEY_MAPS.items()}
    return {source: keys for source, keys in made.items() if keys is not None}


def no_layout(name: str, source: str, maps: Mapping[str, KeyMap]) -> UsageError:
    known = get_args(Source)
    if source not in known:
        return UsageError(f"weights source {source!r} is none of {', '.join(known)}")
    return UsageError(f"{name} in this configuration has no weights layout {source!r}; it has {', '.join(maps)}")
