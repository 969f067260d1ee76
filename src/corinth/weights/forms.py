"""Which architecture a checkpoint is of: by its tensors, or by its name where no tensor tells two forms apart."""

import dataclasses
import functools
import re
from collections import Counter
from typing import Any

import torch
from torch import nn

from corinth.errors import WeightsError
from corinth.registry import entry, list_models
from corinth.weights.adapting import config_of, shapes
from corinth.weights.describing import FREE
from corinth.weights.fitting import fit
from corinth.weights.keymap import COUNTER
from corinth.weights.layouts import OF_LIBRARIES, Source, best_layout, key_maps
from corinth.weights.reading import PLAIN_STEMS, Tensors

_BUFFERS = ("running_mean", "running_var", COUNTER)
_MOST_OTHER = 20  # parameters of a classifier and a first layer, and of auxiliary heads, on both sides
_TUNED = "norm_eps"  # differs between forms, and between the weights of one form


def other_forms(model: nn.Module, layout: Source) -> tuple[list[str], dict[str, dict[str, tuple[Any, Any]]]]:
    """Registered names that are the model's own form, and others with the same tensors in `layout`.

    With each of the others come the options in which it differs: its value and the model's.
    """
    config, own, others = config_of(model), [], {}
    values = _values(config)
    for name in list_models():
        if entry(name).cls is not type(model):
            continue
        differing = {
            option: (value, values[option])
            for option, value in _values(entry(name).config).items()
            if value != values[option] and not FREE.search(option)
        }
        if differing.keys() <= {_TUNED}:
            own.append(name)
        elif all(option == _TUNED or isinstance(value, bool | str) for option, (value, _) in differing.items()):
            changed = {option: value for option, (value, _) in differing.items()}
            other = _sketch(type(model), dataclasses.replace(config, **changed))
            if layout in key_maps(other) and shapes(other) == shapes(model):
                others[name] = differing
    return own, others


def _values(config: Any) -> dict[str, Any]:
    """A sequence is the same whether it was given as a list or a tuple."""
    found = ((field.name, getattr(config, field.name)) for field in dataclasses.fields(config))
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found}


@functools.lru_cache(maxsize=256)
def _sketch(cls: type[nn.Module], config: Any) -> nn.Module:
    with torch.device("meta"):
        return cls(config)


def said_form(found: Tensors, layout: Source) -> str | None:
    """The architecture of which a file is by its metadata, its name or its folder's name, in the words of `layout`.

    None where nothing is said, or several things are.
    """
    path = found.path
    words = [found.architecture or ""]
    if path is not None:
        words.append(path.stem)
        if path.stem in PLAIN_STEMS:
            words += [path.parent.name, *(part for part in path.parts if part.startswith("models--"))]  # a hub's cache
    return next((form for text in words if (form := _named(text, layout)) is not None), None)


def _named(text: str, layout: Source) -> str | None:
    """`tf_mixnet_s-89d3354b` is of `tf_mixnet_s`; the longest name counts."""
    text = f"_{re.sub('[^a-z0-9]+', '_', text.lower())}_"
    names = [name for name in _names(layout) if f"_{name}_" in text]
    whole = [name for name in names if not any(f"_{name}_" in f"_{longer}_" for longer in names if longer != name)]
    meant = {_names(layout)[name] for name in whole}
    if len(meant) != 1 or ("_tf_" in text and "tf_" not in whole[0]):
        return None
    return meant.pop()


@functools.cache
def _names(layout: Source) -> dict[str, str]:
    """What the publisher of a layout calls the architectures -> our names; timm and torchvision share a layout."""
    if layout == "corinth":
        return {name: name for name in list_models()}
    libraries = ("timm:", "torchvision:") if layout in ("timm", "torchvision") else (f"{layout}:",)
    return {
        reference.partition(":")[2].lower(): name
        for name in list_models()
        for reference in entry(name).card.references
        if reference.startswith(libraries)
    }


def whose_tensors(found: Tensors, model: nn.Module) -> str:
    """What to add to the complaint that tensors do not fit `model`: the registered names that they do fit, if any.

    Looked at are the networks of the model's class, and those of its family whose size is not quite another. They are
    built on the meta device and take part only if the sizes of their parameters are those of the checkpoint, but for
    classifier and first layer.
    """
    own, others = other_forms(model, "corinth")  # what does not fit this one does not fit those
    state = {name: torch.empty(t.shape, dtype=t.dtype, device="meta") for name, t in found.state.items()}
    sizes = Counter(t.numel() for name, t in state.items() if not name.endswith(_BUFFERS))
    sketched = dataclasses.replace(found, state=state)
    fitting = []
    for name in _candidates(type(model), sum(size * times for size, times in sizes.items())):
        if name not in {*own, *others} and _fits(sketched, _sketch(entry(name).cls, entry(name).config), name, sizes):
            fitting.append(name)
        elif said := _fitting_options(sketched, name, sizes, model):
            fitting.append(f"{name} with {said}")
    return f"; these are the tensors of {' or '.join(fitting)}" if fitting else ""


def _fitting_options(found: Tensors, name: str, sizes: Counter[int], model: nn.Module) -> str | None:
    """The options of another library's form of the architecture, if the tensors fit that, and it is not the model's."""
    options = OF_LIBRARIES.get(entry(name).cls, {})
    if not options or all(getattr(config_of(model), option, None) == value for option, value in options.items()):
        return None
    if not _fits(found, _sketch(entry(name).cls, dataclasses.replace(entry(name).config, **options)), name, sizes):
        return None
    return ", ".join(f"{option}={value!r}" for option, value in options.items())


def _candidates(cls: type[nn.Module], count: int) -> list[str]:
    """Of the same class, or of the same family and with half to twice as many parameters."""
    families = {entry(name).card.family for name in list_models() if entry(name).cls is cls}
    return [
        name
        for name in list_models()
        if entry(name).cls is cls
        or (entry(name).card.family in families and count <= 2 * entry(name).card.params <= 4 * count)
    ]


def _fits(found: Tensors, model: nn.Module, name: str, sizes: Counter[int]) -> bool:
    own = Counter(p.numel() for p in model.parameters())
    if ((own - sizes) + (sizes - own)).total() > _MOST_OTHER:
        return False
    layout, places = best_layout(found.state, model)
    try:
        fit(model, found, key_maps(model)[layout], source=layout, name=name)
    except WeightsError:
        return False
    return places > 0
