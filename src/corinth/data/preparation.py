"""What samples go through on their way into a network, of images, rows or sequences: it is saved with the weights."""

from collections.abc import Mapping
from typing import Any

from corinth.data.caption_encoding import CaptionEncoding
from corinth.data.preprocess import Preprocess
from corinth.data.rows.encoding import RowEncoding
from corinth.data.sequences.encoding import ENCODINGS, Encoding, encoding_from_dict
from corinth.data.sequences.forecast_encoding import ForecastEncoding
from corinth.data.sequences.label_encoding import LabelEncoding
from corinth.data.sequences.language_encoding import LanguageEncoding

SequenceEncoding = Encoding | LabelEncoding | LanguageEncoding | ForecastEncoding
Preparation = Preprocess | CaptionEncoding | RowEncoding | SequenceEncoding


def preparation_from_dict(values: Mapping[str, Any]) -> Preparation:
    """The inverse of its `to_dict`; those of rows and sequences say their `kind`."""
    for encoding in (RowEncoding, CaptionEncoding, LabelEncoding):
        if values.get("kind") == encoding.kind:
            return encoding.from_dict(values)
    if "kind" in values:
        return encoding_from_dict(values, (*ENCODINGS, LanguageEncoding, ForecastEncoding))
    return Preprocess.from_dict(values)
