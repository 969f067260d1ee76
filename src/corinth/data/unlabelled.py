"""Images whose folders tell neither masks nor classes, and what is said of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from corinth.data.collect import SPLIT_WORDS
from corinth.data.decode import is_image_file
from corinth.data.folders import image_files
from corinth.data.mask_layout import Folders, children, meaning_of, with_images
from corinth.errors import DataError


def unpaired(folder: Path, paired: Sequence[Folders]) -> list[str]:
    """Notes of the images in `folder` that are left out, as they lie in no folder of `paired`.

    A test part may be without masks, as those of competitions are; a `DataError` where another part has none.
    """
    notes = []
    used = [path for pair in paired for path in (pair.images, pair.masks)]
    parts = [child for child in children(folder) if _is_part(child)]
    above = not any(part in path.parents for part in parts for path in used)
    masks_of = {pair.images.parent: pair.masks.parent for pair in paired if pair.images.parent not in (folder, *parts)}
    for parent in (folder, *parts, *masks_of):
        for child in children(parent):
            kind, named = meaning_of(child.name)
            if any(child in (path, *path.parents) for path in used) or not (count := _count_own(child)):
                continue
            if kind != "image" and not _is_part(child):
                if kind is None and parent in masks_of:
                    notes.append(f"{child}: its {count} images are in none of the parts beside it: left out")
                continue
            near = [path for path in _masks_near(child, masks_of) if path not in used]
            masks = max(near, key=_count, default=None)
            said, ask = _said(child, count, masks, paired[0])
            part = named or (parent != folder and SPLIT_WORDS.get(parent.name.lower()))
            if above and parent in parts and masks and _count(masks):
                said = f"{child}: its {count} images are not used, as images and masks lie above it, in {folder}"
            elif part != "test":
                raise DataError(f"{said}; {ask}, or take these images away")
            notes.append(f"{said}: left out")
    return notes


def _count_own(images: Path) -> int:
    """The images in a folder, without what lies in folders of masks there, or in a part in folders of images."""
    apart = ("mask",) if meaning_of(images.name)[0] == "image" else ("mask", "image")
    return _count(images) - sum(_count(path) for path in children(images) if meaning_of(path.name)[0] in apart)


def _masks_near(images: Path, masks_of: Mapping[Path, Path]) -> list[Path]:
    """Folders that may be meant as those of the masks: beside, where their parent's lie, or inside; last ones first."""
    parent, part = images.parent, meaning_of(images.name)[1]
    wanted = [(None, part)] if parent in masks_of else [("mask", part), ("mask", None)]
    inside = [path for path in children(images) if meaning_of(path.name)[0] == "mask"]
    beside = [path for path in children(masks_of.get(parent, parent)) if meaning_of(path.name) in wanted]
    return beside[::-1] + inside[::-1]


def _said(images: Path, count: int, masks: Path | None, example: Folders) -> tuple[str, str]:
    """Why images have no masks, and what to do about it."""
    if masks is None:
        return f"{images}: there is no folder of masks beside it for its {count} images", "add one"
    if not _count(masks):
        return f"{images}: the folder {masks} holds no masks for its {count} images", "add them"
    lie = f"its {count} images and the masks in {masks} do not lie as {example.images} and {example.masks} do"
    return f"{images}: {lie}", "place them so"


def check_labelled(folder: Path) -> None:
    """`DataError` where all folders of images are called after images or parts of data, not after classes."""
    if (empty := _lacking_masks(folder)) is not None:
        raise DataError(
            f"{empty} holds no masks for the images beside it; masks are PNG files with the images' names, and boxes "
            "are COCO's .json or Pascal VOC's .xml"
        )
    inside = with_images(folder)
    parts = [child for child in inside if _is_part(child)]
    if parts and parts == inside and (lacking := _lacking_classes(parts)):
        images = lacking[0]
    elif (groups := [with_images(part) for part in parts or [folder]]) and all(map(_of_images, groups)):
        images = groups[0][0]
    else:
        return
    part = meaning_of(images.name)[1]
    place = images.parent if images.parent != folder else folder / (part or "")
    classes = with_images(images)
    told = any(map(with_images, classes)) if all(map(_is_part, classes)) else len(classes) > 1
    if told and not _holds_loose(images):
        ask = f"name {images} in place of {folder}" if place == folder else f"put them into {place}"
        raise DataError(f"{images} holds the folders of classes, which are looked for in {place}; {ask}")
    raise DataError(
        f"{images}: nothing says what is in its images; put the images of each class into a folder with its name, such "
        f"as {place / 'cat'}, masks into a folder {f'{part}_masks' if part else 'masks'} beside this one, or boxes as "
        "COCO's .json or Pascal VOC's .xml"
    )


def _lacking_classes(parts: Sequence[Path]) -> list[Path]:
    """The parts whose images lie in no folders: all of them, or those beside parts of nothing but folders.

    A test part may lack classes where others have them.
    """
    lacking = [part for part in parts if not with_images(part)]
    if len(lacking) == len(parts):
        return lacking
    classed = any(part not in lacking and not _holds_loose(part) for part in parts)
    return [part for part in lacking if classed and SPLIT_WORDS[part.name.lower()] != "test"]


def _of_images(group: Sequence[Path]) -> bool:
    """Whether the folders are all called as those of images are, one for each part: two such are classes."""
    meanings = {meaning_of(child.name) for child in group}
    return {kind for kind, _ in meanings} == {"image"} and len(meanings) == len(group)


def _lacking_masks(folder: Path) -> Path | None:
    """A folder that is called as one of masks is and holds none, beside a folder of images; None without such."""
    kinds: dict[str, list[Path]] = {"image": [], "mask": []}
    for child in children(folder):
        kind = meaning_of(child.name)[0]
        if kind is not None:
            kinds[kind].append(child)
    if len(kinds["mask"]) != 1 or len(kinds["image"]) != 1 or not _count(kinds["image"][0]):
        return None
    return kinds["mask"][0] if not _count(kinds["mask"][0]) else None


def _is_part(folder: Path) -> bool:
    return folder.name.lower() in SPLIT_WORDS


def _holds_loose(folder: Path) -> bool:
    """Whether images lie in the folder itself."""
    return any(map(is_image_file, folder.iterdir()))


def _count(folder: Path) -> int:
    return sum(1 for _ in image_files(folder))
