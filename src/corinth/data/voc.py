"""Pascal VOC's annotations (Everingham et al. 2010): one XML file an image.

Layouts: `Annotations/` with `JPEGImages/` (or `images/`) and the parts in `ImageSets/Main/*.txt`; or XML files beside
the images, in the folder itself or in `train/`, `val/`, `test/` folders. `Annotations` itself may be named: a folder
that has masks as well, as VOC's own have, is taken for these. An image without an XML file is left out, with
a note: nobody said that there is nothing on it.

Corners in the file are pixels counted from 1, both ends included; here they become continuous, from 0:
(xmin - 1, ymin - 1, xmax, ymax). A file with a document type declaration is refused, and with it every entity that
could grow or read other files.
"""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from corinth.data.annotated import Annotated, parts_left_out
from corinth.data.collect import SPLIT_WORDS, ordered
from corinth.data.decode import UnreadableImage, is_image_file
from corinth.errors import DataError

IMAGES = ("JPEGImages", "images", "Images")
ANNOTATIONS = ("Annotations", "annotations")


def is_voc(folder: Path) -> bool:
    """Whether XML files lie where they are looked for."""
    return bool(_layout(folder))


def read_voc(folder: Path) -> tuple[list[Annotated], list[str], list[str]]:
    """Images, class names in order, and notes."""
    images: list[Annotated] = []
    notes: list[str] = []
    if folder.name in ANNOTATIONS and any((folder.parent / name).is_dir() for name in IMAGES):
        folder = folder.parent
    for split, annotations, pictures in _layout(folder):
        by_stem: dict[str, Path] = {}
        for path in sorted(p for p in pictures.iterdir() if is_image_file(p) and not p.name.startswith(".")):
            if path.stem in by_stem:
                raise DataError(f"{path} and {by_stem[path.stem].name} share one annotation; rename one of them")
            by_stem[path.stem] = path
        files = {path.stem: path for path in _xml(annotations)}
        parts, said = _parts(folder, set(files)) if split is None else ({}, [])
        notes += said
        for stem, file in files.items():
            if parts and stem not in parts:
                continue
            picture = by_stem.get(stem, pictures / f"{stem}.jpg")  # a missing one is reported when it is opened
            key = picture.relative_to(folder).as_posix()
            images.append(_annotated(file, picture, key, parts.get(stem, split)))
        if bare := sorted(set(by_stem) - set(files)):
            notes.append(f"{len(bare)} images of {pictures} have no XML file and are left out, such as {bare[0]}")
    notes += parts_left_out(folder, images)
    return images, ordered({name for image in images for name in image.names}), notes


def _layout(folder: Path) -> list[tuple[str | None, Path, Path]]:
    """(part, folder of XML files, folder of images)."""
    for name in ANNOTATIONS:
        if any(_xml(folder / name)):
            pictures = [folder / images for images in IMAGES if (folder / images).is_dir()]
            return [(None, folder / name, (pictures or [folder / name])[0])]
    if any(_xml(folder)):
        return [(None, folder, folder)]
    found: list[tuple[str | None, Path, Path]] = []
    for child in sorted(p for p in folder.iterdir() if p.is_dir()):
        part = SPLIT_WORDS.get(child.name.lower())
        if part and (inside := _layout(child)):
            found += [(part, annotations, pictures) for _, annotations, pictures in inside]
    return found


def _xml(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(p for p in folder.iterdir() if p.suffix.lower() == ".xml" and not p.name.startswith("."))


def _parts(folder: Path, known: set[str]) -> tuple[dict[str, str], list[str]]:
    """The part of each image that ImageSets/Main lists; `trainval` is the training part where `train` is not there."""
    lists = folder / "ImageSets" / "Main"
    if not (lists / "train.txt").is_file() and (lists / "trainval.txt").is_file():
        files = [("train", lists / "trainval.txt"), ("test", lists / "test.txt")]
    else:
        files = [(name, lists / f"{name}.txt") for name in ("train", "val", "test")]
    parts: dict[str, str] = {}
    for part, file in files:
        if not file.is_file():
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
            words = line.split()
            if not words:
                continue
            stem = words[0]
            if stem not in known:
                raise DataError(f"{file}, line {number}: {stem} has no XML file among the annotations")
            if parts.setdefault(stem, part) != part:
                raise DataError(f"{file}, line {number}: {stem} is in the part {parts[stem]} too; list it in one")
    rest = len(known) - len(parts)
    notes = [f"{rest} annotated images are in no list of {lists} and are left out"] if parts and rest else []
    return parts, notes


def _annotated(file: Path, picture: Path, key: str, split: str | None) -> Annotated:
    image = Annotated(str(picture), key, split, None, [], [], [])
    try:
        _fill(image, _parse(file))
    except UnreadableImage as error:
        image.problem = f"its annotation {file.name} cannot be used: {error}"
    return image


def _fill(image: Annotated, root: ElementTree.Element) -> None:
    if root.tag != "annotation":
        raise UnreadableImage(f"its first tag is <{root.tag}>, not <annotation>")
    width, height = (_number(root, f"size/{side}", default=0.0) for side in ("width", "height"))
    if width > 0 and height > 0:  # some programs write 0
        image.size = int(min(height, 1e9)), int(min(width, 1e9))
    for position, item in enumerate(root.findall("object"), start=1):
        where = f"object {position}"
        name = (item.findtext("name") or "").strip()
        if not name:
            raise UnreadableImage(f"{where} has no name")
        x1, y1, x2, y2 = (_number(item, f"bndbox/{corner}", where) for corner in ("xmin", "ymin", "xmax", "ymax"))
        image.names.append(name)
        image.corners.append((x1 - 1, y1 - 1, x2, y2))
        image.ignore.append(_number(item, "difficult", where, default=0.0) != 0)


def _number(element: ElementTree.Element, path: str, where: str = "it", default: float | None = None) -> float:
    text = element.findtext(path)
    if text is None or not text.strip():
        if default is None:
            raise UnreadableImage(f"{where} has no {path}")
        return default
    try:
        return float(text)
    except ValueError as error:
        raise UnreadableImage(f"{where} has {text.strip()!r} for {path}, which is no number") from error


def _parse(file: Path) -> ElementTree.Element:
    """The tree of a file, without any document type."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(file.read_bytes(), True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise UnreadableImage(f"no XML at line {error.lineno}, column {error.offset + 1}: {reason}") from error
    except (OSError, LookupError, ValueError) as error:  # an encoding that Python does not know is a LookupError
        raise UnreadableImage(f"cannot be read ({error})") from error
    return builder.close()


def _refuse(name: str, system: str | None, public: str | None, internal: bool) -> None:
    raise UnreadableImage("it declares a document type, which annotations do not need and which is not read")
