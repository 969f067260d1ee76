"""The commands on texts and time series."""

import json
from pathlib import Path

import pytest

from corinth.cli import main
from sequence_sets import text_rows, waves, write_table, write_ts

TRAIN = ["--budget", "6ep", "--batch-size", "8", "--lr", "0.01", "--set", "hidden_size=16", "--quiet"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    write_table(folder / "reviews.tsv", text_rows(each=40))
    args = ["train", "--data", str(folder / "reviews.tsv"), "--model", "gru", "--output", str(folder / "run")]
    assert main([*args, *TRAIN]) == 0
    return folder / "run"


def test_evaluate_says_texts(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run)]) == 0
    out = capsys.readouterr().out
    assert "reviews, test part, 16 texts" in out
    assert "image" not in out


def test_predict_takes_texts_and_files(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(tmp_path / "more.tsv", [("boring", "?"), ("a dull mess", "?")])
    words = ["great fun, a joy", str(tmp_path / "more.tsv")]
    assert main(["predict", str(run), *words, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["label"] for entry in found] == ["good", "bad", "bad"]
    assert found[0]["name"] == "great fun, a joy"
    assert main(["predict", str(run), "fine", "gone.txt"]) == 3
    assert "gone.txt: cannot be read (No such file or directory)" in capsys.readouterr().err


def test_doctor_knows_them(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_ts(tmp_path / "waves.ts", *waves())
    assert main(["doctor", "--data", str(path), "--model", "lstm", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["unit"] == "series"
    assert found["data"]["channels"] == 2
    assert found["job"]["samples_per_second"] > 0
    assert found["job"]["input_size"][1] == 2
    assert main(["doctor", "--data", str(run.parent / "reviews.tsv"), "--model", "gru"]) == 0
    assert "80 texts (56 train, 8 val, 16 test), 2 classes" in capsys.readouterr().out


def test_compare_and_its_table(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = [
        "compare",
        "--data",
        str(run.parent / "reviews.tsv"),
        "--models",
        "gru,rnn",
        "--budget",
        "1ep",
        "--seeds",
        "1",
    ]
    assert main([*args, "--output", str(tmp_path / "c"), "--set", "options.hidden_size=8", "--quiet"]) == 0
    assert "latency of one sequence" in capsys.readouterr().out


def test_draw_is_for_images(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(run), "fine", "--draw", str(tmp_path)]) == 2
    assert "--draw is for segmentation and detection" in capsys.readouterr().err


def test_words_and_paths_are_told_apart(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = "这部电影非常好看" * 40
    assert main(["predict", str(run), long, "a joy", "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert main(["predict", str(run), "a joy", str(tmp_path / "no/review.text"), "my reviews.csv"]) == 3
    said = capsys.readouterr().err
    assert "review.text" in said
    assert "my reviews.csv" in said
    assert main(["predict", str(run), str(tmp_path), "a joy"]) == 3
    assert "is a folder without .txt files" in capsys.readouterr().err
