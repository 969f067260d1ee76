"""Numbers from rows of tables: from the data to the run folder, its predictions, its report; compared; by command."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from corinth.cli import main
from corinth.compare.bakeoff import compare
from corinth.data import open_data
from corinth.data.preflight import preflight
from corinth.data.rows.encoding import RowEncoding
from corinth.data.rows.source import MeasuredRows, RowData
from corinth.errors import CorinthError, DataError, UsageError
from corinth.predictor import RowRegressor, load_run
from corinth.report import run_report
from corinth.training import Run, train
from corinth.weights import read_config

QUICK: dict[str, Any] = {
    "budget": "40ep",
    "batch_size": 16,
    "lr": 0.01,
    "options": {"fc_dims": (16,), "drop_rate": 0.0},
}


def write_houses(path: Path, count: int = 160, seed: int = 0) -> Path:
    """The price of a house by its size and its street; a size is missing now and then."""
    rng = np.random.default_rng(seed)
    size, street = rng.uniform(50, 200, count), rng.choice(["low", "high"], count)
    price = 3000 * size + np.where(street == "high", 200_000, 0) + rng.normal(0, 5000, count)
    cells = [f"{'' if i % 40 == 7 else round(size[i], 1)},{street[i]},{price[i]:.0f}" for i in range(count)]
    path.write_text("\n".join(["size,street,price", *cells]) + "\n")
    return path


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_houses(tmp_path_factory.mktemp("rows") / "houses.csv")


@pytest.fixture(scope="module")
def data(houses: Path) -> RowData:
    found = open_data(houses, target_column="price")
    assert isinstance(found, RowData)
    return found


def quick(data: RowData, output: Path, **fields: Any) -> Run:
    return train(data=data, output=str(output), **({"arch": "mlp"} | QUICK | fields))


@pytest.fixture(scope="module")
def run(data: RowData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick(data, tmp_path_factory.mktemp("runs") / "run")


def regressor(run: Run) -> RowRegressor:
    found = load_run(run.path)
    assert isinstance(found, RowRegressor)
    return found


def test_numbers_are_learnt_and_scored_in_the_users_unit(run: Run, data: RowData) -> None:
    assert (data.task, data.classes) == ("tabular-regression", ())
    source = data.source
    assert isinstance(source, MeasuredRows)
    found = regressor(run).evaluate(data, "test", batch_size=7)
    assert found.rmse < source.targets.std() / 3
    assert found.r2 is not None
    assert found.r2 > 0.8
    np.testing.assert_allclose(found.targets, source.targets[found.index])
    np.testing.assert_allclose(found.rmse, np.sqrt(np.square(found.predicted - found.targets).mean()))
    val = regressor(run).evaluate(data, "val")
    assert run.best is not None
    assert run.best["val_rmse"] == pytest.approx(val.rmse, rel=1e-4)
    assert run.best["val_mae"] == pytest.approx(val.mae, rel=1e-4)
    assert run.best["val_rmse"] == min(row["val_rmse"] for row in run.metrics)
    config = read_config(run.path)
    assert isinstance(config.preprocess, RowEncoding)
    trained = source.targets[data.positions("train")]
    assert config.preprocess.target_mean == pytest.approx(trained.mean())
    assert config.preprocess.target_std == pytest.approx(trained.std())
    assert (config.classes, config.config["num_classes"]) == ((), 1)


def test_predictions_of_rows_and_tables(run: Run, data: RowData, houses: Path) -> None:
    predictor = regressor(run)
    found = predictor.evaluate(data, "all")
    by_row = dict(zip(found.index.tolist(), found.predicted.tolist(), strict=True))
    said = predictor.predict([houses, {"size": "big", "street": "low"}, {"street": "low"}, houses.parent / "gone.csv"])
    assert [p.value for p in said[:-3]] == pytest.approx([by_row[i] for i in range(len(data))], rel=1e-4)
    assert said[0].name == f"{houses}, line 2"
    assert [p.error is not None for p in said[-3:]] == [True] * 3
    assert "column 'size' is 'big', and the network needs a number there" in said[-3].error  # ty: ignore
    with pytest.raises(UsageError, match="batch_size 0"):
        predictor.predict(houses, batch_size=0)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            [f"{i},{i}" for i in range(30)],
            {"target_column": "z"},
            "target_column 'z' is not there; the columns are x, y",
        ),
        (
            [f"{i},many" for i in range(30)],
            {},
            "line 2: target_column 'y' says 'many', which is no number; classes are",
        ),
        ([*(f"{i},{i}" for i in range(30)), "1,"], {"max_corrupt": 0.0}, "1 of 31 rows .* line 32: its y is missing"),
        ([*(f"{i},{i}" for i in range(30)), "1,nan"], {"max_corrupt": 0.0}, "line 32: its y is missing"),
        ([*(f"{i},{i}" for i in range(30)), "1,inf"], {"max_corrupt": 0.0}, "line 32: its y is not finite"),
        ([f"{i},{i}" for i in range(30)], {"label_column": "x"}, "target_column is a number or label_column a class"),
        ([f"{i},{i}" for i in range(30)], {"text_column": "x"}, "text_column and target_column are two kinds of data"),
        ([f"{i},{i}" for i in range(30)], {"time_column": "x"}, "group_column is needed"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, rows: list[str], options: dict[str, Any], message: str) -> None:
    (tmp_path / "t.csv").write_text("\n".join(["x,y", *rows]))
    with pytest.raises(CorinthError, match=message):
        open_data(tmp_path / "t.csv", **({"target_column": "y"} | options))


def test_rows_without_a_target_are_left_out(tmp_path: Path) -> None:
    lines = [f"{i * i % 17},{i / 7},{'' if i == 3 else i}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["x,z,y", *lines]))
    data = open_data(tmp_path / "t.csv", target_column="y")
    assert len(data) == 39
    assert data.source.name(3) == "t.csv, line 6"
    assert data.source.targets.tolist() == [i for i in range(40) if i != 3]  # ty: ignore
    assert data.corrupt == ((f"{tmp_path}/t.csv, line 5", "its y is missing"),)


def test_a_constant_target_and_one_that_is_given_away(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    (tmp_path / "c.csv").write_text("\n".join(["x,y", *(f"{v},5" for v in x)]))
    with pytest.raises(DataError, match="c: every training row has the target 5, so there is nothing to learn"):
        quick(open_data(tmp_path / "c.csv", target_column="y"), tmp_path / "r")  # ty: ignore
    lines = [f"{v},{2 * v + 1},{v + rng.normal()}" for v in x]
    (tmp_path / "l.csv").write_text("\n".join(["y,twice,noisy", *lines]))
    said = [
        f.text for f in preflight(open_data(tmp_path / "l.csv", target_column="y")).findings if f.severity == "warning"
    ]
    assert [text for text in said if "away" in text] == [
        "column 'twice' gives the y away (correlation 1.0000): take it out, unless it can be measured where the "
        "network will be used"
    ]


def test_large_numbers_with_a_small_spread_are_told_apart(tmp_path: Path) -> None:
    """As float32, numbers about 1e9 are multiples of 64."""
    x = np.random.default_rng(0).normal(size=80)
    (tmp_path / "t.csv").write_text("\n".join(["x,y", *(f"{v},{1e9 + 1000 * v:.3f}" for v in x)]))
    data = open_data(tmp_path / "t.csv", target_column="y")
    run = train(arch="mlp", data=data, output=str(tmp_path / "run"), **QUICK)
    found = regressor(run).evaluate(data, "all")
    assert found.rmse < 100
    assert len(set(found.predicted.tolist())) == 80
    assert any("y of training rows is 99999" in f.text and "mean 1000000" in f.text for f in preflight(data).findings)


def test_rows_in_runs_may_be_steps(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"cell{i // 10},{rng.normal():.3f},{rng.normal():.3f}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["cell,u,y", *rows]))
    found = [f.text for f in preflight(open_data(tmp_path / "t.csv", target_column="y")).findings]
    assert any("rows with the same 'cell' stand together, 10 on average" in text for text in found)
    (tmp_path / "m.csv").write_text("\n".join(["cell,u,y", *rng.permutation(rows)]))
    found = [f.text for f in preflight(open_data(tmp_path / "m.csv", target_column="y")).findings]
    assert not any("stand together" in text for text in found)


def test_what_does_nothing_is_refused(data: RowData, tmp_path: Path) -> None:
    for fields, said in (
        (
            {"label_smoothing": 0.2},
            "label_smoothing 0.2 is for classification and tasks whose answers are texts, not for tabular-regress",
        ),
        ({"class_weights": "balanced"}, "class_weights balanced is not for tabular-regression, which has no classes"),
        ({"arch": "lstm", "options": {}}, "houses is data for tabular-regression and lstm does"),
    ):
        with pytest.raises(UsageError, match=said):
            quick(data, tmp_path / "r", **fields)


def test_huber_parts_of_a_batch_and_other_data(run: Run, data: RowData, houses: Path, tmp_path: Path) -> None:
    values = []
    for parts in (1, 3):
        trained = quick(data, tmp_path / str(parts), budget="2ep", accumulate=parts, regression_loss="huber")
        values.append(regressor(trained).evaluate(data).predicted)
    np.testing.assert_allclose(values[0], values[1], rtol=1e-3)
    classes = open_data(houses, label_column="street")
    with pytest.raises(UsageError, match="houses holds no rows with a number each, which this mlp needs"):
        regressor(run).evaluate(classes)  # ty: ignore
    more = quick(data, tmp_path / "more", weights=str(run.path), budget="1ep", lr=1e-6)
    assert regressor(more).evaluate(data).rmse == pytest.approx(regressor(run).evaluate(data).rmse, rel=0.1)


def test_reports_and_comparisons(run: Run, data: RowData, tmp_path: Path) -> None:
    page = run_report(run.path, data)[0].read_text(encoding="utf-8")
    for words in ("Predicted and measured", "Mean of training", "R²", "Hardest rows", "street high", "of a row"):
        assert words in page
    recipes = {"idle": {"lr": 1e-9}}
    overrides = {name: value for name, value in QUICK.items() if name != "budget"}
    board = compare(
        data, "idle=mlp,mlp", budget="8ep", seeds=2, output=tmp_path / "c", overrides=overrides, recipes=recipes
    )
    assert [row.label for row in board.rows] == ["mlp", "idle"]
    (baseline,) = board.baselines
    targets = data.source.targets  # ty: ignore
    errors = targets[data.positions("test")] - targets[data.positions("train")].mean()
    assert baseline.metric == pytest.approx(np.sqrt(np.square(errors).mean()))
    assert board.report is not None
    assert "mean of training" in board.report.read_text(encoding="utf-8")


def test_the_commands(run: Run, houses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--epochs", "1", "--set", "fc_dims=4,4", "--batch-size", "8", "--quiet"]
    flags = ["--data", str(houses), "--target-column", "price"]
    assert main(["train", *flags, "--model", "mlp", *size, "--output", str(tmp_path / "r")]) == 0
    assert main(["doctor", *flags, "--model", "mlp"]) == 0
    assert "price of training rows is" in capsys.readouterr().out
    assert main(["evaluate", str(run.path)]) == 0
    out = capsys.readouterr().out
    for words in ("houses, test part, 32 rows", "RMSE", "MAE", "largest error", "R²"):
        assert words in out
    other = write_houses(tmp_path / "others.csv", seed=1)
    assert main(["evaluate", str(run.path), "--data", str(other)]) == 0
    assert "others, all of it, 160 rows" in capsys.readouterr().out
    assert main(["predict", str(run.path), str(other), "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "name,value,error"
    assert len(lines) == 161
    values = [row.value for row in load_run(run.path).predict(other)]
    assert [float(line.split(",")[-2]) for line in lines[1:]] == values  # nothing rounded


def test_a_real_set(tmp_path: Path) -> None:
    """The diabetes set of scikit-learn: better than the mean, and about as good as ridge regression."""
    frame = load_diabetes(as_frame=True).frame
    frame.to_csv(tmp_path / "diabetes.csv", index=False)
    data = open_data(tmp_path / "diabetes.csv", target_column="target")
    trained = train(arch="mlp", data=data, output=str(tmp_path / "r"), budget="30ep", batch_size=32, threads=1)
    found = regressor(trained).evaluate(data, "test")  # ty: ignore
    assert found.r2 is not None
    assert found.r2 > 0.35
