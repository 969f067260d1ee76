"""Dispatch, help, exit codes, and what is imported when."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corinth import __version__
from corinth.cli.app import VERBS, main
from corinth.errors import UsageError

Cli = Callable[..., Any]

LIGHT = """
import sys
from corinth.cli import main
code = main({!r})
print("torch" in sys.modules, file=sys.stderr)
sys.exit(code)
"""


def python(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("line", [[], ["-h"], ["--help"], ["help"], ["help", "help"], ["--help", "-h"]])
def test_help_names_every_verb(cli: Cli, line: list[str]):
    found = cli(*line)
    assert found.code == 0
    assert all(f"\n  {verb} " in found.out for verb in VERBS)
    assert not found.err


def test_version(cli: Cli):
    assert cli("--version").out == f"corinth {__version__}\n"


@pytest.mark.parametrize(
    "verb", ["", "list", "show", "train", "evaluate", "predict", "convert", "compare", "doctor", "completion"]
)
def test_help_needs_no_torch(verb: str):
    found = python("-c", LIGHT.format([verb, "--help"] if verb else ["--help"]))
    assert found.returncode == 0, found.stderr
    assert "usage: corinth" in found.stdout
    assert found.stderr.strip() == "False"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(cli: Cli, verb: str):
    found = cli(verb, "--help")
    assert found.code == 0
    assert f"usage: corinth {verb}" in found.out
    assert cli("help", verb).out == found.out


@pytest.mark.parametrize(
    ("line", "near"),
    [("trian --data x", "train"), ("evalute", "evaluate"), ("--verson", "there are"), ("frobnicate", "there are")],
)
def test_an_unknown_verb_suggests_the_nearest(cli: Cli, line: str, near: str):
    found = cli(*line.split())
    assert found.code == 2
    assert near in found.sentence
    assert not found.out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("list --famly convolutional", "--family"),
        ("list --family recurent", "recurrent"),
        ("list --frobnicate", "corinth list --help"),
        ("show lenet5 --img-size big", "--img-size cannot be 'big'"),
        ("show lenet5 --img-size 3.5", "--img-size cannot be '3.5'"),
        ("train --data digits --model lenet5 --seed x", "--seed cannot be 'x'; it takes a number"),
        ("help frobnicate", "no command 'frobnicate'"),
        ("list --task speech", "the tasks are captioning, forecasting, frame-classification"),
        ("doctor --data digits --model lenet55", "did you mean lenet5"),
        ("doctor --data digits --model lenet5 --budget 3x", "'3x'"),
        ("show", "needs NAME"),
        ("show lenet5 alexnet", "'alexnet'"),
        ("show lenet5 --set drop", "NAME=VALUE"),
        ("predict", "needs"),
        ("completion tcsh", "bash"),
        ("train --data digits --model lenet5 --batchsize 3", "--batch-size"),
        ("train --data digits --model lenet5 --batch-size many", "--batch-size cannot be 'many'"),
        ("train --data digits --model lenet5 --lr", "--lr"),
        ("train --data digits --model lenet5 --lr -1", "lr -1.0 is not valid"),
        ("train --data digits", "--model"),
        ("train --model lenet5", "--data"),
        ("compare --data digits", "models"),
        ("compare --data digits --models , ", "architecture"),
        ("doctor --model lenet5", "--data"),
    ],
)
def test_a_wrong_option_is_one_sentence(cli: Cli, line: str, said: str):
    found = cli(*line.split())
    assert found.code == 2
    assert said in found.sentence
    assert not found.out


def test_debug_lets_the_error_through():
    with pytest.raises(UsageError):
        main(["show", "lenet6", "--debug"])


def test_a_reader_that_stops_early_is_no_error():
    line = f"set -o pipefail; {sys.executable} -m corinth list | head -n 1"
    found = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)
    assert found.returncode == 0
    assert found.stderr == ""
    assert found.stdout.startswith("name")


def test_no_colours_in_a_pipe():
    assert "\x1b" not in python("-m", "corinth", "list", "lenet*").stdout


def test_interrupted(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("corinth.cli.listing.parse", interrupt)
    found = cli("list")
    assert (found.code, found.sentence) == (130, "corinth: interrupted")


def test_a_full_disk_is_a_sentence(cli: Cli, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / "scores.json"
    target.write_text("old")
    monkeypatch.setattr("corinth.files.os.fsync", full)
    found = cli("evaluate", trained, "--output", target)
    assert found.code == 1
    assert "the disk is full" in found.sentence
    assert target.read_text() == "old"
