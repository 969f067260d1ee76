"""`corinth train`: one architecture on your data, every field of the recipe a flag."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from corinth.cli.fetching import prefetch
from corinth.cli.output import duration, megabytes, note
from corinth.cli.parsing import assignments, parse
from corinth.cli.showing import configured
from corinth.errors import UsageError
from corinth.training.recipe import OptionValue, Recipe, recipe_for

if TYPE_CHECKING:
    from corinth.data.dataset import DataSet
    from corinth.training.progress import Reporter

_Suppressed = tyro.conf.Suppress


@dataclass(frozen=True, kw_only=True)
class Options(Recipe):
    """Train one architecture on your data.

    The defaults below are those of no particular architecture: --model brings its own recipe, then --recipe and the
    flags change it. The run folder has all of it in recipe.yaml.
    """

    arch: Annotated[str, tyro.conf.arg(name="model", aliases=("--arch",))]
    """Architecture; `corinth list` shows them."""
    optimizer: Annotated[str, tyro.conf.arg(aliases=("--opt",))] = "sgd"
    """sgd | adamw | any optimizer class of torch.optim."""
    options: _Suppressed[dict[str, OptionValue]] = dataclasses.field(default_factory=dict)
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FIELD=VALUE")] = ()
    """An option of the architecture, such as drop_rate=0.2; may be repeated."""
    epochs: float | None = None
    """Short for --budget Nep."""
    recipe: Path | None = None
    """Take the recipe from this YAML file, such as a run's recipe.yaml; flags change it."""
    published: bool = False
    """The paper's ImageNet recipe in place of the one for small images."""
    finetune: bool = False
    """A recipe for starting from --weights: smaller learning rates, least in the first stages, and few epochs."""
    resume: Path | None = None
    """Go on with this run folder exactly where it stopped; of the recipe, --budget and --device can be given anew."""
    quiet: bool = False
    """No progress display."""


_NAMES = {"arch": "--model"}
_ALIASES = {"--arch": "--model", "--opt": "--optimizer"}
_SWITCHES = {"--lowercase": "--lowercase=True", "--no-lowercase": "--lowercase=False"}  # of a field that can be none


def main(args: Sequence[str]) -> int:
    order = read(args)
    from corinth.cli.progress import reporter
    from corinth.training import SilentReporter, train

    is_main = os.environ.get("RANK", "0") == "0"  # under torchrun every process runs this
    said = reporter() if is_main and not order.quiet else SilentReporter()
    data = order.changes.pop("data", None)
    if order.recipe is not None:
        if not order.quiet:
            prefetch(order.recipe.weights)
        data = _prepare(order.recipe, said, is_main and not order.quiet)
    run = train(order.recipe, data=data, resume=order.resume, reporter=said, **order.changes)
    if is_main and not run.interrupted:
        from corinth.report import run_report

        report, why_not = run_report(run.path)
        for sentence in (f"report: {report}", why_not):
            if sentence is not None:
                note(sentence)
        note(f"the test part has not been looked at; score it once with: corinth evaluate {run.path}")
        print(run.path)
    return 130 if run.interrupted else 0


def _prepare(recipe: Recipe, said: "Reporter", foretell: bool) -> "DataSet":
    """The data after their preflight, with a word on what the job will take."""
    from corinth.cli.estimate import estimate
    from corinth.training.job import open_and_check

    data = open_and_check(recipe, said)
    if foretell:
        job = estimate(recipe, data, seconds=0.5)
        memory = "" if job.bytes is None else f" and {megabytes(job.bytes)} of memory"
        said.message(f"estimated: {duration(job.seconds)} for {job.budget}{memory}")
    return data


@dataclass(frozen=True)
class Order:
    """What a command line asks for: a new run by `recipe`, or a run to `resume` with some `changes`."""

    recipe: Recipe | None = None
    resume: Path | None = None
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    quiet: bool = False


def read(args: Sequence[str]) -> Order:
    args = [_canonical(word) for word in args]
    if {"-h", "--help"} & {*args}:
        parse(Options, "train", args, default=_blank(), pairs=True)
    if _peek(args, "--resume") is not None:
        return _resuming(args)
    base = _base(args)
    options = parse(Options, "train", args, default=_wrap(base), pairs=True)
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(Recipe)}
    values["budget"] = _budget(options, args)
    values["options"] = {**base.options, **assignments(options.set)}
    configured(values["arch"], values["options"])
    return Order(recipe=Recipe(**values), quiet=options.quiet)


def _base(args: list[str]) -> Recipe:
    """The recipe before the flags: the file's, or the architecture's own."""
    file, arch, data = _peek(args, "--recipe"), _peek(args, "--model"), _peek(args, "--data")
    if file is not None:
        if both := [flag for flag in ("--published", "--finetune") if flag in args]:
            raise UsageError(f"--recipe and {both[0]} are two recipes; give one of them")
        recipe = Recipe.from_yaml(Path(file))
        return dataclasses.replace(recipe, output=None)
    missing = [flag for flag, value in (("--data", data), ("--model", arch)) if value is None]
    if arch is None or data is None:
        parse(Options, "train", args, default=_blank(), pairs=True)  # a misspelt flag is the better complaint
        raise UsageError(f"corinth train needs {' and '.join(missing)} (corinth train --help)")
    changed: dict[str, Any] = {} if (optimizer := _peek(args, "--optimizer")) is None else {"optimizer": optimizer}
    if finetune := "--finetune" in args:
        given = parse(Options, "train", args, default=_blank(), pairs=True)
        if given.weights is None:
            raise UsageError("--finetune needs --weights: a run folder, a checkpoint file or an id to start from")
        changed |= {"weights": given.weights, "options": assignments(given.set)}
    return recipe_for(arch, data, published="--published" in args, finetune=finetune, **changed)


def _resuming(args: list[str]) -> Order:
    options = parse(Options, "train", args, default=_blank(), pairs=True)
    given = {word.partition("=")[0].partition(".")[0] for word in args if word.startswith("--")}
    given |= {f"--{flag.removeprefix('--no-')}" for flag in given if flag.startswith("--no-")}
    fields = {
        field.name: _NAMES.get(field.name, f"--{field.name.replace('_', '-')}") for field in dataclasses.fields(Options)
    }
    changes = {name: getattr(options, name) for name, flag in fields.items() if flag in given}
    for name in ("resume", "quiet", "epochs"):
        changes.pop(name, None)
    if options.epochs is not None:
        changes["budget"] = _budget(options, args)
    return Order(resume=options.resume, changes=changes, quiet=options.quiet)


def _budget(options: Options, args: Sequence[str]) -> str:
    if options.epochs is None:
        return options.budget
    if _peek(args, "--budget") is not None:
        raise UsageError("--epochs and --budget say the same thing twice; give one of them")
    return f"{options.epochs:g}ep"


def _blank() -> Options:
    return Options(arch="NAME", data="PATH")


def _wrap(recipe: Recipe) -> Options:
    return Options(**{field.name: getattr(recipe, field.name) for field in dataclasses.fields(Recipe)})


def _canonical(word: str) -> str:
    """--batch_size as --batch-size, --opt as --optimizer; the value after an equals sign stays."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    name = name.replace("_", "-")
    return _ALIASES.get(name, name) + equals + value if equals else _SWITCHES.get(name, _ALIASES.get(name, name))


def _peek(args: Sequence[str], flag: str) -> str | None:
    """The last value of a flag, before the whole line can be read."""
    found = None
    for position, word in enumerate(args):
        if word == flag and position + 1 < len(args):
            found = args[position + 1]
        elif word.startswith(f"{flag}="):
            found = word.partition("=")[2]
    return found
