"""The network and the encoding of texts and time series, as a recipe and the data ask for them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from corinth.data import SequenceData, SeriesEncoding, TextEncoding
from corinth.data.sequences.encoding import Encoding, WordEncoding, target_scale
from corinth.data.sequences.forecast_encoding import ForecastEncoding
from corinth.data.sequences.language import LANGUAGE
from corinth.data.sequences.language_encoding import LanguageEncoding
from corinth.data.sequences.pair_encoding import PairEncoding
from corinth.data.sequences.pairs import PairSource
from corinth.data.sequences.source import MeasuredSource, TranscriptSource
from corinth.data.sequences.tagged import TaggedSource
from corinth.data.sequences.transcripts import needed_steps
from corinth.errors import UsageError
from corinth.training.forecasting import forecasting_options
from corinth.training.language import make_language_encoding
from corinth.training.network import fitted
from corinth.training.options import OF_FORECASTS, OF_PAIRS, OF_SEQUENCES, OF_TEXTS, WHAT, changed
from corinth.training.recipe import Recipe
from corinth.weights import read_config

ENCODINGS: dict[str, type[Any]] = {  # what a sample is called -> its encoding
    "text": TextEncoding,
    "series": SeriesEncoding,
    "recording": SeriesEncoding,
    "sentence": WordEncoding,
    "passage": LanguageEncoding,
    "window": ForecastEncoding,
    "pair": PairEncoding,
}


def make_encoding(recipe: Recipe, data: SequenceData) -> Encoding | LanguageEncoding | ForecastEncoding:
    """The encoding that the recipe's weights were trained with; without weights one made of the training part."""
    if recipe.weights is not None:
        if own := changed(recipe, (*OF_TEXTS, *OF_SEQUENCES, *OF_PAIRS, *OF_FORECASTS, "series")):
            raise UsageError(f"{own[0]} is that of the weights {recipe.weights}, and cannot be another; leave it out")
        known: Any = read_config(recipe.weights).preprocess
        if not isinstance(known, ENCODINGS[data.source.unit]):
            raise UsageError(f"{recipe.weights} was not trained on {WHAT[data.source.unit]}")
        if isinstance(known, PairEncoding):
            assert isinstance(data.source, PairSource)
            known.check_direction(data.source, data.name)
        if isinstance(known, ForecastEncoding):
            known.check_channels(data)
        if isinstance(known, SeriesEncoding):
            known.check_channels(data)
            if isinstance(data.source, MeasuredSource) and known.target_mean is None:  # of a network for classes
                known = replace(known, **target_scale(data))
        return known
    if data.task == LANGUAGE:
        return make_language_encoding(recipe, data)
    if data.source.unit == "window":
        return ForecastEncoding.measured(data, relative=recipe.relative)
    if isinstance(data.source, PairSource):
        return PairEncoding.trained(
            data.source,
            data.positions("train"),
            tokenizer=recipe.tokenizer or "bpe",
            vocab_size=recipe.vocab_size,
            lowercase=recipe.lowercase is True,
            max_len=recipe.max_len,
            share_vocab=recipe.share_vocab,
        )
    lowercase = recipe.lowercase is not False
    if isinstance(data.source, TaggedSource):
        return WordEncoding.trained(data, vocab_size=recipe.vocab_size, lowercase=lowercase)
    if not data.is_text:
        return SeriesEncoding.measured(data, max_len=recipe.max_len, features=recipe.series)
    return TextEncoding.trained(
        data,
        tokenizer=recipe.tokenizer or "word",
        vocab_size=recipe.vocab_size,
        lowercase=lowercase,
        max_len=recipe.max_len,
    )


def count_cut(encoding: Encoding | LanguageEncoding | ForecastEncoding, data: SequenceData) -> int:
    """How many sequences are longer than the encoding keeps."""
    if encoding.max_len is None or isinstance(encoding, LanguageEncoding):
        return 0
    if isinstance(encoding, PairEncoding):
        assert isinstance(data.source, PairSource)
        return encoding.count_cut(data.source)
    if isinstance(encoding, TextEncoding):
        source: Any = data.source
        return sum(count > encoding.max_len for count in encoding.counts(source.texts))
    return int((data.source.lengths > encoding.max_len).sum())


def check_room(encoding: Encoding | LanguageEncoding | ForecastEncoding, source: TranscriptSource) -> None:
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
) -> tuple[nn.Module, Encoding | LanguageEncoding | ForecastEncoding]:
    """A network for the data's classes and the encoding of its input; `say` is told what was loaded and frozen."""
    encoding = make_encoding(recipe, data)
    if cut := count_cut(encoding, data):
        unit = "steps" if isinstance(encoding, SeriesEncoding) else "tokens"
        say(f"{cut} of {len(data)} sequences are longer than max_len, {encoding.max_len} {unit}, and lose their end")
    measured = isinstance(data.source, MeasuredSource)
    options: dict[str, Any] = {}
    if not isinstance(encoding, PairEncoding):
        options |= {"num_classes": 1 if measured else data.num_classes}
    if isinstance(encoding, WordEncoding | LanguageEncoding):
        options |= {"pool": "none"}
    if isinstance(encoding, LanguageEncoding):
        options |= {"num_classes": encoding.vocab_size, "bidirectional": False, "crf": False}
    if isinstance(data.source, TranscriptSource):
        check_room(encoding, data.source)
        options |= {"pool": "none", "crf": False, "num_classes": data.num_classes + 1}  # the blank is the last
    if isinstance(encoding, PairEncoding):
        options |= {name: getattr(encoding, name) for name in ("source_vocab_size", "target_vocab_size")}
    elif isinstance(encoding, ForecastEncoding):
        options |= forecasting_options(recipe, encoding)
    elif isinstance(encoding, SeriesEncoding):
        options |= {"input_size": encoding.width}
    else:
        options |= {"vocab_size": encoding.vocab_size}
    by_step = data.task in ("sequence-tagging", "transcription", LANGUAGE)
    if not by_step and recipe.options.get("pool") == "none":
        what = "forecast" if isinstance(encoding, ForecastEncoding) else "number" if measured else "label"
        raise UsageError(
            f"pool none gives an answer at every step, and these data have a {what} a sequence; use another"
        )
    if measured and recipe.options.get("crf"):
        raise UsageError("crf is for a tag at every step, and these data have a number a sequence; leave it out")
    if data.task == LANGUAGE and recipe.options.get("bidirectional"):
        raise UsageError(f"bidirectional true reads {data.name} backwards too, and would see what it has to predict")
    return fitted(recipe, data, options, say), encoding
