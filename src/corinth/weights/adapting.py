"""What may differ between a checkpoint and a model with a plain meaning: another head, other input channels."""

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn


def config_of(model: nn.Module) -> Any:
    """The config dataclass that every architecture keeps as `cfg`."""
    return model.cfg


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def sketch(model: nn.Module, **changes: Any) -> dict[str, torch.Size]:
    """Shapes of the same architecture with some options changed; nothing is allocated."""
    with torch.device("meta"):
        return shapes(type(model)(dataclasses.replace(config_of(model), **changes)))


def head_names(model: nn.Module) -> frozenset[str]:
    """Tensors of the classifiers: those whose shape follows `num_classes`; none where there is no such option."""
    if not hasattr(config_of(model), "num_classes"):
        return frozenset()
    few, many = (sketch(model, num_classes=n) for n in (1, 2))
    return frozenset(name for name, shape in few.items() if many[name] != shape)


def input_names(model: nn.Module) -> frozenset[str]:
    """Tensors of the first layer: those whose shape follows `in_chans`; none where the network has no such option."""
    chans = getattr(config_of(model), "in_chans", None)
    if chans is None:  # no image goes in
        return frozenset()
    here, wider = (sketch(model, in_chans=n) for n in (chans, 2 * chans))  # a multiple: groups divide it too
    return frozenset(name for name, shape in here.items() if wider[name] != shape)


def differs_only_in(dim: int, one: torch.Size, other: torch.Size) -> bool:
    return len(one) == len(other) and all(a == b for i, (a, b) in enumerate(zip(one, other)) if i != dim)


def adapt_input(weight: Tensor, chans: int) -> Tensor:
    """A first convolution (O, I, h, w) for `chans` channels, as timm does it.

    To one channel: the sum, so that a grey image gives what its three equal channels gave. To any other number:
    the channels repeated in turn and scaled by I / chans, so that the sum over them stays about the same.
    """
    if chans == 1:
        return weight.sum(dim=1, keepdim=True)
    have = weight.shape[1]
    repeated = weight.repeat(1, -(-chans // have), 1, 1)[:, :chans]
    return repeated * (have / chans)
