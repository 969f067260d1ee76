"""`corinth evaluate`: how good a trained network is on data, with the preprocessing that belongs to its weights."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import tyro

from corinth.cli.fetching import prefetch
from corinth.cli.output import deliver, note, print_facts, print_table, to_json
from corinth.cli.parsing import class_names, parse
from corinth.cli.reopening import how_again
from corinth.errors import UsageError

if TYPE_CHECKING:
    from corinth.data import Preprocess
    from corinth.data.dataset import DataSet
    from corinth.predictor import ForecastEvaluation, Predictor, Scores
    from corinth.training.recipe import Recipe

_NAMES = {"rmse": "RMSE", "mae": "MAE", "max_error": "largest error", "r2": "R²"}
_MOST_SHOWN = 20  # classes in the confusion matrix on the terminal


@dataclass(frozen=True, kw_only=True)
class Options:
    """Score a trained run, or a foreign checkpoint.

    Without --split: on the run's own data its test part; on other data the test part if they declare one, and else
    every sample, as none of them was trained on.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder; or the name of an architecture, with --weights."""
    data: str | None = None
    """Data as `corinth train` takes them; the run's own if left out."""
    split: str | None = None
    """train | val | test | all."""
    weights: str | None = None
    """A foreign checkpoint: a file, a folder, or an id such as timm:resnet50.a1_in1k."""
    source: Literal["auto", "corinth", "torchvision", "timm", "plain", "pytorchcv"] = "auto"
    """Layout of the foreign checkpoint."""
    classes: str | None = None
    """Foreign checkpoint: class names in the order of its outputs, with commas between, or a file with one a line."""
    img_size: int | None = None
    """Foreign checkpoint: side of its input."""
    mean: tuple[float, ...] = ()
    """Foreign checkpoint: mean of each channel, of pixels in [0, 1]."""
    std: tuple[float, ...] = ()
    """Foreign checkpoint: standard deviation of each channel."""
    fit: str | None = None
    """Foreign checkpoint: crop | squash | pad."""
    path_column: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    source_column: str | None = None
    group_column: str | None = None
    target_column: str | None = None
    time_column: str | None = None
    channel_columns: str | None = None
    split_group: str | None = None
    transcript_units: Literal["words", "characters"] | None = None
    """Of other recordings with transcripts, what a label is; the run's own if left out."""
    beam: int | None = None
    """Captioning, translation and transcription: how many beginnings are kept as a text is written; 5, 5 and 16 if left
    out, 1 is greedy."""
    batch_size: int = 512
    """Samples that go through the network together, at most."""
    device: str = "auto"
    json: bool = False
    """JSON on stdout."""
    output: Path | None = None
    """Write the JSON into this file."""


def main(args: Sequence[str]) -> int:
    options = parse(Options, "evaluate", args)
    from corinth.data.collect import plural
    from corinth.predictor import (
        Captioner,
        Classifier,
        RowClassifier,
        SequenceClassifier,
        Transcriber,
        Translator,
        load_run,
    )

    recipe = None
    predictor: Predictor
    if options.weights is None:
        _refuse_foreign(options)
        predictor = load_run(_run_folder(options.run), device=options.device)
        recipe = _recipe(Path(options.run))
    else:
        prefetch(options.weights)
        predictor = Classifier.from_weights(
            options.run,
            options.weights,
            preprocess=stated_preprocess(options, options.run, options.weights),
            classes=class_names(options.classes),
            source=options.source,
            device=options.device,
        )
        for sentence in predictor.notes:
            note(sentence)
    data = _open(options, predictor, recipe)
    split = options.split or _default_split(data, predictor, recipe)
    for sentence in data.notes:
        if split != "all" or not sentence.startswith(("split here", "not split here")):
            note(sentence)
    result: Scores
    evaluate: Any = predictor.evaluate
    if options.beam is not None:
        if not isinstance(predictor, Captioner | Translator | Transcriber):
            raise UsageError(
                f"--beam is for translation, transcription and captioning; {options.run} does {predictor.task}"
            )
        result = evaluate(data, split, batch_size=options.batch_size, beam=options.beam)
    elif isinstance(predictor, Classifier | RowClassifier | SequenceClassifier):
        result = evaluate(data, split, batch_size=options.batch_size, keep_probs=False)
    else:
        result = evaluate(data, split, batch_size=options.batch_size)
    for name, reason in result.dropped:
        note(f"left out: {name}: {reason}")
    found = {"arch": predictor.arch, "data": data.spec, "split": split, **result.to_dict()}
    if options.output is not None:
        deliver(to_json(found), options.output)
    if options.json:
        print(to_json(found))
    else:
        print_facts({"network": predictor.arch, "data": _what(data, split, result)} | _scores(result, predictor.task))
        _show_classes(result, plural(data.source.unit))
        _show_baselines(result)
    return 0


def _run_folder(name: str) -> Path:
    from corinth.registry import list_models

    if not Path(name).exists():
        if name in list_models():
            raise UsageError(f"{name} is an architecture without training; say --weights PATH, or give a run folder")
        raise UsageError(f"there is no run {name}; `corinth train` prints the folder it leaves")
    return Path(name)


def _refuse_foreign(options: Options) -> None:
    """A run has its own preprocessing and classes: what is said of a foreign checkpoint would be ignored."""
    for name in ("source", "classes", "img_size", "mean", "std", "fit"):
        if getattr(options, name) != Options.__dataclass_fields__[name].default:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} is for a foreign checkpoint (--weights); the run {options.run} has its own")


def _recipe(run: Path) -> "Recipe | None":
    from corinth.training.recipe import Recipe

    file = (run if run.is_dir() else run.parent) / "recipe.yaml"
    return Recipe.from_yaml(file) if file.is_file() else None


class Stated(Protocol):
    """What a command line says of a foreign checkpoint's input."""

    @property
    def img_size(self) -> int | None: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...
    @property
    def fit(self) -> str | None: ...


def stated_preprocess(options: Stated, arch: str, weights: str) -> "Preprocess | None":
    """The preprocessing that the flags state; another size alone changes that of known weights."""
    from corinth.data import Preprocess
    from corinth.registry import card
    from corinth.training.build import weights_preprocess

    if options.img_size is None and not options.mean and not options.std:
        if options.fit is not None:
            raise UsageError("--fit says how images reach --img-size; state --img-size, --mean and --std too")
        return None
    _, *size = card(arch).input_size
    size = size if options.img_size is None else [options.img_size] * 2
    if not options.mean or not options.std:
        known = weights_preprocess(weights)
        if known is None or options.mean or options.std:
            raise UsageError("a foreign checkpoint's preprocessing is --img-size, --mean and --std together")
        return dataclasses.replace(known, size=(size[0], size[1]), fit=options.fit or known.fit)
    fit = options.fit or "crop"
    return Preprocess(size=(size[0], size[1]), channels=len(options.mean), mean=options.mean, std=options.std, fit=fit)


def _open(options: Options, predictor: "Predictor", recipe: "Recipe | None") -> "DataSet":
    from corinth.data import open_data
    from corinth.data.opening import COLUMNS

    spec = options.data or (recipe.data if recipe else None)
    if spec is None:
        raise UsageError("there is nothing to evaluate on; say --data PATH")
    how = how_again(recipe, predictor, spec)
    columns = {name: getattr(options, name) for name in (*COLUMNS, "transcript_units")}
    how |= {name: column for name, column in columns.items() if column is not None}
    return open_data(spec, classes=predictor.classes, **how)


def _default_split(data: "DataSet", predictor: "Predictor", recipe: "Recipe | None") -> str:
    from corinth.data.collect import plural

    trained_on = predictor.data.get("fingerprint") if predictor.data else None
    if trained_on is not None and trained_on == data.fingerprint:
        return "test"
    if recipe is not None and recipe.data == data.spec:
        note(f"{data.name} is not as it was in the training: its test part may hold samples that were trained on")
        return "test"
    if "test" in data.declared_splits:
        return "test"
    several = plural(data.source.unit)
    note(f"{data.name} declares no test part and is not what was trained on: all its {several} are scored")
    return "all"


def _what(data: "DataSet", split: str, result: "Scores") -> str:
    from corinth.data.collect import plural

    part = "all of it" if split == "all" else f"{split} part"
    return f"{data.name}, {part}, {result.samples:,} {plural(data.source.unit)}"


def _scores(result: "Scores", task: str) -> dict[str, str | None]:
    from corinth.predictor import Evaluation, ForecastEvaluation
    from corinth.predictor.captioning import CaptionEvaluation
    from corinth.predictor.translation import TranslationEvaluation
    from corinth.predictor.writing import WritingEvaluation
    from corinth.report.formats import number
    from corinth.tasks.kinds import KINDS

    if isinstance(result, Evaluation):
        return {
            "top-1": f"{result.top1:.2%}",
            "top-5": None if result.top5 is None else f"{result.top5:.2%}",
            "loss": f"{result.loss:.4f}",
            "macro F1": f"{result.macro_f1:.4f}",
            "calibration error": f"{result.calibration_error:.4f} (expected, 15 bins)",
        }
    if isinstance(result, TranslationEvaluation):
        return {
            "BLEU": f"{100 * result.bleu:.2f} ({result.signature})",
            "chrF": f"{100 * result.chrf:.2f} ({result.chrf_signature})",
            "loss": f"{result.loss:.4f} nats a token",
            "accuracy": f"{result.accuracy:.2%} of tokens, given those before",
            "beam": str(result.beam),
        }
    if isinstance(result, ForecastEvaluation):
        return _forecast_scores(result)
    if isinstance(result, CaptionEvaluation):
        return {
            "chrF": f"{100 * result.chrf:.2f} ({result.chrf_signature})",
            "BLEU": f"{100 * result.bleu:.2f} ({result.signature})",
            "exact": f"{result.exact:.2%} of captions are one of the picture's own",
            "loss": f"{result.loss:.4f} nats a token",
            "accuracy": f"{result.accuracy:.2%} of tokens, given those before",
            "beam": str(result.beam),
        }
    values = result.to_dict().items()
    if isinstance(result, WritingEvaluation):
        scores = {name.replace("_", " "): number(value) for name, value in values if isinstance(value, float)}
        return scores | {"unknown": f"{result.unknown:,} of {result.tokens:,} tokens"}
    if not KINDS[task].share:
        return {
            _NAMES.get(name, name.replace("_", " ")): number(value)
            for name, value in values
            if isinstance(value, float)
        }
    return {name.replace("_", " "): f"{value:.4f}" for name, value in values if isinstance(value, float)}


def _forecast_scores(result: "ForecastEvaluation") -> dict[str, str | None]:
    """The field's two numbers, and each target's own, of many targets only the first."""
    from corinth.report.formats import number

    own = {
        f"RMSE, MAE of {name}": f"{number(rmse)}, {number(mae)}"
        for name, rmse, mae in zip(result.target_names, result.network.unit_rmse, result.network.unit_mae)
    }
    return {
        "MSE": f"{number(result.mse)} (standardised by the training part)",
        "MAE": f"{number(result.mae)} (the same)",
        **dict(list(own.items())[:_MOST_SHOWN]),
    }


def _show_baselines(result: "Scores") -> None:
    """The network beside what needs none."""
    from corinth.predictor import ForecastEvaluation
    from corinth.predictor.forecast_scores import which_need_none
    from corinth.report.formats import number

    if not isinstance(result, ForecastEvaluation):
        return
    print()
    beside = {"network": result.network, **result.baselines}
    rows = [(name, number(score.mse), number(score.mae)) for name, score in beside.items()]
    print_table({"forecast by": "left", "MSE": "right", "MAE": "right"}, rows)
    if result.beaten_by:
        note(f"the network is behind {which_need_none(result.beaten_by)}")


def _show_classes(result: "Scores", several: str) -> None:
    from corinth.predictor import Evaluation, FrameEvaluation
    from corinth.predictor.tagging import TagEvaluation

    counted = "words" if isinstance(result, TagEvaluation) else "boxes"
    counted = "frames" if isinstance(result, FrameEvaluation) else counted
    per_class = result.to_dict().get("per_class")
    if not per_class:
        return
    print()
    names = {"f1": "F1", "iou": "IoU", "dice": "Dice", "ap": "AP", "ap50": "AP50"}
    names["support"] = several if isinstance(result, Evaluation) else counted
    columns = [names.get(name, name.replace("_", " ")) for name in next(iter(per_class.values()))]
    rows = [(name, *(_number(value) for value in values.values())) for name, values in per_class.items()]
    print_table({"class": "left", **dict.fromkeys(columns, "right")}, rows)
    if isinstance(result, Evaluation | FrameEvaluation) and len(result.classes) <= _MOST_SHOWN:
        print()
        rows = [(name, *counts) for name, counts in zip(result.classes, result.confusion.tolist())]
        print_table({"is \\ called": "left", **dict.fromkeys(result.classes, "right")}, rows)


def _number(value: int | float | None) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
