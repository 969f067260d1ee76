"""What samples go through on their way into a network, of images or of sequences: it is saved with the weights."""

from collections.abc import Mapping
from typing import Any

from corinth.data.preprocess import Preprocess
from corinth.data.sequences.encoding import Encoding, encoding_from_dict
from corinth.data.sequences.language_encoding import LanguageEncoding

Preparation = Preprocess | Encoding | LanguageEncoding


def preparation_from_dict(values: Mapping[str, Any]) -> Preparation:
    """The inverse of its `to_dict`; that of sequences says its `kind`."""
    return encoding_from_dict(values) if "kind" in values else Preprocess.from_dict(values)
