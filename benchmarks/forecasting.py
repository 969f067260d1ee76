"""How recurrent networks forecast real series, beside what needs no network, and what a network should see of a window.

    CORINTH_DATA=... python benchmarks/forecasting.py [--only relative networks] [--sets etth1_96 ...] [--seeds 2]

`networks` trains each network on each set by `SETS` and scores all test windows. `relative` trains one network with
each `relative` and compares validation errors: by these the default was chosen. MSE and MAE are standardised by the
training part. Results are merged into results/forecasting.json, run by run; what is there is not trained again.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import corinth
from common import machine, real_data, trained
from corinth.data import open_data
from corinth.predictor import ForecastEvaluation

RESULTS = Path(__file__).parent / "results" / "forecasting.json"
NETWORKS = ("rnn", "lstm", "gru")
STUDIED = "lstm"
POLLUTION = {
    "time_column": "year,month,day,hour",
    "channel_columns": "pm2.5,DEWP,TEMP,PRES,Iws",
    "target_column": "pm2.5",
    "missing": "fill",
}
SMALL = {"hidden_size": 32, "drop_rate": 0.0}
LARGE = {"hidden_size": 64, "drop_rate": 0.2}
SETS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {  # data, how it is opened, how networks train
    "airline": (
        "timeseries_small/airline-passengers.csv",
        {"horizon": 12, "window": 24},
        {"budget": "300ep", "evaluate_every": "10ep", "batch_size": 16, "options": SMALL},
    ),
    "temperatures": (
        "timeseries_small/daily-min-temperatures.csv",
        {"horizon": 7, "window": 28, "season": 365, "missing": "fill"},
        {"budget": "20ep", "options": SMALL},
    ),
    "sunspots": (
        "timeseries_small/monthly-sunspots.csv",
        {"horizon": 12, "window": 132, "season": 132},
        {"budget": "20ep", "options": SMALL},
    ),
    "pm2.5": (
        "timeseries_small/pollution.csv",
        {"horizon": 24, "window": 72, **POLLUTION},
        {"budget": "4ep", "batch_size": 128, "options": LARGE},
    ),
    "etth1_96": ("etth1", {"horizon": 96, "window": 336}, {"budget": "6ep", "options": LARGE}),
    "etth1_336": ("etth1", {"horizon": 336, "window": 336}, {"budget": "6ep", "options": LARGE}),
}
RELATIVE = ("none", "last", "window")
DEFAULT = "last"


def one(name: str, arch: str, seed: int, folder: str, **fields: Any) -> dict[str, Any]:
    """One training: the best validation MSE, and the scores of all test windows."""
    spec, how, recipe = SETS[name]
    if spec != "etth1":
        spec = str(real_data(spec))
    data = open_data(spec, **how)
    output = f"{folder}/{name}-{arch}-{seed}-{time.time_ns()}"
    start = time.process_time()
    run = trained(arch=arch, data=data, seed=seed, threads=1, output=output, **recipe, **fields)
    spent = time.process_time() - start
    found = corinth.load_run(run.path).evaluate(data, "test")
    assert isinstance(found, ForecastEvaluation)
    assert run.best is not None
    return {
        "val_mse": run.best["val_mse"],
        "best_epoch": run.best["epoch"],
        "mse": found.mse,
        "mae": found.mae,
        "cpu_seconds": round(spent, 1),
        "windows": found.samples,
        "unit": {name: float(rmse) for name, rmse in zip(found.target_names, found.network.unit_rmse)},
        "baselines": {name: {"mse": s.mse, "mae": s.mae} for name, s in found.baselines.items()},
        "baselines_unit": {name: s.unit_rmse.tolist() for name, s in found.baselines.items()},
    }


def table(results: dict[str, Any]) -> list[str]:
    """Test MSE / MAE of networks (means over seeds) and of what needs none."""
    lines = ["| set | rnn | lstm | gru | last value | last season | linear |", "|---|---|---|---|---|---|---|"]
    for name, found in results.get("networks", {}).items():
        cells = []
        for arch in NETWORKS:
            seeds = list(found.get(arch, {}).values())
            cells.append(
                _pair(*(float(np.mean([seed[what] for seed in seeds])) for what in ("mse", "mae"))) if seeds else ""
            )
        base = next(iter(next(iter(found.values())).values()))["baselines"]
        cells += [
            _pair(base[b]["mse"], base[b]["mae"]) if b in base else "" for b in ("last value", "last season", "linear")
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| validation MSE of lstm | none | last | window |", "|---|---|---|---|"]
    for name, found in results.get("relative", {}).items():
        seeds = [[seed["val_mse"] for seed in found.get(relative, {}).values()] for relative in RELATIVE]
        lines.append(f"| {name} | " + " | ".join(f"{np.mean(values):.3f}" if values else "" for values in seeds) + " |")
    return lines


def _pair(mse: float, mae: float) -> str:
    return f"{mse:.3f} / {mae:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("networks", "relative"), default=["relative", "networks"])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    plan = [
        (part, name, key)
        for part in args.only
        for name in args.sets
        for key in (args.networks if part == "networks" else RELATIVE)
    ]
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.seeds):
            for part, name, key in plan:
                there = results.setdefault(part, {}).setdefault(name, {}).setdefault(key, {})
                if str(seed) in there:
                    continue
                how = {"arch": key} if part == "networks" else {"arch": STUDIED, "relative": key}
                known = results.get("networks", {}).get(name, {}).get(STUDIED, {}).get(str(seed))
                same = part == "relative" and key == DEFAULT
                found = known if same and known else one(name, seed=seed, folder=folder, **how)
                there[str(seed)] = found
                results["machine"] = machine()
                RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
                said = {what: round(found[what], 3) for what in ("val_mse", "mse", "mae", "cpu_seconds")}
                print(part, name, key, seed, said, flush=True)
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
