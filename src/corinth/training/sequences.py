"""The network and the encoding of texts and time series, as a recipe and the data ask for them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from corinth.data import SequenceData, SeriesEncoding, TextEncoding
from corinth.data.measured import target_scale
from corinth.data.preparation import SequenceEncoding
from corinth.data.sequences.clip_encoding import ClipEncoding
from corinth.data.sequences.clips import ClipSource
from corinth.data.sequences.encoding import WordEncoding
from corinth.data.sequences.forecast_encoding import ForecastEncoding
from corinth.data.sequences.label_encoding import FROM_LABEL, LabelEncoding
from corinth.data.sequences.labelled import FRAMES
from corinth.data.sequences.language import LANGUAGE
from corinth.data.sequences.language_encoding import LanguageEncoding
from corinth.data.sequences.pair_encoding import PairEncoding
from corinth.data.sequences.pairs import PairSource
from corinth.data.sequences.source import MeasuredSource, SteppedSource, TextSource, TranscriptSource
from corinth.data.sequences.tagged import TaggedSource
from corinth.data.sequences.transcripts import needed_steps
from corinth.data.sequences.wording import Wording
from corinth.errors import UsageError
from corinth.registry import Entry, entry
from corinth.training.language import make_language_encoding
from corinth.training.network import fitted
from corinth.training.options import OF_FORECASTS, OF_PAIRS, OF_SEQUENCES, OF_TEXTS, WHAT, changed
from corinth.training.recipe import Recipe
from corinth.weights import read_config

ENCODINGS: dict[str, type[Any]] = {  # what a sample is called -> its encoding
    "text": TextEncoding,
    "series": SeriesEncoding,
    "clip": ClipEncoding,
    "recording": SeriesEncoding,
    "sentence": WordEncoding,
    "passage": LanguageEncoding,
    "window": ForecastEncoding,
    "pair": PairEncoding,
}


def make_encoding(recipe: Recipe, data: SequenceData) -> SequenceEncoding:
    """The encoding that the recipe's weights were trained with; without weights one made of the training part."""
    if recipe.weights is not None:
        if own := changed(recipe, (*OF_TEXTS, *OF_SEQUENCES, *OF_PAIRS, *OF_FORECASTS, "series")):
            raise UsageError(f"{own[0]} is that of the weights {recipe.weights}, and cannot be another; leave it out")
        known: Any = read_config(recipe.weights).preprocess
        from_label = data.task == FROM_LABEL
        if not isinstance(known, LabelEncoding if from_label else ENCODINGS[data.source.unit]):
            what = "texts to be written of their labels" if from_label else WHAT[data.source.unit]
            raise UsageError(f"{recipe.weights} was not trained on {what}")
        known.check_data(data)
        if isinstance(data.source, MeasuredSource) and known.target_mean is None:  # of a network for classes
            return replace(known, **target_scale(data))
        return known
    if data.task == LANGUAGE:
        return make_language_encoding(recipe, data)
    if data.source.unit == "window":
        return ForecastEncoding.measured(data, relative=recipe.relative)
    if data.task == FROM_LABEL:
        assert isinstance(data.source, TextSource)
        texts = [data.source.texts[i] for i in data.positions("train")]
        return LabelEncoding(words=make_wording(recipe, texts), num_labels=data.num_classes)
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
    if isinstance(data.source, ClipSource):
        return ClipEncoding.measured(data, max_len=recipe.max_len)
    if not data.is_text:
        return SeriesEncoding.measured(data, max_len=recipe.max_len, features=recipe.series)
    return TextEncoding.trained(
        data,
        tokenizer=recipe.tokenizer or "word",
        vocab_size=recipe.vocab_size,
        lowercase=lowercase,
        max_len=recipe.max_len,
    )


def make_wording(recipe: Recipe, texts: list[str]) -> Wording:
    """Tokens of the training part's texts, which are written: words in small letters, unless the recipe says
    otherwise."""
    return Wording.trained(
        texts,
        tokenizer=recipe.tokenizer or "word",
        vocab_size=recipe.vocab_size,
        lowercase=recipe.lowercase is not False,
        max_len=recipe.max_len,
    )


def check_steps(found: Entry, data: SequenceData) -> None:
    """Frames are for networks that look at pictures, and numbers for the others."""
    takes_frames = hasattr(found.config, "in_chans")
    if isinstance(data.source, ClipSource) and not takes_frames:
        raise UsageError(f"{found.name} takes numbers, and {data.name} has clips of frames; lrcn takes these")
    if isinstance(data.source, SteppedSource) and takes_frames:
        raise UsageError(f"{found.name} takes clips of frames, and {data.name} has numbers; use lstm, gru, ...")


def check_room(encoding: SequenceEncoding, source: TranscriptSource) -> None:
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
) -> tuple[nn.Module, SequenceEncoding]:
    """A network for the data's classes and the encoding of its input; `say` is told what was loaded and frozen."""
    check_steps(entry(recipe.arch), data)
    encoding = make_encoding(recipe, data)
    if cut := encoding.count_cut(data):
        unit = {"series": "steps", "recording": "steps", "clip": "frames"}.get(data.source.unit, "tokens")
        count = f"{len(data.positions('train'))} training" if data.task == FRAMES else str(len(data))
        say(f"{cut} of {count} sequences are longer than max_len, {encoding.max_len} {unit}, and lose their end")
    measured = isinstance(data.source, MeasuredSource)
    options: dict[str, Any] = {"num_classes": 1 if measured else data.num_classes}
    if isinstance(encoding, PairEncoding):
        options = {}
    options |= encoding.network_options()
    if isinstance(encoding, WordEncoding | LanguageEncoding):
        options |= {"pool": "none"}
    if isinstance(encoding, LanguageEncoding):
        options |= {"num_classes": encoding.vocab_size, "bidirectional": False, "crf": False}
    if isinstance(data.source, TranscriptSource):
        check_room(encoding, data.source)
        options |= {"pool": "none", "crf": False, "num_classes": data.num_classes + 1}  # the blank is the last
    if isinstance(data.source, SteppedSource):
        options |= {"pool": "none", "crf": False}  # each step has a probability of its own
    by_step = data.task in ("sequence-tagging", "transcription", LANGUAGE, FRAMES)
    what = "forecast" if isinstance(encoding, ForecastEncoding) else "number" if measured else "label"
    if not by_step and recipe.options.get("pool") == "none":
        raise UsageError(
            f"pool none gives an answer at every step, and these data have a {what} a sequence; use another"
        )
    if what != "label" and recipe.options.get("crf"):
        raise UsageError(f"crf is for a tag at every step, and these data have a {what} a sequence; leave it out")
    if data.task == LANGUAGE and recipe.options.get("bidirectional"):
        raise UsageError(f"bidirectional true reads {data.name} backwards too, and would see what it has to predict")
    return fitted(recipe, data, options, say), encoding
