"""Receptive fields, followed through a forward pass operator by operator.

Along each spatial axis unit i of a feature map sees the input pixels [low + i * jump, high + i * jump]
(Araujo, Norris & Sim, *Computing Receptive Fields of Convolutional Neural Networks*, Distill 2019,
doi:10.23915/distill.00021). A convolution or a pool widens the interval, a sum or a concatenation takes the union
of its branches, so residual, inception and dense networks come out right; padding moves the interval, and pixels
outside the image count, as they do in the published tables. A map that was averaged or flattened sees the whole
extent. Where an operator mixes positions in a way an interval cannot describe (a transposed convolution, tokens)
the field is unknown, and stays so downstream.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

aten = torch.ops.aten


@dataclass(frozen=True)
class Axis:
    """What unit 0 sees along one axis, in input pixels, both ends included; unit 1 sees `jump` further on."""

    low: float = 0
    high: float = 0
    jump: float = 1

    @property
    def size(self) -> int:
        return round(self.high - self.low) + 1

    def window(self, kernel: int, stride: int, padding: int = 0, dilation: int = 1) -> "Axis":
        low = self.low - padding * self.jump
        return Axis(low, self.high + (dilation * (kernel - 1) - padding) * self.jump, self.jump * stride)

    def whole(self, length: int) -> "Axis":
        """All `length` units together."""
        return Axis(self.low, self.high + (length - 1) * self.jump, 0)

    def adaptive(self, length: int, target: int) -> "Axis":
        """Adaptive pooling: bin i covers floor(i * length / target) to ceil((i + 1) * length / target)."""
        if target == 1:
            return self.whole(length)
        width = max(math.ceil((i + 1) * length / target) - i * length // target for i in range(target))
        return Axis(self.low, self.high + (width - 1) * self.jump, self.jump * length / target)


@dataclass(frozen=True)
class Field:
    """The receptive field of a map (..., H, W)."""

    rows: Axis = Axis()
    columns: Axis = Axis()

    @property
    def size(self) -> tuple[int, int]:
        return (self.rows.size, self.columns.size)

    @property
    def jump(self) -> tuple[float, float]:
        return (self.rows.jump, self.columns.jump)

    @property
    def is_whole(self) -> bool:
        return self.rows.jump == 0 == self.columns.jump

    def whole(self, shape: Sequence[int]) -> "Field":
        return self if self.is_whole else Field(self.rows.whole(shape[-2]), self.columns.whole(shape[-1]))


class FieldTracker(TorchDispatchMode):
    """Inside this mode every tensor computed from `source` (B, C, H, W) has its receptive field, or None if unknown.

    `on_pool(name, arguments, input shape, output)` is called after every pooling operator.
    """

    def __init__(self, source: Tensor, on_pool: Callable[[str, Any, torch.Size, Tensor], None] | None = None) -> None:
        super().__init__()
        self._on_pool = on_pool
        self._fields: Any = WeakIdKeyDictionary()
        self._fields[source] = Field()

    def field_of(self, tensor: Tensor) -> Field | None:
        return self._fields.get(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        sources = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor) and t in self._fields]
        shapes = [tuple(t.shape) for t in sources]  # before the call: an in-place operator may change them
        fields = [self._fields[t] for t in sources]
        out = func(*args, **kwargs)
        if sources:
            for tensor in tree_leaves(out):
                if isinstance(tensor, Tensor):
                    self._fields[tensor] = _propagate(func, args, kwargs, fields, shapes, tensor.shape)
            if self._on_pool is not None and (name := _pool_name(func, args)):
                self._on_pool(name, args[1:], args[0].shape, tree_leaves(out)[0])
        return out


def _propagate(
    func: Any, args: Any, kwargs: Any, fields: list[Field | None], shapes: list[tuple[int, ...]], out: torch.Size
) -> Field | None:
    known = [f for f in fields if f is not None]
    if len(known) < len(fields):
        return None
    if all(f.is_whole for f in known):
        return _union(known)
    rule = _RULES.get(func.overloadpacket)
    if rule is not None:
        return rule(known[0], shapes[0], out, *args[1:], **kwargs)
    if any(len(s) > 2 for s in shapes) and len(out) <= 2:  # flattened
        return _union([f.whole(s) for f, s in zip(known, shapes)])
    if all(f.is_whole or s[-2:] == tuple(out[-2:]) for f, s in zip(known, shapes)):
        if any(f.is_whole for f in known):  # a gate computed from the whole map, spread over it
            return _union([f.whole(s) for f, s in zip(known, shapes)])
        return _union(known)
    return None


def _union(fields: Iterable[Field]) -> Field:
    first, *rest = fields
    for other in rest:
        first = Field(_join(first.rows, other.rows), _join(first.columns, other.columns))
    return first


def _join(a: Axis, b: Axis) -> Axis:
    return Axis(min(a.low, b.low), max(a.high, b.high), max(a.jump, b.jump))


def _pair(value: Any) -> tuple[int, int]:
    """The last two entries of an operator's size argument, which may be one number for all axes."""
    values = [value] if isinstance(value, int) else list(value)
    return (values[-2], values[-1]) if len(values) > 1 else (values[0], values[0])


def _windowed(field: Field, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Field:
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = _pair(kernel), _pair(stride), _pair(padding), _pair(dilation)
    return Field(field.rows.window(kh, sh, ph, dh), field.columns.window(kw, sw, pw, dw))


def _convolution(
    field: Field,
    shape: Sequence[int],
    out: Sequence[int],
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    *rest: Any,
) -> Field | None:
    if transposed or weight.dim() != 4:
        return None
    return _windowed(field, weight.shape[-2:], stride, padding, dilation)


def _pool(
    field: Field, shape: Any, out: Any, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, *rest: Any
) -> Field:
    return _windowed(field, kernel, stride or kernel, padding, dilation)


def _average_pool(
    field: Field, shape: Any, out: Any, kernel: Any, stride: Any = (), padding: Any = 0, *rest: Any
) -> Field:
    return _windowed(field, kernel, stride or kernel, padding, 1)


def _adaptive_pool(field: Field, shape: Sequence[int], out: Sequence[int], *rest: Any) -> Field:
    return Field(field.rows.adaptive(shape[-2], out[-2]), field.columns.adaptive(shape[-1], out[-1]))


def _reduce(field: Field, shape: Sequence[int], out: Any, dim: Any = None, *rest: Any, **kwargs: Any) -> Field | None:
    axes = range(len(shape)) if dim is None else [dim] if isinstance(dim, int) else dim
    reduced = {axis % len(shape) - len(shape) for axis in axes}
    if reduced >= {-1, -2}:
        return field.whole(shape)
    return field if not reduced & {-1, -2} else None


def _pad(field: Field, shape: Any, out: Any, amounts: Sequence[int], *rest: Any) -> Field:
    left, top = amounts[0], amounts[2] if len(amounts) > 2 else 0
    return Field(field.rows.window(1, 1, top), field.columns.window(1, 1, left))


def _slice(
    field: Field,
    shape: Sequence[int],
    out: Any,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Field:
    axis = dim % len(shape) - len(shape)
    length = shape[axis]
    first = min(max(start + length if start and start < 0 else start or 0, 0), length)
    if axis == -2:
        return replace(field, rows=field.rows.window(1, step, -first))
    return replace(field, columns=field.columns.window(1, step, -first)) if axis == -1 else field


_POOLS = {
    aten.max_pool2d_with_indices: "max_pool2d",
    aten.avg_pool2d: "avg_pool2d",
    aten._adaptive_avg_pool2d: "adaptive_avg_pool2d",
    aten.adaptive_max_pool2d: "adaptive_max_pool2d",
}


def _pool_name(func: Any, args: Any) -> str | None:
    """The name of a pooling operator; torch turns adaptive average pooling to 1x1 into a mean over both axes."""
    if func.overloadpacket is aten.mean and len(args) > 1 and args[0].dim() == 4:
        return "global_avg_pool2d" if {axis % 4 for axis in args[1] or ()} == {2, 3} else None
    return _POOLS.get(func.overloadpacket)


_RULES: dict[Any, Callable[..., Field | None]] = {
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _pool,
    aten.avg_pool2d: _average_pool,
    aten.avg_pool3d: _average_pool,
    aten._adaptive_avg_pool2d: _adaptive_pool,
    aten.adaptive_max_pool2d: _adaptive_pool,
    aten.mean: _reduce,
    aten.sum: _reduce,
    aten.amax: _reduce,
    aten.constant_pad_nd: _pad,
    aten.reflection_pad2d: _pad,
    aten.replication_pad2d: _pad,
    aten.slice: _slice,
}
