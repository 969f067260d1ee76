"""Which tensor of a checkpoint goes where in a model, and whether everything else is explained."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from corinth.errors import WeightsError
from corinth.weights.adapting import adapt_input, differs_only_in, head_names, input_names
from corinth.weights.keymap import COUNTER, SAME, KeyMap
from corinth.weights.reading import Tensors
from corinth.weights.report import LoadReport, some


@dataclass(frozen=True)
class Arrival:
    """A tensor of the checkpoint under our name."""

    theirs: str
    tensor: Tensor
    done: str | None  # the operation of the key map, None for a mere rename


@dataclass
class Unexplained:
    """What speaks against the load."""

    absent: list[str] = field(default_factory=list)  # our names
    strays: list[str] = field(default_factory=list)  # their names
    misfits: list[str] = field(default_factory=list)  # sentences

    def check(self, where: str, name: str, source: str) -> None:
        parts = []
        if self.misfits:
            parts.append(some(self.misfits, 2))
        if self.absent:
            parts.append(f"it has nothing for {some(self.absent)}")
        if self.strays:
            parts.append(f"nothing in {name} takes its {some(self.strays)}")
        if parts:
            raise WeightsError(f"{where}, read as {source!r}, does not fit {name}: {'; '.join(parts)}")


def fit(
    model: nn.Module, found: Tensors, keys: KeyMap, *, source: str, name: str
) -> tuple[dict[str, Tensor], LoadReport]:
    """The new value of each of our tensors, and the report; nothing is written yet. Raises `WeightsError`."""
    ours = model.state_dict()
    against = Unexplained()
    arrived = _arrivals(found.state, keys, against)
    heads = inputs = frozenset[str]()
    if arrived.keys() != ours.keys() or any(arrived[key].tensor.shape != ours[key].shape for key in ours):
        heads, inputs = head_names(model), input_names(model)

    values: dict[str, Tensor] = {}
    reshaped: dict[str, str] = {}
    notes = [*found.notes, *([keys.note] if keys.note else [])]
    neutral = dict(keys.neutral)
    new_head = _has_new_head(ours, arrived, heads)
    absent = _absent(ours, arrived, keys, new_head)
    for key, tensor in ours.items():
        arrival = arrived.get(key)
        if arrival is None and key in neutral:
            values[key] = torch.full_like(tensor, neutral[key])
            notes.append(f"the checkpoint's library has no {key}: set to {neutral[key]:g}, which changes nothing")
        elif arrival is None:
            if key not in absent and not key.endswith(COUNTER):
                against.absent.append(key)
        elif key in new_head:
            continue
        elif arrival.tensor.layout != tensor.layout or (arrival.tensor.is_meta and not tensor.is_meta):
            against.misfits.append(f"{arrival.theirs} is {'sparse' if arrival.tensor.is_sparse else 'without values'}")
        elif arrival.tensor.is_floating_point() != tensor.is_floating_point():
            against.misfits.append(f"{arrival.theirs} is {arrival.tensor.dtype} where {tensor.dtype} is needed")
        elif arrival.tensor.shape == tensor.shape:
            values[key] = arrival.tensor
            if arrival.done:
                reshaped[key] = arrival.done
        elif key in inputs and differs_only_in(1, arrival.tensor.shape, tensor.shape):
            values[key] = adapt_input(arrival.tensor, tensor.shape[1])
            reshaped[key] = f"{arrival.tensor.shape[1]} input channels adapted to {tensor.shape[1]}"
        else:
            against.misfits.append(
                f"{arrival.theirs} is {tuple(arrival.tensor.shape)} where {tuple(tensor.shape)} is needed"
            )
    left_out = [arrived[key].theirs for key in arrived if key in new_head]
    for key, arrival in arrived.items():
        if key not in ours:
            explained = key in heads or keys.is_optional(key) or key.endswith(COUNTER)
            (left_out if explained else against.strays).append(arrival.theirs)
    against.check(found.where, name, source)
    if any(key.endswith(COUNTER) and key not in arrived for key in ours):
        notes.append("the checkpoint has no step counters of batch norms; they do not matter to the result")
    report = LoadReport(
        source=source,
        where=found.where,
        loaded=tuple(values),
        reshaped=reshaped,
        missing=tuple(key for key in ours if key in new_head or key in absent),
        unexpected=tuple(left_out),
        notes=tuple(notes),
    )
    return values, report


def _arrivals(state: Mapping[str, Tensor], keys: KeyMap, against: Unexplained) -> dict[str, Arrival]:
    arrived = {}
    for theirs, tensor in state.items():
        target = keys.to_ours(theirs)
        if target is None:
            against.strays.append(theirs)
            continue
        ours, op = target
        try:
            value = op.apply(tensor)
        except RuntimeError:  # the operation's own complaint about the shape
            against.misfits.append(f"{theirs} is {tuple(tensor.shape)}, which cannot be {op.name}")
            continue
        arrived[ours] = Arrival(theirs, value, None if op is SAME else op.name)
    return arrived


def _has_new_head(ours: Mapping[str, Tensor], arrived: Mapping[str, Arrival], heads: frozenset[str]) -> frozenset[str]:
    """All classifiers of ours, if the checkpoint's have another number of classes or if it has none; else nothing."""
    own = frozenset(key for key in heads if key in ours)
    other = [key for key in own if key in arrived and arrived[key].tensor.shape != ours[key].shape]
    if any(not differs_only_in(0, arrived[key].tensor.shape, ours[key].shape) for key in other):
        return frozenset()  # another width: an error, not another number of classes
    headless = own and not any(key in arrived for key in own)
    return own if other or headless else frozenset()


def _absent(
    ours: Mapping[str, Tensor], arrived: Mapping[str, Arrival], keys: KeyMap, new_head: frozenset[str]
) -> frozenset[str]:
    """Those of ours that the checkpoint may be without: a new head, and optional parts of which it has nothing."""
    absent = set(new_head)
    for prefix in keys.optional:
        part = [key for key in ours if key.startswith(prefix)]
        if not any(key in arrived for key in part):
            absent.update(part)
    return frozenset(absent)
