"""An architecture's config from options that a recipe gives, and fields of a recipe that its data have no use for."""

from collections.abc import Sequence
from typing import Any

from corinth.data.dataset import DataSet
from corinth.errors import UsageError
from corinth.registry import Entry, configure, entry
from corinth.training.recipe import Recipe

OF_IMAGES = ("img_size", "fit", "interpolation", "augmentation")
OF_SEQUENCES = ("max_len",)
OF_TEXTS = ("tokenizer", "vocab_size", "lowercase")
OF_PAIRS = ("share_vocab",)
WHAT = {
    "image": "images",
    "row": "rows of a table",
    "text": "texts",
    "series": "time series",
    "sentence": "tagged sentences",
    "pair": "translations",
    "passage": "running text",
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
        "image": (*OF_SEQUENCES, *OF_TEXTS, *OF_PAIRS),
        "row": (*OF_IMAGES, *OF_SEQUENCES, *OF_TEXTS, *OF_PAIRS),
        "text": (*OF_IMAGES, *OF_PAIRS),
        "series": (*OF_IMAGES, *OF_TEXTS, *OF_PAIRS),
        "passage": (*OF_IMAGES, *OF_PAIRS),
        "sentence": (*OF_IMAGES, *OF_SEQUENCES, "tokenizer", *OF_PAIRS),
        "pair": OF_IMAGES,
    }[unit]
    if given := changed(recipe, idle):
        raise UsageError(f"{given[0]} does nothing with {WHAT[unit]}, which {data.name} are; leave it out")


def changed(recipe: Recipe, names: Sequence[str]) -> list[str]:
    """Those fields of a recipe that are neither at their defaults nor as the architecture's card has them."""
    usual, card = Recipe(arch=recipe.arch, data=recipe.data), entry(recipe.arch).card.recipe
    known = {name: (getattr(usual, name), card.get(name, getattr(usual, name))) for name in names}
    return [name for name in names if getattr(recipe, name) not in known[name]]
