"""Numbers from time series: from the recipe to the run folder, its predictions, its report; compared; by command."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corinth.cli import main
from corinth.compare.bakeoff import compare
from corinth.data import SequenceData, open_data
from corinth.errors import DataError, UsageError
from corinth.predictor import SequenceRegressor, load_run
from corinth.registry import list_models
from corinth.report import run_report
from corinth.training import Run, train
from corinth.weights import read_config
from sequence_sets import STEPS, cells, waves, write_steps, write_ts

OPTIONS = {"hidden_size": 12, "drop_rate": 0.0}
HELD = {**STEPS, "test_groups": "B", "val_groups": "C"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_steps(tmp_path_factory.mktemp("cells") / "cells.csv", cells(each=24))


@pytest.fixture(scope="module")
def data(table: Path) -> SequenceData:
    found = open_data(table, **HELD)
    assert isinstance(found, SequenceData)
    return found


def quick(data: SequenceData, output: Path, **fields: Any) -> Run:
    usual: dict[str, Any] = {"arch": "gru", "budget": "30ep", "batch_size": 8, "lr": 0.02, "options": OPTIONS}
    return train(data=data, output=str(output), **(usual | fields))


@pytest.fixture(scope="module")
def run(data: SequenceData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick(data, tmp_path_factory.mktemp("runs") / "gru")


def regressor(run: Run) -> SequenceRegressor:
    found = load_run(run.path)
    assert isinstance(found, SequenceRegressor)
    return found


def test_numbers_are_learnt_and_scored_in_the_users_unit(run: Run, data: SequenceData) -> None:
    found = regressor(run).evaluate(data, "test", batch_size=5)
    truth = data.source.targets[data.positions("test")]  # ty: ignore
    assert found.rmse < truth.std() / 2
    assert found.r2 is not None
    assert found.r2 > 0.75
    assert sorted(found.index.tolist()) == data.positions("test").tolist()
    np.testing.assert_allclose(found.per_sample, np.abs(found.predicted - found.targets))
    assert run.best is not None
    val = regressor(run).evaluate(data, "val")
    assert run.best["val_rmse"] == pytest.approx(val.rmse, rel=1e-4)
    assert run.best["val_mae"] == pytest.approx(val.mae, rel=1e-4)
    assert run.best["val_max_error"] == pytest.approx(val.max_error, rel=1e-4)
    assert run.best["val_rmse"] == min(row["val_rmse"] for row in run.metrics)
    config = read_config(run.path)
    assert (config.task, config.classes, config.config["num_classes"]) == ("sequence-regression", (), 1)


def test_predictions_of_arrays_and_tables(run: Run, data: SequenceData, table: Path, tmp_path: Path) -> None:
    predictor = regressor(run)
    found = predictor.evaluate(data, "all")
    by_row = dict(zip(found.index.tolist(), found.predicted.tolist(), strict=True))
    arrays = [data.source.sequence(i) for i in (0, 30)]
    assert [p.value for p in predictor.predict(arrays)] == pytest.approx([by_row[0], by_row[30]], rel=1e-4)
    new = tmp_path / "new.csv"  # without the target, and with the columns in another order
    lines = [line.split(",") for line in table.read_text().splitlines()]
    new.write_text("\n".join(",".join((*line[:3], line[4], line[3])) for line in lines))
    swapped = open_data(table, **HELD, channel_columns="noise,volts")
    with pytest.raises(DataError, match="has the channels noise, volts, and the network takes volts, noise; name them"):
        predictor.evaluate(swapped)  # ty: ignore
    (tmp_path / "bad.csv").write_text("volts,noise\n1,2\n1,x\n")
    said = predictor.predict([new, tmp_path / "bad.csv"])
    assert [p.value for p in said[:-1]] == pytest.approx([by_row[i] for i in range(len(data))], rel=1e-4)
    assert said[25].name == f"{new}, cell B, cycle 2"
    assert said[-1].error is not None
    assert "line 3" in said[-1].error
    with pytest.raises(UsageError, match="batch_size 0"):
        predictor.predict(arrays, batch_size=0)


def test_one_series_in_a_file_has_its_channels_by_name(run: Run, data: SequenceData, tmp_path: Path) -> None:
    values = data.source.sequence(0)
    files = {
        "bare": ["", *(f"{v},{n}" for v, n in values)],
        "named": ["seconds,noise,volts", *(f"{i},{n},{v}" for i, (v, n) in enumerate(values))],
        "other": ["a,b", *(f"{v},{n}" for v, n in values)],
        "short": ["noise,volts", *(f"1,{n},{v}" for v, n in values)],
    }
    paths = [tmp_path / f"{name}.csv" for name in (*files, "gone")]
    for path, lines in zip(paths, files.values()):
        path.write_text("\n".join(lines))
    expected, bare, named, *bad = regressor(run).predict([values, *paths])
    assert bare.value == pytest.approx(expected.value, rel=1e-4)
    assert named.value == pytest.approx(expected.value, rel=1e-4)
    assert [p.error for p in bad] == [
        f"{paths[2]}: there is no column 'volts'; the network needs volts, noise",
        f"{paths[3]}: line 2: 3 values for 2 columns; quote values that contain the separator",
        f"{paths[4]}: there is no such file",
    ]


def test_what_other_data_are_is_said(run: Run, data: SequenceData, tmp_path: Path) -> None:
    classes = open_data(write_ts(tmp_path / "w.ts", *waves()))
    with pytest.raises(UsageError, match="w holds no series with a number each, which this gru needs"):
        regressor(run).evaluate(classes)  # ty: ignore
    np.savez(tmp_path / "n.npz", x=np.arange(100.0).reshape(20, 5, 1), y=np.linspace(0, 1, 20))
    other = open_data(tmp_path / "n.npz", val_share=0.0, test_share=0.5)
    with pytest.raises(DataError, match="n has series of 1 channels, and the network takes 2"):
        regressor(run).evaluate(other)  # ty: ignore
    with pytest.raises(UsageError, match="regression_loss huber is for regression, not for sequence-classification"):
        quick(classes, tmp_path / "c", regression_loss="huber")  # ty: ignore


@pytest.mark.parametrize(
    "fields",
    [
        {"label_smoothing": 0.1},
        {"class_weights": "balanced"},
        {"options": {"pool": "none"}},
        {"options": {"crf": True}},
        {"options": {"num_classes": 3}},
        {"vocab_size": 10},
    ],
)
def test_what_does_nothing_is_refused(data: SequenceData, tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=[*fields, *fields.get("options", ())][-1]):
        quick(data, tmp_path / "r", **fields)


def test_every_recurrent_network_can(data: SequenceData, tmp_path: Path) -> None:
    names = list_models(task="sequence-regression")
    assert {"rnn", "lstm", "gru", "lstm_peephole", "bilstm"} <= set(names)
    for name in ("lstm_peephole", "bilstm"):
        trained = quick(data, tmp_path / name, arch=name, budget="16samples")
        assert regressor(trained).evaluate(data, "test").samples == 24


def test_parts_of_a_batch_give_the_same_network(data: SequenceData, tmp_path: Path) -> None:
    for loss in ("squared", "huber"):
        values = []
        for parts in (1, 3):
            trained = quick(data, tmp_path / f"{loss}{parts}", budget="2ep", accumulate=parts, regression_loss=loss)
            values.append(regressor(trained).evaluate(data, "test").predicted)
        np.testing.assert_allclose(values[0], values[1], rtol=1e-3)


def test_the_scale_stays_that_of_the_weights(run: Run, data: SequenceData, table: Path, tmp_path: Path) -> None:
    other = open_data(table, **{**STEPS, "test_groups": "A", "val_groups": "D"})
    assert isinstance(other, SequenceData)
    before: Any = read_config(run.path).preprocess
    trained = quick(other, tmp_path / "more", budget="1ep", weights=str(run.path), lr=1e-4)
    after: Any = read_config(trained.path).preprocess
    assert (after.target_mean, after.target_std) == (before.target_mean, before.target_std)
    found = regressor(trained).evaluate(other, "val")
    assert found.rmse < 2 * regressor(run).evaluate(other, "val").rmse


def test_a_resumed_run_is_the_same(data: SequenceData, tmp_path: Path) -> None:
    steady: dict[str, Any] = {"schedule": "constant", "warmup": 0.0}
    whole = quick(data, tmp_path / "whole", budget="3ep", **steady)
    quick(data, tmp_path / "part", budget="2ep", **steady)
    longer = train(resume=tmp_path / "part", budget="3ep")
    for name in ("train_loss", "val_rmse", "val_mae", "val_loss"):
        assert longer.metrics[-1][name] == whole.metrics[-1][name]


# ---- reports and comparisons ----


def test_the_report_shows_predicted_and_measured(run: Run, data: SequenceData) -> None:
    path, _ = run_report(run.path, data)
    page = path.read_text(encoding="utf-8")
    for words in ("Predicted and measured", "In their order", "Mean of training", "Largest error", "R²", "cycle, C"):
        assert words in page
    assert "Hardest series" in page
    assert "highest absolute error" in page
    assert ">Classes<" not in page


def test_networks_are_compared_by_their_errors(data: SequenceData, tmp_path: Path) -> None:
    overrides = {"batch_size": 8, "lr": 0.02, "options": OPTIONS}
    recipes = {"idle": {"lr": 1e-9}}
    board = compare(
        data, "idle=gru,gru", budget="6ep", seeds=2, output=tmp_path / "c", overrides=overrides, recipes=recipes
    )
    assert [row.label for row in board.rows] == ["gru", "idle"]
    best, worst = board.rows
    assert best.score_test < worst.score_test  # ty: ignore
    assert best.metric >= best.score_test  # ty: ignore  # the RMSE is at least the mean absolute error
    (baseline,) = board.baselines
    train_mean = data.source.targets[data.positions("train")].mean()  # ty: ignore
    errors = data.source.targets[data.positions("test")] - train_mean  # ty: ignore
    assert baseline.score_test == pytest.approx(np.abs(errors).mean())
    assert baseline.metric == pytest.approx(np.sqrt(np.square(errors).mean()))
    assert any("The test series are of 1 group." in note for note in board.notes)
    assert board.report is not None
    page = board.report.read_text(encoding="utf-8")
    for words in ("mean of training", "Predicted and measured", "B, all", "B, gru", "cycle, B", "Hardest series"):
        assert words in page
    saved = json.loads((tmp_path / "c" / "leaderboard.json").read_text())
    assert saved["baselines"][0]["label"] == "mean of training"
    with pytest.raises(UsageError, match="the control shuffled-labels is for classification"):
        compare(data, "gru", control="shuffled-labels", output=tmp_path / "d")


def test_a_comparison_without_a_validation_part(table: Path, tmp_path: Path) -> None:
    data = open_data(table, **STEPS, test_groups="B", val_share=0.0)
    board = compare(data, "gru", budget="1ep", seeds=1, output=tmp_path / "c", overrides={"options": OPTIONS})
    assert board.report is not None
    assert "Learning curves" not in board.report.read_text(encoding="utf-8")


# ---- commands ----


def flags(table: Path) -> list[str]:
    named = {name: value for name, value in HELD.items() if value is not None}
    return ["--data", str(table), *(w for name, value in named.items() for w in (f"--{name.replace('_', '-')}", value))]


def test_the_commands(run: Run, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--epochs", "1", "--set", "hidden_size=4", "--batch-size", "8", "--quiet"]
    assert main(["train", *flags(table), "--model", "rnn", *size, "--output", str(tmp_path / "r")]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "cells, test part, 24 series" in out
    for words in ("RMSE", "MAE", "largest error", "R²"):
        assert words in out
    other = write_steps(tmp_path / "others.csv", cells(names="XY", each=3))  # read as the run's own table
    assert main(["evaluate", str(run.path), "--data", str(other)]) == 0
    assert "others, all of it, 6 series" in capsys.readouterr().out
    assert main(["predict", str(run.path), str(table)]) == 0
    out = capsys.readouterr().out
    assert "capacity" in out.splitlines()[0]
    assert "cell D, cycle 24" in out
    assert main(["predict", str(run.path), str(table), "gone.csv", "--format", "json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert 0 < found[0]["value"] < 4
    assert "error" in found[-1]
    assert main(["doctor", *flags(table), "--model", "gru"]) == 0
    assert "capacity of training series is" in capsys.readouterr().out
    assert main(["gradients", str(run.path), "--output", str(tmp_path / "g.html")]) == 0
    options = [f"{name}={value}" for name, value in HELD.items()]
    args = ["compare", "--data", str(table), "--models", "gru", "--budget", "1ep", "--seeds", "1", "--quiet"]
    sets = [w for option in (*options, "options.hidden_size=4") for w in ("--set", option)]
    assert main([*args, *sets, "--output", str(tmp_path / "c")]) == 0
    out = capsys.readouterr().out
    assert "RMSE" in out
    assert "mean of training" in out
