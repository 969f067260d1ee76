"""Images whose folders tell neither masks nor classes: what is said of them."""

import re
from pathlib import Path

import pytest
from mask_toys import Writer, ids, pairs, photo

from corinth.data import open_data
from corinth.data.masks import open_masks
from corinth.errors import DataError


def test_a_folder_of_masks_without_one_is_said(tmp_path: Path, write: Writer) -> None:
    write("images/a.png", photo(1))
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match=r"masks holds no masks for the images beside it; masks are PNG files"):
        open_data(tmp_path)


@pytest.mark.parametrize("place", ["val/images", "val", "val/photos/town"])
def test_a_part_without_masks_is_said(tmp_path: Path, write: Writer, place: str) -> None:
    if place == "val":
        pairs(write, "train/{}.png", "train_masks/{}.png")
    else:
        pairs(write, "train/images/{}.png", "train/masks/{}.png")
    write(f"{place}/a.png", photo(1))
    with pytest.raises(DataError, match=r"val.*: there is no folder of masks beside it for its 1 images; add one"):
        open_data(tmp_path)


@pytest.mark.parametrize("place", ["test/images", "test_images"])
def test_test_images_may_be_without_masks(tmp_path: Path, write: Writer, place: str) -> None:
    if place == "test_images":
        pairs(write, "train_images/{}.png", "train_masks/{}.png")
    else:
        pairs(write, "train/images/{}.png", "train/masks/{}.png")
    write(f"{place}/a.png", photo(1))
    found = open_masks(tmp_path)
    assert len(found.source) == 6
    assert f"{tmp_path / place}: there is no folder of masks beside it for its 1 images: left out" in found.notes


ABOVE = "images are not used, as images and masks lie above it, in {root}: left out"


BESIDE = "there is no folder of masks beside it for its 1 images"


OTHERWISE = (
    "images and the masks in {root}/val/masks do not lie as {root}/train/images and {root}/train/masks do; place"
)


UNPAIRED = {  # the folders that have masks, and others with an image each: what is said
    "a note": {
        ("images masks", "test/images test/masks"): "test/images: its 1 " + ABOVE,
        ("images masks", "val/images val/masks"): "val/images: its 1 " + ABOVE,
        ("train train_masks", "val/images val/masks"): "val/images: its 1 " + ABOVE,
        ("train/images train/masks", "test/images test/masks/"): (
            "test/images: the folder {root}/test/masks holds no masks for its 1 images: left out"
        ),
        ("images/train masks/train images/val masks/val", "images/test"): f"images/test: {BESIDE}: left out",
        ("images/train masks/train", "images/test masks/test/"): (
            "images/test: the folder {root}/masks/test holds no masks for its 1 images: left out"
        ),
        ("images/train masks/train images/val masks/val", "images/town masks/town"): (
            "images/town: its 1 images are in none of the parts beside it: left out"
        ),
    },
    "an error": {
        ("train/images train/masks", "val/images val/masks/"): (
            "val/images: the folder {root}/val/masks holds no masks for its 1 images; add them, or take these"
        ),
        ("train/images train/masks", "val val/masks"): "val: its 1 " + OTHERWISE,
        ("images masks", "val/images"): f"val/images: {BESIDE}; add one",
        ("images/train masks/train", "images/val images/test"): f"images/val: {BESIDE}; add one",
        ("train train_masks val val_masks", "validation"): "val and validation may both be the folder of images; keep",
    },
}


@pytest.mark.parametrize(
    ("kind", "layout", "others"), [(kind, *folders) for kind, cases in UNPAIRED.items() for folders in cases]
)
def test_images_that_are_not_paired_are_said(
    tmp_path: Path, write: Writer, kind: str, layout: str, others: str
) -> None:
    folders = layout.split()
    for images, masks in zip(folders[::2], folders[1::2], strict=True):
        pairs(write, f"{images}/{{}}.png", f"{masks}/{{}}.png")
    for place in others.split():
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        if place[-1] != "/":
            write(f"{place}/a.png", ids(0, 1))
    says = UNPAIRED[kind][layout, others].replace("{root}", str(tmp_path))
    if kind == "an error":
        with pytest.raises(DataError, match=re.escape(says)):
            open_data(tmp_path)
    else:
        found = open_masks(tmp_path)
        assert f"{tmp_path}/{says}" in found.notes
        assert len(found.source) == 6 * len(folders) // 2


ALONE = {  # folders with images that have no class: what is asked for
    "images": "images: nothing says what is in its images; put the images of each class into a folder with its name, "
    "such as {root}/cat, masks into a folder masks beside",
    "train/images": "images: nothing says what is in its images; put the images of each class into a folder with its "
    "name, such as {root}/train/cat, masks into a folder masks beside",
    "train_images val_images": "train_images: nothing says what is in its images; put the images of each class into a "
    "folder with its name, such as {root}/train/cat, masks into a folder train_masks beside",
    "train val": "train: nothing says what is in its images; put the images of each class into a folder with its name, "
    "such as {root}/train/cat, masks into a folder train_masks beside",
    "train val/cat val/dog": "train: nothing says what is in its images; put the images of each class into a folder "
    "with its name, such as {root}/train/cat",
    "train/cat train/dog val": "val: nothing says what is in its images",
    "images/train images/val": "images: nothing says what is in its images",
    "images/cat images/dog": "images holds the folders of classes, which are looked for in {root}; name {root}/images",
    "images/train/cat images/train/dog": "images holds the folders of classes, which are looked for in {root}; name",
    "train/images/cat train/images/dog": "images holds the folders of classes, which are looked for in {root}/train; "
    "put them into {root}/train",
}


@pytest.mark.parametrize("places", ALONE)
def test_images_alone_are_of_no_class(tmp_path: Path, write: Writer, places: str) -> None:
    for place in places.split():
        for i in range(6):
            write(f"{place}/{i}.png", photo(i))
    with pytest.raises(DataError, match=re.escape(ALONE[places].replace("{root}", str(tmp_path)))):
        open_data(tmp_path)


def test_a_test_part_may_lack_classes(tmp_path: Path, write: Writer) -> None:
    for place in ("train/cat", "train/dog", "test"):
        for i in range(6):
            write(f"{place}/{i}.png", photo(i + 100 * len(place)))
    data = open_data(tmp_path)
    assert data.classes == ("cat", "dog")
    assert f"{tmp_path / 'test'} holds no class folders and is left out" in data.notes


@pytest.mark.parametrize("places", ["photos images", "cat_images dog_images", "train plane", "train/photos train/img"])
def test_classes_that_are_called_as_images_are(tmp_path: Path, write: Writer, places: str) -> None:
    for place in places.split():
        for i in range(6):
            write(f"{place}/{i}.png", photo(i + 100 * len(place)))
    assert set(open_data(tmp_path).classes) == {Path(place).name for place in places.split()}
