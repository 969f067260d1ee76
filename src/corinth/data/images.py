"""One labelled image set with its splits, from a name or a path."""

import hashlib
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from corinth.data import binary, builtin
from corinth.data.boxes import is_box_data, open_boxes
from corinth.data.collect import CLASSIFICATION, Collected, Progress, check_names
from corinth.data.folders import count_class_folders, open_folders
from corinth.data.mask_layout import lacking_masks
from corinth.data.masks import MaskSource, is_mask_folder, open_masks
from corinth.data.source import ArraySource, FileSource, ImageSource, TargetSource
from corinth.data.splits import check_classes, make_splits
from corinth.data.tables import TABLE_SUFFIXES, open_table
from corinth.errors import DataError, UsageError

OPTIONS = ("split_seed", "val_share", "test_share", "path_column", "label_column")  # of `open_data` and of a recipe
_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class ImageData:
    """Images, labels and splits; nothing is decoded yet.

    `splits` maps "train", "val" and "test" to sorted int64 positions in `source`; a part may be empty.
    `native_size` is the median (H, W), `channels` 1 if all images are grey, else 3. `corrupt` lists the files left
    out because their header could not be read, as (path, reason); damage further inside shows when a store is made.
    """

    name: str
    spec: str
    source: ImageSource
    splits: dict[str, np.ndarray]
    declared_splits: tuple[str, ...]  # the parts that the data itself declares
    notes: tuple[str, ...]  # what was inferred, said aloud
    native_size: tuple[int, int]
    channels: int
    fingerprint: str  # sha256 of keys, sizes or pixels, label names and splits; not of where the data lies
    corrupt: tuple[tuple[str, str], ...] = ()
    max_corrupt: float = 0.05
    opened_with: Mapping[str, Any] = field(default_factory=dict)  # the `OPTIONS` that open it like this again
    task: str = CLASSIFICATION  # what can be learnt from it

    @property
    def classes(self) -> tuple[str, ...]:
        return self.source.classes

    @property
    def num_classes(self) -> int:
        return len(self.source.classes)

    def __len__(self) -> int:
        return len(self.source)

    def positions(self, split: str) -> np.ndarray:
        """Positions of a part, or of "all"."""
        if split == "all":
            return np.arange(len(self.source))
        if split not in self.splits:
            raise UsageError(f"split {split!r} is none of {', '.join(self.splits)}, all")
        return self.splits[split]

    def scorable(self, split: str) -> bool:
        """Whether a part has images and, where targets are masks or boxes, a pixel with a class or a box in them."""
        rows = self.positions(split)
        if isinstance(self.source, TargetSource):
            return bool(self.source.amounts()[rows].any())
        return len(rows) > 0

    def labels(self, split: str = "all") -> np.ndarray:
        """int64 labels of a part, in the order of `positions`."""
        return self.source.labels[self.positions(split)]

    def with_shuffled_labels(self, seed: int) -> "ImageData":
        """The same images with the labels of the training and validation parts permuted: a control for leaks.

        A `UsageError` where the targets are masks or boxes.
        """
        labels = self.source.labels.copy()
        for split in ("train", "val"):
            rows = self.splits[split]
            labels[rows] = np.random.default_rng([seed, len(rows)]).permutation(labels[rows])
        source = replace(_concrete(self.source), labels=labels)
        notes = (*self.notes, "labels of the training and validation parts are shuffled (control)")
        return replace(self, source=source, notes=notes, fingerprint=_fingerprint(source, self.splits))


def open_data(
    spec: str | Path,
    *,
    split_seed: int = 0,
    val_share: float = 0.1,
    test_share: float = 0.2,
    path_column: str | None = None,
    label_column: str | None = None,
    max_corrupt: float = 0.05,
    classes: Sequence[str] | None = None,
    task: str | None = None,
    progress: Progress | None = None,
) -> ImageData:
    """Open a built-in set by name, a folder of class folders, or a CSV or Parquet table.

    A name is looked for among the built-in sets, then as a path, then in $CORINTH_DATA and the cache. With
    `classes` (evaluation: the run's own class names) labels are mapped onto them and a label that is not among
    them is a `DataError`; then a single class or an empty training part is no error. With `task` data for another one
    are a `UsageError`. `progress(what, done, total)` is called while headers are read and files are fetched.
    """
    spec = str(spec)
    split_seed = int(_of_kind(numbers.Integral, "split_seed", split_seed, "a whole number"))
    val_share = float(_of_kind(numbers.Real, "val_share", val_share, "a number"))
    test_share = float(_of_kind(numbers.Real, "test_share", test_share, "a number"))
    asked = (split_seed, val_share, test_share, path_column, label_column)
    name, found = _collect(
        spec, path_column=path_column, label_column=label_column, max_corrupt=max_corrupt, progress=progress
    )
    source, notes = found.source, list(found.notes)
    if not len(source):
        raise DataError(f"{spec}: there are no images")
    if task not in (None, found.task):
        raise UsageError(f"{spec} is data for {found.task}, and data for {task} are needed")
    if classes is not None:
        source = _onto(source, tuple(classes), spec)
    if found.declared and "train" not in found.declared and classes is None:
        have = ", ".join(found.declared)
        raise DataError(f"{spec}: declares the parts {have} and no training part; add one called train")
    try:
        splits, said = make_splits(
            source, found.declared, seed=split_seed, val_share=val_share, test_share=test_share, where=spec
        )
    except DataError as error:
        if classes is None:
            raise
        splits = {name: found.declared.get(name, _NONE) for name in ("train", "val", "test")}
        said = [f"not split here, use the part called all ({error})"]
    notes += said
    if classes is None and found.task == CLASSIFICATION:
        check_classes(source, splits, spec)
    if classes is None and isinstance(source, MaskSource):
        source.check_classes(spec)
    sizes, channels = source.sizes, source.channels
    if found.corrupt:
        notes.append(f"{len(found.corrupt)} files cannot be used and are left out")
    return ImageData(
        name=name,
        spec=spec,
        source=source,
        splits=splits,
        declared_splits=tuple(found.declared),
        notes=tuple(notes),
        native_size=(int(np.median(sizes[:, 0])), int(np.median(sizes[:, 1]))),
        channels=int(channels.max()),
        fingerprint=_fingerprint(source, splits),
        corrupt=tuple(found.corrupt),
        max_corrupt=max_corrupt,
        opened_with=dict(zip(OPTIONS, asked, strict=True)),
        task=found.task,
    )


def _of_kind(kind: type, name: str, value: Any, valid: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, kind):
        raise UsageError(f"{name} {value!r} is not valid; it must be {valid}")
    return value


def refuse_options(names: Iterable[str]) -> None:
    """For callers that were given open data: an option of `open_data` beside them would do nothing."""
    if late := [name for name in names if name in OPTIONS]:
        raise UsageError(f"the data are open already, so {late[0]} does nothing; give it to open_data")


def _collect(
    spec: str,
    *,
    path_column: str | None,
    label_column: str | None,
    max_corrupt: float,
    progress: Progress | None,
) -> tuple[str, Collected]:
    path = Path(spec).expanduser()
    if known := builtin.builtin(spec):
        if path_column or label_column:
            raise UsageError(f"{known.name} is a built-in set; path_column and label_column belong to a table")
        if known.name == "digits":
            found = binary.open_digits()
        else:
            folder = builtin.locate(known, progress=progress)
            found = _open_folder(folder, known.name, max_corrupt, progress)
            found.notes.insert(0, f"{known.name} is read from {folder}")
        if path.exists():
            found.notes.insert(0, f"{spec} is the built-in set; write ./{spec} for the folder of that name")
        return known.name, found
    if not path.exists():
        folder = builtin.named_folder(spec)
        if folder is None:
            raise builtin.unknown(spec)
        path = folder
    if path.is_dir():
        if path_column or label_column:
            raise UsageError(f"{path} is a folder; path_column and label_column belong to a table")
        return path.resolve().name, _open_folder(path, path.resolve().name, max_corrupt, progress)
    if is_box_data(path):
        return path.stem, open_boxes(path, max_corrupt=max_corrupt, progress=progress)
    if path.suffix.lower() in TABLE_SUFFIXES:
        columns = {"path_column": path_column, "label_column": label_column}
        return path.stem, open_table(path, max_corrupt=max_corrupt, progress=progress, **columns)
    raise UsageError(
        f"{path} is a file of no known kind; data is a folder of class folders, a table ({', '.join(TABLE_SUFFIXES)}) "
        "or annotations of boxes (COCO's .json)"
    )


def _open_folder(path: Path, name: str, max_corrupt: float, progress: Progress | None) -> Collected:
    if binary.idx_files(path):
        return binary.open_idx(path, name=name)
    if batches := binary.cifar_folder(path):
        return binary.open_cifar10(batches, name=name)
    if is_mask_folder(path):
        found = open_masks(path, max_corrupt=max_corrupt, progress=progress)
        if is_box_data(path):
            found.notes.append("there are boxes too; for these name the folder of the .xml files, or the .json file")
        return found
    if is_box_data(path):
        return open_boxes(path, max_corrupt=max_corrupt, progress=progress)
    tables = sorted(p for p in path.iterdir() if p.suffix.lower() in TABLE_SUFFIXES and not p.name.startswith("."))
    if tables and count_class_folders(path) < 2:  # at most a folder for all the images
        if len(tables) > 1:
            names = ", ".join(p.name for p in tables)
            raise UsageError(
                f"{path} holds several tables ({names}); name the one to use, with a split column if it has parts"
            )
        return open_table(tables[0], path_column=None, label_column=None, max_corrupt=max_corrupt, progress=progress)
    if (empty := lacking_masks(path)) is not None:
        raise DataError(
            f"{empty} holds no masks for the images beside it; masks are PNG files with the images' names, and boxes "
            "are COCO's .json or Pascal VOC's .xml"
        )
    return open_folders(path, max_corrupt=max_corrupt, progress=progress)


def _onto(source: ImageSource, classes: tuple[str, ...], spec: str) -> ImageSource:
    """Labels as positions in the run's own class names."""
    check_names(classes, "the run's classes")
    if isinstance(source, TargetSource):
        return source.onto(classes, spec)
    index = {name: i for i, name in enumerate(classes)}
    counts = np.bincount(source.labels, minlength=len(source.classes))
    unseen = [(name, int(n)) for name, n in zip(source.classes, counts, strict=True) if n and name not in index]
    if unseen:
        said = ", ".join(f"{name!r} ({n} images)" for name, n in unseen[:5]) + (", …" if len(unseen) > 5 else "")
        known = ", ".join(map(repr, classes[:5])) + (", …" if len(classes) > 5 else "")
        raise DataError(f"{spec}: the label {said} was not seen in training; the run knows {known}")
    table = np.array([index.get(name, -1) for name in source.classes], dtype=np.int64)
    return replace(_concrete(source), labels=table[source.labels], classes=classes)


def _concrete(source: ImageSource) -> ArraySource | FileSource:
    if not isinstance(source, ArraySource | FileSource) or isinstance(source, TargetSource):
        raise UsageError(f"labels of a {type(source).__name__} cannot be replaced")
    return source


def _fingerprint(source: ImageSource, splits: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    if isinstance(source, ArraySource):
        digest.update(np.ascontiguousarray(source.images).data)
    if isinstance(source, FileSource):
        lines = (f"{key}\0{header.bytes}\n" for key, header in zip(source.keys, source.headers, strict=True))
        digest.update("".join(lines).encode())
    if isinstance(source, TargetSource):
        digest.update("\n".join(source.classes).encode())
        for part in source.fingerprint_bytes():
            digest.update(part)
    else:
        digest.update("\n".join(source.classes[label] for label in source.labels).encode())
    for name in sorted(splits):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(splits[name], dtype="<i8").data)
    return digest.hexdigest()
