"""Rows of tables from the recipe to the run folder, its predictions and its report; and compared; and the commands."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corinth.cli import main
from corinth.compare.bakeoff import compare
from corinth.data import open_data
from corinth.data.rows.source import RowData
from corinth.errors import DataError, UsageError, WeightsError
from corinth.predictor import RowClassifier, load_run
from corinth.report import run_report
from corinth.training import Run, train

QUICK: dict[str, Any] = {
    "budget": "20ep",
    "batch_size": 16,
    "lr": 0.01,
    "options": {"fc_dims": (16,), "drop_rate": 0.0},
}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tall ones and red ones are winners; a height is missing now and then."""
    rng = np.random.default_rng(0)
    heights, red = rng.normal(1.7, 0.1, 200), rng.random(200) < 0.3
    lines = []
    for i, (height, is_red) in enumerate(zip(heights, red)):
        shown, label = "" if i % 25 == 0 else f"{height:.3f}", "winner" if height > 1.75 or is_red else "loser"
        lines.append(f"{shown},{'red' if is_red else 'blue'},{label}\n")
    path = tmp_path_factory.mktemp("rows") / "people.csv"
    path.write_text("height,colour,label\n" + "".join(lines))
    return path


@pytest.fixture(scope="module")
def data(people: Path) -> RowData:
    found = open_data(people)
    assert isinstance(found, RowData)
    return found


@pytest.fixture(scope="module")
def run(data: RowData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(arch="mlp", data=data, output=str(tmp_path_factory.mktemp("runs") / "run"), **QUICK)


def test_rows_are_learnt_and_predicted(run: Run, data: RowData, people: Path) -> None:
    predictor = load_run(run.path)
    assert isinstance(predictor, RowClassifier)
    found = predictor.evaluate(data)
    assert found.top1 > 0.85
    rows = [{"height": 1.95, "colour": "blue"}, {"height": 1.5, "colour": "blue"}, {"height": "tall", "colour": "red"}]
    tall, small, wrong = predictor.predict(rows)
    assert (tall.label, small.label) == ("winner", "loser")
    assert "column 'height' is 'tall'" in (wrong.error or "")
    every = predictor.predict(people)
    assert len(every) == 200
    expected = predictor.probabilities(predictor.preprocess.encode(data.source, np.array([7])))[0].max()
    assert every[7].probability == pytest.approx(float(expected))
    assert predictor.predict({"height": 1.95, "colour": "blue"})[0] == tall
    with pytest.raises(UsageError, match="a row is a mapping of columns to values, or a table's path, not int"):
        predictor.predict([3])


def test_a_run_that_was_cut_short_goes_on_exactly(run: Run, data: RowData, tmp_path: Path) -> None:
    first = train(
        arch="mlp",
        data=data,
        output=str(tmp_path / "half"),
        **QUICK | {"budget": "10ep", "schedule": "constant", "warmup": 0.0},
    )
    whole = train(
        arch="mlp", data=data, output=str(tmp_path / "whole"), **QUICK | {"schedule": "constant", "warmup": 0.0}
    )
    resumed = train(resume=first.path, budget="20ep")
    ours, theirs = (load_run(found.path).model.state_dict() for found in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_it_starts_from_another_runs_weights(run: Run, data: RowData, tmp_path: Path) -> None:
    again = train(
        arch="mlp", data=data, weights=str(run.path), output=str(tmp_path / "again"), **QUICK | {"budget": "1ep"}
    )
    assert again.metrics[0]["val_top1"] > 0.8
    other = tmp_path / "other.csv"
    other.write_text("age,label\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(40)))
    with pytest.raises(DataError, match="other has no column 'height'; the network was trained on 'height', 'colour'"):
        train(arch="mlp", data=str(other), weights=str(run.path), output=str(tmp_path / "no"))


def test_what_does_not_fit_is_refused(data: RowData, run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="img_size does nothing with rows of a table, which people are"):
        train(arch="mlp", data=data, img_size=32, output=str(tmp_path / "a"))
    with pytest.raises(UsageError, match="people is data for tabular-classification and resnet18 does image"):
        train(arch="resnet18", data=data, output=str(tmp_path / "b"))
    with pytest.raises(UsageError, match="input_size 7 does not fit people, which needs 4; leave it out"):
        train(arch="mlp", data=data, options={"input_size": 7}, output=str(tmp_path / "c"))
    with pytest.raises(UsageError, match="digits holds no rows of a table"):
        load_run(run.path).evaluate(open_data("digits"))
    values = json.loads((run.path / "config.json").read_text())
    del values["preprocess"]["std"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps(values))
    (tmp_path / "run" / "model.safetensors").write_bytes((run.path / "model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match="an encoding of rows has"):
        load_run(tmp_path / "run")


def test_the_report_shows_the_cells_of_mistakes(run: Run, data: RowData) -> None:
    path, _ = run_report(run.path, data)
    text = path.read_text(encoding="utf-8")
    assert "validation rows of people" in text
    assert "4 values" in text
    if load_run(run.path).evaluate(data, "val").top1 < 1:
        assert "height 1." in text


def test_networks_are_compared(data: RowData, tmp_path: Path) -> None:
    board = compare(
        data,
        ["mlp", "linear=mlp"],
        budget="4ep",
        seeds=2,
        output=tmp_path / "board",
        recipes={"mlp": {"lr": 0.01, "batch_size": 16}, "linear": {"lr": 1e-6, "options": {"fc_dims": ()}}},
        latency=False,
    )
    assert [row.label for row in board.rows] == ["mlp", "linear"]
    assert board.data["unit"] == "row"
    assert "latency of one row" not in board.headline


def test_the_commands(run: Run, people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run.path)]) == 0
    assert "people, test part, 40 rows" in capsys.readouterr().out
    assert main(["predict", str(run.path), str(people), "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 201
    assert main(["predict", str(run.path), "gone.csv"]) == 1
    assert "gone.csv cannot be read (No such file or directory)" in capsys.readouterr().err
    assert main(["doctor", "--data", str(people), "--model", "mlp"]) == 0
    assert "200 rows (" in capsys.readouterr().out


def test_a_network_of_rows_can_be_frozen_in_part_and_fine_tuned(run: Run, people: Path, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"budget": "1ep", "weights": str(run.path)}
    frozen = train(arch="mlp", data=str(people), output=str(tmp_path / "a"), freeze=1, **(QUICK | fields))
    before, after = (load_run(found.path).model.state_dict() for found in (run, frozen))
    first, *_, last = before
    assert torch.equal(before[first], after[first])
    assert not torch.equal(before[last], after[last])
    fields |= {"options": QUICK["options"], "finetune": True}
    tuned = train(arch="mlp", data=str(people), output=str(tmp_path / "b"), **fields)
    assert tuned.recipe.layer_decay < 1
