"""The same tensors in the library whose layout they have: what Corinth by itself cannot prove of its key maps."""

import importlib
import importlib.metadata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from corinth.registry import entry
from corinth.weights.adapting import config_of
from corinth.weights.describing import FREE
from corinth.weights.keymap import COUNTER
from corinth.weights.layouts import Source, key_maps
from corinth.weights.report import some

MOST_DIFFERENCE = 1e-4  # of the largest output; another order of the same sums in single precision makes less
_BROKEN = (ImportError, RuntimeError, OSError, AttributeError)  # what an import beside another torch was seen to raise
_WITH_AUX = ("googlenet", "inception_v3")


@dataclass(frozen=True, kw_only=True)
class LibraryCheck:
    """One comparison with a library, or why there is none."""

    library: str  # of the layout
    version: str | None = None
    network: str | None = None  # its name there
    difference: float | None = None  # largest of an output on the probe: ours against the library's own
    largest: float | None = None  # output of the library's
    not_made: str | None = None  # why; None where it was made

    @property
    def agrees(self) -> bool:
        if self.difference is None or self.largest is None:
            return True
        return self.difference <= MOST_DIFFERENCE * self.largest  # NaN is not

    def __str__(self) -> str:
        if self.not_made is not None:
            return f"not compared: {self.not_made}"
        return f"outputs differ by at most {self.difference:g}"


class _NotMadeError(Exception):
    """Why the comparison cannot be made; never leaves this file."""


def check_in_library(
    layout: Source, state: Mapping[str, Tensor], model: nn.Module, arch: str, probe: Tensor
) -> LibraryCheck:
    """Build the network in the library of `layout`, give it `state` as it is, and compare its answer with `model`'s."""
    if layout not in ("timm", "torchvision"):
        whose = "these are Corinth's own names" if layout == "corinth" else f"no library to compare with has {layout!r}"
        return LibraryCheck(library=layout, not_made=whose)
    version = network = None
    try:
        module = _imported(layout)
        version = _version(layout)
        network = _network(layout, model, arch)
        theirs = _built(module, layout, network, model)
        _fill(theirs, state, model, layout, network)
    except _NotMadeError as reason:
        return LibraryCheck(library=layout, version=version, network=network, not_made=str(reason))
    with torch.inference_mode():
        ours, expected = model(probe), theirs.eval()(probe)
    difference = (ours - expected).abs().max().item()
    largest = expected.abs().max().item()
    return LibraryCheck(library=layout, version=version, network=network, difference=difference, largest=largest)


def _imported(library: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs
            return importlib.import_module({"torchvision": "torchvision.models"}.get(library, library))
    except _BROKEN as error:
        if isinstance(error, ModuleNotFoundError) and error.name == library:
            raise _NotMadeError(f"{library} is not installed here") from error
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise _NotMadeError(f"{library} cannot be imported here ({reason})") from error


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:  # a copy without what pip writes
        return None


def _network(library: str, model: nn.Module, arch: str) -> str:
    """The library's name of the architecture, if it has the model's options."""
    config, found = config_of(model), entry(arch)
    name = next((r.partition(":")[2] for r in found.card.references if r.startswith(f"{library}:")), None)
    if name is None:
        raise _NotMadeError(f"{library} has no {arch}")
    if "image-classification" not in found.card.tasks:
        raise _NotMadeError(f"{library}'s {name} answers in another form")
    if not config.num_classes:
        raise _NotMadeError("there is no classifier whose outputs could be compared")
    if library == "torchvision" and config.in_chans != found.config.in_chans:
        raise _NotMadeError(f"torchvision has no {name} for {config.in_chans} input channels")
    for field in fields(config):
        value, registered = getattr(config, field.name), getattr(found.config, field.name)
        if value != registered and field.name != "norm_eps" and not FREE.search(field.name):
            raise _NotMadeError(f"{library}'s {name} is not one with {field.name}={value!r}")
    return name


def _built(module: Any, library: str, network: str, model: nn.Module) -> nn.Module:
    config = config_of(model)
    options: dict[str, Any] = {"num_classes": config.num_classes}
    if network in _WITH_AUX:
        options["aux_logits"] = config.aux_heads
    try:
        with torch.random.fork_rng(devices=()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs
            if library == "timm":
                theirs = module.create_model(network, pretrained=False, in_chans=config.in_chans, **options)
            else:
                extra = {"init_weights": False} if network in _WITH_AUX else {}
                theirs = getattr(module, network)(**options, **extra)
    except (*_BROKEN, TypeError) as error:  # another release of it
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise _NotMadeError(f"this {library} builds no {network} ({reason})") from error
    eps = {norm.eps for norm in theirs.modules() if isinstance(norm, nn.BatchNorm2d)}
    wanted = getattr(config, "norm_eps", None)
    if wanted is not None and eps != {wanted}:
        raise _NotMadeError(f"{library} builds {network} with norm_eps={some(sorted(map(str, eps)))}, not {wanted}")
    return theirs


def _fill(theirs: nn.Module, state: Mapping[str, Tensor], model: nn.Module, library: str, network: str) -> None:
    """Names that only older files have become today's, as the library itself does when it reads them."""
    keys, names = key_maps(model)[library], theirs.state_dict().keys()
    today = {}
    for name, tensor in state.items():
        target = None if name in names else keys.to_ours(name)
        newer = None if target is None else keys.to_theirs(target[0])
        today[newer[0] if newer else name] = tensor
    try:
        missing, unexpected = theirs.load_state_dict(today, strict=False)
    except RuntimeError as error:  # another shape
        reason = str(error).splitlines()[-1].strip()
        raise _NotMadeError(f"{library}'s {network} does not take these tensors ({reason})") from error
    left_out = [name for name in unexpected if (target := keys.to_ours(name)) and not keys.is_optional(target[0])]
    if wrong := [*(name for name in missing if not name.endswith(COUNTER)), *left_out]:
        raise _NotMadeError(f"{library}'s {network} and these tensors differ in {some(wrong)}")
