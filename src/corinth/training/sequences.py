"""The network and the encoding of texts and time series, as a recipe and the data ask for them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from corinth.data import SequenceData, SeriesEncoding, TextEncoding
from corinth.data.sequences.encoding import Encoding, WordEncoding, target_scale
from corinth.data.sequences.source import MeasuredSource, TranscriptSource
from corinth.data.sequences.tagged import TaggedSource
from corinth.data.sequences.transcripts import needed_steps
from corinth.errors import UsageError
from corinth.registry import entry
from corinth.training.finetune import freeze
from corinth.training.options import OF_SEQUENCES, OF_TEXTS, WHAT, changed, configure_for
from corinth.training.recipe import Recipe
from corinth.weights import load_weights, read_config


def make_encoding(recipe: Recipe, data: SequenceData) -> Encoding:
    """The encoding that the recipe's weights were trained with; without weights one made of the training part."""
    if recipe.weights is not None:
        if own := changed(recipe, (*OF_TEXTS, *OF_SEQUENCES, "series")):
            raise UsageError(f"{own[0]} is that of the weights {recipe.weights}, and cannot be another; leave it out")
        known: Any = read_config(recipe.weights).preprocess
        by_unit = {"text": TextEncoding, "sentence": WordEncoding}
        wanted = by_unit.get(data.source.unit, SeriesEncoding)
        if not isinstance(known, wanted):
            raise UsageError(f"{recipe.weights} was not trained on {WHAT[data.source.unit]}")
        if isinstance(known, SeriesEncoding):
            known.check_channels(data)
            if isinstance(data.source, MeasuredSource) and known.target_mean is None:  # of a network for classes
                known = replace(known, **target_scale(data))
        return known
    if isinstance(data.source, TaggedSource):
        return WordEncoding.trained(data, vocab_size=recipe.vocab_size, lowercase=recipe.lowercase)
    if not data.is_text:
        return SeriesEncoding.measured(data, max_len=recipe.max_len, features=recipe.series)
    return TextEncoding.trained(
        data,
        tokenizer=recipe.tokenizer,
        vocab_size=recipe.vocab_size,
        lowercase=recipe.lowercase,
        max_len=recipe.max_len,
    )


def count_cut(encoding: Encoding, data: SequenceData) -> int:
    """How many sequences are longer than the encoding keeps."""
    if encoding.max_len is None:
        return 0
    if isinstance(encoding, TextEncoding):
        source: Any = data.source
        return sum(count > encoding.max_len for count in encoding.counts(source.texts))
    return int((data.source.lengths > encoding.max_len).sum())


def check_room(encoding: Encoding, source: TranscriptSource) -> None:
    """Steps put together must still be enough for every transcript."""
    assert isinstance(encoding, SeriesEncoding)
    for place, length, labels in zip(source.places, source.lengths.tolist(), source.transcripts, strict=True):
        if encoding.steps(length) < (needed := needed_steps(labels.tolist())):
            raise UsageError(
                f"{place} has {encoding.steps(length)} steps with series.stack {encoding.stack}, and its transcript "
                f"needs {needed}; stack fewer"
            )


def build_sequence_model(
    recipe: Recipe, data: SequenceData, say: Callable[[str], object]
) -> tuple[nn.Module, Encoding]:
    """A network for the data's classes and the encoding of its input; `say` is told what was loaded and frozen."""
    found = entry(recipe.arch)
    encoding = make_encoding(recipe, data)
    if cut := count_cut(encoding, data):
        unit = "tokens" if data.is_text else "steps"
        say(f"{cut} of {len(data)} sequences are longer than max_len, {encoding.max_len} {unit}, and lose their end")
    measured = isinstance(data.source, MeasuredSource)
    options: dict[str, Any] = {"num_classes": 1 if measured else data.num_classes}
    if isinstance(encoding, WordEncoding):
        options |= {"pool": "none"}
    if isinstance(data.source, TranscriptSource):
        check_room(encoding, data.source)
        options |= {"pool": "none", "crf": False, "num_classes": data.num_classes + 1}  # the blank is the last
    if isinstance(encoding, TextEncoding | WordEncoding):
        options |= {"vocab_size": encoding.vocab_size}
    else:
        options |= {"input_size": encoding.width}
    if data.task not in ("sequence-tagging", "transcription") and recipe.options.get("pool") == "none":
        what = "number" if measured else "label"
        raise UsageError(
            f"pool none gives an answer at every step, and these data have a {what} a sequence; use another"
        )
    if measured and recipe.options.get("crf"):
        raise UsageError("crf is for a tag at every step, and these data have a number a sequence; leave it out")
    for name, value in options.items():
        if recipe.options.get(name, value) != value:
            raise UsageError(
                f"{name} {recipe.options[name]} does not fit {data.name}, which needs {value}; leave it out"
            )
    model = found.cls(configure_for(found, {**recipe.options, **options}))
    if recipe.weights is not None:
        say(f"weights: {load_weights(model, recipe.weights, arch=found.name)}")
    if recipe.freeze is not None:
        say(freeze(model, recipe.freeze, found.name))
    return model, encoding
