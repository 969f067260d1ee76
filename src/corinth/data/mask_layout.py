"""Which mask belongs to which image: the folders and file names that segmentation data come in.

A folder of images and one of masks stand side by side: `images` and `masks` (or `labels`, `annotations`, ...). The
parts of the data are folders above them (`train/images`), inside them (`images/train`) or words of their names
(`images_train`, `train_masks`, `trainannot`). A mask has its image's name, or that with a word such as `_mask` behind.
Pascal VOC's `ImageSets/Segmentation/*.txt` say which of its images have masks.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from corinth.data.collect import SPLIT_WORDS
from corinth.data.decode import is_image_file
from corinth.data.folders import image_files
from corinth.errors import DataError

IMAGE_WORDS = frozenset({"image", "images", "img", "imgs", "jpegimages", "photos", "inputs"})
MASK_WORDS = frozenset(
    {"mask", "masks", "label", "labels", "annotation", "annotations", "annot", "segmentation", "segmentations"}
    | {"segmentationclass", "groundtruth", "gt", "targets"}
)
_WORD = re.compile(r"[a-z]+|\d+")
_GLUED = re.compile(rf"({'|'.join(SPLIT_WORDS)})(annot|labels?|masks?|images?)", re.IGNORECASE)
_SUFFIX = re.compile(r"[_-](masks?|labels?|gt|seg|segmentation|annotations?|l)$", re.IGNORECASE)
_SHOWN = 3


@dataclass(frozen=True)
class Pair:
    """An image and its mask."""

    image: str
    mask: str
    key: str  # of the image, relative to the data's folder, forward slashes
    split: str | None


@dataclass(frozen=True)
class Folders:
    """A folder of images and the folder of their masks."""

    images: Path
    masks: Path
    split: str | None


def find_folders(folder: Path) -> list[Folders]:
    """The pairs of folders in `folder`; none if it holds no segmentation data."""
    try:
        found = _beside(folder, None)
        if not found:
            parts = [(child, SPLIT_WORDS.get(child.name.lower())) for child in children(folder)]
            found = [pair for child, split in parts if split for pair in _beside(child, split)]
    except OSError:
        return []
    return sorted(found, key=lambda pair: pair.images)


def find_pairs(folder: Path, folders: Sequence[Folders]) -> tuple[list[Pair], list[str]]:
    """Every image of `folders` with its mask, and what was left out. `DataError` where an image has no mask, or two."""
    pairs: list[Pair] = []
    notes: list[str] = []
    listed = _voc_lists(folder)
    for part in folders:
        images, masks = _by_stem(part.images), _by_stem(part.masks)
        masks = _renamed(masks, images)
        wanted = {stem: listed[stem] for stem in images if stem in listed} if listed else dict.fromkeys(images)
        lacking = [images[stem] for stem in wanted if stem not in masks]
        if lacking:
            names = ", ".join(Path(path).name for path in lacking[:_SHOWN]) + (", ..." if len(lacking) > _SHOWN else "")
            raise DataError(
                f"{part.images}: {len(lacking)} of {len(wanted)} images have no mask in {part.masks} ({names}); "
                "add masks of the same names, or take these images away"
            )
        if unused := len(masks) - sum(stem in masks for stem in wanted):
            notes.append(f"{unused} masks in {part.masks} belong to no image and are left out")
        if listed and (without := len(images) - len(wanted)):
            notes.append(f"{without} images in {part.images} are in no list of ImageSets/Segmentation: left out")
        for stem in sorted(wanted):
            key = Path(images[stem]).relative_to(folder).as_posix()
            pairs.append(Pair(images[stem], masks[stem], key, part.split or wanted[stem]))
    return pairs, notes


def _beside(folder: Path, split: str | None) -> list[Folders]:
    """Pairs of folders that stand side by side in `folder`, one for each part that their names, or folders, tell."""
    kinds: dict[tuple[str, str | None], list[Path]] = {}
    for child in children(folder):
        kind, part = meaning_of(child.name)
        if kind is not None:
            kinds.setdefault((kind, part), []).append(child)
        elif part is not None and child.name.lower() in SPLIT_WORDS:
            kinds.setdefault(("part", part), []).append(child)
    found: list[Folders] = []
    for (kind, part), masks in kinds.items():
        images = kinds.get(("image", part)) or kinds.get(("part", part), [])
        if kind != "mask" or not images:
            continue
        masks = [path for path in masks if any(image_files(path))]
        images = [path for path in images if any(image_files(path))]
        if not masks or not images:
            continue
        for several, what in ((images, "images"), (masks, "masks")):
            if len(several) > 1:
                names = " and ".join(path.name for path in several)
                raise DataError(f"{folder}: {names} may both be the folder of {what}; keep one of them")
        found += _inside(Folders(images[0], masks[0], split or part))
    return found


def _inside(pair: Folders) -> list[Folders]:
    """The same, or the parts that lie in both folders, called train, val or test."""
    inside = [
        {SPLIT_WORDS[child.name.lower()]: child for child in with_images(path) if child.name.lower() in SPLIT_WORDS}
        for path in (pair.images, pair.masks)
    ]
    loose = any(is_image_file(path) for path in pair.images.iterdir())
    both = inside[0].keys() & inside[1].keys()
    if pair.split is not None or loose or not both:
        return [pair]
    return [Folders(inside[0][split], inside[1][split], split) for split in both]


def meaning_of(name: str) -> tuple[str | None, str | None]:
    """(image or mask or None, the part or None) that the words of a folder's name say."""
    words = _WORD.findall(_GLUED.sub(r"\1 \2", name).lower())
    split = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)
    if any(word in MASK_WORDS for word in words):
        return "mask", split
    return ("image" if any(word in IMAGE_WORDS for word in words) else None), split


def _by_stem(folder: Path) -> dict[str, str]:
    """Path within the folder, without its ending -> the image file."""
    found: dict[str, str] = {}
    for path in sorted(image_files(folder)):
        stem = Path(path).relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise DataError(f"{found[stem]} and {Path(path).name} have the same name; keep one of them")
        found[stem] = path
    return found


def _renamed(masks: Mapping[str, str], images: Mapping[str, str]) -> dict[str, str]:
    """Masks under their images' names."""
    renamed: dict[str, str] = {}
    for stem, path in masks.items():
        own = stem if stem in images else _SUFFIX.sub("", stem)
        if own in renamed:
            raise DataError(f"{renamed[own]} and {path} are both masks of the image {own}; keep one of them")
        renamed[own] = path
    return renamed


def _voc_lists(folder: Path) -> dict[str, str | None]:
    """Name of an image -> its part, as Pascal VOC lists them; empty without such lists."""
    found: dict[str, str | None] = {}
    lists = folder / "ImageSets" / "Segmentation"
    for name in ("trainval", "train", "val", "test"):
        file = lists / f"{name}.txt"
        if file.is_file():
            stems = file.read_text(encoding="utf-8").split()
            found |= dict.fromkeys(stems, None if name == "trainval" else name)
    return found


def with_images(folder: Path) -> list[Path]:
    """The folders in `folder` that hold images at any depth."""
    return [child for child in children(folder) if any(image_files(child))]


def children(folder: Path) -> Sequence[Path]:
    """The folders in `folder`, hidden ones left out."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
