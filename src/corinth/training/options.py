"""An architecture's config from options that a recipe gives, and fields of a recipe that its data have no use for."""

from collections.abc import Sequence
from typing import Any

from corinth.data.dataset import DataSet
from corinth.data.sequences.labelled import FRAMES
from corinth.data.sequences.source import TRANSCRIPTION, Series
from corinth.errors import UsageError
from corinth.registry import Entry, configure, entry
from corinth.training.recipe import Recipe

OF_IMAGES = ("img_size", "fit", "interpolation", "augmentation")
OF_SEQUENCES = ("max_len",)
OF_TEXTS = ("tokenizer", "vocab_size", "lowercase")
OF_SERIES = ("series", "series_augmentation")
OF_SOUND = ("trim", "pitch", "background", "filter")  # of what is done to series
OF_TRANSCRIPTS = ("transcript_units",)
OF_PAIRS = ("share_vocab",)
OF_FORECASTS = ("relative",)
MIXED = ("mixup", "cutmix")  # of what is done to images
WHAT = {
    "image": "images",
    "picture": "pictures with captions",
    "row": "rows of a table",
    "text": "texts",
    "series": "time series",
    "sentence": "tagged sentences",
    "recording": "recordings with transcripts",
    "pair": "translations",
    "clip": "clips of frames",
    "passage": "running text",
    "window": "series to forecast",
}


def configure_for(found: Entry, options: dict[str, Any]) -> Any:
    """The architecture's config; an option it does not have is a usage error here, as it came from a recipe."""
    try:
        return configure(found.name, **options)
    except TypeError as error:
        raise UsageError(str(error)) from error


def refuse_idle_fields(recipe: Recipe, data: DataSet) -> None:
    """A field that would do nothing with these data is a `UsageError`."""
    unit = data.source.unit
    idle = {
        "image": (*OF_SEQUENCES, *OF_TEXTS, *OF_PAIRS, *OF_SERIES, *OF_TRANSCRIPTS),
        "picture": (*OF_PAIRS, *OF_SERIES, *OF_TRANSCRIPTS),
        "row": (*OF_IMAGES, *OF_SEQUENCES, *OF_TEXTS, *OF_PAIRS, *OF_SERIES, *OF_TRANSCRIPTS),
        "text": (*OF_IMAGES, *OF_PAIRS, *OF_SERIES, *OF_TRANSCRIPTS),
        "series": (*OF_IMAGES, *OF_TEXTS, *OF_PAIRS, *OF_TRANSCRIPTS),
        "recording": (*OF_IMAGES, *OF_TEXTS, *OF_PAIRS),
        "passage": (*OF_IMAGES, *OF_PAIRS, *OF_SERIES, *OF_TRANSCRIPTS),
        "sentence": (*OF_IMAGES, *OF_SEQUENCES, "tokenizer", *OF_PAIRS, *OF_SERIES, *OF_TRANSCRIPTS),
        "pair": (*OF_IMAGES, *OF_SERIES, *OF_TRANSCRIPTS),
        "window": (*OF_IMAGES, *OF_SEQUENCES, *OF_TEXTS, *OF_PAIRS, *OF_SERIES, *OF_TRANSCRIPTS),
        "clip": (*OF_IMAGES, *OF_TEXTS, *OF_PAIRS, *OF_SERIES, *OF_TRANSCRIPTS),
    }[unit]
    idle = idle if unit == "window" else (*idle, *OF_FORECASTS)
    if given := changed(recipe, idle):
        raise UsageError(f"{given[0]} does nothing with {WHAT[unit]}, which {data.name} are; leave it out")
    if unit == "picture" and (given := [name for name in MIXED if getattr(recipe.augmentation, name)]):
        raise UsageError(f"augmentation.{given[0]} mixes labels, and captions cannot be mixed; leave it out")
    silent = isinstance(data.source, Series) and data.source.audio_rate is None
    if silent and (given := [name for name in OF_SOUND if getattr(recipe.series_augmentation, name)]):
        raise UsageError(f"series_augmentation.{given[0]} is for recordings, and {data.name} has none; leave it out")
    if silent and recipe.series.cepstra:
        raise UsageError(f"series.cepstra is for recordings, and {data.name} has none; leave it out")
    if data.task == TRANSCRIPTION and (recipe.max_len is not None or recipe.series_augmentation.crop):
        name = "series_augmentation.crop" if recipe.max_len is None else "max_len"
        raise UsageError(f"{name} cuts away what transcripts say; leave it out")

    if data.task == FRAMES:
        _refuse_moved_steps(recipe)


def _refuse_moved_steps(recipe: Recipe) -> None:
    """What gives a sequence other steps than its labels are of."""
    moved = [f"series_augmentation.{name}" for name in ("speed", "crop") if getattr(recipe.series_augmentation, name)]
    if moved := [*moved, *(["series.stack"] if recipe.series.stack > 1 else [])]:
        raise UsageError(f"{moved[0]} changes the steps of a series, and each has a label of its own; leave it out")


def changed(recipe: Recipe, names: Sequence[str]) -> list[str]:
    """Those fields of a recipe that are neither at their defaults nor as the architecture's card has them."""
    usual, card = Recipe(arch=recipe.arch, data=recipe.data), entry(recipe.arch).card.recipe
    known = {name: (getattr(usual, name), card.get(name, getattr(usual, name))) for name in names}
    return [name for name in names if getattr(recipe, name) not in known[name]]
