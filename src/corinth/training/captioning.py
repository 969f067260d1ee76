"""The words and the batches of captions, as a recipe asks for them."""

from collections.abc import Callable
from typing import Any

from corinth.data import ImageData
from corinth.data.caption_encoding import CaptionEncoding
from corinth.data.captions import CaptionSource
from corinth.data.sequences.wording import Wording
from corinth.errors import UsageError
from corinth.training.options import OF_SEQUENCES, OF_TEXTS, changed
from corinth.training.recipe import Recipe
from corinth.training.sequences import make_wording
from corinth.weights import read_config


def make_caption_words(recipe: Recipe, data: ImageData, say: Callable[[str], object], *, own: bool) -> Wording:
    """The tokens that the recipe's weights, where these are of the whole network (`own`), were trained with; else of
    the training part's captions. `say` is told how many captions are cut."""
    source: Any = data.source
    assert isinstance(source, CaptionSource)
    if own:
        if given := changed(recipe, (*OF_TEXTS, *OF_SEQUENCES)):
            raise UsageError(f"{given[0]} is that of the weights {recipe.weights}, and cannot be another; leave it out")
        known = read_config(str(recipe.weights)).preprocess
        if not isinstance(known, CaptionEncoding):
            raise UsageError(f"{recipe.weights} was not trained on pictures with captions")
        words = known.words
    else:
        words = make_wording(recipe, source.captions_at(data.positions("train")))
    captions = source.captions_at(data.positions("all"))
    if cut := words.count_cut(captions):
        say(f"{cut} of {len(captions)} captions are longer than max_len, {words.max_len} tokens, and lose their end")
    return words


def check_pairs(recipe: Recipe, processes: int) -> None:
    """Batch norm of the pictures' vectors needs two of them in each part of a step."""
    if int(recipe.batch_size) < (least := 2 * recipe.accumulate * processes):
        shared = f"accumulate {recipe.accumulate}" + (f" on {processes} processes" if processes > 1 else "")
        raise UsageError(
            f"batch_size {recipe.batch_size} is too small for captioning with {shared}: batch norm needs two pictures "
            f"at a time; it must be at least {least}"
        )
