"""`doctor`, `train`, `evaluate`, `predict` and `compare` on data with masks, and what bad data get."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Cli = Callable[..., Any]


@pytest.fixture
def plates(tmp_path: Path) -> Path:
    """Twelve grey images with a bright disc, and where it is."""
    folder = tmp_path / "plates"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    draw = np.random.default_rng(0)
    rows, columns = np.mgrid[:24, :30]
    for i in range(12):
        y, x = draw.integers(8, 16), draw.integers(8, 22)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < 36
        image = draw.integers(0, 80, disc.shape) + 150 * disc
        Image.fromarray(image.astype(np.uint8)).save(folder / f"images/{i}.png")
        Image.fromarray((255 * disc).astype(np.uint8)).save(folder / f"masks/{i}.png")
    (folder / "classes.txt").write_text("plate\ndisc\n")
    return folder


def test_from_masks_to_drawings(cli: Cli, plates: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--set", "width=4", "--set", "depth=2", "--lr", "0.02", "--budget", "8ep", "--quiet")
    found = cli("train", "--data", plates, "--model", "unet_bn", *options, "--output", run)
    assert found.code == 0, found.err
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"val_loss", "val_miou", "val_dice", "val_pixel_accuracy", "train_loss"} <= set(last)
    assert "<html" in (run / "report.html").read_text()
    found = cli("evaluate", run, "--output", tmp_path / "scores.json")
    assert found.code == 0, found.err
    assert "disc" in found.out
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["samples"] == 2
    assert scores["miou"] > 0.6
    for flag in ("--beam", "--text-column"):
        refused = cli("predict", run, plates / "images", flag, "1")
        assert refused.code == 2
        assert f"{flag} is for " in refused.err
    drawn = cli("predict", run, plates / "images", "--draw", tmp_path / "drawn", "--format", "json")
    assert drawn.code == 0, drawn.err
    assert len(json.loads(drawn.out)) == 12
    with Image.open(tmp_path / "drawn" / "3_mask.png") as mask, Image.open(tmp_path / "drawn" / "3.png") as picture:
        assert mask.mode == "P"
        assert mask.size == (30, 24)
        assert set(np.unique(np.asarray(mask)).tolist()) <= {0, 1}
        assert picture.width == 480
    table = cli("predict", run, plates / "images" / "1.png", "--format", "csv").out
    assert table.startswith("name,label,share,error\n")


def test_drawings_take_no_images_place(cli: Cli, plates: Path, tmp_path: Path) -> None:
    run, images = tmp_path / "run", plates / "images"
    small = ("--set", "width=2", "--set", "depth=2", "--budget", "1ep", "--quiet")
    assert cli("train", "--data", plates, "--model", "unet", *small, "--output", run).code == 0
    before = {path: path.read_bytes() for path in images.iterdir()}
    refused = cli("predict", run, images / "1.png", images, "--draw", plates / "masks" / ".." / "images")
    assert refused.code == 2
    assert f"is the folder of {images / '1.png'}; name another, so that nothing is overwritten" in refused.sentence
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "1.png").symlink_to(images / "1.png")
    os.link(images / "2.png", tmp_path / "links" / "2.png")
    (tmp_path / "turns").symlink_to(tmp_path / "turns")
    for given, folder, said in (
        (tmp_path / "links" / "1.png", tmp_path / "links", "is the folder of"),
        (images / "1.png", tmp_path / "links", "holds 1.png, which is no drawing of corinth's"),
        (images / "1.png", plates / "masks", "holds 0.png, which is no drawing of corinth's"),
        (tmp_path / "turns", tmp_path / "links", "holds 1.png"),
        (plates, plates, f"is or lies in {plates}, all of whose images are read; name one outside of it"),
        (plates, plates / "images" / "drawn", f"lies in {plates}, all of whose images are read; name one outside"),
        (images / "1.png", plates / "masks" / "0.png", "cannot be used (File exists)"),
        (images / "1.png", tmp_path / "turns", "cannot be used"),
    ):
        refused = cli("predict", run, given, "--draw", folder)
        assert refused.code == 2
        assert said in refused.sentence
    assert not (images / "drawn").exists()
    assert {path: path.read_bytes() for path in images.iterdir()} == before
    for name in ("a", "a_mask", "deeper/a"):
        (tmp_path / "of" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "of" / f"{name}.png").write_bytes(before[images / "1.png"])
    for _ in range(2):  # over its own drawings it draws again
        found = cli("predict", run, tmp_path / "of", "--draw", tmp_path / "drawn")
        assert found.code == 0, found.err
        stems = {path.stem for path in (tmp_path / "drawn").iterdir()}
        assert stems == {"a", "a_mask", "a_mask-2", "a_mask-2_mask", "a-2", "a-2_mask"}
        assert "drew 3 images" in found.err
        assert f"{tmp_path / 'of' / 'deeper' / 'a.png'} is drawn as a-2.png" in found.err


@pytest.mark.slow
def test_a_comparison(plates: Path, tmp_path: Path) -> None:
    from corinth import compare

    small = {"options": {"width": 2, "depth": 2}}
    recipes = {"unet": small, "unet_bn": small}
    board = compare(str(plates), list(recipes), budget="1ep", seeds=1, recipes=recipes, output=tmp_path / "board")
    assert board.exit_code == 0
    assert {row.label for row in board.rows} == set(recipes)
    assert all(0 <= row.score_test <= 1 for row in board.rows if row.score_test is not None)


def test_the_doctor_looks_at_masks(cli: Cli, plates: Path) -> None:
    found = cli("doctor", "--data", plates)
    assert found.code == 0, found.err
    assert "12" in found.out


def test_tasks_do_not_mix(cli: Cli, plates: Path, photos: Path) -> None:
    found = cli("train", "--data", plates, "--model", "resnet18")
    assert found.code == 2
    assert "is data for semantic-segmentation and resnet18 does image-classification" in found.sentence
    found = cli("train", "--data", photos, "--model", "unet")
    assert found.code == 2
    assert "is data for image-classification and unet does semantic-segmentation" in found.sentence


def missing(folder: Path) -> str:
    (folder / "masks" / "3.png").unlink()
    return "1 of 12 images have no mask"


def unequal(folder: Path) -> str:
    for i in (0, 1):
        Image.fromarray(np.zeros((24, 31), dtype=np.uint8)).save(folder / f"masks/{i}.png")
    return "the mask has 31 x 24 pixels and its image 30 x 24"


def outside(folder: Path) -> str:
    for i in range(12):
        Image.fromarray(np.resize(np.array([0, 1, 2], dtype=np.uint8), (24, 30))).save(folder / f"masks/{i}.png")
    return "its value 2 is none of the 2 classes, whose ids are 0 to 1"


def no_masks_of_a_part(folder: Path) -> str:
    for name in ("images", "masks"):
        (folder / name).rename(folder / f"train_{name}")
    (folder / "val_images").mkdir()
    Image.new("L", (30, 24)).save(folder / "val_images" / "0.png")
    return "val_images: there is no folder of masks beside it for its 1 images; add one, or take these images away"


def no_masks(folder: Path) -> str:
    shutil.rmtree(folder / "masks")
    return "images: nothing says what is in its images; put the images of each class into a folder with its name"


@pytest.mark.parametrize("verb", ["train", "doctor"])
@pytest.mark.parametrize("spoil", [missing, unequal, outside, no_masks_of_a_part, no_masks])
def test_bad_masks_are_one_sentence(
    cli: Cli, plates: Path, tmp_path: Path, verb: str, spoil: Callable[[Path], str]
) -> None:
    says, out = spoil(plates), tmp_path / "run"
    found = cli(verb, "--data", plates, *(("--model", "unet", "--output", out) if verb == "train" else ()))
    assert found.code == 1
    assert str(plates) in found.sentence
    assert says in found.sentence
    assert not out.exists()


def test_a_part_without_a_pixel_to_score_is_said_and_not_validated_on(cli: Cli, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for part, ids in (("train", [0, 1]), ("val", [255]), ("test", [255])):
        for i in range(4):
            for name, pixels in (("images", draw.integers(0, 256, (16, 16))), ("masks", np.resize(ids, (16, 16)))):
                path = tmp_path / "data" / part / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    small = ("--set", "width=2", "--set", "depth=2", "--budget", "1ep")
    found = cli("train", "--data", tmp_path / "data", "--model", "unet", *small, "--output", tmp_path / "run")
    assert found.code == 0, found.err
    assert "the val part has no pixel with a class" in found.err
    assert (tmp_path / "run" / "report.html").exists()
    found = cli("compare", "--data", tmp_path / "data", "--models", "unet", "--budget", "1ep")
    assert found.code == 1
    assert "the test part has no pixel with a class, so nothing can be compared on it" in found.sentence


def test_a_run_is_not_evaluated_on_another_kind_of_data(cli: Cli, plates: Path, photos: Path, tmp_path: Path) -> None:
    small = ("--set", "width=2", "--set", "depth=2", "--budget", "1ep", "--quiet")
    assert cli("train", "--data", plates, "--model", "unet", *small, "--output", tmp_path / "run").code == 0
    found = cli("evaluate", tmp_path / "run", "--data", photos)
    assert found.code == 2
    assert "is data for image-classification, and data for semantic-segmentation are needed" in found.sentence


def test_masks_of_many_images_are_not_kept(
    cli: Cli, plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten thousand photos the masks alone would be a hundred gigabytes."""
    import weakref

    from corinth.predictor import segmentation

    small = ("--set", "width=2", "--set", "depth=2", "--budget", "1ep", "--quiet")
    assert cli("train", "--data", plates, "--model", "unet", *small, "--output", tmp_path / "run").code == 0
    alive: list[weakref.ref] = []
    most = 0

    class Watched(segmentation.MaskPrediction):
        def __init__(self, *values: Any, **named: Any) -> None:
            nonlocal most
            super().__init__(*values, **named)
            alive.append(weakref.ref(self))
            most = max(most, sum(ref() is not None for ref in alive))

    monkeypatch.setattr(segmentation, "MaskPrediction", Watched)
    found = cli("predict", tmp_path / "run", plates / "images", "--draw", tmp_path / "drawn", "--batch-size", 2)
    assert found.code == 0, found.err
    assert len(list((tmp_path / "drawn").iterdir())) == 24
    assert len(alive) == 12
    assert most <= 4
