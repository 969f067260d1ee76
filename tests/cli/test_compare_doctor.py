"""`compare`, `doctor`, `completion`."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corinth.cli.app import VERBS
from corinth.cli.comparing import _recipes
from corinth.errors import UsageError

Cli = Callable[..., Any]


def test_changes_for_all_and_for_one():
    overrides, recipes = _recipes(
        ["a.lr=0.5", "split_seed=3", "augmentation.flip=true", "a.augmentation.mixup=0.2", "b.options.pool=max"], "ab"
    )
    assert overrides == {"split_seed": 3, "augmentation": {"flip": True}}
    assert recipes == {"a": {"lr": 0.5, "augmentation": {"mixup": 0.2}}, "b": {"options": {"pool": "max"}}}
    with pytest.raises(UsageError, match="names no model"):
        _recipes(["c.lr=1"], "ab")
    assert _recipes(["v1.2.lr=1"], ["v1", "v1.2"]) == ({}, {"v1.2": {"lr": 1}})
    with pytest.raises(UsageError, match=r"augmentation the value 3 and augmentation\.flip besides"):
        _recipes(["a.augmentation=3", "a.augmentation.flip=true"], "ab")


@pytest.mark.slow
def test_a_board_and_its_exit_codes(cli: Cli, tmp_path: Path):
    line = f"--data digits --models lenet5,small=vgg11 --budget 256samples --seeds 1 --output {tmp_path / 'b'}"
    found = cli("compare", *line.split(), "--set", "small.img_size=8", "--json", "--quiet")
    assert found.code == 3, found.err
    rows = json.loads(found.out)["rows"]
    assert [row["label"] for row in rows] == ["lenet5", "small"]
    assert "img_size 8 is too small for vgg11" in rows[1]["failures"]["0"]
    again = cli("compare", *line.split(), "--set", "small.img_size=8", "--quiet")
    assert again.code == 3
    assert "lenet5" in again.out
    assert "report" in again.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--models lenet5,lenet6", "lenet5"),
        ("--models lenet5 --budget 3x", "3x"),
        ("--models lenet5 --seeds 0", "seeds"),
        ("--models lenet5 --seeds 5000000000", "1 to 1000"),
        ("--models lenet5 --set split_seed=1.5", "split_seed 1.5 is not valid; it must be a whole number"),
        ("--models lenet5 --set val_share=abc", "val_share 'abc' is not valid; it must be a number"),
        ("--models lenet5 --control frob", "shuffled-labels"),
        ("--models lenet5 --set lenet5.lrr=1", "lr"),
        ("--models lenet5 --set frob.lr=1", "frob"),
    ],
)
def test_compare_refuses(cli: Cli, tmp_path: Path, line: str, said: str):
    found = cli("compare", "--data", "digits", "--output", tmp_path / "board", *line.split())
    assert found.code == 2
    assert said in found.sentence


def test_doctor_on_the_machine(cli: Cli):
    found = json.loads(cli("doctor", "--json").out)
    assert {"python", "torch", "devices", "threads", "free memory", "plotly"} <= set(found["environment"])


def test_doctor_on_data_and_a_job(cli: Cli):
    found = cli("doctor", "--data", "digits", "--model", "lenet5", "--budget", "2ep", "--json")
    assert found.code == 0
    checked = json.loads(found.out)
    assert checked["data"]["samples"] == 1797
    job = checked["job"]
    assert job["budget"] == "2ep"
    train, val = checked["data"]["parts"]["train"], checked["data"]["parts"]["val"]
    assert job["seconds"] == pytest.approx((2 * train + 2 * val / 3) / job["samples_per_second"])
    text = cli("doctor", "--data", "digits", "--model", "lenet5").out
    assert "about" in text
    assert "1797 images" in text


def test_doctor_finds_what_is_wrong(cli: Cli, photos: Path):
    (photos / "1" / "bad.png").write_bytes(b"")
    found = cli("doctor", "--data", photos)
    assert "bad.png" in found.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_verbs_flags_and_architectures(cli: Cli, shell: str):
    script = cli("completion", shell).out
    assert all(word in script for word in ("evaluate", "lenet5", "batch-size", "augmentation.flip", "fashion_mnist"))


def test_the_bash_script_completes(cli: Cli, tmp_path: Path):
    (tmp_path / "c.sh").write_text(cli("completion", "bash").out)

    def complete(*words: str) -> list[str]:
        quoted = " ".join(f"'{word}'" for word in ("corinth", *words))
        typed = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words)}"
        line = f"source {tmp_path / 'c.sh'}; {typed}; _corinth; echo ${{COMPREPLY[@]}}"
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout.split()

    assert complete("eva") == ["evaluate"]
    assert complete("show", "lenet") == ["lenet5", "lenet5_1998"]
    assert complete("train", "--model", "alexnet_") == ["alexnet_2012"]
    assert complete("train", "--batch") == ["--batch-size"]
    assert complete("compare", "--models", "cnn,nin_i") == ["cnn,nin_imagenet"]
    assert complete("train", "--data", "dig") == ["digits"]
    assert complete("train", "--data", str(tmp_path / "c.")) == [str(tmp_path / "c.sh")]


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs the shell fish")
def test_the_fish_script_completes(cli: Cli, tmp_path: Path):
    (tmp_path / "c.fish").write_text(cli("completion", "fish").out)

    def complete(typed: str) -> list[str]:
        line = f"source {tmp_path / 'c.fish'}; complete -C'corinth {typed}'"
        out = subprocess.run(["fish", "-c", line], capture_output=True, text=True, check=True).stdout
        return [row.partition("\t")[0] for row in out.splitlines()]

    assert complete("eva") == ["evaluate"]
    assert complete("show lenet") == ["lenet5", "lenet5_1998"]
    assert complete("train --model alexnet_") == ["alexnet_2012"]
    assert complete("compare --models cnn,nin_i") == ["cnn,nin_imagenet"]
    assert complete("train --data dig") == ["digits"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs the shell zsh")
def test_the_zsh_script_completes(cli: Cli, tmp_path: Path):
    (tmp_path / "_corinth").write_text(cli("completion", "zsh").out)
    # zsh's own functions work inside its line editor only: here they say what they are given
    stubs = 'compadd() print -l -- "${@:#--}"; compset() :; _files() print files; _describe() print -l -- $verbs'

    def offered(*words: str) -> list[str]:
        typed = " ".join(f"'{word}'" for word in ("corinth", *words))
        line = f"{stubs}; fpath=({tmp_path}); autoload _corinth; words=({typed}); CURRENT=$#words; _corinth"
        return subprocess.run(["zsh", "-f", "-c", line], capture_output=True, text=True, check=True).stdout.splitlines()

    assert [line.partition(":")[0] for line in offered("")] == list(VERBS)
    assert "alexnet_2012" in offered("train", "--model", "")
    assert offered("compare", "--models", "cnn,") == offered("show", "")
    assert {"digits", "files"} <= {*offered("train", "--data", "")}
    assert "--batch-size" in offered("train", "--b")
    assert offered("predict", "x") == ["files"]
