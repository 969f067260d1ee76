"""Forecasting from the recipe to the run folder, its predictions, its report; compared; by command."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from corinth.cli import main
from corinth.compare.bakeoff import compare
from corinth.data import SequenceData, open_data
from corinth.errors import DataError, UsageError, WeightsError
from corinth.predictor import Forecaster, load_run
from corinth.predictor.forecast_scores import ForecastEvaluation, which_need_none
from corinth.registry import list_models
from corinth.report import run_report
from corinth.training import Run, train
from corinth.training.run import read_metrics
from corinth.weights import read_config
from series_tables import AHEAD, hours, months, wave, write_series

OPTIONS = {"hidden_size": 12, "drop_rate": 0.0}
NAMES = ("rnn", "lstm", "gru", "lstm_peephole", "bilstm")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series(tmp_path_factory.mktemp("waves") / "waves.csv", wave(160))


@pytest.fixture(scope="module")
def data(table: Path) -> SequenceData:
    found = open_data(table, **AHEAD)
    assert isinstance(found, SequenceData)
    return found


def quick(data: SequenceData, output: Path, **fields: Any) -> Run:
    usual: dict[str, Any] = {"arch": "gru", "budget": "30ep", "batch_size": 16, "lr": 0.01, "options": OPTIONS}
    return train(data=data, output=str(output), **(usual | fields))


@pytest.fixture(scope="module")
def run(data: SequenceData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick(data, tmp_path_factory.mktemp("runs") / "gru")


def forecaster(run: Run) -> Forecaster:
    found = load_run(run.path)
    assert isinstance(found, Forecaster)
    return found


def test_a_wave_is_learnt_and_scored_beside_what_needs_no_network(run: Run, data: SequenceData) -> None:
    found = forecaster(run).evaluate(data, "test", batch_size=5)
    assert found.mse < found.baselines["last value"].mse / 2
    assert found.samples == len(data.positions("test"))
    assert run.best is not None
    val = forecaster(run).evaluate(data, "val")
    assert run.best["val_mse"] == pytest.approx(val.mse, rel=1e-4)
    assert run.best["val_mae"] == pytest.approx(val.mae, rel=1e-4)
    assert run.best["val_mse"] == min(row["val_mse"] for row in run.metrics)
    config = read_config(run.path)
    assert (config.task, config.classes, config.config["num_classes"]) == ("forecasting", (), 8)


def test_scores_by_hand(run: Run, data: SequenceData) -> None:
    predictor, source = forecaster(run), data.source
    found = predictor.evaluate(data, "test")
    rows = data.positions("test")
    error = predictor.forecast(data, rows) - np.stack([source.target(int(i)) for i in rows])
    standard = error / np.array(predictor.preprocess.std)
    assert found.mse == pytest.approx(np.square(standard).mean())
    assert found.mae == pytest.approx(np.abs(standard).mean())
    np.testing.assert_allclose(found.network.by_lead, np.square(standard).mean(axis=(0, 2)))
    np.testing.assert_allclose(found.network.unit_rmse, np.sqrt(np.square(error).mean(axis=(0, 1))))
    np.testing.assert_allclose(found.network.unit_mae, np.abs(error).mean(axis=(0, 1)))
    each = np.square(standard).mean(axis=(1, 2))
    np.testing.assert_allclose(found.per_sample, each[::4])  # windows with no step in common
    assert found.index.tolist() == rows[::4].tolist()
    assert found.to_dict()["targets"]["a"]["unit_rmse"] == pytest.approx(float(found.network.unit_rmse[0]))


def test_predictions_go_on_with_the_table(run: Run, data: SequenceData, table: Path, tmp_path: Path) -> None:
    predictor = forecaster(run)
    (said,) = predictor.predict(table)
    assert said.times == ("2026-02-05 16:00:00", "2026-02-05 17:00:00", "2026-02-05 18:00:00", "2026-02-05 19:00:00")
    assert said.columns == ("date", "a", "b")
    assert list(said.rows()[0]) == ["date", "a", "b"]
    bare, bent = predictor.predict([wave(160), wave(160)[-8:]])
    np.testing.assert_allclose(bare.values, said.values, rtol=1e-5)  # ty: ignore
    np.testing.assert_allclose(bent.values, said.values, rtol=1e-5)  # ty: ignore
    history = write_series(tmp_path / "h.csv", wave(160)[:, ::-1][:146], names=("b", "a"))
    (early,) = predictor.predict(history)  # the columns in another order, and a forecast that was scored
    place = int(np.flatnonzero(data.source.origins[:, 1] == 146)[0])  # ty: ignore
    np.testing.assert_allclose(early.values, predictor.forecast(data, np.array([place]))[0], rtol=1e-5)  # ty: ignore


@pytest.mark.parametrize(
    ("times", "following"),
    [
        (months(100), ("2008-05", "2008-06")),
        ([f"2024-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(28)], ("2024-01-29", "2024-01-30")),
        ([str(1900 + i) for i in range(80)], ("1980", "1981")),
    ],
)
def test_times_of_every_kind_go_on(times: list[str], following: tuple[str, ...], tmp_path: Path) -> None:
    table = write_series(tmp_path / "t.csv", wave(len(times), channels=1), times)
    small = open_data(table, horizon=2, window=4, time_column="date", val_share=0.1)
    trained = quick(small, tmp_path / "run", budget="1ep")  # ty: ignore
    assert forecaster(trained).predict(table)[0].times == following


def test_what_cannot_be_gone_on_with_is_said(run: Run, tmp_path: Path, table: Path) -> None:
    short = write_series(tmp_path / "short.csv", wave(7))
    other = write_series(tmp_path / "other.csv", wave(20), names=("a", "c"))
    daily = write_series(tmp_path / "daily.csv", wave(20), [f"2026-01-{i + 1:02}" for i in range(20)])
    holes = write_series(tmp_path / "holes.csv", np.where(np.arange(40).reshape(20, 2) == 39, np.nan, wave(20)))
    (tmp_path / "x.txt").write_text("x")
    given = [short, other, daily, holes, tmp_path / "gone.csv", tmp_path / "x.txt", wave(20, channels=1), table]
    *bad, good = forecaster(run).predict(given)
    assert [answer.error for answer in bad] == [
        f"{short}: has 7 steps, and the network looks back over 8; give a longer history",
        f"{other}: channel_columns 'b' is not there; the columns are date, a, c",
        f"{daily} has steps of 1 day, and the network was trained on steps of 1 hour",
        f"{holes}, line 21: the value of 'b' is missing; missing fill takes the last one before it",
        f"{tmp_path / 'gone.csv'}: there is no such file",
        f"{tmp_path / 'x.txt'}: a history is a table with a row a step (.csv, .tsv, .parquet, .pq)",
        "series 6: a history here is (steps, 2) numbers, and this one is (20, 1)",
    ]
    assert good.error is None
    with pytest.raises(UsageError, match="batch_size 0"):
        forecaster(run).predict(table, batch_size=0)
    with pytest.raises(UsageError, match="5 is no history; a history is the path of a table, or an array"):
        forecaster(run).predict(5)
    (words,) = forecaster(run).predict([np.array(["a", "b"])])
    assert words.error == "series 0: holds no numbers, or rows of unequal lengths"


def test_each_series_is_answered_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.concatenate([wave(1), wave(60), wave(60)])
    names = ["x"] + ["y"] * 60 + ["z"] * 60
    table = write_series(tmp_path / "s.csv", values, hours(1) + hours(60) * 2, shop=names)
    trained = quick(open_data(table, **AHEAD, group_column="shop"), tmp_path / "run", budget="1ep")  # ty: ignore
    values[-1, 0] = np.nan
    broken = write_series(tmp_path / "t.csv", values, hours(1) + hours(60) * 2, shop=names)
    single, good, missing = forecaster(trained).predict(broken)
    assert single.error == f"{broken}, shop x: has 1 step, and the network looks back over 8; give a longer history"
    assert (good.error, good.times[0]) == (None, "2026-02-01 12:00:00")
    assert "line 122: the value of 'a' is missing" in str(missing.error)
    alone = write_series(tmp_path / "u.csv", wave(2), hours(2), shop=["x", "y"])
    for answer in forecaster(trained).predict(alone):
        assert "has a single row, which does not say how far apart steps are" in str(answer.error)
    assert main(["predict", str(trained.path), str(broken), "--format", "csv"]) == 3
    lines = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert lines[0] == ["name", "shop", "date", "a", "b", "error"]
    assert [line[1:5] for line in (lines[1], lines[-1])] == [["x", "", "", ""], ["z", "", "", ""]]
    assert main(["predict", str(trained.path), str(broken)]) == 3
    assert "x     cannot be used" in capsys.readouterr().out


def test_ends_of_months_are_saved_with_the_weights(tmp_path: Path) -> None:
    ends = [str(np.datetime64(month, "D") - 1) for month in np.arange("2000-02", "2012-02", dtype="datetime64[M]")]
    table = write_series(tmp_path / "ends.csv", wave(144), ends)
    trained = quick(open_data(table, horizon=2, window=1), tmp_path / "run", budget="1ep")  # ty: ignore
    single = write_series(tmp_path / "two.csv", wave(1), ["2024-06-30"])
    assert "a single row" in str(forecaster(trained).predict(single)[0].error)
    quarters = [end for end in ends if end[5:7] in ("06", "09")][:2]
    assert quarters == ["2000-06-30", "2000-09-30"]
    table = write_series(tmp_path / "quarters.csv", wave(48), ends[2::3])
    trained = quick(open_data(table, horizon=2, window=2), tmp_path / "next", budget="1ep")  # ty: ignore
    history = write_series(tmp_path / "history.csv", wave(2), quarters)
    assert forecaster(trained).predict(history)[0].times == ("2000-12-31", "2001-03-31")


def test_series_of_several_shops(tmp_path: Path) -> None:
    values = np.concatenate([wave(60), wave(60, seed=1) + 5])
    table = write_series(tmp_path / "s.csv", values, hours(60) * 2, shop=["x"] * 60 + ["y"] * 60)
    shops = open_data(table, **AHEAD, group_column="shop")
    trained = quick(shops, tmp_path / "run", budget="2ep")  # ty: ignore
    first, second = forecaster(trained).predict(table)
    assert (first.name, second.name) == (f"{table}, shop x", f"{table}, shop y")
    assert second.rows()[0]["shop"] == "y"
    assert second.times[0] == "2026-02-01 12:00:00"
    assert forecaster(trained).evaluate(shops).samples == len(shops.positions("test"))  # ty: ignore


# ---- training ----


def test_every_recurrent_network_can(data: SequenceData, tmp_path: Path) -> None:
    assert set(NAMES) < set(list_models(task="forecasting"))
    for name in NAMES:
        trained = quick(data, tmp_path / name, arch=name, budget="32samples")
        assert np.isfinite(forecaster(trained).evaluate(data, "test").mse)
    pooled = quick(data, tmp_path / "mean", budget="32samples", options=OPTIONS | {"pool": "mean"})
    assert np.isfinite(forecaster(pooled).evaluate(data, "test").mse)


def test_one_target_from_all_channels(table: Path, tmp_path: Path) -> None:
    one = open_data(table, **AHEAD, target_column="b")
    trained = quick(one, tmp_path / "one", budget="20ep")  # ty: ignore
    found = forecaster(trained).evaluate(one)  # ty: ignore
    assert found.target_names == ("b",)
    assert found.mse < found.baselines["last value"].mse
    assert forecaster(trained).predict(table)[0].columns == ("date", "b")


@pytest.mark.parametrize("relative", ["none", "last", "window"])
def test_how_windows_are_seen_is_saved_with_the_weights(relative: str, data: SequenceData, tmp_path: Path) -> None:
    trained = quick(data, tmp_path / "run", budget="3ep", relative=relative)
    encoding: Any = read_config(trained.path).preprocess
    assert encoding.relative == relative
    assert trained.best is not None
    assert forecaster(trained).evaluate(data, "val").mse == pytest.approx(trained.best["val_mse"], rel=1e-4)
    with pytest.raises(UsageError, match="relative is that of the weights"):
        quick(data, tmp_path / "next", weights=str(trained.path), relative="window" if relative == "none" else "none")


def test_training_goes_on_from_weights_with_their_scale(
    run: Run, data: SequenceData, table: Path, tmp_path: Path
) -> None:
    other = open_data(table, **AHEAD, test_share=0.4)
    before: Any = read_config(run.path).preprocess
    after: Any = read_config(quick(other, tmp_path / "more", budget="1ep", weights=str(run.path)).path).preprocess  # ty: ignore
    assert (after.mean, after.std) == (before.mean, before.std)
    longer = open_data(table, horizon=5, window=8)
    with pytest.raises(DataError, match="was opened with the horizon 5, and the network has 4"):
        quick(longer, tmp_path / "longer", weights=str(run.path))  # ty: ignore
    with pytest.raises(DataError, match="was opened with the horizon 5, and the network has 4"):
        forecaster(run).evaluate(longer)  # ty: ignore


@pytest.mark.parametrize("loss", ["squared", "absolute"])
def test_parts_of_a_batch_give_the_same_network(loss: str, data: SequenceData, tmp_path: Path) -> None:
    once, parts = (
        quick(data, tmp_path / str(n), budget="2ep", accumulate=n, regression_loss=loss, optimizer="sgd", lr=0.05)
        for n in (1, 3)
    )
    for (name, a), b in zip(load_run(once.path).model.named_parameters(), load_run(parts.path).model.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_a_resumed_run_is_the_same(data: SequenceData, tmp_path: Path) -> None:
    steady: dict[str, Any] = {"schedule": "constant", "warmup": 0.0, "options": OPTIONS | {"drop_rate": 0.2}}
    whole = quick(data, tmp_path / "whole", budget="3ep", **steady)
    quick(data, tmp_path / "part", budget="2ep", **steady)
    longer = train(resume=tmp_path / "part", budget="3ep")
    assert longer.metrics[-1]["val_mse"] == whole.metrics[-1]["val_mse"]
    assert longer.metrics[-1]["train_loss"] == whole.metrics[-1]["train_loss"]


def test_batch_size_auto_and_short_precision(data: SequenceData, tmp_path: Path) -> None:
    trained = quick(data, tmp_path / "auto", batch_size="auto", budget="1ep", precision="bf16")
    assert np.isfinite(forecaster(trained).evaluate(data).mse)


@pytest.mark.slow
def test_two_processes_train_as_one(table: Path, tmp_path: Path) -> None:
    fields = {"arch": "gru", "data": str(table), **AHEAD, "budget": "3ep", "batch_size": 8, "options": OPTIONS}
    fields |= {"device": "cpu", "threads": 1, "clip_norm": 1.0}
    one = train(output=str(tmp_path / "one"), **fields)
    (tmp_path / "worker.py").write_text(
        f"import sys\nfrom corinth.training import train\ntrain(output=sys.argv[1], **{fields!r})\n"
    )
    with socket.socket() as free:
        free.bind(("", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    workers = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "worker.py"), str(tmp_path / "two")],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=1e-3, atol=1e-4)
    rows = read_metrics(tmp_path / "two" / "metrics.jsonl")
    assert [row["val_mse"] for row in rows] == pytest.approx([row["val_mse"] for row in one.metrics], rel=1e-3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"max_len": 4}, "max_len does nothing with series to forecast"),
        ({"tokenizer": "char"}, "tokenizer does nothing with series to forecast"),
        ({"series": {"normalise": True}}, "series does nothing with series to forecast"),
        ({"series_augmentation": {"noise": 0.1}}, "series_augmentation does nothing with series to forecast"),
        ({"img_size": 8}, "img_size does nothing with series to forecast"),
        ({"label_smoothing": 0.1}, "label_smoothing 0.1 is for classification"),
        ({"class_weights": "balanced"}, "class_weights balanced is not for forecasting"),
        ({"options": {"pool": "none"}}, "pool none gives an answer at every step, and these data have a forecast"),
        (
            {"options": {"crf": True}},
            "crf is for a tag at every step, and these data have a forecast a sequence; leave it out",
        ),
        ({"options": {"num_classes": 3}}, "num_classes 3 does not fit waves, which needs 8"),
        ({"arch": "seq2seq"}, "waves is data for forecasting and seq2seq does translation"),
    ],
)
def test_what_does_nothing_is_refused(fields: dict[str, Any], said: str, data: SequenceData, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        quick(data, tmp_path / "x", **fields)
    assert said in str(error.value)


def test_relative_is_for_forecasting(tmp_path: Path, table: Path) -> None:
    rows = write_series(tmp_path / "rows.csv", wave(60), label=["x", "y"] * 30)
    with pytest.raises(UsageError, match="relative does nothing with rows of a table"):
        train(arch="mlp", data=str(rows), relative="none", output=str(tmp_path / "x"))
    with pytest.raises(UsageError, match="horizon 0 is not valid; it must be a whole number of steps from 1"):
        train(arch="gru", data=str(table), horizon=0)


def test_what_other_data_are_is_said(run: Run, tmp_path: Path, data: SequenceData) -> None:
    rows = write_series(tmp_path / "rows.csv", wave(60), label=["x", "y"] * 30)
    with pytest.raises(UsageError, match="rows holds no series to forecast, which this gru needs"):
        forecaster(run).evaluate(open_data(rows))  # ty: ignore
    long = open_data(data.spec, **AHEAD, val_share=0.0)
    with pytest.raises(DataError, match="the val part of waves has no window"):
        forecaster(run).evaluate(long, "val")  # ty: ignore
    broken = forecaster(run)
    with torch.no_grad():
        next(broken.model.parameters()).fill_(torch.nan)
    with pytest.raises(WeightsError, match="not finite"):
        broken.evaluate(data)


# ---- reports, comparisons, commands ----


def test_the_report_shows_forecasts_and_errors(run: Run, data: SequenceData) -> None:
    path, _ = run_report(run.path, data)
    page = path.read_text(encoding="utf-8")
    words = (
        "Forecasts over time",
        "Error by steps ahead",
        "Hardest windows",
        "Last value",
        "Linear",
    )
    for word in words:
        assert word in page
    assert "Typical windows" not in page  # all 8 are among the hardest
    assert 'class="forecast"' in page
    assert page.count('class="said"') >= 4


def test_networks_are_compared_on_windows_apart(data: SequenceData, tmp_path: Path) -> None:
    overrides = {"batch_size": 16, "lr": 0.01, "options": OPTIONS}
    recipes = {"idle": {"lr": 1e-9}}
    board = compare(
        data, "idle=gru,gru", budget="10ep", seeds=2, output=tmp_path / "c", overrides=overrides, recipes=recipes
    )
    assert [row.label for row in board.rows] == ["gru", "idle"]
    best = board.rows[0]
    assert best.test is not None
    assert best.test.samples == len(data.source.apart(data.positions("test"))) == 8  # ty: ignore
    baselines = {b.label: b for b in board.baselines}
    assert set(baselines) == {"last value", "last season", "linear"}
    found = load_run(tmp_path / "c" / "gru" / "seed0").evaluate(data)
    assert isinstance(found, ForecastEvaluation)
    assert baselines["linear"].metric == pytest.approx(found.baselines["linear"].mse)
    assert any("no samples of their own" in note for note in board.notes)
    assert best.score_test is not None
    behind = [label for label, b in baselines.items() if b.score_test < best.score_test]
    said = [note for note in board.notes if note.startswith("No architecture here is as good as")]
    assert bool(said) == bool(behind)
    assert all(label in said[0] for label in behind)
    total = len(data.positions("test"))
    assert any(
        f"are of the 8 test windows that have none to forecast in common, the MSE beside them of all {total}." in n
        for n in board.notes
    )
    assert json.loads((tmp_path / "c" / "leaderboard.json").read_text())["data"]["windows_apart"] == 8
    page = (tmp_path / "c" / "report.html").read_text(encoding="utf-8")
    assert "Forecasts over time" in page
    assert "last season" in page
    assert f"scored once on 8 test windows that have no step in common ({total} in all)." in page
    few = open_data(data.spec, **AHEAD, test_share=0.04)
    with pytest.raises(
        DataError, match="the test part has one window of 4 steps to forecast, and to compare takes two"
    ):
        compare(few, "gru", output=tmp_path / "few")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("linear",), "linear, which needs no network"),
        (("last season", "linear"), "last season and linear, which need no network"),
        (("last value", "last season", "linear"), "last value, last season and linear, which need no network"),
    ],
)
def test_baselines_in_a_sentence(names: tuple[str, ...], said: str) -> None:
    assert which_need_none(names) == said


def test_the_commands(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    plain = ["--data", str(table), "--task", "forecasting", "--horizon", "4", "--window", "8"]
    order = ["train", *plain, "--model", "gru", "--set", "hidden_size=8", "--epochs", "2", "--output", str(folder)]
    assert main([*order, "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == str(folder)
    assert main(["evaluate", str(folder)]) == 0
    said = capsys.readouterr().out
    for words in ("MSE", "MAE", "RMSE, MAE of a", "last value", "last season", "linear", "test part"):
        assert words in said
    later = shutil.copy(table, tmp_path / "later.csv")
    assert main(["evaluate", str(folder), "--data", str(later), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["split"] == "test"
    assert set(found["baselines"]) == {"last value", "last season", "linear"}
    assert (
        main(["evaluate", str(folder), "--data", str(write_series(tmp_path / "new.csv", wave(90, seed=3))), "--json"])
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert (found["split"], found["samples"]) == ("all", 90 - 8 - 4 + 1)
    assert set(found["baselines"]) == {
        "last value",
        "last season",
    }  # a line would have been fitted on what it is scored on
    assert main(["predict", str(folder), str(table), "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "date,a,b"
    assert [line.split(",")[0] for line in lines[1:]] == [f"2026-02-05 {hour}:00:00" for hour in (16, 17, 18, 19)]
    short = write_series(tmp_path / "short.csv", wave(7))
    assert main(["predict", str(folder), str(table), str(short)]) == 3
    captured = capsys.readouterr()
    assert "looks back over 8; give a longer history" in captured.err
    assert captured.out.startswith("name")
    assert "cannot be used" in captured.out
    large = write_series(tmp_path / "large.csv", wave(90) + 12_345_678)
    assert main(["predict", str(folder), str(large), str(short), "--format", "csv"]) == 3
    lines = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert lines[0] == ["name", "date", "a", "b", "error"]
    exact = load_run(folder).predict(large)[0].values
    assert [[float(cell) for cell in line[2:4]] for line in lines[1:5]] == exact.tolist()
    assert lines[5][:4] == [str(short), "", "", ""]
    assert "looks back over 8" in lines[5][4]
    assert main(["predict", str(folder), str(large)]) == 0
    assert f"{exact[0, 0]:,.0f}" in capsys.readouterr().out
    assert main(["doctor", *plain]) == 0
    assert "windows" in capsys.readouterr().out
    look = ["gradients", str(folder), "--samples", "8", "--output", str(tmp_path / "g.html")]
    assert main(look) == 0
    other = write_series(tmp_path / "other.csv", wave(90))  # a table like the run's
    assert main([*look, "--data", str(other)]) == 0
    assert main(["predict", str(folder), str(table), "--beam", "2"]) == 2
    assert "--beam is for translation" in capsys.readouterr().err
