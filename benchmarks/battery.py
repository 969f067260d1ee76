"""The state of health of a lithium-ion cell from its charging curve, on cells that no network was trained on.

    python benchmarks/battery.py [--output runs/battery] [--seeds 3] [--models rnn,lstm,gru,lstm_peephole,bilstm]

NASA's cells B0005, B0006, B0007 and B0018: every discharge has a capacity, here in percent of the nominal 2 Ah, and is
predicted from the charge before it. Each cell is left out in turn: one comparison a cell, by `corinth.compare`, with
its board and report in a folder of its own. The inputs and how the network pools its steps are chosen anew for every
cell, by leaving out one of the other three. docs/battery.md says what is measured and why; the results go to
benchmarks/results/battery.json.
"""

import argparse
import csv
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common import machine, real_data
from corinth.compare import jobs
from corinth.compare.bakeoff import compare
from corinth.data import open_data
from corinth.data.preflight import preflight
from corinth.predictor import SequenceRegressor, load_run
from corinth.training import Run, train

RESULTS = Path(__file__).parent / "results" / "battery.json"
ARCHIVE = "battery_nasa/nasa_B0005_B0006_B0007_B0018_256pt.npz"
CELLS = ("B0005", "B0006", "B0007", "B0018")
NOMINAL = 2.0  # Ah
TOP_UP = 0.5  # Ah: a charge that passed less was broken off, or kept a full cell full
EMPTY = 3.8  # V at the start of the charge of an empty cell; above it the charge began half way
HOURS, STEP = 3, 300  # of a charge, and seconds between two steps
COLUMNS = ("volts", "amperes", "celsius")
TABLE = {
    "group_column": "cell,cycle",
    "time_column": "seconds",
    "target_column": "soh",
    "split_group": "cell",
    "val_share": 0.0,
}
RECIPE: dict[str, Any] = {"batch_size": 32, "lr": 2e-3, "weight_decay": 0.01, "threads": 1, "save_every": 600.0}
OPTIONS: dict[str, Any] = {"hidden_size": 32, "drop_rate": 0.0}
CANDIDATES = (  # inputs and pooling; of a cell the best of these on the other three
    ("volts,amperes,celsius", "mean"),
    ("amperes,celsius", "mean"),
    ("amperes", "mean"),
    ("amperes", "last"),
)
ALPHAS = 10.0 ** np.arange(-4, 6)


def charges(archive: Any, cell: str) -> list[tuple[int, float, np.ndarray]]:
    """Of each usable cycle its number, its state of health in percent, and the charge before it, (4, 256): V, A, C, s.

    The archive has more charges than discharges: those that passed little are none of their own. What is left is as
    many as there are discharges, and the first charge comes before the first discharge.
    """
    curves, capacities = archive[f"{cell}_charge"].astype(np.float64), archive[f"{cell}_capacity"]
    whole = [curve for curve in curves if passed(curve) >= TOP_UP]
    assert len(whole) == len(capacities), (cell, len(whole), len(capacities))
    pairs = zip(itertools.count(1), capacities, whole)
    return [(n, 100 * float(c) / NOMINAL, v) for n, c, v in pairs if np.isfinite(v).all() and v[0, 0] < EMPTY]


def passed(curve: np.ndarray) -> float:
    """The charge in Ah that a curve's current adds up to; a moment without a measurement adds nothing."""
    amperes, seconds = curve[1], curve[3]
    return float(np.nansum((amperes[1:] + amperes[:-1]) / 2 * np.diff(seconds)) / 3600)


def write_table(archive: Any, path: Path) -> dict[str, list[tuple[int, float, np.ndarray]]]:
    """The charges as a table with a step a row: on one clock for all, so that a step is as long in every curve."""
    found = {cell: charges(archive, cell) for cell in CELLS}
    clock = (np.arange(HOURS * 3600 // STEP) + 0.5) * STEP
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["cell", "cycle", "seconds", *COLUMNS, "soh"])
        for cell, cycles in found.items():
            for cycle, soh, curve in cycles:
                steps = zip(clock, *(np.interp(clock, curve[3], curve[i]) for i in range(3)))
                rows.writerows([cell, cycle, *(f"{value:.5g}" for value in step), f"{soh:.4f}"] for step in steps)
    return found


def guard(archive: Any, folder: Path) -> list[str]:
    """What the preflight says of discharge curves, as long as they are under load: their length is their capacity."""
    path = folder / "discharges.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["cell", "cycle", "seconds", "volts", "soh"])
        for cell in CELLS:
            for cycle, (curve, capacity) in enumerate(zip(archive[f"{cell}_discharge"], archive[f"{cell}_capacity"])):
                loaded = curve[:, curve[1] < -1]
                clock = np.arange(loaded[3, 0], loaded[3, -1], 10)
                for second, volts in zip(clock, np.interp(clock, loaded[3], loaded[0])):
                    rows.writerow([cell, cycle, f"{second:.1f}", f"{volts:.4f}", f"{100 * capacity / NOMINAL:.4f}"])
    data = open_data(path, **TABLE, test_groups=CELLS[0])
    return [finding.text for finding in preflight(data).findings if "away" in finding.text]


# ---- the inner choice ----


def inner_errors(table: Path, folder: Path) -> dict[tuple[int, str, str], float]:
    """RMSE by candidate, by the two cells that were trained on, and by the cell that was scored."""
    errors: dict[tuple[int, str, str], float] = {}
    for number, (channels, pool) in enumerate(CANDIDATES):
        for pair in itertools.combinations(CELLS, 2):
            others = ",".join(cell for cell in CELLS if cell not in pair)
            data = open_data(table, **TABLE, channel_columns=channels, test_groups=others)
            output = folder / "inner" / f"{number}-{'-'.join(pair)}"
            if not (output / "model.safetensors").exists():
                options = OPTIONS | {"pool": pool}
                train(arch="gru", data=data, budget="40ep", options=options, output=str(output), **RECIPE)
            predictor = load_run(output)
            assert isinstance(predictor, SequenceRegressor)
            found = predictor.evaluate(data, "test")
            cells = np.array([data.source.groups[i] for i in found.index])
            for cell in others.split(","):
                error = float(np.sqrt(np.square(found.per_sample[cells == cell]).mean()))
                errors[number, "-".join(pair), cell] = error
        print(f"  {channels}, {pool}: {np.mean([e for (n, *_), e in errors.items() if n == number]):.2f}", flush=True)
    return errors


def inner_runs(folder: Path) -> list[Path]:
    return sorted((folder / "inner").glob("*/recipe.yaml"))


def chosen(errors: Mapping[tuple[int, str, str], float], left_out: str) -> tuple[int, float]:
    """The candidate with the smallest mean RMSE on the other three cells, each scored by a network of the other two."""
    means = []
    for number in range(len(CANDIDATES)):
        mine = [e for (n, pair, cell), e in errors.items() if n == number and left_out not in (*pair.split("-"), cell)]
        means.append(float(np.mean(mine)))
    return int(np.argmin(means)), min(means)


# ---- what needs no network ----


def matrix(table: Path, channels: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flattened curves (N, T x C), targets (N,) and cells (N,)."""
    source = open_data(table, **TABLE, channel_columns=channels, test_groups=CELLS[0]).source
    return np.stack([values.ravel() for values in source.series]), source.targets, np.array(source.groups)


def ridge(x: np.ndarray, y: np.ndarray, cells: np.ndarray, left_out: str) -> tuple[np.ndarray, float, float]:
    """Predictions for the cell that is left out; the alpha that was best on the other three, each left out in turn, and
    its RMSE there."""
    rest = [cell for cell in CELLS if cell != left_out]

    def fitted(alpha: float, rows: np.ndarray) -> Any:
        return make_pipeline(StandardScaler(), Ridge(alpha=alpha, solver="svd")).fit(x[rows], y[rows])

    scores = []
    for alpha in ALPHAS:
        errors = []
        for cell in rest:
            rows = np.isin(cells, [other for other in rest if other != cell])
            errors.append(rmse(fitted(alpha, rows).predict(x[cells == cell]) - y[cells == cell]))
        scores.append(float(np.mean(errors)))
    best = int(np.argmin(scores))
    return fitted(ALPHAS[best], cells != left_out).predict(x[cells == left_out]), float(ALPHAS[best]), scores[best]


def rmse(errors: np.ndarray) -> float:
    return float(np.sqrt(np.square(errors).mean()))


def measures(errors: np.ndarray) -> dict[str, float]:
    """In percent of the nominal capacity."""
    return {"rmse": rmse(errors), "mae": float(np.abs(errors).mean()), "max_error": float(np.abs(errors).max())}


def baselines(table: Path, cycles: Mapping[str, Sequence[tuple[int, float, np.ndarray]]]) -> dict[str, Any]:
    """By name and cell: measures, and what was chosen for the cell from the other three."""
    inputs = list(dict.fromkeys(channels for channels, _ in CANDIDATES))
    arrays = {channels: matrix(table, channels) for channels in inputs}
    sohs = {cell: np.array([soh for _, soh, _ in found]) for cell, found in cycles.items()}
    ampere_hours = {cell: np.array([[passed(curve)] for _, _, curve in found]) for cell, found in cycles.items()}
    out: dict[str, Any] = {}
    for cell in CELLS:
        rest = [other for other in CELLS if other != cell]
        truth = np.concatenate([sohs[other] for other in rest])
        tried = {channels: ridge(*arrays[channels], cell) for channels in inputs}
        for channels, (values, alpha, inner) in tried.items():
            out.setdefault(f"ridge on {channels}", {})[cell] = measures(values - sohs[cell]) | {
                "alpha": alpha,
                "inner_rmse": inner,
            }
        best = min(tried, key=lambda channels: tried[channels][2])
        out.setdefault("ridge, its own choice", {})[cell] = measures(tried[best][0] - sohs[cell]) | {"inputs": best}
        line = LinearRegression().fit(np.concatenate([ampere_hours[other] for other in rest]), truth)
        out.setdefault("line through the charge passed", {})[cell] = measures(
            line.predict(ampere_hours[cell]) - sohs[cell]
        )
        numbers = [number for number, _, _ in cycles[cell]]
        pairs = [(a, b) for a, b in itertools.pairwise(range(len(numbers))) if numbers[b] == numbers[a] + 1]
        out.setdefault("last known capacity", {})[cell] = measures(
            np.array([sohs[cell][a] - sohs[cell][b] for a, b in pairs])
        )
        out.setdefault("mean of training", {})[cell] = measures(truth.mean() - sohs[cell])
    return out


# ---- the study ----


def study(folder: Path, models: Sequence[str], seeds: int) -> dict[str, Any]:
    archive = np.load(real_data(ARCHIVE))
    table = folder / "battery.csv"
    cycles = write_table(archive, table)
    warnings = guard(archive, folder)
    print(f"of discharge curves the preflight says: {'; '.join(warnings)}")
    print("inner leave-one-cell-out of a GRU, RMSE in % of 2 Ah:")
    errors = inner_errors(table, folder)
    networks: dict[str, dict[str, Any]] = {model: {} for model in models}
    choices = {}
    for cell in CELLS:
        number, inner = chosen(errors, cell)
        channels, pool = CANDIDATES[number]
        choices[cell] = {"inputs": channels, "pool": pool, "inner_rmse": inner}
        overrides = TABLE | RECIPE | {"channel_columns": channels, "test_groups": cell}
        output = folder / cell
        board = compare(
            str(table),
            models,
            budget="40ep",
            seeds=seeds,
            output=output,
            overrides=overrides | {"options": OPTIONS | {"pool": pool}},
            latency=False,
        )
        if board.exit_code:
            raise SystemExit(f"{cell} is not finished ({board.headline}); the same command goes on")
        print(f"{cell}, by {channels}, {pool}: {board.headline}", flush=True)
        for row in board.rows:
            answers = [jobs.answers(output, row.label, seed) for seed in row.scores]
            each = [measures(found.value - found.target) for found in answers]
            together = np.mean([found.value for found in answers], axis=0) - answers[0].target
            networks[row.label][cell] = {"seeds": each, "ensemble": measures(together), "fit_time": row.fit_time}
    return {
        "machine": machine(),
        "samples": {cell: len(found) for cell, found in cycles.items()},
        "training_seconds": {  # also of what an earlier call of this script has trained
            "inner": round(sum(Run.open(path.parent).metrics[-1]["seconds"] for path in inner_runs(folder))),
            **{model: round(sum(seeds * cell["fit_time"] for cell in networks[model].values())) for model in models},
        },
        "guard": warnings,
        "inner": [{"candidate": CANDIDATES[n], "trained": p, "cell": c, "rmse": e} for (n, p, c), e in errors.items()],
        "choices": choices,
        "networks": networks,
        "baselines": baselines(table, cycles),
    }


def summary(found: Mapping[str, Any]) -> list[str]:
    """The table of benchmarks/README.md: means over the four cells, and of networks over the seeds."""
    lines = ["| | B0005 | B0006 | B0007 | B0018 | RMSE | of seeds | MAE | largest error |", "|---|" + "---|" * 8]

    def line(name: str, cell_of: Callable[[str], dict[str, float]], spread: str = "") -> tuple[float, str]:
        cells = [cell_of(cell) for cell in CELLS]
        mean = float(np.mean([cell["rmse"] for cell in cells]))
        each = " | ".join(f"{cell['rmse']:.2f}" for cell in cells)
        mae, worst = np.mean([cell["mae"] for cell in cells]), max(cell["max_error"] for cell in cells)
        return mean, f"| {name} | {each} | {mean:.2f} | {spread} | {mae:.2f} | {worst:.1f} |"

    rows = []
    for name, cells in found["networks"].items():
        count = len(cells[CELLS[0]]["seeds"])
        by_seed = [np.mean([cells[cell]["seeds"][seed]["rmse"] for cell in CELLS]) for seed in range(count)]
        names = ("rmse", "mae", "max_error")

        def of_seeds(cell: str, cells: Any = cells, names: Sequence[str] = names) -> dict[str, float]:
            return {what: float(np.mean([seed[what] for seed in cells[cell]["seeds"]])) for what in names}

        rows.append(line(f"`{name}`", of_seeds, f"{min(by_seed):.2f} to {max(by_seed):.2f}"))
        rows.append(line(f"`{name}`, mean of its {count} seeds", lambda cell, cells=cells: cells[cell]["ensemble"]))
    rows += [line(name, lambda cell, cells=cells: cells[cell]) for name, cells in found["baselines"].items()]
    return lines + [text for _, text in sorted(rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs") / "battery")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", default="rnn,lstm,gru,lstm_peephole,bilstm")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = study(options.output, options.models.split(","), options.seeds)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("\n".join(summary(found)))


if __name__ == "__main__":
    main()
