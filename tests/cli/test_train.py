"""`train`: from flags to a recipe, and a small real training."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corinth.cli.training import Order, read
from corinth.errors import UsageError
from corinth.training.recipe import Recipe, recipe_for

Cli = Callable[..., Any]

LINE = "--data digits --model lenet5 "


def recipe(line: str) -> Recipe:
    found = read((LINE + line).split()).recipe
    assert found is not None
    return found


def test_without_flags_it_is_the_architectures_own_recipe():
    assert recipe("") == recipe_for("lenet5", "digits")


def test_every_field_is_a_flag():
    found = recipe(
        "--epochs 3 --batch_size auto --lr=0.5 --seed 4 --augmentation.crop-padding 0.2 --no-nesterov "
        "--betas 0.8 0.99 --clip-norm 1 --set activation=tanh --output there"
    )
    assert (found.budget, found.batch_size, found.lr, found.seed, found.output) == ("3ep", "auto", 0.5, 4, "there")
    assert (found.augmentation.crop_padding, found.nesterov, found.betas) == (0.2, False, (0.8, 0.99))
    assert (found.clip_norm, found.options["activation"]) == (1.0, "tanh")


def test_familiar_names():
    found = read(["--data", "digits", "--arch", "lenet5", "--opt", "adamw"]).recipe
    assert found == recipe_for("lenet5", "digits", optimizer="adamw")


def test_a_recipe_file_and_flags_on_top(tmp_path: Path):
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe("--lr 0.3 --output elsewhere").to_yaml())
    found = read(["--recipe", str(file), "--seed", "9"]).recipe
    assert found is not None
    assert (found.arch, found.data, found.lr, found.seed, found.output) == ("lenet5", "digits", 0.3, 9, None)


def test_the_published_recipe():
    found = read(["--data", "digits", "--model", "resnet18", "--published"]).recipe
    assert found == recipe_for("resnet18", "digits", published=True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--epochs 2 --budget 3ep", "twice"),
        ("--recipe x.yaml --published", "two recipes"),
        ("--recipe gone.yaml", "gone.yaml"),
        ("--set frob=1", "no option 'frob'"),
        ("--optimizer adamm --epochs x", "--epochs"),
        ("--budget 3", "3"),
    ],
)
def test_contradictions(line: str, said: str):
    with pytest.raises(UsageError, match=said):
        read((LINE + line).split())


def test_resume_passes_on_what_was_typed():
    assert read(["--resume", "there", "--epochs", "9", "--device", "cpu"]) == Order(
        resume=Path("there"), changes={"budget": "9ep", "device": "cpu"}
    )
    assert read(["--resume", "there", "--no-tensorboard"]).changes == {"tensorboard": False}
    assert read(["--resume", "there", "--no-channels-last"]).changes == {"channels_last": False}  # to be refused


def test_a_run(cli: Cli, trained: Path):
    assert {"recipe.yaml", "config.json", "model.safetensors", "metrics.jsonl", "report.html", "last"} <= {
        path.name for path in trained.iterdir()
    }
    found = cli("train", "--resume", trained, "--budget", "640samples")
    assert found.code == 0
    assert found.out.strip() == str(trained)
    assert f"corinth evaluate {trained}" in found.err
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["samples"] >= 640


def test_resume_refuses_another_recipe(cli: Cli, trained: Path, tmp_path: Path):
    found = cli("train", "--resume", trained, "--lr", "3")
    assert found.code == 2
    assert "lr" in found.sentence
    assert cli("train", "--resume", tmp_path / "gone").code == 2


@pytest.mark.slow
def test_ctrl_c_saves_and_resume_goes_on(tmp_path: Path):
    folder = tmp_path / "run"
    corinth = [sys.executable, "-m", "corinth", "train"]
    line = [*corinth, *f"--data digits --model lenet5 --budget 300s --output {folder}".split()]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (folder / "model.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert f"--resume {folder}" in err
    assert "Traceback" not in err
    again = subprocess.run([*corinth, "--resume", str(folder), "--budget", "1s"], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr


def test_a_switch_that_can_be_left_open() -> None:
    from corinth.cli.training import read

    words = ["--data", "digits", "--model", "cnn"]
    for given, wanted in (
        ([], None),
        (["--no-lowercase"], False),
        (["--lowercase"], True),
        (["--lowercase=False"], False),
    ):
        recipe = read([*words, *given]).recipe
        assert recipe is not None
        assert recipe.lowercase is wanted
