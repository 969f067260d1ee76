"""1x1 convolutions as matrix products, those of a single pixel as sums: both cost less for each call than oneDNN's."""

from typing import Any

from torch.fx import GraphModule, Node

from corinth.inference.graphs import add_constant, aten, constant, conv_arguments, is_conv, tidy

MOST_SUMMED = 8  # images; from more on, sums read the weights too often
OUT_OF_PLACE: dict[Any, Any] = {
    aten.relu_.default: aten.relu.default,
    aten.hardtanh_.default: aten.hardtanh.default,
    aten.hardswish_.default: aten.hardswish.default,
    aten.silu_.default: aten.silu.default,
}
ACTIVATIONS = {*OUT_OF_PLACE, *OUT_OF_PLACE.values()}


def use_products(graph: GraphModule, images: int) -> int:
    """Rewrite every 1x1 convolution of stride 1 and one group for a compiler; in place. Returns how many there were.

    On maps in `channels_last` a matrix product over their pixels is the same without a copy. A layer that sees one
    pixel, as in squeeze-and-excitation, becomes a plain sum if there are few `images`: the compiler makes one loop of
    it and of what stands around it.
    """
    convs = [node for node in graph.graph.nodes if _is_pointwise(graph, node)]
    for conv in convs:
        pixels = tuple(conv_arguments(conv)["input"].meta["val"].shape[2:])
        if pixels == (1, 1) and images <= MOST_SUMMED:
            _replace_by_sum(graph, conv)
        else:
            _replace_by_product(graph, conv)
    tidy(graph)
    return len(convs)


def _is_pointwise(graph: GraphModule, node: Any) -> bool:
    if not is_conv(node):
        return False
    found = conv_arguments(node)
    plain = found["groups"] == 1 and found["stride"] == [1, 1] and found["padding"] in ([0, 0], "valid")
    return plain and constant(graph, found["weight"]).shape[2:] == (1, 1)


def _replace_by_product(graph: GraphModule, conv: Node) -> None:
    """With the activation behind it inside the layout of the product, where the two can be fused."""
    found = conv_arguments(conv)
    weight = add_constant(graph, conv, constant(graph, found["weight"]).flatten(1).contiguous())
    follower = next(iter(conv.users))
    last = follower if len(conv.users) == 1 and follower.target in ACTIVATIONS else conv
    with graph.graph.inserting_before(conv):
        pixels = graph.graph.call_function(aten.permute.default, (found["input"], [0, 2, 3, 1]))
        result = graph.graph.call_function(aten.linear.default, (pixels, weight, found["bias"]))
        if last is not conv:
            act: Any = OUT_OF_PLACE.get(last.target, last.target)
            result = graph.graph.call_function(act, (result, *last.args[1:]))
        result = graph.graph.call_function(aten.permute.default, (result, [0, 3, 1, 2]))
    _replace(graph, last, result)
    if last is not conv:
        graph.graph.erase_node(conv)


def _replace_by_sum(graph: GraphModule, conv: Node) -> None:
    found = conv_arguments(conv)
    weight = add_constant(graph, conv, constant(graph, found["weight"]).flatten(1).contiguous())
    with graph.graph.inserting_before(conv):
        means = graph.graph.call_function(aten.squeeze.dims, (found["input"], [2, 3]))
        terms = graph.graph.call_function(
            aten.mul.Tensor, (graph.graph.call_function(aten.unsqueeze.default, (means, 1)), weight)
        )
        result = graph.graph.call_function(aten.sum.dim_IntList, (terms, [2]))
        if found["bias"] is not None:
            result = graph.graph.call_function(aten.add.Tensor, (result, found["bias"]))
        for _ in range(2):
            result = graph.graph.call_function(aten.unsqueeze.default, (result, -1))
    _replace(graph, conv, result)


def _replace(graph: GraphModule, node: Node, result: Node) -> None:
    result.meta = dict(node.meta)
    node.replace_all_uses_with(result)
    graph.graph.erase_node(node)
