"""Small pieces of a step: precision, frozen networks, parts of a batch."""

import contextlib
import dataclasses
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import torch

from corinth.training.recipe import Recipe


def autocast(recipe: Recipe, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    if recipe.precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


@contextlib.contextmanager
def without_gradient(parameters: Sequence[torch.nn.Parameter]) -> Generator[None]:
    """Within the block the networks that are not of the phase pass gradients on but collect none."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def split(batch: Any, parts: int) -> Iterator[Any]:
    """A batch (a dataclass of tensors) in so many parts along the first dimension, as even as can be."""
    if parts == 1:
        yield batch
        return
    fields = {f.name: getattr(batch, f.name).tensor_split(parts) for f in dataclasses.fields(batch)}
    for pieces in zip(*fields.values(), strict=True):
        yield dataclasses.replace(batch, **dict(zip(fields, pieces, strict=True)))
