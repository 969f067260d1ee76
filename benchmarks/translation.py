"""Translation of Multi30k, English to German: BLEU within an hour of one CPU thread, and what the decoders cost.

    CORINTH_DATA=... OMP_NUM_THREADS=1 python benchmarks/translation.py [--budget 4.5ep] [--run FOLDER]
    OMP_NUM_THREADS=1 python benchmarks/translation.py --steps

The first trains `seq2seq_luong` and scores the 2016 test part, cased and detokenised, greedily and with a beam of 5;
`--run` scores a run that there is already. The second times training steps of the decoders in turn, CPU time of one
thread. Results are merged into results/translation.json.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

import corinth
from common import machine, trained
from corinth.models.recurrent.seq2seq import Seq2Seq, Seq2SeqConfig
from corinth.predictor import Translator
from corinth.training.run import METRICS, read_metrics

RESULTS = Path(__file__).parent / "results" / "translation.json"
FIELDS: dict[str, Any] = {"vocab_size": 5000, "precision": "bf16", "batch_size": 64, "threads": 1}
BATCH, STEPS, VOCABULARY, ROUNDS = 128, 14, 5000, 4
DECODERS: dict[str, dict[str, Any]] = {
    "luong": {"cell": "lstm", "attention": "general"},
    "luong, input feeding": {"cell": "lstm", "attention": "general", "input_feeding": True},
    "bahdanau, lstm": {"cell": "lstm", "attention": "additive"},
    "no attention": {"cell": "lstm"},
}


def score(folder: Path) -> dict[str, Any]:
    """BLEU of the test part, and what the training took."""
    predictor = corinth.load_run(folder)
    assert isinstance(predictor, Translator)
    data = corinth.open_data("multi30k_en_de")
    rows = read_metrics(folder / METRICS)
    best = [row for row in rows if row["best"]][-1]
    found = {f"beam {beam}": predictor.evaluate(data, "test", beam=beam).to_dict() for beam in (1, 5)}
    training = {name: best[name] for name in ("epoch", "val_bleu", "val_loss")}
    return found | {"best": training, "epochs": rows[-1]["epoch"], "seconds": rows[-1]["seconds"], "machine": machine()}


def train(folder: Path, budget: str) -> float:
    """CPU seconds of the training, validations included."""
    start = time.process_time()
    trained(arch="seq2seq_luong", data="multi30k_en_de", budget=budget, output=str(folder), **FIELDS)
    return time.process_time() - start


def steps(precision: str) -> dict[str, Any]:
    """CPU milliseconds of a training step of each decoder, median and quartiles."""
    torch.manual_seed(0)
    source, target = torch.randint(VOCABULARY, (BATCH, STEPS)), torch.randint(VOCABULARY, (BATCH, STEPS))
    lengths = torch.randint(STEPS - 2, STEPS + 1, (BATCH,))
    sizes: dict[str, Any] = {"source_vocab_size": VOCABULARY, "target_vocab_size": VOCABULARY, "bidirectional": True}
    networks = {name: Seq2Seq(Seq2SeqConfig(**sizes, **options)).train() for name, options in DECODERS.items()}
    times: dict[str, list[float]] = {name: [] for name in DECODERS}
    for _ in range(1 + ROUNDS):
        for name, network in networks.items():
            network.zero_grad(set_to_none=True)
            start = time.process_time()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                logits = network(source, lengths, target)
            F.cross_entropy(logits.flatten(0, 1).float(), target.flatten(), label_smoothing=0.1).backward()
            times[name].append(1000 * (time.process_time() - start))
    return {name: [round(q, 1) for q in statistics.quantiles(found[1:], n=4)] for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="4.5ep")
    parser.add_argument("--run", type=Path, help="a run folder; it is made unless it is there")
    parser.add_argument("--steps", action="store_true", help="time the decoders")
    args = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if args.steps:
        kept["steps"] = {precision: steps(precision) for precision in ("fp32", "bf16")} | {"machine": machine()}
        print(json.dumps(kept["steps"], indent=1))
    else:
        folder = args.run or Path("runs") / "multi30k"
        cpu = None if folder.exists() else train(folder, args.budget)
        kept["multi30k_en_de"] = score(folder) | ({} if cpu is None else {"cpu_seconds": round(cpu, 1)})
        print(json.dumps(kept["multi30k_en_de"], indent=1))
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
