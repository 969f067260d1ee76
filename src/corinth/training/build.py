"""The network and its preprocessing, as a recipe and the data ask for them."""

import dataclasses
import importlib.util
import shutil
from typing import Any

import torch
from torch import nn

from corinth.data import ImageData, Preprocess, choose_size
from corinth.errors import UsageError, WeightsError
from corinth.registry import Entry, configure, entry
from corinth.training.recipe import Recipe
from corinth.weights import known_checkpoint, load_weights, read_config


def build_model(recipe: Recipe, data: ImageData) -> tuple[nn.Module, Preprocess]:
    """A network for the data's classes, with fresh weights or the recipe's, and what its images go through.

    Channels are the data's where the architecture can take them. With `weights` the preprocessing is the one that
    belongs to them, where that is known, and else measured on the training part.
    """
    found = entry(recipe.arch)
    known = weights_preprocess(recipe.weights) if recipe.weights is not None else None
    fixed = any(f.name == "img_size" for f in dataclasses.fields(found.config))
    options: dict[str, Any] = {"num_classes": data.num_classes}
    size = recipe.img_size or recipe.options.get("img_size") or (known.size[0] if known else None)
    if size is None:
        config = configure_for(found, recipe.options)
        size = choose_size(
            data.native_size, found.card.input_size[-1], config.min_size, config.img_size if fixed else None
        )
    if fixed:
        options["img_size"] = size
    channels = known.channels if known else data.channels
    try:
        config = configure_for(found, {**options, "in_chans": channels, **recipe.options})
    except UsageError:
        config = configure_for(found, {**options, **recipe.options})
    if not fixed and size < config.min_size:
        raise UsageError(f"img_size {size} is too small for {recipe.arch}; it must be at least {config.min_size}")
    model = found.cls(config)
    if recipe.weights is not None:
        load_weights(model, recipe.weights, arch=found.name)
    if known is not None and known.size == (size, size) and known.channels == config.in_chans:
        return model, known
    return model, Preprocess.measured(
        data, size=int(size), channels=config.in_chans, fit=recipe.fit, interpolation=recipe.interpolation
    )


def configure_for(found: Entry, options: dict[str, Any]) -> Any:
    """The architecture's config; an option it does not have is a usage error here, as it came from a recipe."""
    try:
        return configure(found.name, **options)
    except TypeError as error:
        raise UsageError(str(error)) from error


def weights_preprocess(path: str) -> Preprocess | None:
    """What the images of a checkpoint went through: our own files say it, a few public ones are known."""
    if (known := known_checkpoint(path)) is not None:
        return known.preprocess
    try:
        return read_config(path).preprocess
    except WeightsError:
        return None  # a foreign file, which carries weights only


def compile_model(model: nn.Module, device: torch.device) -> None:
    """Have torch.compile make the forward pass, when it first runs; names of weights stay."""
    if device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        raise UsageError(
            "compile needs a C++ compiler and none is on the PATH; install g++ or clang++, or leave it out"
        )
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise UsageError("compile needs Triton for CUDA and it is not installed; leave compile out")
    model.compile()
