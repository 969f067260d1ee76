"""Images with boxes around objects, from COCO's JSON or Pascal VOC's XML.

Boxes are float32 rows (label, x1, y1, x2, y2) in pixels of the upright image. Coordinates are continuous: the image
spans [0, w] x [0, h], and a box around the first pixel alone is (0, 0, 1, 1).

An image whose boxes cannot be right (not finite, without area, more than a pixel beyond the image) counts as corrupt,
as a damaged file does: it is left out and listed, and past the allowed share of such images opening stops. What lies
at most a pixel beyond the image is clipped. Annotations that contradict themselves (an unknown category or image id,
a file that is no JSON) stop at once.

COCO's crowds and VOC's difficult objects are in `ignored`, not in `boxes`: no network is trained on them, and an
evaluation counts a detection that lies in one neither for nor against.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corinth.data import coco, voc
from corinth.data.annotated import Annotated
from corinth.data.collect import Collected, LabelledFile, Progress, check_names, check_usable, collect_files
from corinth.data.decode import Header, UnreadableImage
from corinth.data.source import FileSource
from corinth.errors import DataError

TOLERANCE = 1.0  # pixels that a box may lie beyond the image


@dataclass(frozen=True)
class BoxSource(FileSource):
    """Image files with their boxes; `labels` are zeros, as an image has no class of its own."""

    boxes: tuple[np.ndarray, ...]  # float32 (n, 5) each: label, x1, y1, x2, y2
    ignored: tuple[np.ndarray, ...]  # the same, of crowds and difficult objects

    def target(self, i: int) -> np.ndarray:
        """float32 (n, 5): label, x1, y1, x2, y2 in the image's own pixels."""
        return self.boxes[i]

    def fingerprint_bytes(self) -> Iterable[bytes]:
        """Different bytes for different boxes."""
        for boxes, ignored in zip(self.boxes, self.ignored, strict=True):
            yield np.array([len(boxes), len(ignored)], dtype="<i8").tobytes()
            yield boxes.astype("<f4").tobytes() + ignored.astype("<f4").tobytes()

    def amounts(self) -> np.ndarray:
        """int64 (N, K): boxes of each class in each image."""
        counts = np.zeros((len(self), len(self.classes)), dtype=np.int64)
        for row, boxes in zip(counts, self.boxes, strict=True):
            np.add.at(row, boxes[:, 0].astype(np.int64), 1)
        return counts

    def onto(self, classes: Sequence[str], where: str) -> "BoxSource":
        """The same with labels that are positions in `classes`; a class with boxes that is not there is an error."""
        index = {name: i for i, name in enumerate(classes)}
        counts = np.zeros(len(self.classes), dtype=np.int64)
        for rows in (*self.boxes, *self.ignored):
            counts += np.bincount(rows[:, 0].astype(np.int64), minlength=len(self.classes))
        unseen = [(name, int(n)) for name, n in zip(self.classes, counts) if n and name not in index]
        if unseen:
            said = ", ".join(f"{name!r} ({n} boxes)" for name, n in unseen[:5]) + (", …" if len(unseen) > 5 else "")
            known = ", ".join(map(repr, classes[:5])) + (", …" if len(classes) > 5 else "")
            raise DataError(f"{where}: the label {said} was not seen in training; the run knows {known}")
        table = np.array([index.get(name, -1) for name in self.classes], dtype=np.float32)

        def renamed(all_rows: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
            return tuple(
                np.concatenate([table[rows[:, 0].astype(np.int64)][:, None], rows[:, 1:]], axis=1) for rows in all_rows
            )

        return dataclasses.replace(
            self, classes=tuple(classes), boxes=renamed(self.boxes), ignored=renamed(self.ignored)
        )


def is_box_data(path: str | Path) -> bool:
    """Whether this is a COCO annotation file, or a folder with COCO's or Pascal VOC's annotations."""
    path = Path(path)
    return coco.is_coco(path) or (path.is_dir() and voc.is_voc(path))


def open_boxes(path: str | Path, *, max_corrupt: float = 0.05, progress: Progress | None = None) -> Collected:
    """Images and boxes of a COCO annotation file, or of a folder as `is_box_data` knows it."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if coco.is_coco(path):
        images, classes, notes = coco.read_coco(path)
    elif path.is_dir() and voc.is_voc(path):
        images, classes, notes = voc.read_voc(path)
    else:
        raise DataError(
            f"{path} has no boxes; expected a COCO file (annotations/instances_train.json) or Pascal VOC's folders "
            "(Annotations and JPEGImages, or .xml files beside the images)"
        )
    return _collect(images, classes, notes, where=str(path), max_corrupt=max_corrupt, progress=progress)


def checked(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes (n, 4) that lie in an image (H, W), clipped to it; raises `UnreadableImage` for what cannot be right."""
    height, width = size
    limits = np.array([width, height, width, height], dtype=np.float64)
    for number, box in enumerate(corners, start=1):
        said = f"its box {number} ({', '.join(f'{value:g}' for value in box)})"
        if not np.isfinite(box).all():
            raise UnreadableImage(f"{said} has values that are not finite")
        if box[2] <= box[0] or box[3] <= box[1]:
            raise UnreadableImage(f"{said} has no area: x1 < x2 and y1 < y2 are needed")
        if (box < -TOLERANCE).any() or (box > limits + TOLERANCE).any():
            raise UnreadableImage(f"{said} reaches beyond the image, which is {width} x {height} pixels")
        clipped = np.clip(box, 0, limits)
        if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
            raise UnreadableImage(f"{said} lies beyond the image, which is {width} x {height} pixels")
    return np.clip(corners, 0, limits)


def _collect(
    images: Sequence[Annotated],
    classes: Sequence[str],
    notes: list[str],
    *,
    where: str,
    max_corrupt: float,
    progress: Progress | None,
) -> Collected:
    """Read the headers, check the boxes against them, leave out what cannot be used."""
    if not images:
        raise DataError(f"{where}: there are no images")
    twice = [key for key, count in Counter(image.key for image in images).items() if count > 1]
    if twice:
        raise DataError(f"{where}: the image {twice[0]} is listed {_times(images, twice[0])}; list it once")
    check_names(classes, where)
    files = [LabelledFile(image.path, image.key, "image", image.split) for image in images]
    found = collect_files(files, where=where, max_corrupt=max_corrupt, progress=progress)
    source = found.source
    headers = {source.key(i): source.headers[i] for i in range(len(source))}
    index = {name: i for i, name in enumerate(classes)}
    kept: list[tuple[Annotated, np.ndarray]] = []
    corrupt = list(found.corrupt)
    for image in images:
        header = headers.get(image.key)
        if header is None:
            continue
        try:
            kept.append((image, _rows(image, header, index)))
        except UnreadableImage as error:
            corrupt.append((image.path, str(error)))
    check_usable(corrupt, len(images), max_corrupt, where)
    if not any(len(rows) for _, rows in kept):
        raise DataError(f"{where}: there is not one box in {len(kept)} images")
    if turned := sum(headers[image.key].turned for image, _ in kept):
        notes = [
            *notes,
            f"{turned} images are turned upright as their files say; their boxes must be of upright images",
        ]
    splits = np.array([image.split or "" for image, _ in kept], dtype=object)
    ignored = [np.array(image.ignore, dtype=bool) for image, _ in kept]
    left_out = int(sum(flags.sum() for flags in ignored))
    if left_out:
        notes = [*notes, f"{left_out} crowds or difficult objects are not trained on and not scored"]
    return Collected(
        BoxSource(
            paths=tuple(image.path for image, _ in kept),
            keys=tuple(image.key for image, _ in kept),
            labels=np.zeros(len(kept), dtype=np.int64),
            classes=tuple(classes),
            headers=tuple(headers[image.key] for image, _ in kept),
            boxes=tuple(rows[~flags] for (_, rows), flags in zip(kept, ignored)),
            ignored=tuple(rows[flags] for (_, rows), flags in zip(kept, ignored)),
        ),
        {name: np.flatnonzero(splits == name) for name in ("train", "val", "test") if (splits == name).any()},
        corrupt,
        [*notes, *found.notes],
        task="object-detection",
    )


def _rows(image: Annotated, header: Header, index: dict[str, int]) -> np.ndarray:
    """float32 (n, 5) of one image."""
    if image.problem:
        raise UnreadableImage(image.problem)
    if image.size is not None and image.size != header.size:
        stated = f"{image.size[1]} x {image.size[0]}"
        raise UnreadableImage(f"it was annotated at {stated} pixels, and the file has {header.said}")
    corners = checked(np.array(image.corners, dtype=np.float64).reshape(-1, 4), header.size)
    labels = np.array([index[name] for name in image.names], dtype=np.float64)
    return np.concatenate([labels[:, None], corners], axis=1).astype(np.float32)


def _times(images: Sequence[Annotated], key: str) -> str:
    splits = sorted({image.split or "" for image in images if image.key == key} - {""})
    return f"in the parts {' and '.join(splits)}" if len(splits) > 1 else "more than once"
