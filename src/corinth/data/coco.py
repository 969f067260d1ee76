"""COCO's annotation files (Lin et al. 2014, arXiv:1405.0312): images, categories, boxes as [x, y, width, height].

Layouts, the first that fits:
- a JSON file: its images lie in a folder of its name, in `images/`, or beside it;
- a folder with `annotations/instances_<part>.json` (other JSON files there count where none is so called), the images
  of a part in `<part>/`, `images/<part>/` or `images/`, where <part> is what follows `instances_`, as in `train2017`;
- a folder with JSON files beside its images, or `train/`, `val/`, `test/` folders that each hold one such file.

Several files are parts, which their names must say: train, val (valid, validation, dev), test.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corinth.data.annotated import Annotated, part_of, parts_left_out
from corinth.data.collect import SPLIT_WORDS
from corinth.errors import DataError

_HEAD = 4096  # bytes in which a COCO file names one of its parts
_PARTS = re.compile(rb'"(images|annotations|categories|info|licenses)"\s*:')


def is_coco(path: Path) -> bool:
    """Whether a file begins as COCO's do, or a folder holds such files where they are looked for."""
    if path.is_file():
        return path.suffix.lower() == ".json" and _begins_as_coco(path)
    return path.is_dir() and bool(_files(path))


def read_coco(path: Path) -> tuple[list[Annotated], list[str], list[str]]:
    """Images, class names in the order of their category ids, and notes."""
    files = [(None, path)] if path.is_file() else _files(path)
    root = path if path.is_dir() else path.parent
    _check_parts(files, path)
    images: list[Annotated] = []
    categories: dict[int, str] = {}
    first: Path | None = None
    for split, file in files:
        content = _read(file)
        found = _categories(content, file)
        if first is not None and found != categories:
            raise DataError(f"{file} and {first} have different categories; the parts of one set share them")
        categories, first = found, first or file
        images += _images(content, file, root, split, categories)
    notes: list[str] = []
    if path.is_dir():
        notes += [f"{file.relative_to(root)} is the {split or 'only'} part" for split, file in files]
        notes += parts_left_out(root, images)
    return images, [categories[number] for number in sorted(categories)], notes


def _files(folder: Path) -> list[tuple[str | None, Path]]:
    """(part, file) of a folder."""
    inside = [p for p in _json(folder / "annotations") if _begins_as_coco(p)]
    inside = [p for p in inside if p.name.startswith("instances_")] or inside
    beside = inside or [p for p in _json(folder) if _begins_as_coco(p) and _names_all(p)]
    if beside:
        parts = [(part_of(p.stem), p) for p in beside]
        return [(None, parts[0][1])] if len(parts) == 1 and parts[0][0] != "train" else parts
    found: list[tuple[str | None, Path]] = []
    for child in sorted(p for p in folder.iterdir() if p.is_dir()):
        if part := SPLIT_WORDS.get(child.name.lower()):
            found += [(part, p) for p in _json(child) if _begins_as_coco(p) and _names_all(p)]
    return found


def _json(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(p for p in folder.iterdir() if p.suffix.lower() == ".json" and not p.name.startswith("."))


def _begins_as_coco(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return _PARTS.search(file.read(_HEAD)) is not None
    except OSError:
        return False


def _names_all(path: Path) -> bool:
    """Other JSON may lie beside images, so there a file must have all that COCO's have."""
    content = path.read_bytes()
    return all(f'"{name}"'.encode() in content for name in ("images", "annotations", "categories"))


def _check_parts(files: list[tuple[str | None, Path]], path: Path) -> None:
    if len(files) < 2:
        return
    for split, file in files:
        if split is None:
            raise DataError(f"{file}: its name says no part; name the files of {path} train, val and test, or give one")
    for split, count in Counter(split for split, _ in files).items():
        if count > 1:
            names = ", ".join(file.name for part, file in files if part == split)
            raise DataError(f"{path}: {names} all name the {split} part; keep one, or give one file")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes().decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{file}: no JSON at line {error.lineno}, column {error.colno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text, at byte {error.start}") from error
    except RecursionError as error:
        raise DataError(f"{file}: its lists are nested too deep to be COCO's") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: COCO files hold an object with images, annotations and categories, not a list")
    for name in ("images", "annotations", "categories"):
        rows = content.get(name)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DataError(f"{file}: has no list {name!r} of objects, which COCO files have")
    return content


def _categories(content: dict[str, Any], file: Path) -> dict[int, str]:
    found: dict[int, str] = {}
    for number, row in enumerate(content["categories"]):
        where = f"{file}: categories[{number}]"
        name = row.get("name")
        if not isinstance(name, str):
            raise DataError(f"{where} has no name")
        identity = _whole(row, "id", where)
        if identity in found:
            raise DataError(f"{where} has the id {identity}, which {found[identity]!r} has too")
        found[identity] = name
    if not found:
        raise DataError(f"{file}: there are no categories")
    return found


def _images(
    content: dict[str, Any], file: Path, root: Path, split: str | None, categories: dict[int, str]
) -> list[Annotated]:
    rows = content["images"]
    for number, row in enumerate(rows):
        if not isinstance(row.get("file_name"), str) or not row["file_name"]:
            raise DataError(f"{file}: images[{number}] has no file_name")
    folder = _image_folder(file, root, [row["file_name"] for row in rows])
    images: dict[int, Annotated] = {}
    for number, row in enumerate(rows):
        where = f"{file}: images[{number}]"
        identity = _whole(row, "id", where)
        if identity in images:
            raise DataError(f"{where} has the id {identity}, which images has twice")
        path = os.path.normpath(folder / row["file_name"])
        key = Path(os.path.relpath(path, root)).as_posix()
        stated = row.get("height"), row.get("width")
        size = stated if all(isinstance(side, int) and side > 0 for side in stated) else None
        images[identity] = Annotated(path, key, split, size, [], [], [])
    for number, row in enumerate(content["annotations"]):
        where = f"{file}: annotations[{number}]"
        image, category = _whole(row, "image_id", where), _whole(row, "category_id", where)
        if image not in images:
            raise DataError(f"{where} is of the image id {image}, which no image has")
        if category not in categories:
            known = ", ".join(map(str, sorted(categories)[:10])) + (", …" if len(categories) > 10 else "")
            raise DataError(f"{where} is of the category id {category}, which no category has; there are {known}")
        _add(images[image], row, where, categories[category])
    return list(images.values())


def _add(image: Annotated, row: dict[str, Any], where: str, name: str) -> None:
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise DataError(f"{where} has the bbox {str(box)[:80]}; [x, y, width, height] in pixels is needed")
    x, y, width, height = map(float, box)
    image.names.append(name)
    image.corners.append((x, y, x + width, y + height))
    image.ignore.append(bool(row.get("iscrowd", 0)))


def _is_number(value: Any) -> bool:
    """A number that a float can hold; not finite ones are found when boxes are checked."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**53)


def _whole(row: dict[str, Any], field: str, where: str) -> int:
    value = row.get(field)
    if isinstance(value, bool) or not isinstance(value, int):
        raise DataError(f"{where} has the {field} {value!r}; a whole number is needed")
    return value


def _image_folder(file: Path, root: Path, names: list[str]) -> Path:
    """Where the images lie: the first folder of the known layouts that has any of the first ones."""
    part = file.stem.removeprefix("instances_")
    tried = [root / part, root / "images" / part, root / "images", root, file.parent / "images", file.parent]
    folders = [folder for folder in dict.fromkeys(tried) if folder.is_dir()]
    for folder in folders:
        if any((folder / name).is_file() for name in names[:50]):
            return folder
    if not names:
        return root
    looked = ", ".join(map(str, folders))
    raise DataError(f"{file}: the image {names[0]} and those after it are missing; they were looked for in {looked}")
