"""Checkpoints in and out: every tensor is loaded, explained, or named in an error; never a silent `strict=False`."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from corinth.errors import UsageError, WeightsError
from corinth.registry import entry
from corinth.weights.adapting import config_of
from corinth.weights.describing import FREE, known_checkpoint, other_architecture, whole_options
from corinth.weights.fitting import fit
from corinth.weights.forms import other_forms, said_form, whose_tensors
from corinth.weights.keymap import COUNTER
from corinth.weights.known import KnownCheckpoint
from corinth.weights.layouts import Source, best_layout, key_maps, no_layout
from corinth.weights.reading import Tensors, read_tensors, unwrap
from corinth.weights.report import LoadReport, some


def load_weights(
    model: nn.Module,
    weights: str | Path | Mapping[str, Tensor],
    *,
    source: Source = "auto",
    arch: str | None = None,
) -> LoadReport:
    """Fill `model` from a file, a folder, a hub's id or a state dict, and say what happened to every tensor.

    `source` is whose names the checkpoint uses; `auto` takes the layout that explains most of them. `arch` is the
    model's registered name; with it a checkpoint that is known to be of another architecture is refused as such.
    So is one that its metadata or its name give to another form with the same tensors (another padding, say); where
    nothing tells, the report says so. A head for another number of classes stays fresh, and a first convolution for
    another number of input channels is adapted; both are reported. Anything else that does not fit is a `WeightsError`
    that names the tensors, and the architecture that they are of, if one is registered; then the model is left as it
    was. A source without a layout for this architecture is a `UsageError`. A model inside a wrapper (torch.compile,
    data parallel) is filled where it is.
    """
    model = bare(model)
    name = type(model).__name__ if arch is None else entry(arch).name
    found = unwrap(weights, "the state dict") if isinstance(weights, Mapping) else read_tensors(weights)
    known = None if isinstance(weights, Mapping) or found.metadata is not None else known_checkpoint(weights)
    _refuse_other(found, known, model, None if arch is None else name)
    chosen = choose_layout(found, known, model, source, name)
    if known is None and found.metadata is None:
        found = _of_this_form(found, model, chosen, name)
    keys = key_maps(model)[chosen]
    if known is not None and known.layout == chosen:
        keys = dataclasses.replace(keys, note=None)  # what it says of the input is in `known`
    try:
        values, report = fit(model, found, keys, source=chosen, name=name)
    except WeightsError as error:
        raise WeightsError(f"{error}{whose_tensors(found, model)}") from error
    state = model.state_dict()  # shares memory with the model
    with torch.no_grad():
        for ours, tensor in values.items():
            state[ours].copy_(tensor)
    return report


def dump_weights(model: nn.Module, *, source: Source) -> dict[str, Tensor]:
    """The model's tensors under the names and in the shapes of `source`: the inverse of `load_weights`.

    They share the model's memory, as those of `state_dict()` do.
    """
    model = bare(model)
    maps = key_maps(model)
    if source not in maps:
        raise no_layout(type(model).__name__, source, model)
    keys = maps[source]
    neutral = dict(keys.neutral)
    dumped = {}
    for ours, tensor in model.state_dict().items():
        target = keys.to_theirs(ours)
        if target is not None:
            theirs, op = target
            dumped[keys.prefix + theirs] = op.undo(tensor.detach()).contiguous()
        elif ours in neutral:
            if not tensor.is_meta and (tensor != neutral[ours]).any():
                raise UsageError(f"the layout {source!r} has no place for {ours}, unless they are {neutral[ours]:g}")
        elif not ours.endswith(COUNTER) and not keys.is_optional(ours):
            raise UsageError(f"the layout {source!r} has no place for {ours}")
    return dumped


def bare(model: nn.Module) -> nn.Module:
    """The model itself, without what torch.compile and data parallelism put around it."""
    for name in ("module", "_orig_mod"):
        if isinstance(inner := getattr(model, name, None), nn.Module):
            return bare(inner)
    return model


def choose_layout(found: Tensors, known: KnownCheckpoint | None, model: nn.Module, source: Source, name: str) -> Source:
    """`source`; for `auto` what is known, or the layout under which most of the tensors have a place in the model."""
    maps = key_maps(model)
    if source != "auto":
        if source not in maps:
            raise no_layout(name, source, model)
        return source
    if known is not None and known.layout in maps:
        return cast("Source", known.layout)
    best, places = best_layout(found.state, model)
    if places == 0:
        ours = tuple(model.state_dict())
        raise WeightsError(
            f"{found.where} is no checkpoint of {name} in any layout known for it ({', '.join(maps)}): "
            f"it has {some(tuple(found.state))}, and {name} has {some(ours)}{whose_tensors(found, model)}"
        )
    return best


def _refuse_other(found: Tensors, known: KnownCheckpoint | None, model: nn.Module, name: str | None) -> None:
    """Raise `WeightsError` if the file says, or is known, to be of another architecture or to need other options.

    Tensors may fit all the same: another activation, stride or padding changes no shape.
    """
    theirs, options = None, {}
    if found.metadata is not None:
        theirs, options = found.metadata.get("arch"), found.metadata.get("config")
        if not isinstance(theirs, str) or not isinstance(options, dict):
            raise WeightsError(f"{found.where} has metadata of Corinth's that describe no model")
    elif known is not None:
        theirs, options = known.arch, whole_options(known)
    if theirs is None:
        return
    if name is not None and theirs != name:
        raise other_architecture(found.where, theirs, name)
    own = json.loads(json.dumps(dataclasses.asdict(config_of(model))))  # lists for tuples, as in the file
    for option, value in options.items():
        if option in own and own[option] != value and not FREE.search(option):
            raise WeightsError(
                f"{found.where} was trained with {option}={value!r}, and this {name or theirs} has {own[option]!r}; "
                f"create it with {option}={value!r}"
            )


def _of_this_form(found: Tensors, model: nn.Module, layout: Source, name: str) -> Tensors:
    """`found`, with a note where nothing says of which form it is; `WeightsError` where something names another.

    Names of files of one's own refuse nothing: resnet50_v1 may be the first version of a resnet50.
    """
    own, others = other_forms(model, layout)
    said = said_form(found, layout) if others else None
    mine = layout == "corinth"
    if not others or said in own or (mine and said == name):
        return found
    if said in others:
        its, ours = (", ".join(f"{option}={pair[i]!r}" for option, pair in others[said].items()) for i in (0, 1))
        note = (
            f"{found.where} is by its name or metadata of {said}, which has the same tensors and {its}, and this "
            f"{name} has {ours}"
        )
        if not mine and said != name:
            raise WeightsError(f"{note}; create {said}, or give the file another name if that is wrong")
    elif candidates := [form for form in (*own, *others) if own or form != name]:
        differing = ", ".join(dict.fromkeys(option for pairs in others.values() for option in pairs))
        note = (
            f"nothing says whether it is of {' or '.join(candidates)}: the tensors are the same, {differing} not; "
            f"this is {own[0] if own else name}"
        )
    else:
        return found
    return dataclasses.replace(found, notes=(*found.notes, note))
