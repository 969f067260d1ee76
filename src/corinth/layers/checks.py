"""Checks that every model repeats: common config fields at construction, the image's size in the forward pass."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from corinth.errors import UsageError


def whole(name: str, value: Any, least: int) -> None:
    """Raise `ValueError` unless `value` is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} {value!r} is not a whole number of at least {least}")


def share(name: str, value: Any) -> None:
    """Raise `ValueError` unless 0 <= value < 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"{name} {value!r} is not in [0, 1)")


def at_least_zero(name: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} {value!r} is not a number of at least 0")


def above_zero(name: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is a finite number of more than 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"{name} {value!r} is not a number of more than 0")


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raise `ValueError` unless `value` is one of the names `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} {value!r} is none of {', '.join(allowed)}")


def switch(name: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is True or False: any other text or number would count as one of them."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} {value!r} is neither true nor false")


def entries(name: str, value: Any) -> tuple[Any, ...]:
    """A list (as a config read from JSON has it) or tuple as a tuple; anything else is a `ValueError`."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} {value!r} is no list of values, such as ({value!r},)")
    return tuple(value)


def head_fields(cfg: Any) -> None:
    """Check the fields that every classifier has: `in_chans`, `num_classes` (0: pooled features), `drop_rate`."""
    whole("in_chans", cfg.in_chans, 1)
    whole("num_classes", cfg.num_classes, 0)
    if hasattr(cfg, "drop_rate"):
        share("drop_rate", cfg.drop_rate)


def at_least(x: Tensor, size: int) -> None:
    """Raise `UsageError` if the images (B, C, H, W) are smaller than the network can take."""
    height, width = x.shape[-2:]
    if height < size or width < size:
        raise UsageError(f"images of {height}x{width} pixels are too small for this network; it needs {size}x{size}")


def exactly(x: Tensor, size: int) -> None:
    """Raise `UsageError` unless the images (B, C, H, W) have the one size the network was built for."""
    height, width = x.shape[-2:]
    if height != size or width != size:
        raise UsageError(f"images of {height}x{width} pixels do not fit this network; it was built for img_size {size}")


def tokens(tokens: Tensor, vocab_size: int, what: str, lengths: Tensor | Sequence[int] | None = None) -> Tensor:
    """Tokens (B, T) of a vocabulary, 0 where they are padding; a `UsageError` for any other."""
    if tokens.ndim != 2 or tokens.is_floating_point():
        raise UsageError(f"{what} tokens are whole numbers (B, T), and these are {tokens.dtype} {tuple(tokens.shape)}")
    if lengths is not None:  # padding may be any number
        ends = torch.as_tensor(lengths, device=tokens.device)
        tokens = tokens.masked_fill(torch.arange(tokens.shape[1], device=tokens.device) >= ends[:, None], 0)
    if not torch.compiler.is_compiling() and tokens.device.type == "cpu" and tokens.numel():
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= vocab_size:
            bad = low if low < 0 else high
            raise UsageError(f"{what} token {bad} is outside of the vocabulary, 0 to {vocab_size - 1}")
    return tokens
