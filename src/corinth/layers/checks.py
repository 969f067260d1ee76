"""Checks that every model repeats: common config fields at construction, the image's size in the forward pass."""

from typing import Any

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
