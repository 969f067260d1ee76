"""What a language model is trained with: its encoding, and the windows of its text."""

from typing import Any

from corinth.data import Loader, SequenceData
from corinth.data.sequences.language_encoding import LanguageEncoding
from corinth.data.sequences.windows import ScoredWindows, TrainingWindows
from corinth.training.recipe import Recipe


def make_language_encoding(recipe: Recipe, data: SequenceData) -> LanguageEncoding:
    """Of characters as they are, unless the recipe says otherwise."""
    return LanguageEncoding.trained(
        data,
        unit=recipe.tokenizer or "char",
        vocab_size=recipe.vocab_size,
        lowercase=bool(recipe.lowercase),
        max_len=recipe.max_len,
    )


def make_language_loaders(
    recipe: Recipe, data: SequenceData, encoding: LanguageEncoding, place: dict[str, Any]
) -> tuple[Loader, Loader | None]:
    """The training text in as many streams as a batch has rows, and the validation text; None where there is none."""
    windows = TrainingWindows(data, encoding, int(recipe.batch_size))
    loader = Loader(windows, windows.streams, shuffle=True, seed=recipe.seed, **place)
    if not data.scorable("val"):
        return loader, None
    scored = ScoredWindows(data, "val", encoding)
    return loader, Loader(scored, scored.streams, **place)
