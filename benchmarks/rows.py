"""A number from rows of a table: `mlp` on the diabetes set of scikit-learn, beside ridge regression.

    python benchmarks/rows.py [--seeds 5] [--splits 5]

442 people, 10 columns, a measure of the disease a year later. The test part has 88 rows, so one split says little:
networks and ridge regression are scored on the same test part of several splits (split seeds 0, 1, ...), every network
with several seeds. Ridge regression sees the training part as the network does (zero mean, unit spread), and its
penalty is chosen by cross-validation on it.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV

import corinth
from common import machine, trained
from corinth.data import open_data
from corinth.data.rows.encoding import RowEncoding
from corinth.data.rows.source import MeasuredRows, RowData
from corinth.predictor import RegressionEvaluation

RESULTS = Path(__file__).parent / "results" / "rows.json"
RECIPE = {"arch": "mlp", "budget": "60ep", "batch_size": 32}


def ridge(data: RowData) -> float:
    """Its RMSE on the test part."""
    source = data.source
    assert isinstance(source, MeasuredRows)
    encoding = RowEncoding.measured(data)
    train, test = (encoding.encode(source, data.positions(part)).numpy() for part in ("train", "test"))
    fitted = RidgeCV(alphas=np.logspace(-2, 4, 25)).fit(train, source.targets[data.positions("train")])
    return float(np.sqrt(np.square(fitted.predict(test) - source.targets[data.positions("test")]).mean()))


def constant(data: RowData) -> float:
    """The RMSE of always saying the training part's mean."""
    source = data.source
    assert isinstance(source, MeasuredRows)
    errors = source.targets[data.positions("test")] - source.targets[data.positions("train")].mean()
    return float(np.sqrt(np.square(errors).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--splits", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {"mlp": [], "ridge": [], "mean of training": []}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "diabetes.csv"
        load_diabetes(as_frame=True).frame.to_csv(table, index=False)
        for split in range(args.splits):
            data = open_data(table, target_column="target", split_seed=split)
            assert isinstance(data, RowData)
            found["ridge"].append(ridge(data))
            found["mean of training"].append(constant(data))
            for seed in range(args.seeds):
                run = trained(data=data, seed=seed, output=f"{folder}/run{split}_{seed}", **RECIPE)
                scored = corinth.load_run(run.path).evaluate(data, "test")
                assert isinstance(scored, RegressionEvaluation)
                found["mlp"].append(scored.rmse)
    for name, values in found.items():
        print(f"{name:18} RMSE {statistics.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})")
    RESULTS.write_text(json.dumps({"rmse": found, "machine": machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
