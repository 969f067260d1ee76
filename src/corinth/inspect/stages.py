"""A network as a row of stages, from the input to the head: what is frozen, or learns at a rate of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from corinth.inspect.counts import meta_input, meta_twin, smallest_input
from corinth.layers.features import units_of


@dataclass(frozen=True)
class Stage:
    """A part of the network, named after the module that it is or begins with; parameters by their full names."""

    name: str
    parameters: Mapping[str, nn.Parameter]

    @property
    def count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters.values())


def stages(model: Any) -> list[Stage]:
    """Every parameter in exactly one stage, the stages in the order in which an image meets them, the head last.

    A child of the network is a stage, and of a child that is a plain row of modules (a `Sequential` or `ModuleList`)
    each part is one; of a backbone its own stages are. A part with vectors only, such as a norm, belongs to the stage
    before it. What inference leaves out (auxiliary heads) belongs to the head, and a parameter of the network's own to
    the first stage. The order is that of the calls for the smallest legal image on the meta device; `model` is neither
    run nor changed.
    """
    units = units_of(model, deep=False)
    names: list[str] = []  # of the stages
    place: dict[int, int] = {}  # parameter -> stage
    for name in _called(model, list(units)):
        parameters = list(units[name].parameters())
        if not parameters:
            continue
        if not names or any(parameter.ndim > 1 for parameter in parameters):
            names.append(name)
        for parameter in parameters:
            place.setdefault(id(parameter), len(names) - 1)
    for parameter in model.parameters(recurse=False):
        place.setdefault(id(parameter), 0)
    found: list[dict[str, nn.Parameter]] = [{} for _ in names]
    for name, parameter in model.named_parameters():
        found[place.get(id(parameter), len(names) - 1)][name] = parameter
    return [Stage(_short(name, names), parameters) for name, parameters in zip(names, found, strict=True)]


def _called(model: Any, units: list[str]) -> list[str]:
    """Those of `units` that an inference calls, in the order of their first call."""
    order: dict[str, None] = {}
    twin = meta_twin(model)
    for name in units:
        for module in twin.get_submodule(name).modules():
            module.register_forward_pre_hook(lambda *_, name=name: order.setdefault(name))
    with torch.no_grad():
        twin(*meta_input(twin, smallest_input(model.cfg)))
    return list(order)


def _short(name: str, names: list[str]) -> str:
    """`stem` in place of `stem.0` where the row makes one stage only."""
    row, dot, _ = name.rpartition(".")
    alone = dot and sum(other.startswith(f"{row}.") for other in names) == 1
    return row if alone else name
