"""The layer table of a network: one row per layer, in the order of execution."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from corinth.inspect.counts import meta_input, meta_twin
from corinth.inspect.receptive import FieldTracker


@dataclass(frozen=True)
class LayerRow:
    """One execution of one layer, for one sample.

    `receptive_field` is (rows, columns) in input pixels, padding included, and `jump` the input pixels between
    neighbouring outputs (0: every output sees the same); None where they are not defined. A layer that is used
    again counts its parameters in its first row only.
    """

    name: str
    type: str
    kernel: tuple[int, int] | None
    stride: tuple[int, int] | None
    padding: tuple[int, int] | str | None
    dilation: tuple[int, int] | None
    groups: int
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    params: int
    macs: int
    receptive_field: tuple[int, int] | None
    jump: tuple[float, float] | None


def layers(model: nn.Module, input_size: Sequence[int]) -> list[LayerRow]:
    """The layers that an inference forward pass of one (C, H, W) sample executes.

    A layer is a module without children, or one with parameters of its own; its multiply-adds and parameters
    are those of itself, not of its children, so the columns add up to the network's. A pool that a module calls as
    a function is a row too, named after the module. Runs on the meta device.
    """
    twin = meta_twin(model)
    source = meta_input(twin, input_size)
    recorder = _Recorder()
    fields = FieldTracker(source[0], on_pool=recorder.pool)
    with torch.no_grad(), FlopCounterMode(display=False) as flops, fields:
        recorder.start(flops, fields)
        for name, module in twin.named_modules():
            module.register_forward_pre_hook(recorder.enterer(name))
            module.register_forward_hook(recorder.leaver(name))
        twin(*source)
    return [row for row in recorder.rows if row is not None]


@dataclass
class _Open:
    """A module whose forward pass is running."""

    name: str
    is_leaf: bool
    row: int  # the place that was kept for it
    flops_before: int
    flops_of_children: int = 0


class _Recorder:
    """Forward hooks that fill the table; a stack gives each module what it spent itself."""

    def __init__(self) -> None:
        self.rows: list[LayerRow | None] = []
        self._open: list[_Open] = []
        self._counted: set[int] = set()

    def start(self, flops: FlopCounterMode, fields: FieldTracker) -> None:
        self._flops, self._fields = flops, fields

    def enterer(self, name: str) -> Any:
        def enter(module: nn.Module, inputs: Any) -> None:
            is_leaf = next(module.children(), None) is None
            self._open.append(_Open(name, is_leaf, len(self.rows), self._flops.get_total_flops()))
            self.rows.append(None)

        return enter

    def pool(self, kind: str, arguments: Any, in_shape: torch.Size, out: Tensor) -> None:
        """A pooling operator ran; inside a leaf it is that leaf's own row."""
        inside = self._open[-1]
        if inside.is_leaf:
            return
        kernel, stride, padding = None, None, None
        if kind in ("max_pool2d", "avg_pool2d"):
            kernel, stride, padding, *_ = (*map(_pair, arguments), None, None)
            stride, padding = stride or kernel, padding or (0, 0)
        field = self._fields.field_of(out)
        self.rows.append(
            LayerRow(
                name=f"{inside.name}.{kind}" if inside.name else kind,
                type=kind,
                kernel=kernel,
                stride=stride,
                padding=padding,
                dilation=None,
                groups=1,
                in_shape=tuple(in_shape[1:]),
                out_shape=tuple(out.shape[1:]),
                params=0,
                macs=0,
                receptive_field=field.size if field else None,
                jump=field.jump if field else None,
            )
        )

    def leaver(self, name: str) -> Any:
        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            this = self._open.pop()
            spent = self._flops.get_total_flops() - this.flops_before
            own = spent - this.flops_of_children
            if self._open:
                self._open[-1].flops_of_children += spent
            own_parameters = list(module.parameters(recurse=False))
            if not (this.is_leaf or own_parameters or own):
                return
            row = self._describe(name or type(module).__name__, module, inputs, output)
            fresh = [p for p in own_parameters if id(p) not in self._counted and p.requires_grad]
            self._counted.update(map(id, fresh))
            self.rows[this.row] = replace(row, params=sum(p.numel() for p in fresh), macs=own // 2)

        return leave

    def _describe(self, name: str, module: nn.Module, inputs: Any, output: Any) -> LayerRow:
        field = self._fields.field_of(_first(output))
        return LayerRow(
            name=name,
            type=type(module).__name__,
            kernel=_pair(getattr(module, "kernel_size", None)),
            stride=_pair(getattr(module, "stride", None)),
            padding=padding if isinstance(padding := getattr(module, "padding", None), str) else _pair(padding),
            dilation=_pair(getattr(module, "dilation", None)),
            groups=groups if isinstance(groups := getattr(module, "groups", 1), int) else 1,
            in_shape=tuple(_first(inputs).shape[1:]),
            out_shape=tuple(_first(output).shape[1:]),
            params=0,
            macs=0,
            receptive_field=field.size if field else None,
            jump=field.jump if field else None,
        )


def _first(value: Any) -> Tensor:
    return next(leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def _pair(value: Any) -> tuple[int, int] | None:
    """A size as modules and operators give it: one number, one in a list, or two."""
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, list | tuple) and len(value) == 1:
        return _pair(value[0])
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(v, int) for v in value):
        return (value[0], value[1])
    return None
