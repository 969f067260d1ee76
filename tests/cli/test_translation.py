"""Encoder-decoder networks and pairs of sentences in the commands that only look."""

import json
from pathlib import Path

import pytest

from corinth.cli import main
from pair_sets import pair_rows, write_aligned


def test_show_counts_a_network_with_its_attention(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["show", "seq2seq_bahdanau", "--set", "target_vocab_size=100", "--set", "hidden_size=32", "--json"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["input_size"] == [16]
    names = {layer["name"] for layer in found["layers"]}
    assert {"attention.key", "attention.energy", "readout", "head"} <= names
    assert sum(layer["params"] for layer in found["layers"]) < found["params"]


def test_list_finds_them_by_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--task", "translation", "--json"]) == 0
    assert {entry["name"] for entry in json.loads(capsys.readouterr().out)} == {
        "seq2seq",
        "seq2seq_bahdanau",
        "seq2seq_luong",
    }


def test_doctor_looks_at_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_aligned(tmp_path / "toy_en_de", pair_rows(80))
    assert main(["doctor", "--data", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["data"]
    assert found["unit"] == "pair"
    assert found["samples"] == 80
    assert any("translates en to de" in finding["text"] for finding in found["findings"])
    arguments = ["--data", str(folder), "--model", "seq2seq_luong"]
    assert main(["doctor", *arguments]) == 0
    assert "translates en to de" in capsys.readouterr().out
    assert main(["doctor", "--data", str(folder), "--target-column", "en"]) == 0
    assert "translates de to en" in capsys.readouterr().out
    assert main(["doctor", "--data", str(folder), "--model", "resnet18"]) == 2
    assert "is data for translation" in capsys.readouterr().err
