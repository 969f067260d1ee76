"""From a name or a path to batches: source, preprocess, augment, batch; texts and time series in `sequences`.

Names are imported on first use: the options (`Augmentation`) need no torch.
The preflight is `corinth.data.preflight.preflight`.
"""

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {  # name -> the module that has it
    "ArraySource": "source",
    "Augmentation": "augmentation",
    "BUILTINS": "builtin",
    "Batch": "batch",
    "FileSource": "source",
    "Finding": "preflight",
    "ImageData": "images",
    "ImageSource": "source",
    "JointTransform": "joint",
    "Loader": "loader",
    "MemoryStore": "store",
    "Preflight": "preflight",
    "Preprocess": "preprocess",
    "SequenceData": "sequences.source",
    "SequenceStore": "sequences.store",
    "Sequences": "sequences.batch",
    "SeriesEncoding": "sequences.encoding",
    "Store": "store",
    "StreamStore": "store",
    "TextEncoding": "sequences.encoding",
    "TrainTransform": "augment",
    "choose_sides": "preprocess",
    "choose_size": "preprocess",
    "is_image_file": "decode",
    "make_store": "store",
    "open_data": "opening",
    "read_image": "decode",
}
__all__ = list(_PUBLIC)

if TYPE_CHECKING:
    from corinth.data.augment import TrainTransform as TrainTransform
    from corinth.data.augmentation import Augmentation as Augmentation
    from corinth.data.batch import Batch as Batch
    from corinth.data.builtin import BUILTINS as BUILTINS
    from corinth.data.decode import is_image_file as is_image_file
    from corinth.data.decode import read_image as read_image
    from corinth.data.images import ImageData as ImageData
    from corinth.data.joint import JointTransform as JointTransform
    from corinth.data.loader import Loader as Loader
    from corinth.data.opening import open_data as open_data
    from corinth.data.preflight import Finding as Finding
    from corinth.data.preflight import Preflight as Preflight
    from corinth.data.preprocess import Preprocess as Preprocess
    from corinth.data.preprocess import choose_sides as choose_sides
    from corinth.data.preprocess import choose_size as choose_size
    from corinth.data.sequences.batch import Sequences as Sequences
    from corinth.data.sequences.encoding import SeriesEncoding as SeriesEncoding
    from corinth.data.sequences.encoding import TextEncoding as TextEncoding
    from corinth.data.sequences.source import SequenceData as SequenceData
    from corinth.data.sequences.store import SequenceStore as SequenceStore
    from corinth.data.source import ArraySource as ArraySource
    from corinth.data.source import FileSource as FileSource
    from corinth.data.source import ImageSource as ImageSource
    from corinth.data.store import MemoryStore as MemoryStore
    from corinth.data.store import Store as Store
    from corinth.data.store import StreamStore as StreamStore
    from corinth.data.store import make_store as make_store


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'corinth.data' has no attribute {name!r}")
    return getattr(importlib.import_module(f"corinth.data.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
