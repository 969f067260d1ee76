"""Mixed depthwise kernels (MixConv) that run as one convolution, padded into the largest, where that is faster."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import GraphModule, Node

from corinth.inference.graphs import add_constant, aten, constant, conv_arguments, is_conv, tidy
from corinth.inference.measuring import measure


@dataclass(frozen=True)
class Mix:
    """One place: channels that are split, filtered part by part, and joined again."""

    source: Node
    convs: tuple[Node, ...]
    joined: Node


def find_mixes(graph: GraphModule) -> list[Mix]:
    found = []
    for node in graph.graph.nodes:
        if node.target is not aten.cat.default or node.args[1:] != (1,):
            continue
        convs = tuple(node.args[0])
        if len(convs) > 1 and all(_is_centred_depthwise(graph, conv) for conv in convs):
            source = _split_of([conv.args[0] for conv in convs])
            strides = {tuple(conv_arguments(conv)["stride"]) for conv in convs}
            biased = {conv_arguments(conv)["bias"] is not None for conv in convs}
            if source is not None and len(strides) == len(biased) == 1:
                found.append(Mix(source, convs, node))
    return found


def merge_mixes(graph: GraphModule, images: Tensor, *, seconds: float) -> tuple[int, int]:
    """Merge those places where one convolution is measured to be faster on maps of these images' number; in place.

    Returns how many were merged, and how many there were.
    """
    mixes = find_mixes(graph)
    merged = 0
    for mix in mixes:
        weight, bias = _padded(graph, mix)
        shape = (len(images), *mix.source.meta["val"].shape[1:])
        layout = torch.channels_last if images.is_contiguous(memory_format=torch.channels_last) else None
        x = torch.zeros(shape, dtype=weight.dtype).contiguous(memory_format=layout or torch.contiguous_format)
        if _is_faster(graph, mix, x, weight, bias, seconds / len(mixes)):
            _replace(graph, mix, weight, bias)
            merged += 1
    tidy(graph)
    return merged, len(mixes)


def _is_centred_depthwise(graph: GraphModule, node: Any) -> bool:
    """One kernel a channel, padded by half of it on each side."""
    if not is_conv(node) or len(node.users) != 1:
        return False
    found = conv_arguments(node)
    weight = constant(graph, found["weight"])
    half = [weight.shape[2] // 2, weight.shape[3] // 2]
    odd = weight.shape[2] % 2 == weight.shape[3] % 2 == 1
    plain = found["padding"] == half and found["dilation"] == [1, 1]
    return odd and plain and weight.shape[1] == 1 and found["groups"] == len(weight)


def _split_of(parts: list[Any]) -> Node | None:
    """The map of which these are all the parts, in order."""
    split = parts[0].args[0] if parts[0].args else None
    if not isinstance(split, Node) or split.target is not aten.split_with_sizes.default or split.args[2:] != (1,):
        return None
    whole = len(parts) == len(split.args[1])
    return split.args[0] if whole and all(p.args == (split, n) for n, p in enumerate(parts)) else None


def _padded(graph: GraphModule, mix: Mix) -> tuple[Tensor, Tensor | None]:
    """All kernels in the size of the largest, and all biases."""
    found = [conv_arguments(conv) for conv in mix.convs]
    weights = [constant(graph, arguments["weight"]) for arguments in found]
    height, width = (max(weight.shape[axis] for weight in weights) for axis in (2, 3))
    padded = []
    for weight in weights:
        rows, columns = (height - weight.shape[2]) // 2, (width - weight.shape[3]) // 2
        padded.append(F.pad(weight, (columns, columns, rows, rows)))
    biases = [constant(graph, arguments["bias"]) for arguments in found if arguments["bias"] is not None]
    return torch.cat(padded), torch.cat(biases) if biases else None


def _is_faster(graph: GraphModule, mix: Mix, x: Tensor, weight: Tensor, bias: Tensor | None, seconds: float) -> bool:
    found = [conv_arguments(conv) for conv in mix.convs]
    weights = [constant(graph, arguments["weight"]) for arguments in found]
    biases = [None if arguments["bias"] is None else constant(graph, arguments["bias"]) for arguments in found]
    widths, stride = [len(part) for part in weights], tuple(found[0]["stride"])

    def parts() -> Tensor:
        convs = zip(x.split(widths, 1), weights, biases, found)
        return torch.cat([F.conv2d(y, w, b, stride, a["padding"], groups=len(w)) for y, w, b, a in convs], 1)

    def whole() -> Tensor:
        return F.conv2d(x, weight, bias, stride, (weight.shape[2] // 2, weight.shape[3] // 2), groups=len(weight))

    with torch.no_grad():
        return measure(parts, whole, seconds=seconds).least > 1


def _replace(graph: GraphModule, mix: Mix, weight: Tensor, bias: Tensor | None) -> None:
    stride = conv_arguments(mix.convs[0])["stride"]
    kernel = add_constant(graph, mix.joined, weight)
    offset = None if bias is None else add_constant(graph, mix.joined, bias)
    padding = [weight.shape[2] // 2, weight.shape[3] // 2]
    with graph.graph.inserting_before(mix.joined):
        arguments = (mix.source, kernel, offset, stride, padding, [1, 1], len(weight))
        conv = graph.graph.call_function(aten.conv2d.default, arguments)
    conv.meta = dict(mix.joined.meta)
    mix.joined.replace_all_uses_with(conv)
    graph.graph.erase_node(mix.joined)
