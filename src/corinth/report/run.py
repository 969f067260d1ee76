"""The report of one training run: curves, confusion, mistakes, cost, recipe."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from corinth.data import open_data
from corinth.data.collect import plural
from corinth.data.dataset import DataSet
from corinth.data.opening import OPTIONS
from corinth.errors import UsageError
from corinth.inspect import count_macs, count_params
from corinth.predictor import (
    Evaluation,
    LanguageEvaluation,
    LanguageModel,
    Predictor,
    RegressionEvaluation,
    Translator,
    load_run,
)
from corinth.predictor.translation import TranslationEvaluation
from corinth.report import figures, page, values
from corinth.report.formats import duration, input_size, number, percent, quantity, score_text
from corinth.report.language import LEGEND, coloured_stretch, written
from corinth.report.machine import machine_facts, machine_lines
from corinth.report.pictures import Mistake, hardest, mistakes
from corinth.report.translations import alignments, typical, typical_translations
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
    context = {
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
        "support": {"object-detection": "Boxes", "sequence-tagging": "Words"}.get(kind.name, several.capitalize()),
        **_of_language(predictor, data, part),
        "typical": [],
        "alignments": [],
    }
    charts = _curves(rows, kind)
    if isinstance(found, Evaluation):
        context |= {
            "headline": f"{predictor.arch} gets {percent(found.top1)} of {where} right",
            "scores": [
                ("Accuracy", percent(found.top1), words),
                ("Calibration error", percent(found.calibration_error), "expected, 15 bins"),
            ],
            "per_class": found.to_dict()["per_class"],
            "mistakes": _mistakes(data, found),
        }
        if len(found.classes) <= figures.MOST_CLASSES:
            charts["confusion"] = figures.choices({"all": figures.confusion(found.confusion, found.classes)})
    else:
        context |= {
            "headline": f"{predictor.arch} reaches {score_text(kind, found.score)} {kind.metric_name} on {where}",
            "scores": [
                (_title(kind.metric_name), score_text(kind, found.score), words),
                (_title(kind.sample_name), score_text(kind, float(found.per_sample.mean())), words),
                *_entity_scores(found),
                *_token_scores(found),
                *_regression_scores(found, data, part),
                *_language_scores(found),
            ],
            "per_class": found.to_dict().get("per_class"),
            "hardest": hardest(predictor, data, found.index, found.per_sample, most=8),
        }
    if isinstance(predictor, Translator):
        scores, middle = found.per_sample, typical(found.per_sample, 40)
        context |= {
            "typical": typical_translations(predictor, data, found.index, scores, most=6),
            "alignments": alignments(predictor, data, [int(found.index[i]) for i in middle], most=3),
        }
    if isinstance(found, RegressionEvaluation):
        its = values.Values(found.index, found.targets, found.predicted[None])
        charts["values"] = figures.choices({"all": values.scatter(its, data.source)})
        if orders := values.orders({predictor.arch: its}, data.source, data.positions("train")):
            charts["orders"] = figures.choices(orders)
    path = run / "report.html"
    note = page.write(path, "run.html", context, charts)
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
    if score:
        by_epoch = figures.curves(score, kind=kind, x="epoch", y=kind.metric, x_title="epoch", y_title=kind.metric_name)
        charts["score"] = figures.choices({"epoch": by_epoch})
    return charts


def _entity_scores(found: Any) -> list[tuple[str, str, str]]:
    """Of whole entities, by which the checkpoint is chosen where tags have some."""
    entities = getattr(found, "entities", None)
    if entities is None:
        return []
    parts = f"precision {percent(entities.precision)}, recall {percent(entities.recall)}"
    return [("F1 of entities", percent(entities.f1), parts)]


def _token_scores(found: Any) -> list[tuple[str, str, str]]:
    """Of translations, how BLEU was computed and how well the next token is foreseen."""
    if not isinstance(found, TranslationEvaluation):
        return []
    return [
        ("Loss", f"{found.loss:.3f}", f"nats a token; {percent(found.accuracy)} of tokens are the likeliest"),
        ("Search", f"beam {found.beam}", found.signature.replace("|", " ")),
    ]


def _regression_scores(found: Any, data: Any, part: str) -> list[tuple[str, str, str]]:
    """The largest error, R², and what always saying the training part's mean would do."""
    if not isinstance(found, RegressionEvaluation):
        return []
    mean = values.training_mean(data.source, data.positions("train"), data.positions(part))
    r2 = [] if found.r2 is None else [("R²", f"{found.r2:.3f}", "0 is as good as this part's mean")]
    return [
        ("Largest error", number(found.max_error), "of a sequence"),
        *r2,
        ("Mean of training", number(mean.rmse), f"RMSE of always saying {number(mean.value)}"),
    ]


def _language_scores(found: Any) -> list[tuple[str, str, str]]:
    if not isinstance(found, LanguageEvaluation):
        return []
    facts = found.to_dict()
    return [
        ("Bits per character", number(facts["bits_per_character"]), f"{facts['characters']:,} characters"),
        ("Perplexity", number(facts["perplexity"]), f"of {facts['tokens']:,} tokens"),
    ]


def _of_language(predictor: Predictor, data: DataSet, part: str) -> dict[str, Any]:
    """Texts that a language model writes, and how it reads one."""
    if not isinstance(predictor, LanguageModel):
        return {"written": []}
    return {"written": written(predictor), "stretch": coloured_stretch(predictor, data, part), "legend": LEGEND}


def _title(name: str) -> str:
    return name[0].upper() + name[1:]


def _mistakes(data: DataSet, found: Evaluation) -> list[Mistake]:
    assert found.probs is not None  # it was asked to keep them
    return mistakes(data, found.index, found.targets, np.stack([found.probs]), found.classes, most=24)


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
