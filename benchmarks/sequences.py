"""What the recurrent networks reach on real texts, time series and tagged sentences, with several seeds.

    CORINTH_DATA=... python benchmarks/sequences.py [--only sst2 ...] [--seeds 3] [--threads 2]

Each row trains one architecture by its own recipe, changed as the table below says, chooses the checkpoint on the
validation part and scores the test part once for each seed. Results are merged into results/sequences.json.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import corinth
from common import machine, trained
from corinth.data import open_data
from corinth.predictor.tagging import TagEvaluation

RESULTS = Path(__file__).parent / "results" / "sequences.json"


@dataclass(frozen=True)
class Row:
    """One data set, one architecture, and what its recipe has different."""

    data: str
    arch: str
    fields: dict[str, Any] = field(default_factory=dict)


ROWS = {
    "sst2, bilstm": Row("sst2", "bilstm", {"budget": "4ep"}),
    "sst2, bigru": Row("sst2", "bigru", {"budget": "4ep"}),
    "BasicMotions, gru": Row("activity_timeseries/BasicMotions", "gru", {"budget": "60ep", "batch_size": 8}),
    "JapaneseVowels, bilstm": Row("activity_timeseries/JapaneseVowels", "bilstm", {"budget": "40ep", "batch_size": 16}),
    "ud_english_atis, bilstm": Row("ud_english_atis", "bilstm", {"budget": "10ep"}),
    "ud_english_atis, bilstm + crf": Row("ud_english_atis", "bilstm", {"budget": "10ep", "options": {"crf": True}}),
    "wnut17, bilstm": Row("wnut17", "bilstm", {"budget": "20ep"}),
    "wnut17, bilstm + crf": Row("wnut17", "bilstm", {"budget": "20ep", "options": {"crf": True}}),
}


def measure(row: Row, seeds: int) -> dict[str, Any]:
    """Test scores of every seed, and seconds of training."""
    scores, entities, seconds = [], [], []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            data = open_data(row.data)
            start = time.perf_counter()
            run = trained(arch=row.arch, data=data, seed=seed, output=f"{folder}/run", **row.fields)
            seconds.append(round(time.perf_counter() - start, 1))
            found = corinth.load_run(run.path).evaluate(data, "test")
        scores.append(found.score)
        if isinstance(found, TagEvaluation) and found.entities is not None:
            entities.append(found.entities.f1)
    return {"score": scores, "seconds": seconds, "machine": machine(), **({"entity_f1": entities} if entities else {})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(ROWS), help="rows whose names contain one of these")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, row in ROWS.items():
        if not any(word in name for word in args.only):
            continue
        rows[name] = measure(row, args.seeds)
        shown = {key: values for key, values in rows[name].items() if key in ("score", "entity_f1")}
        text = ", ".join(f"{key} {statistics.mean(v):.4f} ({min(v):.4f} to {max(v):.4f})" for key, v in shown.items())
        print(f"{name:32} {text}, {statistics.mean(rows[name]['seconds']):.0f} s a run", flush=True)
        RESULTS.write_text(json.dumps({key: rows[key] for key in sorted(rows)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
