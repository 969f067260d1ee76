"""Masks: the layouts they come in, what their values mean, and what bad ones get."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from mask_toys import Writer, ids, pairs, photo
from PIL import Image

from corinth.data import ImageData, open_data
from corinth.data.masks import MaskSource, is_mask_folder, open_masks
from corinth.errors import DataError


def source(path: Path) -> MaskSource:
    found = open_masks(path).source
    assert isinstance(found, MaskSource)
    return found


LAYOUTS = {
    "side by side": ["images/{}.png", "masks/{}.png"],
    "one of each": ["image/{}.jpg", "label/{}.png"],
    "annotations": ["imgs/{}.png", "annotations/{}.png"],
    "with a word behind": ["images/{}.jpg", "masks/{}_mask.png"],
    "deeper": ["images/town/{}.png", "masks/town/{}.png"],
    "voc": ["JPEGImages/{}.jpg", "SegmentationClass/{}.png"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_without_parts(tmp_path: Path, write: Writer, layout: str) -> None:
    pairs(write, *LAYOUTS[layout])
    assert is_mask_folder(tmp_path)
    found = open_masks(tmp_path)
    assert len(found.source) == 6
    assert not found.declared
    assert found.task == "semantic-segmentation"
    assert np.array_equal(source(tmp_path).target(3), ids(0, 1, 2))
    data = open_data(tmp_path)
    assert {part: len(rows) for part, rows in data.splits.items()} == {"train": 4, "val": 1, "test": 1}
    assert data.task == "semantic-segmentation"


PARTS = {
    "above": ["{part}/images/{}.png", "{part}/masks/{}.png"],
    "inside": ["images/{part}/{}.png", "masks/{part}/{}.png"],
    "in the name": ["images_prepped_{part}/{}.png", "annotations_prepped_{part}/{}.png"],
    "in front": ["{part}_images/{}.png", "{part}_masks/{}.png"],
    "a bare part": ["{part}/{}.png", "{part}_labels/{}.png"],
    "glued": ["{part}/{}.png", "{part}annot/{}.png"],
}


@pytest.mark.parametrize("layout", PARTS)
def test_layouts_with_parts(tmp_path: Path, write: Writer, layout: str) -> None:
    counts = {"train": 4, "val": 2, "test": 3}
    for part, count in counts.items():
        images, masks = (name.replace("{part}", part) for name in PARTS[layout])
        pairs(write, images, masks, count)
    found = open_masks(tmp_path)
    assert {part: len(rows) for part, rows in found.declared.items()} == counts
    for part, rows in found.declared.items():
        assert all(part in found.source.key(i) for i in rows)
    assert {part: len(rows) for part, rows in open_data(tmp_path).splits.items()} == counts


def test_lists_of_pascal_voc_say_which_images_have_masks(tmp_path: Path, write: Writer) -> None:
    pairs(write, "JPEGImages/{}.jpg", "SegmentationClass/{}.png", 5)
    write("JPEGImages/unseen.jpg", photo(9))
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n1\n2\n")
    (lists / "val.txt").write_text("3\n4\n")
    found = open_masks(tmp_path)
    assert {part: rows.tolist() for part, rows in found.declared.items()} == {"train": [0, 1, 2], "val": [3, 4]}
    assert any("1 images" in note and "ImageSets" in note for note in found.notes)


@pytest.mark.parametrize(
    "folders",
    [("cats", "dogs"), ("images",), ("train/cats", "train/dogs"), ("images", "Annotations"), ("masks", "labels")],
)
def test_what_is_no_mask_folder(tmp_path: Path, write: Writer, folders: tuple[str, ...]) -> None:
    for folder in folders:
        write(f"{folder}/a.png", photo(1))
    if "Annotations" in folders:  # of Pascal VOC's detection data: XML, no images
        (tmp_path / "Annotations" / "a.png").unlink()
        (tmp_path / "Annotations" / "a.xml").write_text("<annotation/>")
    assert not is_mask_folder(tmp_path)
    with pytest.raises(DataError, match="has no masks; expected a folder of images and one of masks"):
        open_masks(tmp_path)


def test_black_and_white_masks_have_two_classes(tmp_path: Path, write: Writer) -> None:
    pairs(write, "images/{}.png", "masks/{}.png", values=(0, 255, 255))
    found = source(tmp_path)
    assert found.classes == ("0", "1")
    assert np.array_equal(found.target(0), ids(0, 1, 1))
    assert found.pixels.sum(0).tolist() == [6 * 16, 6 * 32]
    (tmp_path / "classes.txt").write_text("membrane\ncell\n")
    assert source(tmp_path).classes == ("membrane", "cell")


def test_ids_and_255(tmp_path: Path, write: Writer) -> None:
    pairs(write, "images/{}.png", "masks/{}.png", values=(0, 3, 255))
    found = source(tmp_path)
    assert found.classes == ("0", "1", "2", "3")
    assert np.array_equal(found.target(0), ids(0, 3, 255))
    assert found.pixels[0].tolist() == [16, 0, 0, 16]


def test_palettes_give_their_indices_and_one_bit_its_value(tmp_path: Path, write: Writer) -> None:
    pairs(write, "images/{}.png", "masks/{}.png")
    for i in range(3):
        image = Image.fromarray(ids(0, 1, 2))
        image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255] + [9] * 759)
        image.save(tmp_path / f"masks/{i}.png")
    Image.fromarray(ids(0, 1).astype(bool)).save(tmp_path / "masks/3.png")
    Image.fromarray(ids(0, 1, 2).astype(np.uint16)).save(tmp_path / "masks/4.png")
    found = source(tmp_path)
    assert found.classes == ("0", "1", "2")
    for i in (0, 1, 2, 4, 5):
        assert np.array_equal(found.target(i), ids(0, 1, 2))
    assert np.array_equal(found.target(3), ids(0, 1))


TABLES = {
    "class_dict.csv": "name,r,g,b\nsky,0,0,255\nroad,128,64,128\n",
    "label_colors.txt": "0 0 255\tsky\n128 64 128\troad\n",
    "labelmap.txt": "# label:color_rgb:parts:actions\nsky:0,0,255::\nroad:128,64,128::\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_colour_masks_by_a_table(tmp_path: Path, write: Writer, name: str) -> None:
    colours = np.array([[0, 0, 255], [128, 64, 128]], dtype=np.uint8)
    for i in range(4):
        write(f"images/{i}.png", photo(i))
        write(f"masks/{i}.png", colours[ids(0, 1, 1)])
    (tmp_path / name).write_text(TABLES[name])
    found = source(tmp_path)
    assert found.classes == ("sky", "road")
    assert np.array_equal(found.target(2), ids(0, 1, 1))


def test_colours_without_a_table_and_grey_in_three_channels(tmp_path: Path, write: Writer) -> None:
    for i in range(3):
        write(f"images/{i}.png", photo(i))
        write(f"masks/{i}.png", np.repeat(ids(0, 1)[..., None], 3, axis=2))
    assert np.array_equal(source(tmp_path).target(0), ids(0, 1))
    for i in range(3):
        write(f"masks/{i}.png", photo(7))
    with pytest.raises(DataError, match=r"its colours have no meaning here; add class_dict\.csv with the columns"):
        open_masks(tmp_path)


@pytest.mark.parametrize("text", ["sky\nroad\ncar\n", "0 sky\n1 road\n2 car\n", "2: car\n0: sky\n1: road\n"])
def test_names_of_classes(tmp_path: Path, write: Writer, text: str) -> None:
    pairs(write, "images/{}.png", "masks/{}.png")
    (tmp_path / "codes.txt").write_text(text)
    assert source(tmp_path).classes == ("sky", "road", "car")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("classes.txt", "1 sky\n2 road\n", "its ids are not 0 to 1, each once"),
        ("classes.txt", "sky\n", "names 1 classes; at least two"),
        ("classes.txt", "sky\nsky\nroad\n", "look the same"),
        ("classes.txt", "\n".join(map(str, range(300))), "names 300 classes; masks of 8 bits hold at most 254"),
        ("class_dict.csv", "name,r,g\nsky,1,2\n", "needs the columns name, r, g, b"),
        ("class_dict.csv", "name,r,g,b\nsky,1,2,x\n", "whole numbers"),
        ("class_dict.csv", "name,r,g,b\na,1,2,3\nb,1,2,3\n", "'a' and 'b' have the same colour (1, 2, 3)"),
        ("label_colors.txt", "1 2 999 sky\n1 2 3 road\n", "the colour (1, 2, 999) of 'sky' is not in 0 to 255"),
        ("label_colors.txt", "sky 1 2 3\n", "the line 'sky 1 2 3' is neither 'r g b name' nor"),
    ],
)
def test_files_of_names_that_make_no_sense(tmp_path: Path, write: Writer, name: str, text: str, says: str) -> None:
    pairs(write, "images/{}.png", "masks/{}.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=re.escape(says)):
        open_masks(tmp_path)


def test_missing_masks(tmp_path: Path, write: Writer) -> None:
    pairs(write, "images/{}.png", "masks/{}.png")
    for i in (1, 4):
        (tmp_path / f"masks/{i}.png").unlink()
    with pytest.raises(DataError) as raised:
        open_data(tmp_path)
    assert str(raised.value) == (
        f"{tmp_path / 'images'}: 2 of 6 images have no mask in {tmp_path / 'masks'} (1.png, 4.png); "
        "add masks of the same names, or take these images away"
    )


def test_masks_without_images_are_left_out(tmp_path: Path, write: Writer) -> None:
    pairs(write, "images/{}.png", "masks/{}.png")
    write("masks/other.png", ids(0, 1))
    found = open_masks(tmp_path)
    assert len(found.source) == 6
    assert any("1 masks" in note and "belong to no image" in note for note in found.notes)


def many(write: Writer, masks: str = "masks/{}.png") -> None:
    pairs(write, "images/{}.png", masks, 24)


def test_a_single_bad_mask_is_left_out(tmp_path: Path, write: Writer) -> None:
    many(write)
    write("masks/5.png", ids(0, 1, size=(4, 8)))
    data = open_data(tmp_path)
    assert len(data) == 23
    assert data.corrupt == ((str(tmp_path / "masks/5.png"), "the mask has 8 x 4 pixels and its image 8 x 6"),)
    assert "1 files cannot be used and are left out" in data.notes
    with pytest.raises(DataError, match="1 of 24 images cannot be used"):
        open_data(tmp_path, max_corrupt=0.0)


def spoil_size(path: Path) -> None:
    Image.fromarray(ids(0, 1, size=(8, 6))).save(path)


def spoil_ids(path: Path) -> None:
    Image.fromarray(ids(0, 1, 7)).save(path)


def spoil_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def spoil_wide(path: Path) -> None:
    Image.fromarray(ids(0, 1).astype(np.uint16) + 999).save(path)


BAD = {
    spoil_size: "the mask has 6 x 8 pixels and its image 8 x 6",
    spoil_ids: "its value 7 is none of the 3 classes, whose ids are 0 to 2",
    spoil_file: "not an image in a format that is read here",
    spoil_wide: "it has the id 1000; ids are 0 to 255",
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_many_bad_masks_stop(tmp_path: Path, write: Writer, spoil: Callable[[Path], None]) -> None:
    many(write)
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\n")
    for i in range(3):
        spoil(tmp_path / f"masks/{i}.png")
    with pytest.raises(DataError) as raised:
        open_data(tmp_path)
    said = str(raised.value)
    assert said.startswith(f"{tmp_path}: 3 of 24 images cannot be used (12.5%, allowed are 5.0%)")
    assert str(tmp_path / "masks/0.png") in said
    assert BAD[spoil] in said
    assert "\n" not in said


def test_a_jpeg_is_no_mask(tmp_path: Path, write: Writer) -> None:
    pairs(write, "images/{}.png", "masks/{}.jpg")
    with pytest.raises(DataError, match="a JPEG changes the ids of pixels; save masks as PNG"):
        open_masks(tmp_path)


def test_shades_of_grey_are_no_ids(tmp_path: Path, write: Writer) -> None:
    pairs(write, "images/{}.png", "masks/{}.png", values=(0, 17, 200))
    with pytest.raises(DataError, match="masks have the value 200, so they seem to hold shades and not class ids"):
        open_masks(tmp_path)


def test_one_class_is_not_enough_to_train_on_but_to_evaluate(tmp_path: Path, write: Writer) -> None:
    pairs(write, "images/{}.png", "masks/{}.png", values=(0,))
    with pytest.raises(DataError, match="the masks have only one class, '0'; at least two classes are needed"):
        open_data(tmp_path)
    assert open_data(tmp_path, classes=("sky", "road")).classes == ("sky", "road")
    pairs(write, "images/{}.png", "masks/{}.png", values=(255,))


def test_two_masks_of_one_image(tmp_path: Path, write: Writer) -> None:
    pairs(write, "images/{}.png", "masks/{}.png")
    write("masks/0_mask.png", ids(0, 1))
    with pytest.raises(DataError, match="are both masks of the image 0; keep one of them"):
        open_masks(tmp_path)


def test_two_folders_of_masks(tmp_path: Path, write: Writer) -> None:
    pairs(write, "images/{}.png", "masks/{}.png")
    write("labels/0.png", ids(0, 1))
    with pytest.raises(DataError, match="labels and masks may both be the folder of masks; keep one of them"):
        open_masks(tmp_path)


def test_two_images_of_one_name(tmp_path: Path, write: Writer) -> None:
    pairs(write, "images/{}.png", "masks/{}.png")
    write("images/0.jpg", photo(1))
    with pytest.raises(DataError, match=r"0\.jpg and 0\.png have the same name; keep one of them"):
        open_masks(tmp_path)


@pytest.fixture
def data(tmp_path: Path, write: Writer) -> Iterator[ImageData]:
    pairs(write, "images/{}.png", "masks/{}.png", 8)
    return open_data(tmp_path)


def test_the_fingerprint_follows_the_masks_and_not_the_place(data: ImageData, tmp_path: Path, write: Writer) -> None:
    again = tmp_path.rename(tmp_path.with_name("moved"))
    assert open_data(again).fingerprint == data.fingerprint
    Image.fromarray(ids(0, 1, 1)).save(again / "masks/0.png")
    assert open_data(again).fingerprint != data.fingerprint


def test_classes_of_a_run(data: ImageData, tmp_path: Path) -> None:
    """By name where there are names; ids keep their places."""
    known = open_data(tmp_path, classes=("sky", "road", "car", "bus"))
    assert known.classes == ("sky", "road", "car", "bus")
    (tmp_path / "classes.txt").write_text("car\nroad\nsky\n")
    turned = open_data(tmp_path, classes=("sky", "road", "car", "bus")).source
    assert isinstance(turned, MaskSource)
    assert np.array_equal(turned.target(0), ids(2, 1, 0))
    assert turned.pixels[0].tolist() == [16, 16, 16, 0]
    with pytest.raises(DataError, match=r"the class 'sky' \(128 pixels\) was not seen in training; the run knows 'r"):
        open_data(tmp_path, classes=("road", "car"))


def test_a_mask_that_changes_after_opening_is_unreadable(data: ImageData, tmp_path: Path) -> None:
    assert isinstance(data.source, MaskSource)
    Image.fromarray(ids(0, 9)).save(tmp_path / "masks/0.png")
    with pytest.raises(DataError, match="has changed since the data were opened"):
        data.source.target(0)
    (tmp_path / "masks/1.png").unlink()
    with pytest.raises(DataError, match="the file is missing"):
        data.source.target(1)


@pytest.mark.data
def test_isbi_membrane(corinth_data: Path) -> None:
    data = open_data(corinth_data / "isbi_membrane")
    assert (len(data), data.classes, data.native_size) == (30, ("0", "1"), (512, 512))
    assert isinstance(data.source, MaskSource)
    assert data.source.pixels.sum(0).tolist() == [1_727_250, 6_137_070]


@pytest.mark.data
def test_camvid_sample(corinth_data: Path) -> None:
    data = open_data(corinth_data / "camvid_sample8")
    assert (len(data), data.num_classes, data.native_size) == (8, 12, (360, 480))
    assert {part: len(rows) for part, rows in data.splits.items()} == {"train": 4, "val": 1, "test": 3}


TABLE = "name,r,g,b\nground,0,0,0\nwater,128,128,128\nroad,255,255,255\ntree,0,128,0\n"


@pytest.mark.parametrize("colour", [False, True])
def test_grey_masks_of_a_colour_table_hold_its_levels(tmp_path: Path, write: Writer, colour: bool) -> None:
    grey = ids(0, 128, 255)
    for i in range(6):
        write(f"images/{i}.png", photo(i))
        write(f"masks/{i}.png", np.stack([grey] * 3, axis=-1) if colour else grey)
    (tmp_path / "class_dict.csv").write_text(TABLE)
    found = open_masks(tmp_path)
    assert found.source.classes == ("ground", "water", "road", "tree")
    assert np.array_equal(source(tmp_path).target(0), ids(0, 1, 2))
    assert colour or not any("ignored" in note or "black and white" in note for note in found.notes)


def test_white_of_a_colour_table_is_a_class(tmp_path: Path, write: Writer) -> None:
    pairs(write, "images/{}.png", "masks/{}.png", values=(0, 255))
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nroad,255,255,255\nground,0,0,0\n")
    assert np.array_equal(source(tmp_path).target(0), ids(1, 0))


def test_ids_beside_a_colour_table_stay_ids(tmp_path: Path, write: Writer) -> None:
    pairs(write, "images/{}.png", "masks/{}.png", values=(0, 1, 3, 255))
    (tmp_path / "class_dict.csv").write_text(TABLE)
    assert np.array_equal(source(tmp_path).target(0), ids(0, 1, 3, 255))


def test_palettes_are_read_by_colour_where_the_table_has_all_of_theirs(tmp_path: Path, write: Writer) -> None:
    """Programs that make images smaller number the colours anew; other palettes are for looks."""
    (tmp_path / "class_dict.csv").write_text(TABLE)
    for i, (last, expected) in enumerate((((128, 128, 128), ids(3, 0, 1)), ((9, 9, 9), ids(0, 1, 2)))):
        write(f"images/{i}.png", photo(i))
        mask = Image.fromarray(ids(0, 1, 2))
        mask.putpalette([0, 128, 0, 0, 0, 0, *last])
        (tmp_path / "masks").mkdir(exist_ok=True)
        mask.save(tmp_path / "masks" / f"{i}.png")
        assert np.array_equal(source(tmp_path).target(i), expected)
    write("images/2.png", photo(2))
    mask = Image.fromarray(ids(0, 1, 255))
    mask.putpalette([0, 128, 0, 0, 0, 0, *[7] * 762])
    mask.save(tmp_path / "masks" / "2.png")
    assert np.array_equal(source(tmp_path).target(2), ids(3, 0, 255))


def test_255_is_ignored_beside_three_classes_though_the_data_hold_nothing_but_0_and_255(
    tmp_path: Path, write: Writer
) -> None:
    pairs(write, "images/{}.png", "masks/{}.png", values=(0, 255))
    found = open_data(tmp_path, classes=("0", "1", "2")).source
    assert isinstance(found, MaskSource)
    assert np.array_equal(found.target(0), ids(0, 255))
    assert found.pixels.sum(axis=0).tolist() == [6 * 24, 0, 0]


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_images_that_their_files_turn_are_said(tmp_path: Path, write: Writer, orientation: int) -> None:
    """Upside down, or square, an image has the size of a mask that was drawn before it was turned."""
    pairs(write, "images/{}.png", "masks/{}.png", count=5)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo(5, (8, 8))).save(tmp_path / "images" / "5.jpg", exif=exif)
    write("masks/5.png", ids(0, 1, 2, size=(8, 8)))
    said = [note for note in open_masks(tmp_path).notes if "turned upright" in note]
    assert said == ["1 images are turned upright as their files say; their masks must be upright already"] * (
        orientation > 1
    )


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_mask_that_does_not_fit_a_turned_image_says_so(tmp_path: Path, write: Writer, orientation: int) -> None:
    size = (8, 6) if orientation == 1 else (6, 8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    write("masks/a.png", ids(0, 1, 2, size=(6, 8)))
    (tmp_path / "images").mkdir()
    Image.fromarray(photo(1, size)).save(tmp_path / "images" / "a.jpg", exif=exif)
    with pytest.raises(DataError) as raised:
        open_masks(tmp_path)
    turned = ", turned upright as its file says" * (orientation == 6)
    assert f"the mask has 8 x 6 pixels and its image 6 x 8{turned}" in str(raised.value)
    assert ("turned" in str(raised.value)) == (orientation == 6)
