"""The report of one training run: curves, confusion, mistakes, cost, recipe."""

import json
from pathlib import Path
from typing import Any

import yaml

from corinth.data import open_data
from corinth.data.collect import plural
from corinth.data.dataset import DataSet
from corinth.data.opening import OPTIONS
from corinth.errors import UsageError
from corinth.inspect import count_macs, count_params
from corinth.predictor import Scores, load_run
from corinth.report import figures, page
from corinth.report.formats import duration, input_size, quantity, score_text
from corinth.report.look import NEUTRAL, Scored
from corinth.report.looks import LOOKS, hardest
from corinth.report.machine import machine_facts, machine_lines
from corinth.tasks.kinds import KINDS, Kind

NOTES = {
    "val": "The checkpoint was chosen on these validation {several}, so the score flatters it a little. The test part "
    "has not been looked at; corinth evaluate scores it.",
    "train": "There is no validation part, so these are the {several} that the network was trained on.",
}


def run_report(run: str | Path, data: DataSet | None = None) -> tuple[Path, str | None]:
    """Write report.html into a run folder; returns its path, and a sentence if the charts had to be left out.

    The validation part is shown: the test part is left for `corinth evaluate`, so that looking at reports while
    choosing a recipe does not use it up. Without `data` it is opened again from what the recipe says.
    """
    run = Path(run)
    recipe = _recipe(run)
    rows = _rows(run)
    predictor = load_run(run, device=recipe.get("device", "auto"))
    if data is None:
        options = {key: recipe[key] for key in OPTIONS if recipe.get(key) is not None}
        options["audio_rate"] = getattr(predictor.preprocess, "audio_rate", None)
        data = open_data(recipe["data"], **options)
    part = "val" if data.scorable("val") else "train"
    found = predictor.evaluate(data, part, batch_size=recipe["eval_batch_size"])
    words = {"val": "validation", "train": "training"}[part]
    best = next((row for row in reversed(rows) if row.get("best")), rows[-1] if rows else {})
    shape = predictor.preprocess.shape
    several = plural(data.source.unit)
    kind = KINDS[predictor.task]
    where = f"the {words} {several} of {data.name}"
    extra = LOOKS[kind.name].of_run(Scored(predictor, data, part, found))
    score = score_text(kind, found.score)
    did = f"gets {score} of {where} right" if kind.classification else f"reaches {score} {kind.metric_name} on {where}"
    context = {
        **NEUTRAL,
        "headline": f"{predictor.arch} {did}",
        "lead": (
            f"{found.samples:,} {several}{f' in {len(predictor.classes)} classes' if kind.classes else ''}; "
            f"trained for {recipe['budget']}, seed {recipe['seed']}."
        ),
        "notes": [NOTES[part].format(several=several)],
        "several": several,
        "part": words,
        "cost": [
            ("Training time", duration(rows[-1].get("seconds")) if rows else "", _when(best)),
            ("Parameters", quantity(count_params(predictor.model)), None),
            ("Multiply-adds", quantity(count_macs(predictor.model, shape)), input_size(shape, kind.unit)),
        ],
        "recipe": yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True),
        "setting": [
            ("Data", f"{data.name} ({data.spec}), fingerprint {data.fingerprint[:12]}"),
            ("Parts", ", ".join(f"{name} {len(rows):,}" for name, rows in data.splits.items())),
            *(("Note", text) for text in data.notes),
            *machine_lines(facts := machine_facts([recipe.get("threads")])),
        ],
        "machine": facts,
        "kind": kind,
        "scores": [*_scores(kind, found, words), *extra.scores],
        "per_class": found.to_dict().get("per_class"),
        "support": several.capitalize(),
        "hint": LOOKS[kind.name].hint,
        "hardest": hardest(predictor, data, found.index, found.per_sample, most=8),
        **extra.context,
    }
    path = run / "report.html"
    note = page.write(path, "run.html", context, {**_curves(rows, kind), **extra.charts})
    return path, note


def _curves(rows: list[dict[str, Any]], kind: Kind) -> dict[str, Any]:
    if not rows:
        return {}
    score = {
        name: [[{"epoch": row["epoch"], kind.metric: row[key]} for row in rows if row.get(key) is not None]]
        for name, key in (("training", f"train_{kind.metric}"), ("validation", f"val_{kind.metric}"))
    }
    score = {name: found for name, found in score.items() if found[0]}
    charts = {"loss": figures.choices({"epoch": figures.losses(rows, x="epoch", x_title="epoch")})}
    if score and kind.metric != "loss":  # which is there already
        by_epoch = figures.curves(score, kind=kind, x="epoch", y=kind.metric, x_title="epoch", y_title=kind.metric_name)
        charts["score"] = figures.choices({"epoch": by_epoch})
    return charts


def _scores(kind: Kind, found: Scores, words: str) -> list[tuple[str, str, str]]:
    """What the part as a whole scores, and where that is something else, the mean over samples."""
    scores = [(_title(kind.metric_name), score_text(kind, found.score), words)]
    if not kind.classification:
        scores.append((_title(kind.sample_name), score_text(kind, float(found.per_sample.mean())), words))
    return scores


def _title(name: str) -> str:
    """With a capital, but for names such as chrF, which have one elsewhere."""
    return name[0].upper() + name[1:] if name.split()[0].islower() else name


def _when(best: dict[str, Any]) -> str | None:
    return f"best after epoch {best['epoch']:g}" if "epoch" in best else None


def _recipe(run: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{run} is no run folder with a readable recipe.yaml") from error
    return values.get("recipe", values)


def _rows(run: Path) -> list[dict[str, Any]]:
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
