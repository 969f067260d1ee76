"""Parameters and multiply-adds, counted on the meta device: no weight is copied and nothing is computed."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_params(model: nn.Module, *, frozen: bool = False) -> int:
    """Trainable parameters, with `frozen` all, each counted once however often it is used; buffers excluded."""
    return sum(p.numel() for p in model.parameters() if frozen or p.requires_grad)


def count_macs(model: nn.Module, input_size: Sequence[int]) -> int:
    """Multiply-adds of one inference forward pass of one sample of `input_size` (C, H, W).

    Counts convolutions, matrix products and attention (torch's FlopCounterMode / 2); normalisation, pooling,
    activations and additions are left out, as papers do. `model` is neither run nor changed.
    """
    twin = meta_twin(model)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(*meta_input(twin, input_size))
    return counter.get_total_flops() // 2


def meta_twin(model: nn.Module) -> nn.Module:
    """A copy of `model` in evaluation mode whose parameters and buffers have shapes but no memory."""
    memo: dict[int, object] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(model, memo).eval()


def smallest_input(cfg: Any) -> tuple[int, ...]:
    """The smallest input that a network of this config takes: (C, H, W), a row of a table (N,), or one step of a
    sequence: (1, I) numbers, or (1,) token, or what the config says itself."""
    if hasattr(cfg, "smallest_input"):
        return cfg.smallest_input
    if not hasattr(cfg, "in_chans"):
        return (1, cfg.input_size) if hasattr(cfg, "input_size") else (1,)
    if getattr(cfg, "input_size", 0):
        return (cfg.input_size,)
    side = getattr(cfg, "img_size", cfg.min_size)
    return (cfg.in_chans, side, side)


def meta_input(model: Any, input_size: Sequence[int], batch: int = 1) -> tuple[Any, ...]:
    """The arguments of a forward pass on the meta device: an input (batch, *input_size) in the dtype of the model's
    parameters; tokens (batch, T) for a network that embeds them; of one that says its `example_inputs`, these."""
    if hasattr(model, "example_inputs"):
        return model.example_inputs(batch, *input_size, "meta")
    if getattr(getattr(model, "cfg", None), "vocab_size", 0):
        return (torch.zeros(batch, input_size[0], device="meta", dtype=torch.int64),)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return (torch.empty(batch, *input_size, device="meta", dtype=dtype),)
