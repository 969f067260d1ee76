"""`evaluate` and `predict` on a run, on foreign weights, on good and bad files."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import corinth

Cli = Callable[..., Any]


def test_a_run_is_scored_on_its_test_part(cli: Cli, trained: Path, tmp_path: Path):
    found = cli("evaluate", trained, "--json", "--output", tmp_path / "scores.json")
    assert found.code == 0
    scores = json.loads(found.out)
    assert (scores["arch"], scores["split"], scores["samples"]) == ("lenet5", "test", 359)
    assert {"top1", "top5", "loss", "per_class", "confusion", "calibration_error"} <= set(scores)
    assert json.loads((tmp_path / "scores.json").read_text()) == scores
    assert json.loads(cli("evaluate", trained, "--split", "val", "--json").out)["samples"] == 179


def test_the_test_part_of_data_that_were_opened_in_python_is_found_again(cli: Cli, tmp_path: Path):
    data = corinth.open_data("digits", split_seed=3, test_share=0.4)
    tiny = {"options": {"channels": (4,)}, "img_size": 8, "budget": "1ep", "threads": 1}
    recipe = corinth.train(arch="cnn", data=data, output=str(tmp_path / "run"), **tiny).recipe
    assert (recipe.split_seed, recipe.test_share) == (3, 0.4)
    found = cli("evaluate", tmp_path / "run", "--json")
    assert json.loads(found.out)["samples"] == len(data.positions("test"))
    assert "trained on" not in found.err


def test_scores_as_text(cli: Cli, trained: Path):
    found = cli("evaluate", trained).out
    assert "digits, test part, 359 images" in found
    assert "calibration error" in found
    assert found.count("\n") > 25  # classes and confusion


def test_other_data_without_parts_are_scored_whole(cli: Cli, trained: Path, photos: Path):
    found = cli("evaluate", trained, "--data", photos, "--json")
    scores = json.loads(found.out)
    assert (scores["split"], scores["samples"]) == ("all", 24)
    assert "all its images are scored" in found.err
    assert scores["per_class"]["7"]["support"] == 12


def test_a_label_unseen_in_training(cli: Cli, trained: Path, photos: Path):
    (photos / "7").rename(photos / "seven")
    found = cli("evaluate", trained, "--data", photos)
    assert found.code == 1
    assert "'seven'" in found.sentence


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lenet5", "--weights"),
        ("gone", "no run gone"),
        ("{run} --mean 0.5", "--mean is for a foreign checkpoint"),
        ("{run} --img-size 64", "--img-size is for a foreign checkpoint"),
        ("{run} --classes a,b", "--classes is for a foreign checkpoint"),
        ("{run} --device tpu", "device 'tpu'"),
        ("lenet6 --weights {w}", "lenet5"),
        ("lenet5 --weights {w} --data digits", "preprocessing and class names"),
        ("lenet5 --weights {w} --data digits --img-size 32", "--mean and --std"),
    ],
)
def test_what_cannot_be_evaluated(cli: Cli, tmp_path: Path, trained: Path, line: str, said: str):
    torch.save(corinth.create_model("lenet5").state_dict(), tmp_path / "w.pth")
    found = cli("evaluate", *line.format(w=tmp_path / "w.pth", run=trained).split())
    assert found.code == 2
    assert said in found.sentence


def test_foreign_weights_with_everything_stated(cli: Cli, tmp_path: Path):
    torch.save(corinth.create_model("lenet5").state_dict(), tmp_path / "w.pth")
    stated = f"--weights {tmp_path / 'w.pth'} --classes 0,1,2,3,4,5,6,7,8,9 --img-size 32 --mean 0 --std 1"
    found = cli("evaluate", "lenet5", *stated.split(), "--source", "corinth", "--data", "digits", "--json")
    assert found.code == 0, found.err
    assert json.loads(found.out)["samples"] == 1797


def test_foreign_weights_of_another_image_size(cli: Cli, tmp_path: Path):
    torch.save(corinth.create_model("lenet5", img_size=28).state_dict(), tmp_path / "w.pth")
    stated = f"--weights {tmp_path / 'w.pth'} --classes 0,1,2,3,4,5,6,7,8,9 --img-size 28 --mean 0 --std 1"
    found = cli("evaluate", "lenet5", *stated.split(), "--data", "digits", "--json")
    assert found.code == 0, found.err


@pytest.mark.parametrize("classes", ["0,1,2,3,4,5,6,7,8,9,ten", "0,1,2,3,4,5,6,7,8"])
def test_another_number_of_classes_than_the_weights_have(cli: Cli, tmp_path: Path, classes: str):
    """A fresh head would answer at random: it is refused, not scored."""
    torch.save(corinth.create_model("lenet5").state_dict(), tmp_path / "w.pth")
    stated = f"--weights {tmp_path / 'w.pth'} --classes {classes} --img-size 32 --mean 0 --std 1"
    found = cli("evaluate", "lenet5", *stated.split(), "--data", "digits")
    assert found.code == 1
    assert f"is no lenet5 of {classes.count(',') + 1} classes: it has nothing for head.weight" in found.sentence


@pytest.mark.data
def test_a_known_file_of_another_architecture(cli: Cli, corinth_data: Path):
    found = cli("evaluate", "resnet20_cifar10", "--weights", corinth_data / "weights/mnist_lenet", "--data", "digits")
    assert found.code == 1
    assert "holds the architecture lenet5, not resnet20_cifar10" in found.sentence


@pytest.mark.data
@pytest.mark.parametrize(
    ("arch", "weights", "data", "at_least"),
    [
        ("resnet20_cifar10", "weights/resnet_cifar10", "cifar10_subset/test", 0.80),
        ("lenet5", "weights/mnist_lenet", "mnist_t10k", 0.984),
    ],
)
def test_public_weights(cli: Cli, corinth_data: Path, arch: str, weights: str, data: str, at_least: float):
    spec = data if data == "mnist_t10k" else corinth_data / data
    found = cli("evaluate", arch, "--weights", corinth_data / weights, "--data", spec, "--json")
    assert json.loads(found.out)["top1"] >= at_least


def test_predict_as_table_json_and_csv(cli: Cli, trained: Path, photos: Path, tmp_path: Path):
    table = cli("predict", trained, photos)
    assert table.code == 0
    assert len(table.out.splitlines()) == 25
    rows = json.loads(cli("predict", trained, photos, "--format", "json", "--top", "2").out)
    assert len(rows) == 24
    assert [len(row["top"]) for row in rows] == [2] * 24
    lines = list(csv.DictReader(io.StringIO(cli("predict", trained, photos, "--format", "csv", "--top", "2").out)))
    assert [row["label"] for row in lines] == [row["label"] for row in rows]
    assert float(lines[0]["probability_2"]) == pytest.approx(rows[0]["top"][1]["probability"], abs=1e-6)
    saved = cli("predict", trained, photos, "--format", "csv", "--output", tmp_path / "p.csv")
    assert saved.out == ""
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 25


def test_predict_goes_on_past_bad_files(cli: Cli, trained: Path, tmp_path: Path, write_image: Callable[..., None]):
    write_image(tmp_path / "good.png", 0)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no image")
    found = cli("predict", trained, tmp_path, tmp_path / "gone.png", "--format", "json")
    assert found.code == 3
    rows = {Path(row["name"]).name: row for row in json.loads(found.out)}
    assert "0 bytes" in rows["empty.png"]["error"]
    assert "not an image" in rows["text.jpg"]["error"]
    assert "missing" in rows["gone.png"]["error"]
    assert rows["good.png"]["label"]
    assert found.err.count("corinth: ") == 3


def test_predict_where_nothing_can_be_read(cli: Cli, trained: Path, tmp_path: Path):
    (tmp_path / "empty.png").touch()
    assert cli("predict", trained, tmp_path / "empty.png").code == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [("{run}", "needs files, or texts"), ("gone x.png", "no run gone"), ("{run} x.png --top 0", "--top 0"),
     ("{run} x.png --output y", "--format"), ("{run} x.png --format xml", "--format")],
)  # fmt: skip
def test_predict_needs(cli: Cli, trained: Path, line: str, said: str):
    found = cli("predict", *line.format(run=trained).split())
    assert found.code == 2
    assert said in found.sentence
