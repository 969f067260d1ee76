"""Captions of emoji, and emoji names of a category: what a small network learns in a minute or two of one CPU thread.

    CORINTH_DATA=... OMP_NUM_THREADS=1 python benchmarks/captioning.py [--budget 25ep] [--seeds 2]
    CORINTH_DATA=... OMP_NUM_THREADS=1 python benchmarks/captioning.py --labels

The first trains `show_and_tell` on pictures of emoji in two styles (Noto, Twemoji), and asks two questions of pictures
that it has not seen: of emoji whose other style's picture it has seen ("other style"), and of emoji that it has never
seen ("new emoji"). Beside it stand the most frequent caption and that of the nearest training picture by pixels. The
second trains `label_decoder` on texts of labels, beside a unigram of each label with the same tokens. Results are
merged into results/captioning.json.
"""

import argparse
import csv
import json
import math
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sacrebleu.metrics import BLEU, CHRF

import corinth
from common import machine, trained
from corinth.data.builtin import named_paths
from corinth.data.decode import read_image
from corinth.predictor import Captioner, LabelWriter
from corinth.predictor.captioning import plain

RESULTS = Path(__file__).parent / "results" / "captioning.json"
STYLES = ("noto", "twemoji")
NEW, ONE_STYLE = 0.15, 0.30  # shares of the emoji that are in no training picture, and in one of their two
FIELDS: dict[str, Any] = {
    "tokenizer": "bpe",
    "vocab_size": 1000,
    "img_size": 32,
    "batch_size": 32,
    "precision": "bf16",
    "threads": 1,
    "evaluate_every": "5ep",
    "augmentation": {"crop_padding": 0.06, "color_jitter": 0.2},
}


def emoji() -> tuple[Path, list[dict[str, str]]]:
    """The folder and the rows of its index."""
    folder = next(path for path in named_paths("emoji_noto_twemoji") if path.exists())
    with open(folder / "index.tsv", encoding="utf-8", newline="") as file:
        return folder, list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def write_table(path: Path) -> dict[str, str]:
    """The table of pictures, captions and parts; returns path -> the question that a held-out picture answers.

    Of the emoji that are new both styles are held out, of those of one style Twemoji's; a third of each is for
    validation.
    """
    folder, rows = emoji()
    order = np.random.default_rng(0).permutation(len(rows))
    questions: dict[str, str] = {}
    lines = ["image\tcaption\tsplit"]
    for rank, number in enumerate(order.tolist()):
        row, share = rows[number], rank / len(rows)
        question = "new emoji" if share < NEW else "other style" if share < NEW + ONE_STYLE else None
        for style in STYLES:
            image = str(folder / style / f"{row['code']}.png")
            held = question == "new emoji" or (question == "other style" and style == "twemoji")
            split = ("val" if rank % 3 == 0 else "test") if held else "train"
            if held and question is not None:
                questions[image] = question
            lines.append(f"{image}\t{row['name']}\t{split}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return questions


def scores(said: list[str], truth: list[str]) -> dict[str, float]:
    """Shares of 1; capitals do not count."""
    return {
        "bleu": round(BLEU(lowercase=True).corpus_score(said, [truth]).score / 100, 4),
        "chrf": round(CHRF(lowercase=True).corpus_score(said, [truth]).score / 100, 4),
        "exact": round(statistics.mean(plain(a) == plain(b) for a, b in zip(said, truth)), 4),
    }


def baselines(data: Any, rows: np.ndarray) -> dict[str, list[str]]:
    """Captions without a network: the most frequent of the training part, and the nearest training picture's."""
    train = data.positions("train")
    captions = [data.source.captions[i][0] for i in train]
    frequent = Counter(captions).most_common(1)[0][0]

    def pixels(positions: np.ndarray) -> np.ndarray:
        images = [read_image(Path(data.source.name(int(i)))) for i in positions]
        return np.stack([image.astype(np.float32).reshape(-1) for image in images])

    ours, theirs = pixels(rows), pixels(train)
    nearest = [int(((theirs - one) ** 2).sum(axis=1).argmin()) for one in ours]
    return {"most frequent": [frequent] * len(rows), "nearest picture": [captions[i] for i in nearest]}


def captioning(folder: Path, budget: str, seeds: int, fields: dict[str, Any]) -> dict[str, Any]:
    """Both questions: baselines, and the network with each seed."""
    folder.mkdir(parents=True, exist_ok=True)
    questions = write_table(folder / "emoji.tsv")
    data: Any = corinth.open_data(folder / "emoji.tsv")
    test = data.positions("test")
    asked = {
        name: [i for i in test if questions[data.source.name(int(i))] == name] for name in ("other style", "new emoji")
    }
    found: dict[str, Any] = {"pictures": {part: len(rows) for part, rows in data.splits.items()}, "questions": {}}
    for name, rows in asked.items():
        truth = [data.source.captions[i][0] for i in rows]
        said = baselines(data, np.array(rows))
        found["questions"][name] = {"pictures": len(rows)} | {
            what: scores(texts, truth) for what, texts in said.items()
        }
    for seed in range(seeds):
        run = folder / f"seed{seed}"
        start = time.process_time()
        if not run.exists():
            trained(
                arch="show_and_tell",
                data=str(folder / "emoji.tsv"),
                budget=budget,
                seed=seed,
                output=str(run),
                **fields,
            )
            found.setdefault("cpu_seconds", []).append(round(time.process_time() - start, 1))
        predictor = corinth.load_run(run)
        assert isinstance(predictor, Captioner)
        result = predictor.evaluate(data, "test")
        said = dict(zip(result.index.tolist(), result.texts))
        for name, rows in asked.items():
            truth = [data.source.captions[i][0] for i in rows]
            network = scores([said[int(i)] for i in rows], truth)
            found["questions"][name].setdefault("show_and_tell", []).append(network)
    return found | {"budget": budget, "machine": machine()}


def unigram(predictor: LabelWriter, data: Any) -> dict[str, float]:
    """Nats a token of the test part by the frequencies of each label's tokens, one added to every count, and of all."""
    words, source = predictor.preprocess.words, data.source
    rows = {part: words.targets([source.texts[i] for i in data.positions(part)]) for part in ("train", "test")}
    counts = np.ones((data.num_classes, words.vocab_size))
    for tokens, label in zip(rows["train"], data.labels("train")):
        np.add.at(counts[label], tokens.numpy(), 1)
    found = {}
    for name, table in (("unigram of each label", counts), ("unigram", np.broadcast_to(counts.sum(0), counts.shape))):
        logs = np.log(table / table.sum(axis=1, keepdims=True))
        nats = [-logs[label][tokens.numpy()] for tokens, label in zip(rows["test"], data.labels("test"))]
        found[name] = round(float(np.concatenate(nats).mean()), 4)
    return found


def labels(folder: Path, seeds: int) -> dict[str, Any]:
    """Both sets of texts with labels."""
    where, _ = emoji()
    sets: dict[str, dict[str, Any]] = {
        "sst2": {"data": "sst2", "budget": "4ep", "vocab_size": 4000},
        "emoji names": {"data": str(where / "index.tsv"), "text_column": "name", "budget": "20ep", "tokenizer": "char"},
    }
    found: dict[str, Any] = {}
    for name, fields in sets.items():
        results = []
        for seed in range(seeds):
            run = folder / name.replace(" ", "_") / f"seed{seed}"
            start = time.process_time()
            if not run.exists():
                trained(arch="label_decoder", task="text-from-label", seed=seed, output=str(run), threads=1, **fields)
            seconds = round(time.process_time() - start, 1)
            predictor = corinth.load_run(run)
            assert isinstance(predictor, LabelWriter)
            columns = {key: fields[key] for key in ("text_column",) if key in fields}
            data: Any = corinth.open_data(fields["data"], task="text-from-label", **columns)
            result = predictor.evaluate(data, "test").to_dict()
            results.append(
                {key: round(result[key], 4) for key in ("nats_per_token", "nats_per_character")}
                | {"cpu_seconds": seconds}
            )
            found[name] = {"texts": {part: len(rows) for part, rows in data.splits.items()}, "tokens": result["tokens"]}
            found[name] |= {
                "unknown_tokens": result["unknown_tokens"],
                **unigram(predictor, data),
                "label_decoder": results,
            }
            found[name] |= {"uniform": round(math.log(predictor.preprocess.vocab_size), 4), "budget": fields["budget"]}
            found[name]["written"] = {
                label: [text.text for text in predictor.generate(label, count=3)] for label in predictor.classes
            }
    return found | {"machine": machine()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="25ep")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--labels", action="store_true", help="texts of labels")
    parser.add_argument(
        "--output", type=Path, default=Path("runs") / "captioning", help="runs that are there are scored"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    name = "labels" if args.labels else "captions"
    kept[name] = (
        labels(args.output / "labels", args.seeds)
        if args.labels
        else captioning(args.output / "captions", args.budget, args.seeds, FIELDS)
    )
    print(json.dumps(kept[name], indent=1))
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
