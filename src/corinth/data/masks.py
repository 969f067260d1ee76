"""Images with masks: a class for every pixel, 255 where there is none to learn.

Every mask is read once when the data are opened. A mask that is damaged, has another size than its image or holds
values that are no class counts as corrupt, as a damaged image does: it is left out with its image and listed, and past
the allowed share of such pairs opening stops.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corinth.data.collect import Collected, LabelledFile, Progress, check_names, check_usable, collect_files, workers
from corinth.data.decode import Header, UnreadableImage, quiet
from corinth.data.mask_layout import Pair, find_folders, find_pairs
from corinth.data.mask_values import OUTSIDE, Legend, find_legend, mask_size, meaning, read_values
from corinth.data.preprocess import IGNORED
from corinth.data.source import FileSource
from corinth.data.unlabelled import unpaired
from corinth.errors import DataError

SEGMENTATION = "semantic-segmentation"


@dataclass(frozen=True)
class MaskSource(FileSource):
    """Image files and their mask files; `labels` are zeros, as an image has no class of its own."""

    masks: tuple[str, ...]
    legend: Legend | None  # what a file of the data says of the classes
    table: np.ndarray  # uint8 (256,): the id of each value of a mask
    pixels: np.ndarray  # int64 (N, K): how many pixels of each class every mask has
    digests: tuple[bytes, ...]  # of the values of each mask

    def target(self, i: int) -> np.ndarray:
        """Class ids, uint8 (h, w); 255 is ignored. Raises `UnreadableImage`."""
        ids = self.table[read_values(self.masks[i], self.legend)]
        if ids.shape != self.headers[i].size or (ids == OUTSIDE).any():
            raise UnreadableImage(f"its mask {self.masks[i]} has changed since the data were opened")
        return ids

    def fingerprint_bytes(self) -> Iterable[bytes]:
        """Different bytes for different masks."""
        yield self.table.tobytes()
        yield from self.digests

    def amounts(self) -> np.ndarray:
        """int64 (N, K): pixels of each class in each mask."""
        return self.pixels

    def check_classes(self, where: str) -> None:
        """`DataError` unless the masks have at least two classes."""
        present = np.flatnonzero(self.pixels.sum(0))
        if len(present) < 2:
            have = f"only one class, {self.classes[present[0]]!r}" if len(present) else "no pixel with a class"
            raise DataError(f"{where}: the masks have {have}; at least two classes are needed to tell apart")

    def onto(self, classes: Sequence[str], where: str) -> "MaskSource":
        """The same with ids that are positions in `classes`.

        Names decide; classes that are known by their ids alone keep these. `DataError` for a class with pixels that
        is not among them.
        """
        classes = tuple(classes)
        if self.legend is None and len(classes) > 2 and self.table[IGNORED] != IGNORED:
            return self._without_white(classes)
        own = self.classes
        if self.legend is None and len(own) <= len(classes):
            own = classes[: len(own)]
        index = {name: i for i, name in enumerate(classes)}
        unseen = [(name, int(n)) for name, n in zip(own, self.pixels.sum(0)) if n and name not in index]
        if unseen:
            said = ", ".join(f"{name!r} ({n} pixels)" for name, n in unseen[:5]) + (", ..." if len(unseen) > 5 else "")
            known = ", ".join(map(repr, classes[:5])) + (", ..." if len(classes) > 5 else "")
            raise DataError(f"{where}: the class {said} was not seen in training; the run knows {known}")
        new = np.array([index.get(name, OUTSIDE) for name in own], dtype=np.uint8)
        table = self.table.copy()
        is_class = table < len(own)
        table[is_class] = new[table[is_class]]
        pixels = np.zeros((len(self), len(classes)), dtype=np.int64)
        for old, name in enumerate(own):
            if name in index:
                pixels[:, index[name]] = self.pixels[:, old]
        return dataclasses.replace(self, classes=classes, table=table, pixels=pixels)

    def _without_white(self, classes: tuple[str, ...]) -> "MaskSource":
        """Masks of nothing but 0 and 255 beside three classes or more: 255 is what is ignored."""
        table = self.table.copy()
        table[IGNORED] = IGNORED
        pixels = np.zeros((len(self), len(classes)), dtype=np.int64)
        pixels[:, 0] = self.pixels[:, 0]
        return dataclasses.replace(self, classes=classes, table=table, pixels=pixels)


def is_mask_folder(path: str | Path) -> bool:
    """Whether a folder holds images and masks, as `corinth.data.mask_layout` describes it."""
    path = Path(path)
    return path.is_dir() and bool(find_folders(path))


def open_masks(path: str | Path, *, max_corrupt: float = 0.05, progress: Progress | None = None) -> Collected:
    """The images and masks of a folder.

    Classes are named by a file in it (`classes.txt`: one name a line; `class_dict.csv`: name, r, g, b of colour
    masks), else by their ids. Masks of nothing but 0 and 255 have two classes; in all others 255 is ignored.
    """
    folder = Path(path)
    where = str(folder)
    if not is_mask_folder(folder):
        raise DataError(f"{where} has no masks; expected a folder of images and one of masks, such as images and masks")
    folders = find_folders(folder)
    notes = unpaired(folder, folders)
    pairs, left_out = find_pairs(folder, folders)
    notes += left_out
    if not pairs:
        raise DataError(f"{where}: there are no images")
    legend = find_legend(folder)
    files = [LabelledFile(pair.image, pair.key, "image", pair.split) for pair in pairs]
    found = collect_files(files, where=where, max_corrupt=max_corrupt, progress=progress)
    source = found.source
    assert isinstance(source, FileSource)
    headers = {source.keys[i]: source.headers[i] for i in range(len(source))}
    readable = [pair for pair in pairs if pair.key in headers]
    read = _read_all(readable, [headers[pair.key] for pair in readable], legend, progress)
    corrupt = [*found.corrupt, *((pair.mask, mask) for pair, mask in zip(readable, read) if isinstance(mask, str))]
    check_usable(corrupt, len(pairs), max_corrupt, where)
    kept = [(pair, mask) for pair, mask in zip(readable, read) if not isinstance(mask, str)]
    names, table = meaning(np.sum([mask.counts for _, mask in kept], axis=0), legend, where)
    check_names(names, where)
    strange = table == OUTSIDE
    good = []
    for pair, mask in kept:
        if (values := np.flatnonzero(mask.counts * strange)).size:
            said = f"its value {values[0]} is none of the {len(names)} classes, whose ids are 0 to {len(names) - 1}"
            corrupt.append((pair.mask, said))
        else:
            good.append((pair, mask))
    check_usable(corrupt, len(pairs), max_corrupt, where)
    if turned := sum(headers[pair.key].turned for pair, _ in good):
        notes.append(f"{turned} images are turned upright as their files say; their masks must be upright already")
    pixels = np.zeros((len(good), len(names)), dtype=np.int64)
    for row, (_, mask) in zip(pixels, good):
        for value in np.flatnonzero(mask.counts):
            if table[value] != IGNORED:
                row[table[value]] += mask.counts[value]
    splits = np.array([pair.split or "" for pair, _ in good], dtype=object)
    return Collected(
        MaskSource(
            paths=tuple(pair.image for pair, _ in good),
            keys=tuple(pair.key for pair, _ in good),
            labels=np.zeros(len(good), dtype=np.int64),
            classes=names,
            headers=tuple(headers[pair.key] for pair, _ in good),
            masks=tuple(pair.mask for pair, _ in good),
            legend=legend,
            table=table,
            pixels=pixels,
            digests=tuple(mask.digest for _, mask in good),
        ),
        {name: np.flatnonzero(splits == name) for name in ("train", "val", "test") if (splits == name).any()},
        corrupt,
        [*notes, *found.notes, _said(names, legend, table)],
        task=SEGMENTATION,
    )


@dataclass(frozen=True)
class _Mask:
    counts: np.ndarray  # int64 (256,): how many pixels have each value
    digest: bytes


def _read_all(
    pairs: Sequence[Pair], headers: Sequence[Header], legend: Legend | None, progress: Progress | None
) -> list[_Mask | str]:
    """Each mask, or why it cannot be used."""
    read: list[_Mask | str] = []
    with quiet(), ThreadPoolExecutor(workers()) as pool:
        found = pool.map(lambda pair, header: _read(pair.mask, header, legend), pairs, headers)
        for done, mask in enumerate(found, start=1):
            read.append(mask)
            if progress and (done % 100 == 0 or done == len(pairs)):
                progress("reading masks", done, len(pairs))
    return read


def _read(path: str, image: Header, legend: Legend | None) -> _Mask | str:
    try:
        if (own := mask_size(path)) != image.size:
            return f"the mask has {own[1]} x {own[0]} pixels and its image {image.said}"
        values = read_values(path, legend)
    except UnreadableImage as error:
        return str(error)
    counts = np.bincount(values.ravel(), minlength=256)
    return _Mask(counts, hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).digest())


def _said(names: Sequence[str], legend: Legend | None, table: np.ndarray) -> str:
    if table[IGNORED] != IGNORED and (legend is None or legend.colours is None):
        return f"masks are black and white: 0 is the class {names[0]}, 255 the class {names[1]}"
    named = f"named by {legend.file}" if legend is not None else "known by their ids in the masks"
    ignored = f"; pixels of value {IGNORED} are ignored" if table[IGNORED] == IGNORED else ""
    return f"{len(names)} classes, {named}{ignored}"
