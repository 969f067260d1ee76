"""What the readers of box annotations share: one image with its boxes, before its file has been looked at, and what
is said of images without."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corinth.data.collect import SPLIT_WORDS
from corinth.data.folders import image_files


@dataclass
class Annotated:
    """The boxes of one image in pixels, continuous, from 0, as `corinth.data.boxes` describes them."""

    path: str
    key: str
    split: str | None
    size: tuple[int, int] | None  # (H, W) that the annotation states
    names: list[str]  # a class for each box
    corners: list[tuple[float, float, float, float]]  # x1, y1, x2, y2, continuous
    ignore: list[bool]
    problem: str | None = None  # why the annotation cannot be used


def part_of(name: str) -> str | None:
    """The part of the data that a word of a name says."""
    words = [SPLIT_WORDS[word] for word in re.findall("[a-z]+", name.lower()) if word in SPLIT_WORDS]
    return words[0] if words else None


def parts_left_out(root: Path, images: Sequence[Annotated]) -> list[str]:
    """Notes of the folders that are called after a part and hold images, but none of these."""
    notes = []
    used = {Path(os.path.normpath(image.path)).parent for image in images}
    for parent in (root, root / "images"):
        for child in sorted(parent.iterdir()) if parent.is_dir() else ():
            path = Path(os.path.normpath(child))
            if any(path in (folder, *folder.parents) for folder in used):
                continue
            if child.is_dir() and part_of(child.name) and any(image_files(child)):
                notes.append(f"{child.relative_to(root)} holds images that no annotations are of: left out")
    return notes
