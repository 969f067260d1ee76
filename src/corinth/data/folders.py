"""A folder of class folders, with or without train, val and test folders above them."""

import os
from collections.abc import Iterator
from pathlib import Path

from corinth.data.collect import SPLIT_WORDS, Collected, LabelledFile, Progress, collect_files
from corinth.data.decode import EXTENSIONS, is_image_file
from corinth.errors import DataError


def count_class_folders(folder: Path) -> int:
    """Folders in `folder` that hold at least one image at any depth."""
    return sum(any(image_files(child)) for child in _children(folder))


def image_files(folder: Path) -> Iterator[str]:
    """Paths of the images in `folder` at any depth, hidden ones left out."""
    return (path for path in _walk(folder) if is_image_file(path))


def open_folders(folder: Path, *, max_corrupt: float, progress: Progress | None = None) -> Collected:
    """Every image at any depth of a class folder belongs to it; links to folders are followed.

    Files without an image's extension are left out and counted in the notes, hidden ones are not looked at. `train`
    (`training`), `val` (`valid`, `validation`, `dev`) and `test` (`testing`) are splits if they hold folders; a single
    such folder that holds images as well is a class of that name.
    """
    parts, notes = _parts(folder)
    files: list[LabelledFile] = []
    skipped = 0
    for split, part in parts:
        for child in _children(part):
            before = len(files)
            for path in sorted(_walk(child)):
                if is_image_file(path):
                    key = Path(path).relative_to(folder).as_posix()
                    files.append(LabelledFile(path, key, child.name, split))
                else:
                    skipped += 1
            if len(files) == before:
                if split in (None, "train"):
                    raise DataError(
                        f"{child}: the class {child.name!r} has no images; add some or remove the folder "
                        f"(image files end in {', '.join(sorted(EXTENSIONS))})"
                    )
                notes.append(f"{child} has no images")
        loose = [p.name for p in part.iterdir() if is_image_file(p) and not p.name.startswith(".")]
        if loose:
            notes.append(f"{len(loose)} images directly in {part} belong to no class and are left out")
    if not files:
        raise DataError(f"{folder}: no class folder with images; expected {folder.name}/<class>/<image>")
    if skipped:
        notes.append(f"{skipped} files that are no images are left out")
    found = collect_files(files, where=str(folder), max_corrupt=max_corrupt, progress=progress)
    found.notes[:0] = notes
    return found


def _parts(folder: Path) -> tuple[list[tuple[str | None, Path]], list[str]]:
    """The folders that hold class folders, with their split, or the folder itself."""
    children = _children(folder)
    splits: dict[str, Path] = {}
    for child in children:
        word = SPLIT_WORDS.get(child.name.lower())
        if word and _children(child):
            if word in splits:
                raise DataError(f"{folder}: {splits[word].name} and {child.name} both name the {word} part; keep one")
            splits[word] = child
    a_class = len(splits) == 1 and any(is_image_file(p) for child in splits.values() for p in child.iterdir())
    if a_class or not splits.keys() & {"train", "test"}:
        return [(None, folder)], []
    notes = []
    for child in children:
        if child not in splits.values():
            reason = "holds no class folders" if child.name.lower() in SPLIT_WORDS else "is no split"
            notes.append(f"{child} {reason} and is left out")
    return [(name, splits[name]) for name in ("train", "val", "test") if name in splits], notes


def _children(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _walk(folder: Path) -> Iterator[str]:
    top = os.path.realpath(folder)
    seen: set[str] = set()
    for base, names, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(base)
        if real in seen or top.startswith(real + os.sep):  # a link to what was read, or to a folder above
            names.clear()
            continue
        seen.add(real)
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield from (os.path.join(base, file) for file in files if not file.startswith("."))
