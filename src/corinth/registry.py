"""The register of architectures: a name, its class, its config and its card, entered once by the model's own file."""

import dataclasses
import difflib
import fnmatch
import importlib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from corinth.errors import UsageError
from corinth.layers.features import Features

FAMILIES = ("feedforward", "convolutional", "recurrent", "attention", "adversarial")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known about an architecture.

    `params` counts trainable parameters of the registered config, buffers excluded. `macs` counts the
    multiply-adds of convolutions, matrix products and attention in one inference forward pass of one sample of
    `input_size` (C, H, W). `recipe` and `published_recipe` are fields of `corinth.training.Recipe` that differ
    from its defaults: what trains the architecture well on small images, and what its paper did on ImageNet.
    """

    params: int
    macs: int
    paper: str
    year: int
    input_size: tuple[int, ...]
    arxiv: str | None = None
    family: str = "convolutional"
    tasks: tuple[str, ...] = ("image-classification",)
    published: Mapping[str, str] = field(default_factory=dict)  # metric -> value and where it was published
    deviations: tuple[str, ...] = ()  # from the paper
    references: tuple[str, ...] = ()  # independent implementations: "timm:resnet50", "torchvision:resnet50"
    synonyms: Mapping[str, str] = field(default_factory=dict)  # ours -> the paper's, timm's or transformers' word
    recipe: Mapping[str, Any] = field(default_factory=dict)
    published_recipe: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"family {self.family!r} is none of {', '.join(FAMILIES)}")


@dataclass(frozen=True)
class Entry:
    name: str
    cls: type[nn.Module]
    config: Any  # the architecture's own frozen dataclass
    card: Card
    alias_of: str | None = None


_entries: dict[str, Entry] = {}


def register(name: str, cls: type[nn.Module], config: Any, card: Card, *, aliases: tuple[str, ...] = ()) -> None:
    """Enter an architecture; a name can be entered once."""
    for key in (name, *aliases):
        if key in _entries:
            raise ValueError(f"{key!r} is registered already, by {_entries[key].cls.__module__}")
        _entries[key] = Entry(name, cls, config, card, alias_of=None if key == name else name)


def entry(name: str) -> Entry:
    """The registered entry; an unknown name is a `UsageError` that suggests the nearest."""
    entries = _all()
    if name not in entries:
        near = difflib.get_close_matches(str(name), entries, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "`corinth list` shows them all"
        raise UsageError(f"no architecture is called {name!r}; {hint}")
    return entries[name]


def card(name: str) -> Card:
    """The card of an architecture."""
    return entry(name).card


def list_models(pattern: str | None = None, *, family: str | None = None, task: str | None = None) -> list[str]:
    """Registered names (aliases left out) that match a shell pattern such as `"res*"`, a family and a task."""
    if family is not None and family not in FAMILIES:
        raise UsageError(f"family {family!r} is none of {', '.join(FAMILIES)}")
    return sorted(
        name
        for name, e in _all().items()
        if e.alias_of is None
        and (pattern is None or fnmatch.fnmatchcase(name, pattern))
        and (family is None or e.card.family == family)
        and (task is None or task in e.card.tasks)
    )


def configure(name: str, **overrides: Any) -> Any:
    """The registered config with some fields replaced.

    An option the architecture does not have is a `TypeError`; a value it cannot have is a `UsageError`.
    """
    found = entry(name)
    known = {f.name for f in dataclasses.fields(found.config) if f.init}
    for option in overrides:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(known))}"
            raise TypeError(f"{name} has no option {option!r}; {hint}")
    try:
        return dataclasses.replace(found.config, **overrides)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error


def create_model(
    name: str, *, weights: str | Path | None = None, features: Sequence[int] | None = None, **overrides: Any
) -> nn.Module:
    """Build an architecture, with fresh weights or with those of a checkpoint.

    `weights` is a run folder, a `.safetensors` / `.pth` file in Corinth's own or a known foreign layout, or an id such
    as `timm:resnet50.a1_in1k` (see `corinth.load_weights`). `overrides` are fields of the architecture's config, such
    as `num_classes=10` (0: pooled features), `in_chans=1`, `img_size=32`; options that known weights need are set.
    `features=(4, 8, 16, 32)` gives a backbone: the maps of these strides in place of logits, see `Features`.
    """
    if features is not None and "num_classes" in overrides:
        raise UsageError(f"{name} with features has no classifier; leave num_classes out")
    config = configure(name, **overrides)
    found = entry(name)
    if features is not None and "image-classification" not in found.card.tasks:
        raise UsageError(f"{name} is no backbone: features can be had of what classifies images, such as resnet50")
    if weights is None:
        model = found.cls(config)
    else:
        library = importlib.import_module("corinth.weights")
        model = found.cls(configure(name, **{**library.needed_options(weights, name), **overrides}))
        library.load_weights(model, weights, arch=name)
    return model if features is None else Features(model, features)


def _all() -> Mapping[str, Entry]:
    importlib.import_module("corinth.models")  # every model file registers itself on import
    return types.MappingProxyType(_entries)
