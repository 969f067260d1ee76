"""COCO and Pascal VOC: layouts, splits, what is left out, coordinates, and one sentence for everything wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from corinth.data import open_data
from corinth.data.boxes import BoxSource, is_box_data, open_boxes
from corinth.data.collect import Collected
from corinth.data.preflight import preflight
from corinth.errors import DataError

WIDTH, HEIGHT = 40, 30


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def coco(boxes: list[dict[str, Any]], names: tuple[str, ...] = ("a.png", "b.png")) -> dict[str, Any]:
    return {
        "images": [{"id": 10 + i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in enumerate(names)],
        "annotations": [{"id": i, **box} for i, box in enumerate(boxes, start=1)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}],
    }


GOOD = [
    {"image_id": 10, "category_id": 90, "bbox": [1, 2, 10, 20]},
    {"image_id": 10, "category_id": 3, "bbox": [30.5, 0, 9.5, 30]},
]


@pytest.fixture
def coco_folder(tmp_path: Path) -> Callable[..., Path]:
    """`coco_folder(content)` writes an annotation file beside the pictures it names."""

    def make(content: Any, root: str = "data", file: str = "boxes.json") -> Path:
        folder = tmp_path / root
        for number, image in enumerate(content["images"] if isinstance(content, dict) else ()):
            picture(folder / image["file_name"], number)
        folder.mkdir(exist_ok=True)
        (folder / file).write_text(content if isinstance(content, str) else json.dumps(content))
        return folder

    return make


def source(found: Collected) -> BoxSource:
    assert isinstance(found.source, BoxSource)
    return found.source


def test_coco_boxes_are_corners_and_category_ids_may_have_gaps(coco_folder: Callable[..., Path]) -> None:
    folder = coco_folder(coco(GOOD))
    assert is_box_data(folder)
    found = open_boxes(folder)
    assert found.task == "object-detection"
    boxes = source(found)
    assert boxes.classes == ("cat", "dog")
    assert boxes.keys == ("a.png", "b.png")
    assert boxes.target(0).dtype == np.float32
    np.testing.assert_array_equal(boxes.target(0), [[1, 1, 2, 11, 22], [0, 30.5, 0, 40, 30]])
    assert boxes.target(1).shape == (0, 5)  # nothing on it, and that is known
    np.testing.assert_array_equal(boxes.labels, [0, 0])
    assert not found.declared
    assert open_boxes(folder / "boxes.json").source.keys == boxes.keys  # ty: ignore[missing-attribute]


@pytest.mark.parametrize("images", ["train2017", "images/train2017", "images", "."])
def test_coco_parts_and_the_folders_of_their_images(tmp_path: Path, images: str) -> None:
    for part, names in (("train2017", ("a.png", "b.png")), ("val2017", ("c.png",))):
        where = tmp_path / images.replace("train2017", part)
        for name in names:
            picture(where / name, ord(name[0]))
        file = tmp_path / "annotations" / f"instances_{part}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(coco(GOOD, names)))
    (tmp_path / "annotations" / "captions_train2017.json").write_text('{"images": []}')
    found = open_boxes(tmp_path)
    assert {part: rows.tolist() for part, rows in found.declared.items()} == {"train": [0, 1], "val": [2]}
    assert source(found).keys[2].endswith("c.png")


def test_coco_parts_in_folders_of_their_own(coco_folder: Callable[..., Path]) -> None:
    root = coco_folder(coco(GOOD), "data/train", "_annotations.coco.json").parent
    coco_folder(coco(GOOD[:1]), "data/valid", "_annotations.coco.json")
    found = open_boxes(root)
    assert {part: len(rows) for part, rows in found.declared.items()} == {"train": 2, "val": 2}


@pytest.mark.parametrize("images", ["test2017", "images/test2017"])
def test_images_without_annotations_are_said(coco_folder: Callable[..., Path], images: str) -> None:
    root = coco_folder(coco(GOOD))
    picture(root / images / "c.png")
    found = open_boxes(root)
    assert len(found.source) == 2
    said = f"{images} holds images that no annotations are of: left out"
    assert said in found.notes
    assert said in open_boxes(root / ".." / root.name).notes


def test_paths_with_dots_inside_hide_no_part(coco_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = coco_folder(coco(GOOD), "data/train", "_annotations.coco.json").parent
    (tmp_path / "other").mkdir()
    assert not any("left out" in note for note in open_boxes(tmp_path / "other" / ".." / root.name).notes)


def test_other_json_does_not_make_class_folders_a_detection_set(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        picture(tmp_path / name / "1.png")
    (tmp_path / "info.json").write_text('{"info": {}, "images": 2}')
    assert not is_box_data(tmp_path)
    with pytest.raises(DataError, match="has no boxes; expected a COCO file"):
        open_boxes(tmp_path)


def test_crowds_are_neither_trained_on_nor_scored(coco_folder: Callable[..., Path]) -> None:
    crowd = {"image_id": 11, "category_id": 3, "bbox": [0, 0, 20, 20], "iscrowd": 1}
    found = open_boxes(coco_folder(coco([*GOOD, crowd])))
    assert len(source(found).target(1)) == 0
    np.testing.assert_array_equal(source(found).ignored[1], [[0, 0, 0, 20, 20]])
    assert any("1 crowds or difficult objects" in note for note in found.notes)


def test_what_lies_a_pixel_beyond_the_image_is_cut_off(coco_folder: Callable[..., Path]) -> None:
    box = {"image_id": 10, "category_id": 3, "bbox": [-0.7, -1, 41.5, 32]}
    found = open_boxes(coco_folder(coco([box])))
    np.testing.assert_array_equal(source(found).target(0), [[0, 0, 0, 40, 30]])


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([1, 2, 0, 5], r"its box 1 \(1, 2, 1, 7\) has no area: x1 < x2 and y1 < y2 are needed"),
        ([1, 2, -3, 5], "has no area"),
        ([1, 2, float("nan"), 5], "has values that are not finite"),
        ([1, 2, float("inf"), 5], "not finite"),
        ([35, 2, 8, 5], r"box 1 \(35, 2, 43, 7\) reaches beyond the image, which is 40 x 30 pixels"),
        ([-5, 2, 8, 5], "reaches beyond the image"),
        ([40.2, 2, 0.5, 5], "lies beyond the image"),
    ],
)
def test_boxes_that_cannot_be_right_are_counted_as_corrupt(
    coco_folder: Callable[..., Path], box: list[float], reason: str
) -> None:
    folder = coco_folder(coco([*GOOD, {"image_id": 11, "category_id": 3, "bbox": box}]))
    with pytest.raises(DataError, match=rf"1 of 2 images cannot be used .* the first is .*b\.png: .*{reason}"):
        open_boxes(folder)
    found = open_boxes(folder, max_corrupt=0.5)
    assert source(found).keys == ("a.png",)
    assert [Path(path).name for path, _ in found.corrupt] == ["b.png"]


def test_a_file_of_another_size_than_was_annotated(coco_folder: Callable[..., Path]) -> None:
    content = coco(GOOD)
    content["images"][0] |= {"width": HEIGHT, "height": WIDTH}
    with pytest.raises(DataError, match=r"a\.png: it was annotated at 30 x 40 pixels, and the file has 40 x 30"):
        open_boxes(coco_folder(content))


def test_a_file_that_is_turned_since_it_was_annotated(coco_folder: Callable[..., Path]) -> None:
    content = coco(GOOD, ("a.jpg", "b.jpg"))
    folder = coco_folder(content)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "a.jpg", exif=exif)
    says = r"a\.jpg: it was annotated at 40 x 30 pixels, and the file has 30 x 40, turned upright as its file says"
    with pytest.raises(DataError, match=says):
        open_boxes(folder)


def test_missing_image_files(coco_folder: Callable[..., Path]) -> None:
    folder = coco_folder(coco(GOOD))
    (folder / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png: the file is missing"):
        open_boxes(folder)
    (folder / "a.png").unlink()
    with pytest.raises(DataError, match=r"the image a\.png and those after it are missing; they were looked for in"):
        open_boxes(folder)


def changed(**parts: Any) -> dict[str, Any]:
    return coco(GOOD) | parts


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (changed(annotations=[{"image_id": 12, "category_id": 3, "bbox": [0, 0, 1, 1]}]),
         r"annotations\[0\] is of the image id 12, which no image has"),
        (changed(annotations=[{"image_id": 10, "category_id": 4, "bbox": [0, 0, 1, 1]}]),
         r"annotations\[0\] is of the category id 4, which no category has; there are 3, 90"),
        (changed(annotations=[{"image_id": 10, "category_id": 3}]), r"annotations\[0\] has the bbox None; \[x, y, "),
        (changed(annotations=[{"image_id": 10, "category_id": 3, "bbox": [1, 2, "3", 4]}]), "has the bbox"),
        (changed(annotations=[{"image_id": "10", "category_id": 3, "bbox": [1, 2, 3, 4]}]), "image_id '10'; a whole"),
        (changed(annotations=[{"image_id": 10, "category_id": 3, "bbox": [1, 2, 10**400, 4]}]), "has the bbox"),
        (changed(annotations=[]), "there is not one box in 2 images"),
        (changed(categories=[]), "there are no categories"),
        (changed(categories=[{"id": 3, "name": "cat"}, {"id": 3, "name": "dog"}]), r"id 3, which 'cat' has too"),
        (changed(categories=[{"id": 3, "name": "cat"}, {"id": 90, "name": "cat "}]), "'cat' and 'cat ' look the same"),
        (changed(categories=[{"id": 3}]), r"categories\[0\] has no name"),
        (changed(images=[{"id": 10, "file_name": "a.png"}] * 2), r"images\[1\] has the id 10, which images has twice"),
        (changed(images=[{"id": 10, "file_name": "a.png"}, {"id": 11, "file_name": "./a.png"}]),
         r"the image a\.png is listed more than once"),
        ({"images": [], "categories": [], "annotations": {}}, "has no list 'annotations' of objects"),
    ],
)  # fmt: skip
def test_annotations_that_contradict_themselves(
    coco_folder: Callable[..., Path], content: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataError, match=reason) as raised:
        open_boxes(coco_folder(content))
    assert str(raised.value).count("\n") == 0


def test_broken_json_says_where(coco_folder: Callable[..., Path]) -> None:
    folder = coco_folder('{"images": [],\n "annotations": [}, "categories": []}')
    with pytest.raises(DataError, match=r"boxes\.json: no JSON at line 2, column 18: "):
        open_boxes(folder)
    (folder / "boxes.json").write_bytes(b'{"images": [], "annotations": [], "categories": "\xff"}')
    with pytest.raises(DataError, match=r"not UTF-8 text, at byte 49"):
        open_boxes(folder)


def test_several_files_must_name_their_parts(coco_folder: Callable[..., Path]) -> None:
    folder = coco_folder(coco(GOOD), file="first.json")
    coco_folder(coco(GOOD), file="train.json")
    with pytest.raises(DataError, match=r"first\.json: its name says no part"):
        open_boxes(folder)
    (folder / "first.json").rename(folder / "train_2.json")
    with pytest.raises(DataError, match=r"train\.json, train_2\.json all name the train part"):
        open_boxes(folder)
    (folder / "train_2.json").rename(folder / "val.json")
    with pytest.raises(DataError, match=r"a\.png is listed in the parts train and val"):
        open_boxes(folder)
    content = coco(GOOD, ("c.png", "d.png")) | {"categories": [{"id": 3, "name": "cow"}, {"id": 90, "name": "dog"}]}
    coco_folder(content, file="val.json")
    with pytest.raises(DataError, match="have different categories"):
        open_boxes(folder)


def voc(objects: str = "", size: str = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>") -> str:
    return f"<annotation><filename>x</filename>{size}{objects}</annotation>"


def item(name: str, *corners: object, extra: str = "") -> str:
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners))
    return f"<object><name>{name}</name>{extra}<bndbox>{box}</bndbox></object>"


@pytest.fixture
def voc_folder(tmp_path: Path) -> Callable[..., Path]:
    """`voc_folder(a=xml, b=xml)` writes Pascal VOC's layout with an image for each."""

    def make(**files: str) -> Path:
        for number, (stem, text) in enumerate(files.items()):
            picture(tmp_path / "JPEGImages" / f"{stem}.png", number)
            (tmp_path / "Annotations").mkdir(exist_ok=True)
            (tmp_path / "Annotations" / f"{stem}.xml").write_text(text)
        return tmp_path

    return make


def test_voc_corners_count_from_one_and_include_both_ends(voc_folder: Callable[..., Path]) -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    objects = item("dog", 1, 1, WIDTH, HEIGHT) + item("cat", 5, 6.5, 5, 7, extra=part)
    folder = voc_folder(a=voc(objects), b=voc())
    assert is_box_data(folder)
    boxes = source(open_boxes(folder))
    assert boxes.classes == ("cat", "dog")
    np.testing.assert_array_equal(boxes.target(0), [[1, 0, 0, 40, 30], [0, 4, 5.5, 5, 7]])
    assert len(boxes.target(1)) == 0


def test_difficult_objects_are_neither_trained_on_nor_scored(voc_folder: Callable[..., Path]) -> None:
    objects = item("dog", 1, 1, 9, 9) + item("dog", 2, 2, 9, 9, extra="<difficult>1</difficult>")
    boxes = source(open_boxes(voc_folder(a=voc(objects))))
    assert len(boxes.target(0)) == 1
    np.testing.assert_array_equal(boxes.ignored[0], [[0, 1, 1, 9, 9]])


def test_voc_parts(voc_folder: Callable[..., Path]) -> None:
    dog = voc(item("dog", 1, 1, 9, 9))
    folder = voc_folder(a=dog, b=dog, c=dog, d=dog)
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("a\nb\n")
    (lists / "test.txt").write_text("c  1\n\n")
    found = open_boxes(folder)
    assert {part: len(rows) for part, rows in found.declared.items()} == {"train": 2, "test": 1}
    assert any("1 annotated images are in no list" in note for note in found.notes)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    assert {part: len(rows) for part, rows in open_boxes(folder).declared.items()} == {"train": 1, "val": 1, "test": 1}
    (lists / "val.txt").write_text("a\n")
    with pytest.raises(DataError, match=r"val\.txt, line 1: a is in the part train too"):
        open_boxes(folder)
    (lists / "val.txt").write_text("e\n")
    with pytest.raises(DataError, match=r"val\.txt, line 1: e has no XML file"):
        open_boxes(folder)


def test_xml_beside_images_in_folders_of_parts(tmp_path: Path) -> None:
    for number, stem in enumerate(("train/a", "train/b", "valid/c")):
        picture(tmp_path / f"{stem}.png", number)
    for stem in ("train/a", "valid/c"):
        (tmp_path / f"{stem}.xml").write_text(voc(item("dog", 1, 1, 9, 9)))
    found = open_boxes(tmp_path)
    assert {part: len(rows) for part, rows in found.declared.items()} == {"train": 1, "val": 1}
    assert source(found).keys == ("train/a.png", "valid/c.png")
    assert any("1 images of" in note and "have no XML file and are left out, such as b" in note for note in found.notes)
    assert not any("no annotations are of" in note for note in found.notes)


@pytest.mark.parametrize("part", ["val", "test", "images/val"])
def test_a_part_without_xml_is_said(tmp_path: Path, part: str) -> None:
    picture(tmp_path / "train" / "a.png")
    (tmp_path / "train" / "a.xml").write_text(voc(item("dog", 1, 1, 9, 9)))
    picture(tmp_path / part / "b.png")
    assert f"{part} holds images that no annotations are of: left out" in open_boxes(tmp_path).notes


DOG = voc(item("dog", 1, 1, 9, 9))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<annotation>\n<object></annotation>", "no XML at line 2, column 11: mismatched tag"),
        ("", "no XML at line 1"),
        ("<html></html>", "its first tag is <html>, not <annotation>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + DOG, "it declares a document type"),
        ('<?xml version="1.0" encoding="klingon"?>' + DOG, "cannot be read .unknown encoding: klingon"),
        (voc(item("", 1, 1, 9, 9)), "object 1 has no name"),
        (voc(item("dog", 1, 1, 9)), "object 1 has no bndbox/ymax"),
        (voc(item("dog", 1, 1, 9, "wide")), "object 1 has 'wide' for bndbox/ymax, which is no number"),
        (voc(item("dog", 9, 1, 8, 9)), "has no area"),
        (voc(item("dog", 1, 1, 9, "nan")), "not finite"),
        (voc(item("dog", 1, 1, 99, 9)), "reaches beyond the image"),
        (voc(item("dog", 1, 1, 9, 9), "<size><width>inf</width><height>6</height></size>"), "annotated at 1000000000"),
        (voc(item("dog", 1, 1, 9, 9), "<size><width>80</width><height>60</height></size>"), "annotated at 80 x 60"),
    ],
)  # fmt: skip
def test_a_bad_xml_file_is_counted_as_corrupt(voc_folder: Callable[..., Path], text: str, reason: str) -> None:
    folder = voc_folder(a=DOG, b=text)
    with pytest.raises(
        DataError, match=rf"1 of 2 images cannot be used .* the first is .*b\.png: .*{reason}"
    ) as raised:
        open_boxes(folder)
    assert str(raised.value).count("\n") == 0
    assert source(open_boxes(folder, max_corrupt=0.5)).keys == ("JPEGImages/a.png",)


def test_an_annotation_without_its_image(voc_folder: Callable[..., Path]) -> None:
    folder = voc_folder(a=DOG, b=DOG)
    (folder / "JPEGImages" / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.jpg: the file is missing"):
        open_boxes(folder)


def test_labels_onto_the_classes_of_a_run(coco_folder: Callable[..., Path]) -> None:
    boxes = source(open_boxes(coco_folder(coco(GOOD))))
    np.testing.assert_array_equal(boxes.onto(("cow", "dog", "cat"), "it").target(0)[:, 0], [1, 2])
    with pytest.raises(DataError, match=r"it: the label 'dog' \(1 boxes\) was not seen in training; .* 'cat'"):
        boxes.onto(("cat",), "it")


def test_the_fingerprint_changes_with_a_box(coco_folder: Callable[..., Path]) -> None:
    prints = []
    for x in (1, 1, 2):
        content = coco([{"image_id": 10, "category_id": 90, "bbox": [x, 2, 10, 20]}])
        prints.append(b"".join(source(open_boxes(coco_folder(content))).fingerprint_bytes()))
    assert prints[0] == prints[1] != prints[2]


def test_a_class_that_only_other_parts_have_is_said(coco_folder: Callable[..., Path]) -> None:
    """Not an error, as it is where an image has one class: the rest of the image can be learnt."""
    for part, boxes in (("train", [GOOD[0]]), ("test", GOOD)):
        coco_folder(coco(boxes), root=f"data/{part}", file="boxes.json")
        for number, name in enumerate(("a.png", "b.png")):
            picture(coco_folder(coco(boxes), root=f"data/{part}") / name, number + 7 * len(part))
    data = open_data(coco_folder(coco(GOOD), root="data/test").parent, val_share=0)
    found = preflight(data)
    assert {name: (count["train"], count["test"]) for name, count in found.classes.items()} == {
        "cat": (0, 1),
        "dog": (1, 1),
    }
    assert [f.text for f in found.findings if f.severity == "warning" and "learnt" in f.text] == [
        "no training image has 'cat', and other parts do: it will not be learnt"
    ]


def test_a_folder_with_masks_too_has_its_boxes_by_their_own_folder(voc_folder: Callable[..., Path]) -> None:
    """Pascal VOC 2007 and 2012 as they are given away."""
    stems = {f"i{i}": voc(item("dog", 1, 1 + i, 9, 9 + i)) for i in range(6)}
    folder = voc_folder(**stems)
    (folder / "SegmentationClass").mkdir()
    for stem in stems:
        mask = np.resize(np.array([0, 1], dtype=np.uint8), (HEIGHT, WIDTH))
        Image.fromarray(mask).save(folder / "SegmentationClass" / f"{stem}.png")
    data = open_data(folder)
    assert data.task == "semantic-segmentation"
    assert any("there are boxes too" in note and ".xml" in note for note in data.notes)
    data = open_data(folder / "Annotations")
    assert data.task == "object-detection"
    assert len(data) == 6
    assert data.source.key(0) == "JPEGImages/i0.png"


def test_few_images_are_counted_as_images(coco_folder: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="there are 2 different images, and 3 are needed to give test, val, train one"):
        open_data(coco_folder(coco(GOOD)))
