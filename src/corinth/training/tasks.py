"""What a network learns from data, as a recipe asks for it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from corinth.data import SeriesEncoding
from corinth.data.captions import CaptionSource
from corinth.data.dataset import DataSet
from corinth.data.masks import MaskSource
from corinth.data.measured import target_scale
from corinth.data.preparation import Preparation
from corinth.data.rows.encoding import RowEncoding
from corinth.data.sequences.pairs import PairSource
from corinth.errors import UsageError
from corinth.tasks import (
    Captioning,
    Forecasting,
    FrameClassification,
    ImageClassification,
    LanguageModeling,
    ObjectDetection,
    SemanticSegmentation,
    SequenceClassification,
    SequenceRegression,
    SequenceTagging,
    TabularClassification,
    TabularRegression,
    Task,
    TextFromLabel,
    Transcription,
    Translation,
    balanced_weights,
)
from corinth.tasks.bleu import bleu_tokenizer
from corinth.tasks.classification import weights_of_counts
from corinth.tasks.kinds import KINDS
from corinth.training.forecasting import make_forecasting
from corinth.training.options import changed
from corinth.training.recipe import Recipe

WRITTEN = ("translation", "captioning", "text-from-label")  # tasks whose answers are texts

REGRESSIONS = (SequenceRegression.name, TabularRegression.name, Forecasting.name)


def make_task(recipe: Recipe, model: nn.Module, data: DataSet, preparation: Preparation | None = None) -> Task:
    """What the recipe's network learns from the data; a field that does nothing for it is a `UsageError`.

    Where numbers are learnt, `preparation` knows their scale; without it that is the training part's. Translation
    needs its tokens.
    """
    makers: dict[str, Callable[[Recipe, nn.Module, DataSet], Task]] = {
        "image-classification": partial(_classification, ImageClassification),
        "tabular-classification": partial(_classification, TabularClassification),
        "sequence-classification": partial(_classification, SequenceClassification),
        "sequence-regression": partial(_regression, SequenceRegression, preparation),
        "tabular-regression": partial(_regression, TabularRegression, preparation),
        "frame-classification": _frames,
        "sequence-tagging": partial(_unweighted, SequenceTagging),
        "language-modeling": partial(_unweighted, lambda model, _: LanguageModeling(model)),
        "forecasting": partial(make_forecasting, preparation),
        "semantic-segmentation": _segmentation,
        "object-detection": partial(_unweighted, ObjectDetection),
        "transcription": partial(_unweighted, Transcription),
        "translation": partial(_translation, preparation),
        "captioning": partial(_captioning, preparation),
        "text-from-label": partial(_text_from_label, preparation),
    }
    smooths = KINDS[data.task].classification or data.task in WRITTEN
    # a card may have it for other data
    if recipe.label_smoothing and not smooths and changed(recipe, ("label_smoothing",)):
        raise UsageError(
            f"label_smoothing {recipe.label_smoothing} is for classification and tasks whose answers are texts, not "
            f"for {data.task}"
        )
    if recipe.regression_loss != "squared" and data.task not in REGRESSIONS:
        raise UsageError(f"regression_loss {recipe.regression_loss} is for regression, not for {data.task}")
    return makers[data.task](recipe, model, data)


def _classification(cls: Callable[..., Task], recipe: Recipe, model: nn.Module, data: DataSet) -> Task:
    balanced = recipe.class_weights == "balanced"
    weights = balanced_weights(data.labels("train"), data.num_classes) if balanced else None
    return cls(model, data.classes, label_smoothing=recipe.label_smoothing, class_weights=weights)


def _regression(
    cls: Callable[..., Task], preparation: Preparation | None, recipe: Recipe, model: nn.Module, data: DataSet
) -> Task:
    if recipe.class_weights != "none":
        raise UsageError(
            f"class_weights {recipe.class_weights} is not for {data.task}, which has no classes; leave it out"
        )
    scale = target_scale(data)
    if isinstance(preparation, SeriesEncoding | RowEncoding) and preparation.target_mean is not None:
        scale = {"target_mean": preparation.target_mean, "target_std": preparation.target_std or 1.0}
    return cls(model, mean=scale["target_mean"], std=scale["target_std"], loss=recipe.regression_loss)


def _segmentation(recipe: Recipe, model: nn.Module, data: DataSet) -> Task:
    weights = None
    if recipe.class_weights == "balanced":
        assert isinstance(data.source, MaskSource)
        weights = weights_of_counts(torch.from_numpy(data.source.pixels[data.positions("train")].sum(axis=0)))
    return SemanticSegmentation(model, data.classes, class_weights=weights)


def _frames(recipe: Recipe, model: nn.Module, data: DataSet) -> Task:
    weights = None
    if recipe.class_weights == "balanced":
        weights = weights_of_counts(torch.from_numpy(data.source.amounts()[data.positions("train")].sum(axis=0)))
    return FrameClassification(model, data.classes, class_weights=weights)


def _unweighted(cls: Callable[..., Task], recipe: Recipe, model: nn.Module, data: DataSet) -> Task:
    if recipe.class_weights != "none":
        raise UsageError(f"class_weights {recipe.class_weights} is not for {data.task}; leave it out")
    return cls(model, data.classes)


def _captioning(encoding: Any, recipe: Recipe, model: nn.Module, data: DataSet) -> Task:
    assert isinstance(data.source, CaptionSource)
    captions = data.source.captions_at(data.positions("train"))
    options = {"decode": encoding.words.decoded, "bleu_tokenizer": bleu_tokenizer(captions)}
    return Captioning(model, references=data.source.captions, **options, **_writing(encoding, recipe, data))


def _text_from_label(encoding: Any, recipe: Recipe, model: nn.Module, data: DataSet) -> Task:
    return TextFromLabel(model, **_writing(encoding, recipe, data))


def _writing(encoding: Any, recipe: Recipe, data: DataSet) -> dict[str, Any]:
    """What both kinds of texts that are written need."""
    if recipe.class_weights != "none":
        raise UsageError(f"class_weights {recipe.class_weights} is not for {data.task}; leave it out")
    return encoding.words.options | {"label_smoothing": recipe.label_smoothing}


def _translation(encoding: Any, recipe: Recipe, model: nn.Module, data: DataSet) -> Task:
    assert isinstance(data.source, PairSource)
    if recipe.class_weights != "none":
        raise UsageError(f"class_weights {recipe.class_weights} is not for {data.task}; leave it out")
    return Translation(
        model,
        begin=encoding.begin,
        end=encoding.end,
        decode=encoding.decoded,
        bleu_tokenizer=bleu_tokenizer(data.source.translations),
        label_smoothing=recipe.label_smoothing,
    )
