"""`doctor`, `train`, `evaluate` and `predict` on data with boxes, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from digit_scenes import voc_annotation, write_coco, write_voc

Cli = Callable[..., Any]
SMALL = ("backbone=mobilenetv3_small_050", "channels=32", "norm_groups=8", "head_depth=1")
SET_SMALL = [word for option in SMALL for word in ("--set", option)]


@pytest.fixture(scope="module")
def canvases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve canvases of digits in COCO's format, without parts."""
    return write_coco(tmp_path_factory.mktemp("canvases"), count=12, side=64, seed=1)


@pytest.fixture(scope="module")
def voc_canvases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same canvases as Pascal VOC has them, with lists of parts."""
    return write_voc(tmp_path_factory.mktemp("voc") / "VOC", count=12, side=64, seed=1)


@pytest.fixture(params=["COCO", "Pascal VOC"])
def scenes(request: pytest.FixtureRequest, canvases: Path, voc_canvases: Path) -> tuple[Path, Path]:
    """Data with boxes in one of the two formats, and the folder of its pictures."""
    return (canvases, canvases) if request.param == "COCO" else (voc_canvases, voc_canvases / "JPEGImages")


def make_sure_of_itself(run: Path) -> None:
    """Raise the run's scores, so that after two steps something is found."""
    from safetensors.torch import load_file, save_file

    state = load_file(run / "model.safetensors")
    for key in ("head.classify.bias", "head.centre.bias"):
        state[key] += 6
    save_file(state, run / "model.safetensors")


@pytest.mark.slow
def test_from_boxes_to_drawings(cli: Cli, scenes: tuple[Path, Path], tmp_path: Path) -> None:
    data, pictures = scenes
    run = tmp_path / "run"
    command = ("--data", data, "--model", "fcos_mobilenetv2_100", "--budget", "1ep", "--batch-size", 4, "--quiet")
    trained = cli("train", *command, *SET_SMALL, "--output", run)
    assert trained.code == 0, trained.err
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"val_loss", "val_map", "val_map50", "val_map75", "train_box"} <= set(last)
    found = cli("evaluate", run, "--output", tmp_path / "scores.json")
    assert found.code == 0, found.err
    assert "digit 3" in found.out
    assert found.out.split("class ")[1].splitlines()[0].split() == ["AP", "AP50", "recall", "boxes"]
    assert "<th>Boxes</th>" in (run / "report.html").read_text()
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["samples"], scores["boxes"]) == (2, 6)
    assert 0 <= scores["map"] <= scores["map50"] <= 1
    make_sure_of_itself(run)
    drawn = cli("predict", run, pictures, "--draw", tmp_path / "drawn", "--format", "json")
    assert drawn.code == 0, drawn.err
    answers = json.loads(drawn.out)
    assert len(answers) == 12
    assert all(answer["boxes"] for answer in answers)
    with Image.open(tmp_path / "drawn" / "3.png") as picture:
        assert picture.size == (512, 512)
        assert np.ptp(np.asarray(picture), axis=2).max() > 100, "a grey canvas has colours where boxes are drawn"
    assert cli("predict", run, pictures / "1.png", "--format", "csv").out.startswith(
        "name,label,score,x1,y1,x2,y2,error\n"
    )


def test_the_doctor_looks_at_boxes(cli: Cli, scenes: tuple[Path, Path]) -> None:
    data, _ = scenes
    found = cli("doctor", "--data", data)
    assert found.code == 0, found.err
    assert "det: 12 images" in found.out.replace(data.name, "det")
    assert "faster_coco_eval" in found.out
    assert "largest class over smallest: 1.0" not in found.out  # images with a class are counted, not zeros


def spoiled_coco(folder: Path, **changed: Any) -> Path:
    """Four canvases in COCO's format, the first box with another `bbox` or `category_id`."""
    write_coco(folder, count=4, side=64, seed=1)
    content = json.loads((folder / "boxes.json").read_text())
    content["annotations"][0] |= changed
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder


def spoiled_voc(folder: Path, row: list[int]) -> Path:
    """Six in Pascal VOC's, the first with this one box alone."""
    write_voc(folder / "VOC", count=6, side=64, seed=1)
    (folder / "VOC" / "Annotations" / "0.xml").write_text(voc_annotation((64, 64), [row]))
    return folder / "VOC"


@pytest.mark.parametrize("verb", ["train", "doctor"])
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: spoiled_coco(folder, bbox=[60, 2, 9, 5]),
         "0.png: its box 1 (60, 2, 69, 7) reaches beyond the image, which is 64 x 64 pixels"),
        (lambda folder: spoiled_coco(folder, bbox=[1, 2, 0, 5]),
         "0.png: its box 1 (1, 2, 1, 7) has no area: x1 < x2 and y1 < y2 are needed"),
        (lambda folder: spoiled_coco(folder, category_id=77),
         "annotations[0] is of the category id 77, which no category has; there are 0, 1, 2"),
        (lambda folder: spoiled_voc(folder, [3, 60, 2, 69, 7]),
         "0.png: its box 1 (60, 2, 69, 7) reaches beyond the image, which is 64 x 64 pixels"),
        (lambda folder: spoiled_voc(folder, [3, 1, 2, 1, 7]),
         "0.png: its box 1 (1, 2, 1, 7) has no area: x1 < x2 and y1 < y2 are needed"),
    ],
    ids=["COCO, outside", "COCO, no area", "COCO, unknown class", "VOC, outside", "VOC, no area"],
)  # fmt: skip
def test_bad_boxes_are_one_sentence(
    cli: Cli, tmp_path: Path, verb: str, spoil: Callable[[Path], Path], says: str
) -> None:
    """One image of four or six is more than may be left out."""
    data = spoil(tmp_path)
    out = tmp_path / "run"
    found = cli(verb, "--data", data, *(("--model", "fcos_resnet18", "--output", out) if verb == "train" else ()))
    assert found.code == 1
    assert str(data) in found.sentence
    assert says in found.sentence
    assert not out.exists()


@pytest.mark.parametrize("verb", ["train", "doctor"])
def test_a_single_bad_box_is_said_and_its_image_left_out(cli: Cli, tmp_path: Path, verb: str) -> None:
    write_coco(tmp_path, count=24, side=64, seed=1)
    content = json.loads((tmp_path / "boxes.json").read_text())
    content["annotations"][0]["bbox"] = [60, 2, 9, 5]
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    small = ("--model", "fcos_mobilenetv2_100", *SET_SMALL, "--budget", "4samples", "--batch-size", 4)
    training = (*small, "--output", tmp_path / "run")
    found = cli(verb, "--data", tmp_path, *(training if verb == "train" else ()))
    assert found.code == 0, found.err
    said = found.err if verb == "train" else found.out
    assert "0.png" in said
    assert "its box 1 (60, 2, 69, 7) reaches beyond the image" in said


def test_a_class_that_the_run_never_saw_is_one_sentence(cli: Cli, canvases: Path, tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    small = ("--model", "fcos_mobilenetv2_100", *SET_SMALL, "--budget", "4samples", "--batch-size", 4, "--quiet")
    assert cli("train", "--data", canvases, *small, "--output", run).code == 0
    write_voc(other, count=6, side=64, seed=1)
    for file in (other / "Annotations").iterdir():
        file.write_text(file.read_text().replace("digit", "cipher"))
    found = cli("evaluate", run, "--data", other, "--split", "all")
    assert found.code == 1
    assert "was not seen in training; the run knows 'digit 0'" in found.sentence
    assert "the label 'cipher" in found.sentence


def test_tasks_do_not_mix(cli: Cli, canvases: Path, photos: Path) -> None:
    found = cli("train", "--data", canvases, "--model", "resnet18")
    assert found.code == 2
    assert "is data for object-detection and resnet18 does image-classification" in found.sentence
    found = cli("train", "--data", photos, "--model", "fcos_resnet18")
    assert "is data for image-classification and fcos_resnet18 does object-detection" in found.sentence


def test_parts_without_boxes_are_said_and_the_run_has_its_report(cli: Cli, canvases: Path, tmp_path: Path) -> None:
    content = json.loads((canvases / "boxes.json").read_text())
    for part, numbers in (("train", range(8)), ("val", range(8, 10)), ("test", range(10, 12))):
        folder = tmp_path / "data" / part
        folder.mkdir(parents=True)
        for i in numbers:
            (folder / f"{i}.png").write_bytes((canvases / f"{i}.png").read_bytes())
        own = [row for row in content["annotations"] if row["image_id"] in numbers and part == "train"]
        images = [row for row in content["images"] if row["id"] in numbers]
        (folder / "boxes.json").write_text(json.dumps({**content, "images": images, "annotations": own}))
    command = ("--data", tmp_path / "data", "--model", "fcos_mobilenetv2_100", "--budget", "1ep")
    found = cli("train", *command, *SET_SMALL, "--batch-size", 4, "--output", tmp_path / "run")
    assert found.code == 0, found.err
    assert "the val part has not one box" in found.err
    assert (tmp_path / "run" / "report.html").exists()
    found = cli("compare", "--data", tmp_path / "data", "--models", "fcos_resnet18", "--budget", "1ep")
    assert "the test part has not one box, so nothing can be compared on it" in found.sentence
