"""A network as a graph of torch's own operators, for any batch size, whose constants can be looked at and replaced."""

import itertools
import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.graph import CodeGen

aten = torch.ops.aten


def capture(model: nn.Module, images: Tensor) -> GraphModule:
    """The graph of `model` (evaluation mode, no gradients) for images like these (B, C, H, W), of any number.

    Everything that depends on weights alone is computed once. Raises what `torch.export` raises where it cannot
    trace the model (`RuntimeError`, `ValueError` or `TypeError`).
    """
    with torch.no_grad():
        graph = _plain(export_for_any_batch(model, images).module(check_guards=False))
        fold_constants(graph)
    return graph


def export_for_any_batch(model: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """The program of `model` for images like these, in size and memory layout, of any number."""
    if len(images) == 1:  # of one image, its number is a constant
        last = images.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        images = torch.cat([images, images]).contiguous(memory_format=layout)
    return torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), strict=False)


def _plain(graph: GraphModule) -> GraphModule:
    """The same as a function of one tensor that gives one tensor, without export's packing of arguments."""
    output = graph.graph.output_node()
    (output.args,) = (tuple(value) if isinstance(value, list | tuple) else (value,) for value in output.args)
    graph.graph.set_codegen(CodeGen())
    return GraphModule(graph, graph.graph)


def fold_constants(graph: GraphModule) -> None:
    """Replace what is computed from constants alone, such as weights that are joined in every pass."""
    for node in list(graph.graph.nodes):
        inputs = node.all_input_nodes
        if node.op == "call_function" and inputs and all(source.op == "get_attr" for source in inputs):
            if not isinstance(node.meta.get("val"), Tensor):
                continue
            args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda source: constant(graph, source))
            replace_by_constant(graph, node, node.target(*args, **kwargs))
    tidy(graph)


def constant(graph: GraphModule, node: Any) -> Tensor:
    """The value of a `get_attr` node."""
    return operator.attrgetter(node.target)(graph)


def is_constant(node: Any) -> bool:
    return isinstance(node, Node) and node.op == "get_attr"


def add_constant(graph: GraphModule, before: Node, value: Tensor) -> Node:
    """A new node for `value`, in front of `before`."""
    taken = {name for name, _ in graph.named_buffers()}
    name = next(name for n in itertools.count() if (name := f"constant_{n}_{before.name}") not in taken)
    graph.register_buffer(name, value.detach())
    with graph.graph.inserting_before(before):
        node = graph.graph.get_attr(name)
    node.meta["val"] = value
    return node


def replace_by_constant(graph: GraphModule, node: Node, value: Tensor) -> None:
    node.replace_all_uses_with(add_constant(graph, node, value))
    graph.graph.erase_node(node)


def tidy(graph: GraphModule) -> None:
    """Drop nodes and tensors that nothing uses any more, and make the code anew."""
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    used = {node.target for node in graph.graph.nodes if node.op == "get_attr"}
    for name in [name for name, _ in (*graph.named_parameters(), *graph.named_buffers()) if name not in used]:
        owner, _, last = name.rpartition(".")
        delattr(graph.get_submodule(owner), last)
    graph.recompile()


def conv_arguments(node: Node) -> dict[str, Any]:
    """The arguments of a 2-d convolution by name, those left out as torch's default."""
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    default = (None, None, None, [1, 1], [0, 0], [1, 1], 1)
    return {**dict(zip(names, default)), **dict(zip(names, node.args)), **node.kwargs}


def is_conv(node: Any) -> bool:
    """A 2-d convolution of constant weights."""
    if not isinstance(node, Node) or node.target not in (aten.conv2d.default, aten.conv2d.padding):
        return False
    found = conv_arguments(node)
    return is_constant(found["weight"]) and (found["bias"] is None or is_constant(found["bias"]))


def set_conv(graph: GraphModule, node: Node, weight: Tensor, bias: Tensor | None) -> None:
    """Give a convolution new weights."""
    found = conv_arguments(node)
    found["weight"] = add_constant(graph, node, weight)
    found["bias"] = None if bias is None else add_constant(graph, node, bias)
    node.args, node.kwargs = tuple(found.values()), {}
