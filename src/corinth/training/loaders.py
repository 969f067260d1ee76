"""From opened data to the batches of a training, as a recipe asks for them."""

from typing import Any

import torch

from corinth.data import (
    ImageData,
    JointTransform,
    Loader,
    MemoryStore,
    Preprocess,
    SequenceData,
    SequenceStore,
    SeriesEncoding,
    Store,
    StreamStore,
    TrainTransform,
    make_store,
)
from corinth.data.augmentation import SeriesAugmentation
from corinth.data.caption_encoding import CaptionEncoding, CaptionStore, CaptionTransform
from corinth.data.dataset import DataSet
from corinth.data.loader import Transform
from corinth.data.preparation import Preparation
from corinth.data.rows.encoding import RowEncoding
from corinth.data.rows.source import RowData
from corinth.data.rows.store import RowStore
from corinth.data.sequences.augment import SeriesTransform
from corinth.data.sequences.encoding import uncut
from corinth.data.sequences.forecast_encoding import ForecastEncoding
from corinth.data.sequences.forecast_store import ForecastStore
from corinth.data.sequences.label_encoding import LabelEncoding, LabelStore
from corinth.data.sequences.labelled import FRAMES
from corinth.data.sequences.language_encoding import LanguageEncoding
from corinth.tasks.kinds import KINDS
from corinth.training.captioning import check_pairs
from corinth.training.language import make_language_loaders
from corinth.training.processes import Processes
from corinth.training.recipe import Recipe

GPU_SHARE = 0.2  # of the free memory, for images that stay on the GPU


def make_transform(recipe: Recipe, data: ImageData, preprocess: Preprocess) -> Transform:
    if KINDS[data.task].dense:
        return JointTransform(preprocess, recipe.augmentation)
    return TrainTransform(preprocess, recipe.augmentation, data.num_classes)


def make_loaders(
    recipe: Recipe, data: DataSet, preprocess: Preparation, processes: Processes
) -> tuple[Loader, Loader | None]:
    """The training part, shuffled and augmented, and the validation part; None where that has nothing to score."""
    place: dict[str, Any] = {"rank": processes.rank, "world_size": processes.world_size, "device": processes.device}
    if isinstance(preprocess, LanguageEncoding):
        assert isinstance(data, SequenceData)
        return make_language_loaders(recipe, data, preprocess, place)
    transform = None
    if isinstance(preprocess, Preprocess):
        assert isinstance(data, ImageData)
        transform = make_transform(recipe, data, preprocess)
    elif isinstance(preprocess, CaptionEncoding):
        check_pairs(recipe, processes.world_size)
        transform = CaptionTransform(preprocess, recipe.augmentation)
    elif isinstance(preprocess, SeriesEncoding) and recipe.series_augmentation != SeriesAugmentation():
        transform = SeriesTransform(preprocess, recipe.series_augmentation)
    loader = Loader(
        make_part(data, "train", preprocess, processes.device),
        int(recipe.batch_size),
        transform=transform,
        shuffle=True,
        seed=recipe.seed,
        **place,
    )
    if not data.scorable("val"):
        return loader, None
    return loader, Loader(make_part(data, "val", preprocess, processes.device), recipe.eval_batch_size, **place)


def make_part(data: DataSet, part: str, preprocess: Preparation, device: torch.device) -> Store:
    """A part of the data, prepared."""
    if isinstance(preprocess, Preprocess):
        assert isinstance(data, ImageData)
        return on_device(make_store(data, part, preprocess), device)
    if isinstance(preprocess, CaptionEncoding):
        assert isinstance(data, ImageData)
        store = CaptionStore.made(data, part, preprocess, together=part != "train")
        store.pictures = on_device(store.pictures, device)
        return store
    if isinstance(preprocess, RowEncoding):
        assert isinstance(data, RowData)
        return RowStore(data, part, preprocess)
    assert isinstance(data, SequenceData)
    if isinstance(preprocess, ForecastEncoding):
        return ForecastStore(data, part, preprocess)
    if isinstance(preprocess, LabelEncoding):
        return LabelStore(data, part, preprocess)
    assert not isinstance(preprocess, LanguageEncoding)  # whose parts are read in windows
    if data.task == FRAMES and part != "train":  # every step gets an answer, however long the sequence
        return SequenceStore(data, part, uncut(preprocess))
    return SequenceStore(data, part, preprocess)


def on_device(store: MemoryStore | StreamStore, device: torch.device) -> MemoryStore | StreamStore:
    """The images on the GPU where they take a small share of its memory: no batch is copied then."""
    if device.type != "cuda" or not isinstance(store, MemoryStore):
        return store
    return store.to(device) if store.images.numel() < GPU_SHARE * torch.cuda.mem_get_info(device)[0] else store
