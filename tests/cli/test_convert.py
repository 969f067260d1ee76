"""`corinth convert`, and hub ids wherever a command takes weights."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from corinth.weights import load_model
from fake_hub import Hub, state_in

Cli = Callable[..., Any]
ARCH = "mobilenetv3_small_050"
ID = f"timm:{ARCH}.test_in1k"
DIGITS = {"input_size": [3, 32, 32], "num_classes": 10}


@pytest.fixture
def served(hub: Hub) -> str:
    """A network of ten classes on the hub."""
    return hub.add(f"timm/{ARCH}.test_in1k", "a" * 40, ARCH, state_in("timm", ARCH, num_classes=10), **DIGITS)


def test_in_and_out(cli: Cli, served: str, tmp_path: Path) -> None:
    found = cli("convert", ID, ARCH, "--output", tmp_path / "own")
    assert found.code == 0, found.err
    assert found.out.splitlines()[-1] == str(tmp_path / "own")
    assert "read again        outputs differ by at most 0\n" in found.out
    assert re.search(r"^against timm *(\S+ +outputs differ by at most|not compared: timm )", found.out, re.M)
    assert "out and in again  outputs differ by at most 0\n" in found.out
    assert "licence           apache-2.0\n" in found.out
    assert served in found.err
    assert f"fetching {ID} (2 MiB)" in found.err
    out = cli("convert", tmp_path / "own", ARCH, "--to", "timm", "--output", tmp_path / "w.pth", "--json")
    assert out.code == 0, out.err
    passport = json.loads(out.out)
    assert passport == json.loads((tmp_path / "w.passport.json").read_text())
    assert (passport["written_as"], passport["read_again"], passport["round_trip"]) == ("timm", 0.0, 0.0)


def test_a_file_of_ones_own_with_its_preprocessing(cli: Cli, tmp_path: Path) -> None:
    torch.save(state_in("torchvision", "resnet18", num_classes=2, width=8), tmp_path / "mine.pth")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    line = ["convert", tmp_path / "mine.pth", "resnet18", "--set", "width=8", "--output", tmp_path / "own"]
    assert "preprocessing of" in cli(*line).sentence
    stated = ["--img-size", 32, "--mean", 0.5, 0.5, 0.5, "--std", 0.25, 0.25, 0.25]
    found = cli(*line, *stated, "--classes", tmp_path / "names.txt")
    assert found.code == 0, found.err
    _, config = load_model(tmp_path / "own")
    assert config.classes == ("cat", "dog")
    assert config.preprocess.size == (32, 32)
    again = cli("convert", tmp_path / "own", "resnet18", "--img-size", 64, "--output", tmp_path / "larger")
    assert again.code == 0, again.err
    assert load_model(tmp_path / "larger")[1].preprocess == dataclasses.replace(config.preprocess, size=(64, 64))


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("{id} mobilenetv3_small_100 --output {out}", 1, f"holds the architecture {ARCH}, not mobilenetv3_small_100"),
        ("{id} mobilenetv3_small --output {out}", 2, "did you mean mobilenetv3_small_"),
        ("{id} {arch} --output {out} --set drop=1", 2, "no option 'drop'"),
        ("{id} {arch} --output {out} --to onnx", 2, "invalid choice 'onnx' for argument '--to'"),
        ("{id} {arch}", 2, "--output"),
        ("timm:resnet50 {arch} --output {out}", 2, "timm's are ARCHITECTURE.TAG"),
        ("nowhere.pth {arch} --output {out}", 1, "there is no weights file nowhere.pth"),
        ("{id}#sha256=00 {arch} --output {out}", 2, "64 hexadecimal digits"),
    ],
)
def test_a_mistake_is_one_sentence(cli: Cli, served: str, tmp_path: Path, line: str, code: int, said: str) -> None:
    found = cli("convert", *line.format(id=ID, arch=ARCH, out=tmp_path / "out").split())
    assert found.code == code
    assert said in found.sentence
    assert not (tmp_path / "out").exists()


def test_evaluate_takes_an_id(cli: Cli, served: str, tmp_path: Path) -> None:
    found = cli("evaluate", ARCH, "--weights", ID, "--data", "digits", "--split", "test", "--json")
    assert found.code == 0, found.err
    assert json.loads(found.out)["arch"] == ARCH
    assert f"{ID} has no class names: they are 0 to 9" in found.err
    assert served in found.err
    smaller = cli("evaluate", ARCH, "--weights", ID, "--data", "digits", "--img-size", 40, "--json")
    assert smaller.code == 0, smaller.err
    other = cli("evaluate", "resnet18", "--weights", ID, "--data", "digits")
    assert f"{ID} holds the architecture {ARCH}, not resnet18" in other.sentence


def test_train_takes_an_id(cli: Cli, served: str, tmp_path: Path) -> None:
    line = f"train --data digits --model {ARCH} --weights {ID} --budget 64samples --batch-size 32 --quiet"
    found = cli(*line.split(), "--output", tmp_path / "run")
    assert found.code == 0, found.err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["preprocess"]["interpolation"], config["preprocess"]["crop_pct"]) == ("bicubic", 0.9)


def test_no_network_is_one_sentence(cli: Cli, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for line in (f"convert {ID} {ARCH} --output {tmp_path}/o", f"evaluate {ARCH} --weights {ID} --data digits"):
        found = cli(*line.split())
        assert found.code == 1
        assert "could not be fetched from http://127.0.0.1:9" in found.sentence
        assert "put its model.safetensors and config.json into" in found.sentence


def test_a_fit_alone_does_nothing_and_is_refused(cli: Cli, trained: Path, tmp_path: Path):
    found = cli("convert", trained, "lenet5", "--output", tmp_path / "out", "--fit", "squash")
    assert found.code == 2
    assert "--fit says how images reach --img-size" in found.sentence
