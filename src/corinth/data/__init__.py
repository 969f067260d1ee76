"""From a name or a path to batches of images: source, preprocess, augment, batch."""

from corinth.data.augment import Augmentation, TrainTransform
from corinth.data.batch import Batch
from corinth.data.builtin import BUILTINS
from corinth.data.decode import read_image
from corinth.data.images import ImageData, open_data
from corinth.data.loader import Loader
from corinth.data.preflight import Finding, Preflight, preflight
from corinth.data.preprocess import Preprocess, choose_size
from corinth.data.source import ArraySource, FileSource, ImageSource
from corinth.data.store import MemoryStore, Store, StreamStore, make_store

__all__ = [
    "BUILTINS",
    "ArraySource",
    "Augmentation",
    "Batch",
    "FileSource",
    "Finding",
    "ImageData",
    "ImageSource",
    "Loader",
    "MemoryStore",
    "Preflight",
    "Preprocess",
    "Store",
    "StreamStore",
    "TrainTransform",
    "choose_size",
    "make_store",
    "open_data",
    "preflight",
    "read_image",
]
