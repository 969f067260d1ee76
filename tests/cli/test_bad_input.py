"""What bad input gets: one sentence, the right exit code, nothing lost."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import corinth

Cli = Callable[..., Any]

SMALL = ["--model", "lenet5", "--budget", "64samples", "--quiet", "--output"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_an_unknown_architecture(cli: Cli, out: Path):
    found = cli("train", "--data", "digits", "--model", "lenet55", "--output", out)
    assert found.code == 2
    assert "did you mean lenet5" in found.sentence
    assert not out.exists()


def test_an_unknown_data_path(cli: Cli, out: Path):
    found = cli("train", "--data", "digitz", *SMALL, out)
    assert found.code == 2
    assert "did you mean digits" in found.sentence
    assert not out.exists()


def test_a_class_with_no_images(cli: Cli, photos: Path, out: Path):
    (photos / "9").mkdir()
    found = cli("train", "--data", photos, *SMALL, out)
    assert found.code == 1
    assert str(photos / "9") in found.sentence
    assert not out.exists()


def test_a_single_class(cli: Cli, tmp_path: Path, out: Path, write_image: Callable[..., None]):
    for number in range(12):
        write_image(tmp_path / "only" / "one" / f"{number}.png", number)
    found = cli("train", "--data", tmp_path / "only", *SMALL, out)
    assert found.code == 1
    assert "class" in found.sentence
    assert not out.exists()


def test_an_image_too_small_for_the_network(cli: Cli, photos: Path, out: Path):
    found = cli("train", "--data", photos, "--img-size", "8", "--quiet", "--model", "vgg11", "--output", out)
    assert found.code == 2
    assert "32" in found.sentence
    assert not out.exists()


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "huge"])
def test_bad_image_files_are_reported_and_left_out(
    cli: Cli, photos: Path, out: Path, kind: str, write_image: Callable[..., None]
):
    bad = photos / "1" / "bad.png"
    if kind == "cut":
        write_image(bad, 77, (64, 64, 3))
        bad.write_bytes(bad.read_bytes()[:20])
    elif kind == "huge":
        Image.new("1", (10_001, 10_001)).save(bad)
    else:
        bad.write_text("" if kind == "empty" else "<html>")
    found = cli("train", "--data", photos, "--model", "lenet5", "--budget", "64samples", "--output", out)
    assert found.code == 0, found.err
    assert str(bad) in found.err
    assert (out / "model.safetensors").exists()


def test_too_many_bad_files_stop_it(cli: Cli, photos: Path, out: Path):
    for number in range(4):
        (photos / "1" / f"bad{number}.png").write_text("<html>")
    found = cli("train", "--data", photos, *SMALL, out)
    assert found.code == 1
    assert str(photos / "1" / "bad0.png") in found.sentence
    assert not out.exists()


def test_a_table_with_missing_columns(cli: Cli, photos: Path, out: Path):
    table = photos.parent / "table.csv"
    table.write_text("first,second\nphotos/1/0.png,a\nphotos/7/0.png,b\n")
    found = cli("train", "--data", table, "--path-column", "path", *SMALL, out)
    assert found.code in (1, 2)
    assert "first" in found.sentence
    assert "second" in found.sentence
    assert not out.exists()


def test_a_checkpoint_of_another_architecture(cli: Cli, out: Path, trained: Path):
    found = cli("train", "--data", "digits", "--weights", trained, "--model", "cnn", "--quiet", "--output", out)
    assert found.code == 1
    assert "lenet5" in found.sentence


def test_a_truncated_checkpoint(cli: Cli, trained: Path, tmp_path: Path):
    for name in ("config.json", "recipe.yaml"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    whole = (trained / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    found = cli("evaluate", tmp_path)
    assert found.code == 1
    assert "cut short" in found.sentence


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('executed')",))


def test_a_pickle_that_would_run_code(cli: Cli, tmp_path: Path):
    state = {**corinth.create_model("lenet5").state_dict(), "extra": Malicious()}
    torch.save(state, tmp_path / "evil.pth", pickle_module=pickle)
    found = cli("evaluate", "lenet5", "--weights", tmp_path / "evil.pth", "--data", "digits", "--classes",
                "0,1,2,3,4,5,6,7,8,9", "--img-size", "32", "--mean", "0", "--std", "1")  # fmt: skip
    assert found.code == 1
    assert "refused" in found.sentence


def test_a_loss_that_is_not_finite(cli: Cli, tmp_path: Path):
    run = tmp_path / "run"
    found = cli(
        "train", "--data", "digits", "--model", "lenet5", "--lr", "1e30", "--epochs", "2", "--quiet", "--output", run
    )
    assert found.code == 1
    assert "step" in found.sentence
    assert (run / "last").is_dir()


def test_a_damaged_config(cli: Cli, trained: Path, tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"format": 1, "arch": "lenet5"}))
    found = cli("predict", tmp_path, tmp_path / "x.png")
    assert found.code == 1
    assert "config.json" in found.sentence
