"""`doctor`, `train`, `evaluate` and `predict` on data with boxes, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from digit_scenes import write_coco

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def canvases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve canvases of digits in COCO's format, without parts."""
    return write_coco(tmp_path_factory.mktemp("canvases"), count=12, side=64, seed=1)


@pytest.mark.slow
def test_from_boxes_to_drawings(cli: Cli, canvases: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = {"backbone": "mobilenetv3_small_050", "channels": 32, "norm_groups": 8, "head_depth": 1}
    from corinth import train
    from corinth.report.run import run_report

    trained = train(
        arch="fcos_mobilenetv2_100", data=str(canvases), options=options, budget="1ep", batch_size=4, output=str(run)
    )
    assert {"val_loss", "val_map", "val_map50", "val_map75", "train_box"} <= set(trained.metrics[-1])
    found = cli("evaluate", run, "--output", tmp_path / "scores.json")
    assert found.code == 0, found.err
    assert "digit 3" in found.out
    assert found.out.split("class ")[1].splitlines()[0].split() == ["AP", "AP50", "recall", "boxes"]
    assert "<th>Boxes</th>" in run_report(run)[0].read_text()
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["samples"] == 2
    assert 0 <= scores["map"] <= scores["map50"] <= 1
    drawn = cli("predict", run, canvases, "--draw", tmp_path / "drawn", "--format", "json")
    assert drawn.code == 0, drawn.err
    assert len(json.loads(drawn.out)) == 12
    with Image.open(tmp_path / "drawn" / "3.png") as picture:
        assert picture.size == (512, 512)
        assert np.asarray(picture).any()
    assert cli("predict", run, canvases / "1.png", "--format", "csv").out.startswith(
        "name,label,score,x1,y1,x2,y2,error\n"
    )


def test_the_doctor_looks_at_boxes(cli: Cli, canvases: Path) -> None:
    found = cli("doctor", "--data", canvases)
    assert found.code == 0, found.err
    assert "det: 12 images" in found.out.replace(canvases.name, "det")
    assert "faster_coco_eval" in found.out
    assert "largest class over smallest: 1.0" not in found.out  # images with a class are counted, not zeros


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
    small = ("backbone=mobilenetv3_small_050", "channels=16", "norm_groups=8", "head_depth=1")
    options = [word for option in small for word in ("--set", option)]
    command = ("--data", tmp_path / "data", "--model", "fcos_mobilenetv2_100", "--budget", "1ep")
    found = cli("train", *command, *options, "--batch-size", 4, "--output", tmp_path / "run")
    assert found.code == 0, found.err
    assert "the val part has not one box" in found.err
    assert (tmp_path / "run" / "report.html").exists()
    found = cli("compare", "--data", tmp_path / "data", "--models", "fcos_resnet18", "--budget", "1ep")
    assert "the test part has not one box, so nothing can be compared on it" in found.sentence
