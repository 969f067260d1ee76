"""The network and the encoding of texts and time series, as a recipe and the data ask for them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from corinth.data import SequenceData, SeriesEncoding, TextEncoding
from corinth.data.sequences.encoding import Encoding, WordEncoding, target_scale
from corinth.data.sequences.pair_encoding import PairEncoding
from corinth.data.sequences.pairs import PairSource
from corinth.data.sequences.source import MeasuredSource
from corinth.data.sequences.tagged import TaggedSource
from corinth.errors import UsageError
from corinth.registry import entry
from corinth.training.finetune import freeze
from corinth.training.options import OF_PAIRS, OF_SEQUENCES, OF_TEXTS, WHAT, changed, configure_for
from corinth.training.recipe import Recipe
from corinth.weights import load_weights, read_config

_ENCODINGS = {"text": TextEncoding, "series": SeriesEncoding, "sentence": WordEncoding, "pair": PairEncoding}


def make_encoding(recipe: Recipe, data: SequenceData) -> Encoding:
    """The encoding that the recipe's weights were trained with; without weights one made of the training part."""
    if recipe.weights is not None:
        if own := changed(recipe, (*OF_TEXTS, *OF_SEQUENCES, *OF_PAIRS)):
            raise UsageError(f"{own[0]} is that of the weights {recipe.weights}, and cannot be another; leave it out")
        known: Any = read_config(recipe.weights).preprocess
        wanted = _ENCODINGS[data.source.unit]
        if not isinstance(known, wanted):
            raise UsageError(f"{recipe.weights} was not trained on {WHAT[data.source.unit]}")
        if isinstance(known, SeriesEncoding):
            known.check_channels(data)
            if isinstance(data.source, MeasuredSource) and known.target_mean is None:  # of a network for classes
                known = replace(known, **target_scale(data))
        return known
    if isinstance(data.source, PairSource):
        return PairEncoding.trained(
            data.source,
            data.positions("train"),
            tokenizer=recipe.tokenizer,
            vocab_size=recipe.vocab_size,
            lowercase=recipe.lowercase,
            max_len=recipe.max_len,
            share_vocab=recipe.share_vocab,
        )
    if isinstance(data.source, TaggedSource):
        return WordEncoding.trained(data, vocab_size=recipe.vocab_size, lowercase=recipe.lowercase)
    if not data.is_text:
        return SeriesEncoding.measured(data, max_len=recipe.max_len)
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
    if isinstance(encoding, PairEncoding):
        assert isinstance(data.source, PairSource)
        return encoding.count_cut(data.source)
    if isinstance(encoding, TextEncoding):
        source: Any = data.source
        return sum(count > encoding.max_len for count in encoding.counts(source.texts))
    return int((data.source.lengths > encoding.max_len).sum())


def build_sequence_model(
    recipe: Recipe, data: SequenceData, say: Callable[[str], object]
) -> tuple[nn.Module, Encoding]:
    """A network for the data's classes and the encoding of its input; `say` is told what was loaded and frozen."""
    found = entry(recipe.arch)
    encoding = make_encoding(recipe, data)
    if cut := count_cut(encoding, data):
        unit = "steps" if isinstance(encoding, SeriesEncoding) else "tokens"
        say(f"{cut} of {len(data)} sequences are longer than max_len, {encoding.max_len} {unit}, and lose their end")
    measured = isinstance(data.source, MeasuredSource)
    options: dict[str, Any] = {}
    if not isinstance(encoding, PairEncoding):
        options |= {"num_classes": 1 if measured else data.num_classes}
    if isinstance(encoding, WordEncoding):
        options |= {"pool": "none"}
    if isinstance(encoding, TextEncoding | WordEncoding):
        options |= {"vocab_size": encoding.vocab_size}
    elif isinstance(encoding, PairEncoding):
        options |= {name: getattr(encoding, name) for name in ("source_vocab_size", "target_vocab_size")}
    else:
        options |= {"input_size": encoding.channels}
    if data.task != "sequence-tagging" and recipe.options.get("pool") == "none":
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
