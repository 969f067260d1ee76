"""Batch norms that become part of the convolution in front of them."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from corinth.inference.graphs import aten, constant, conv_arguments, is_constant, is_conv, set_conv, tidy


def fold_norms(graph: GraphModule) -> tuple[int, int]:
    """Fold every batch norm that follows a convolution, or convolutions whose outputs are joined; in place.

    Returns how many were folded, and how many norms there were. Norms that come before their convolution stay.
    """
    norms = [node for node in graph.graph.nodes if node.target is aten.batch_norm.default]
    folded = 0
    for norm in norms:
        convs = _convs_before(norm)
        if not convs or norm.args[5] or not all(is_constant(node) for node in norm.args[3:5]):
            continue
        scale, shift = _affine(graph, norm)
        widths = [len(constant(graph, conv_arguments(conv)["weight"])) for conv in convs]
        for conv, factor, offset in zip(convs, scale.split(widths), shift.split(widths)):
            _scale(graph, conv, factor, offset)
        norm.replace_all_uses_with(norm.args[0])
        graph.graph.erase_node(norm)
        folded += 1
    tidy(graph)
    return folded, len(norms)


def _convs_before(norm: Node) -> list[Node]:
    """The convolutions whose channels the norm sees, in order; none if anything else sees or makes them."""
    source: Any = norm.args[0]
    parts: Any = [source]
    if source.target is aten.cat.default and source.args[1:] == (1,) and len(source.users) == 1:
        parts = source.args[0]
    return list(parts) if all(is_conv(part) and len(part.users) == 1 for part in parts) else []


def _affine(graph: GraphModule, norm: Node) -> tuple[Tensor, Tensor]:
    """The norm as scale and shift (C), computed in double precision."""
    weight, bias, mean, var = (None if node is None else constant(graph, node).double() for node in norm.args[1:5])
    scale = torch.rsqrt(var + norm.args[7])  # ty: ignore[unsupported-operator]
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale  # ty: ignore[unsupported-operator]
    return scale, shift if bias is None else shift + bias


def _scale(graph: GraphModule, conv: Node, scale: Tensor, shift: Tensor) -> None:
    found = conv_arguments(conv)
    weight = constant(graph, found["weight"])
    bias = shift if found["bias"] is None else constant(graph, found["bias"]).double() * scale + shift
    scaled = weight.double() * scale[:, None, None, None]
    set_conv(graph, conv, _like(scaled, weight), bias.to(weight.dtype))


def _like(value: Tensor, weight: Tensor) -> Tensor:
    """In the type and the memory layout of `weight`."""
    return torch.empty_like(weight).copy_(value)
