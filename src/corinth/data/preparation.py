"""What samples go through on their way into a network, of images, rows or sequences: it is saved with the weights."""

from collections.abc import Mapping
from typing import Any

from corinth.data.preprocess import Preprocess
from corinth.data.rows.encoding import RowEncoding
from corinth.data.sequences.encoding import Encoding, encoding_from_dict

Preparation = Preprocess | RowEncoding | Encoding


def preparation_from_dict(values: Mapping[str, Any]) -> Preparation:
    """The inverse of its `to_dict`; those of rows and sequences say their `kind`."""
    if values.get("kind") == RowEncoding.kind:
        return RowEncoding.from_dict(values)
    return encoding_from_dict(values) if "kind" in values else Preprocess.from_dict(values)
