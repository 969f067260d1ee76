"""The network and its preprocessing, as a recipe and the data ask for them."""

import dataclasses
import importlib.util
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from corinth.data import ImageData, Preprocess, SequenceData, choose_sides, choose_size
from corinth.data.caption_encoding import CaptionEncoding
from corinth.data.captions import CAPTIONING, CaptionSource
from corinth.data.dataset import DataSet
from corinth.data.preparation import Preparation, preparation_from_dict
from corinth.data.rows.source import RowData
from corinth.data.sequences.label_encoding import FROM_LABEL
from corinth.data.sequences.labelled import FRAMES
from corinth.data.sequences.language import LANGUAGE
from corinth.data.sequences.source import MeasuredSource, SeriesSource, TextSource
from corinth.data.tables import TABLE_SUFFIXES
from corinth.errors import UsageError, WeightsError
from corinth.registry import Entry, entry, list_models
from corinth.tasks.kinds import KINDS
from corinth.training.captioning import make_caption_words
from corinth.training.finetune import freeze
from corinth.training.options import configure_for, refuse_idle_fields
from corinth.training.recipe import Recipe
from corinth.training.rows import build_row_model
from corinth.training.sequences import build_sequence_model
from corinth.weights import (
    known_checkpoint,
    load_backbone,
    load_weights,
    needed_options,
    origin_of,
    read_config,
)
from corinth.weights.folder import as_config


def build_model(
    recipe: Recipe, data: DataSet, say: Callable[[str], object] = lambda _: None
) -> tuple[nn.Module, Preparation]:
    """A network for the data's classes, with fresh weights or the recipe's, and what its samples go through.

    Channels are the data's, or the weights'. With `weights` the preprocessing is the one that belongs to them, where
    that is known (at the recipe's `img_size`, if it has one), and else measured on the training part. `say` is told
    what was loaded, above all which layers start fresh, and what is frozen.
    """
    found = entry(recipe.arch)
    check_task(found, data)
    refuse_idle_fields(recipe, data)
    if isinstance(data, SequenceData):
        return build_sequence_model(recipe, data, say)
    if isinstance(data, RowData):
        return build_row_model(recipe, data, say)
    assert isinstance(data, ImageData)
    if not isinstance(data.source, CaptionSource):
        model, size, known = build_network(recipe, data, say)
        return model, _image_preprocess(recipe, data, model, size, known, say)
    words = make_caption_words(recipe, data, say, own=recipe.weights is not None and not starts_backbone(recipe, found))
    model, size, known = build_network(recipe, data, say, {"vocab_size": words.vocab_size})
    return model, CaptionEncoding(images=_image_preprocess(recipe, data, model, size, known, say), words=words)


def _image_preprocess(
    recipe: Recipe,
    data: ImageData,
    model: Any,
    size: tuple[int, int],
    known: Preprocess | None,
    say: Callable[[str], object],
) -> Preprocess:
    """That of the weights, or measured on the training part."""
    fit = known.fit if known is not None else recipe.fit
    if fit == "crop" and KINDS[data.task].dense:
        raise UsageError(f"fit crop cuts away what {data.task} must answer for; it must be pad or squash")
    if known is not None and known.channels == model.cfg.in_chans:
        if (known.fit, known.interpolation) != (recipe.fit, recipe.interpolation):
            say(
                f"images are prepared as for the weights (fit {known.fit}, {known.interpolation}), "
                f"not as the recipe says ({recipe.fit}, {recipe.interpolation})"
            )
        return dataclasses.replace(known, size=size)
    return Preprocess.measured(
        data, size=size, channels=model.cfg.in_chans, fit=recipe.fit, interpolation=recipe.interpolation
    )


def describe_network(recipe: Recipe, model: Any, preprocess: Preparation) -> dict[str, Any]:
    """What `rebuild_model` needs, as plain values, and where the weights came from that it started with."""
    return json.loads(
        json.dumps(
            {
                "config": dataclasses.asdict(model.cfg),
                "preprocess": preprocess.to_dict(),
                "started_from": None if recipe.weights is None else origin_of(recipe.weights),
            }
        )
    )


def rebuild_model(recipe: Recipe, network: Mapping[str, Any]) -> tuple[nn.Module, Preparation]:
    """The network of a run that is to go on, whose weights come from its resume state, and its preprocessing."""
    model = entry(recipe.arch).cls(configure_for(entry(recipe.arch), as_config(network["config"])))
    if recipe.freeze is not None:
        freeze(model, recipe.freeze, recipe.arch)
    return model, preparation_from_dict(network["preprocess"])


def build_network(
    recipe: Recipe,
    data: ImageData,
    say: Callable[[str], object] = lambda _: None,
    outputs: Mapping[str, int] | None = None,
) -> tuple[Any, tuple[int, int], Preprocess | None]:
    """The network of `build_model`, the (H, W) of its input, and the preprocessing of its weights; no image is read.

    `outputs` is the option that the data settle, by default the number of classes.
    """
    outputs = {"num_classes": data.num_classes} if outputs is None else outputs
    found = entry(recipe.arch)
    check_task(found, data)
    known = start_preprocess(recipe, found, data)
    size = input_size(recipe, found, data, known)
    channels = known.channels if known else data.channels
    needed = needed_options(recipe.weights, found.name) if recipe.weights is not None else {}
    options: dict[str, Any] = {**outputs, "in_chans": channels, **needed, **recipe.options}
    for name, value in outputs.items():
        if options[name] != value:
            what = "classes" if name == "num_classes" else "tokens"
            raise UsageError(f"{name} {options[name]} does not fit {data.name}, which has {value} {what}; leave it out")
    if has_fixed_size(found):
        options["img_size"] = size[0]
    config = configure_for(found, options)
    if min(size) < config.min_size:
        raise UsageError(f"img_size {min(size)} is too small for {recipe.arch}; it must be at least {config.min_size}")
    model = found.cls(config)
    if recipe.weights is not None and starts_backbone(recipe, found):
        say(f"weights of the backbone: {load_backbone(model, recipe.weights)}")
    elif recipe.weights is not None:
        say(f"weights: {load_weights(model, recipe.weights, arch=found.name)}")
    if recipe.freeze is not None:
        say(freeze(model, recipe.freeze, found.name))
    return model, size, known


def check_task(found: Entry, data: DataSet, how: str = "--task ") -> None:
    """An architecture that does something else than the data are for is a `UsageError`, which says `how` to ask for
    what it does where the data may serve for that too."""
    if data.task == LANGUAGE and getattr(found.config, "bidirectional", False):
        raise UsageError(
            f"{found.name} reads a text backwards too, and would see what it has to predict; use one that reads "
            f"forwards alone: {', '.join(list_models(task=data.task)[:3])}, ..."
        )
    if data.task not in (does := found.card.tasks):
        able = ", ".join(list_models(task=data.task)[:3])
        raise UsageError(
            f"{data.name} is data for {data.task} and {found.name} does {', '.join(does)}; "
            f"architectures for it are {able}, ..."
            + "".join(f"; or say {how}{task}" for task in _also_for(found, data) if task in does)
        )


def _also_for(found: Entry, data: DataSet) -> tuple[str, ...]:
    """Tasks that data are for only where that is asked for."""
    if isinstance(data.source, TextSource):
        return (FROM_LABEL,)
    if isinstance(data.source, SeriesSource) and not isinstance(data.source, MeasuredSource):
        return () if hasattr(found.config, "in_chans") else (FRAMES,)  # whose frames are pictures
    is_table = Path(data.spec).suffix.lower() in TABLE_SUFFIXES
    return (CAPTIONING,) if is_table and data.task == "image-classification" else ()


def planned_preprocess(recipe: Recipe, data: DataSet) -> Preprocess | None:
    """What images will go through, but for mean and spread, which take reading images to know; None of anything
    else."""
    found = entry(recipe.arch)
    check_task(found, data)
    refuse_idle_fields(recipe, data)
    if not isinstance(data, ImageData):
        return None
    known = start_preprocess(recipe, found, data)
    size = input_size(recipe, found, data, known)
    asked = recipe.options.get("in_chans")
    channels = asked if isinstance(asked, int) else known.channels if known else data.channels
    fit = known.fit if known else recipe.fit
    return Preprocess(size=size, channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels, fit=fit)


def input_size(recipe: Recipe, found: Entry, data: ImageData, known: Preprocess | None) -> tuple[int, int]:
    """The (H, W) of the input: the recipe's, the weights', or what suits the images and the architecture.

    A square, but where the network answers for places in the image: there the longer side of the images' own shape.
    """
    asked, option = recipe.img_size, recipe.options.get("img_size")
    if None not in (asked, option) and asked != option:
        raise UsageError(f"img_size {asked} and the architecture's own img_size {option} disagree; give one of them")
    asked = asked or option
    config = configure_for(found, recipe.options)
    if KINDS[data.task].dense and (isinstance(asked, int) or known is None):
        fit = known.fit if known is not None else recipe.fit
        longest = asked if isinstance(asked, int) else None
        return choose_sides(data.native_size, longest=longest, stride=config.stride, min_size=config.min_size, fit=fit)
    if isinstance(asked, int):
        return asked, asked
    if known is not None:
        return known.size
    fixed = config.img_size if has_fixed_size(found) else None
    side = choose_size(data.native_size, found.card.input_size[-1], config.min_size, fixed)
    return side, side


def has_fixed_size(found: Entry) -> bool:
    """Whether a network of the architecture works at the one size that it was built for."""
    return any(field.name == "img_size" for field in dataclasses.fields(found.config))


def starts_backbone(recipe: Recipe, found: Entry) -> bool:
    """Whether the recipe's weights are a classifier's, for the backbone of a network that has one.

    A file that does not say what it is can be nothing else: only Corinth writes whole networks with backbones, and
    its files say so.
    """
    if recipe.weights is None or not hasattr(found.config, "backbone"):
        return False
    known = known_checkpoint(recipe.weights)
    try:
        return known is not None or read_config(recipe.weights).arch != found.name
    except WeightsError:
        return True


def start_preprocess(recipe: Recipe, found: Entry, data: ImageData) -> Preprocess | None:
    """What is known of the recipe's weights; of a backbone's the channels, the mean and the spread of its images."""
    known = weights_preprocess(recipe.weights) if recipe.weights is not None else None
    if known is None or not starts_backbone(recipe, found):
        return known
    size = input_size(recipe, found, data, None)
    return dataclasses.replace(known, size=size, fit=recipe.fit, interpolation=recipe.interpolation, crop_pct=1.0)


def weights_preprocess(path: str) -> Any:
    """What the images of a checkpoint went through: our own files and hubs say it, a few public ones are known."""
    if (known := known_checkpoint(path)) is not None:
        return known.preprocess
    try:
        found = read_config(path).preprocess
        return found.images if isinstance(found, CaptionEncoding) else found
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
