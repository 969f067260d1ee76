"""From a recipe to a run folder: open the data, build the network and the loaders, run the loop, keep the best."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from corinth.data import SequenceData, SeriesEncoding, open_data
from corinth.data.captions import CAPTIONING
from corinth.data.collect import plural
from corinth.data.dataset import DataSet
from corinth.data.opening import OPTIONS, refuse_options
from corinth.data.preflight import preflight
from corinth.data.sequences.language import LANGUAGE
from corinth.errors import DataError, TrainingError, UsageError, WeightsError
from corinth.files import append_line, sweep
from corinth.inspect import count_macs, count_params
from corinth.inspect.devices import lacks_bfloat16
from corinth.inspect.memory import freed_memory_kept
from corinth.training import checkpoint
from corinth.training.batch_size import choose_batch_size, evaluation_size
from corinth.training.budget import parse_budget
from corinth.training.build import build_model, compile_model, describe_network, planned_preprocess, rebuild_model
from corinth.training.interrupts import stop_on_signal
from corinth.training.loaders import make_loaders
from corinth.training.loop import Loop, Row
from corinth.training.optimizers import find_optimizer
from corinth.training.pace import Pace
from corinth.training.processes import Processes
from corinth.training.progress import Reporter, Several, SilentReporter
from corinth.training.recipe import Recipe, recipe_for
from corinth.training.resume import restore
from corinth.training.run import METRICS, STATE, Run, new_folder, read_origin, write_metrics, write_recipe
from corinth.training.tasks import make_task
from corinth.training.tensorboard import TensorBoardReporter
from corinth.weights import read_config, save_model

# what a resumed run may do otherwise than it began; everything else would make it another run
RESUMABLE = ("budget", "device", "early_stopping", "evaluate_every", "save_every", "tensorboard", "threads")


def train(
    recipe: Recipe | None = None,
    *,
    data: DataSet | str | None = None,
    resume: str | Path | None = None,
    reporter: Reporter | None = None,
    clock: Callable[[], float] = time.perf_counter,
    **fields: Any,
) -> Run:
    """Train by a recipe, or by `recipe_for(data=data, **fields)`, and leave a run folder.

    `data` may be opened already. `resume` is the folder of a run that was cut short: it goes on exactly from its
    last resume state with the recipe it began with, of which only the fields in `RESUMABLE` can be given anew.
    Ctrl-C saves and returns a run with `interrupted` set; a second one raises `KeyboardInterrupt`. `clock` gives
    seconds.
    """
    recipe = settle(recipe, data, resume, fields)
    find_optimizer(recipe.optimizer)
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads or threads)
    try:
        with plain_memory_errors(recipe):
            reporter = reporter or SilentReporter()
            opened = data if isinstance(data, DataSet) else open_and_check(recipe, reporter)
            return _train(recipe, opened, resume is not None, reporter, clock)
    finally:
        torch.set_num_threads(threads)


def settle(
    recipe: Recipe | None,
    data: DataSet | str | None,
    resume: str | Path | None,
    fields: dict[str, Any],
) -> Recipe:
    """The one recipe that the arguments of `train` mean."""
    if resume is not None:
        if recipe is not None:
            raise UsageError("give a recipe or a run to resume, not both: a resumed run has its recipe")
        if unfit := sorted(set(fields) - set(RESUMABLE)):
            raise UsageError(f"a resumed run cannot change {', '.join(unfit)}; it can change {', '.join(RESUMABLE)}")
        kept = Run.open(resume).recipe.to_dict()
        moved = {"data": data} if isinstance(data, str) else {}
        return Recipe.from_dict({**kept, **fields, **moved, "output": str(resume)})
    if isinstance(data, DataSet):
        refuse_options(fields)
        data, fields = data.spec, {**fields, **data.opened_with}  # so that the run's recipe opens them like this again
    if recipe is not None:
        changes = fields if data is None else {**fields, "data": data}
        return Recipe.from_dict({**recipe.to_dict(), **changes}) if changes else recipe
    if "arch" not in fields or data is None:
        raise UsageError("nothing to train: give a recipe, or arch and data")
    return recipe_for(data=data, **fields)


def open_and_check(recipe: Recipe, reporter: Reporter) -> DataSet:
    """The recipe's data, after a preflight: what it finds is said, and an error in it stops the training."""
    data = open_data(
        recipe.data, audio_rate=sound_of_weights(recipe), **{name: getattr(recipe, name) for name in OPTIONS}
    )
    found = preflight(data, preprocess=planned_preprocess(recipe, data))
    found.refuse_errors()
    for finding in found.findings:
        reporter.message(finding.text if finding.severity == "note" else f"{finding.severity}: {finding.text}")
    return data


def sound_of_weights(recipe: Recipe) -> int | None:
    """The rate at which the weights that the recipe starts from take recordings; None: that of the recordings."""
    if recipe.weights is None or not Path(recipe.weights).exists():
        return None
    try:
        return getattr(read_config(recipe.weights).preprocess, "audio_rate", None)
    except WeightsError:
        return None  # a foreign file, which carries weights only


def _train(recipe: Recipe, data: DataSet, resumed: bool, reporter: Reporter, clock: Callable[[], float]) -> Run:
    if recipe.early_stopping and not data.scorable("val"):
        raise UsageError(f"early_stopping needs a validation part and {data.name} has none; set val_share above 0")
    processes = Processes(recipe.device)
    if not processes.is_main:
        reporter = SilentReporter()
    if recipe.precision == "bf16" and (reason := lacks_bfloat16(processes.device)) is not None:
        several = "several times " if processes.device.type == "cpu" else ""
        reporter.message(f"warning: {reason}, so precision bf16 is {several}slower here than fp32")
    checkpoint.seed_everything(recipe.seed)
    before = read_origin(Path(recipe.output or "")) if resumed else {}
    if "network" in before:
        network = before["network"]
        model, preprocess = rebuild_model(recipe, network)
        if isinstance(preprocess, SeriesEncoding):  # recordings may have been brought to another rate
            assert isinstance(data, SequenceData)
            preprocess.check_data(data)
    else:
        model, preprocess = build_model(recipe, data, reporter.message)
        network = describe_network(recipe, model, preprocess)
    model.to(processes.device)
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)  # ty: ignore[no-matching-overload]
    if recipe.compile:
        compile_model(model, processes.device)
    task = make_task(recipe, model, data, preprocess)
    if recipe.batch_size == "auto":
        size = choose_batch_size(recipe, task, preprocess, len(data.positions("train")), processes)
        reporter.message(f"batch size {size} was chosen by trying; lr {recipe.lr:g} is used as it is")
        recipe = replace(recipe, batch_size=size, eval_batch_size=evaluation_size(recipe, size))
    loader, val_loader = make_loaders(recipe, data, preprocess, processes)
    folder = Path(recipe.output or "") if resumed else new_folder(recipe, data.name, processes)
    if resumed and (began_with := before["data"]["fingerprint"]) != data.fingerprint:
        raise DataError(
            f"{data.spec} is not what the run {folder} began with (fingerprint {data.fingerprint[:12]}, "
            f"was {began_with[:12]}); start a new run"
        )
    if resumed and processes.is_main:
        sweep(folder)
    if recipe.tensorboard and processes.is_main:
        reporter = Several(reporter, TensorBoardReporter(folder / "tensorboard"))
    budget = parse_budget(recipe.budget)
    val_samples = 0 if val_loader is None else len(data.positions("val"))
    macs = count_macs(model, preprocess.shape) if budget.kind == "flops" else 1
    pace = Pace(
        samples_planned=budget.samples(loader.samples_per_epoch, macs),
        seconds_planned=budget.amount if budget.kind == "s" else None,
        evaluate_every=parse_budget(recipe.evaluate_every),
        save_every=recipe.save_every,
        samples_per_epoch=loader.samples_per_epoch,
        batch_size=min(int(recipe.batch_size), loader.samples_per_epoch),
        val_samples=val_samples,
        clock=clock,
    )
    described = {
        "name": data.name,
        "spec": data.spec,
        "fingerprint": data.fingerprint,
        **{name: getattr(recipe, name) for name in OPTIONS},
    }

    def keep(row: Row, best: bool) -> None:
        if best:
            save_model(
                folder,
                model,
                arch=recipe.arch,
                preprocess=preprocess,
                classes=data.classes,
                task=task.name,
                source=network["started_from"],
                extra={"data": described},
            )
        append_line(folder / METRICS, row)

    checkpoint.seed_everything(recipe.seed + processes.rank)
    with stop_on_signal() as stop, freed_memory_kept():
        loop = Loop(
            task,
            loader,
            val_loader,
            recipe,
            processes=processes,
            pace=pace,
            reporter=reporter,
            stop=stop,
            keep=keep,
            write=lambda tensors, values: checkpoint.write_state(folder / STATE, tensors, values),
        )
        if resumed:
            restore(loop, *checkpoint.read_state(folder / STATE))
        if processes.is_main:
            write_metrics(folder / METRICS, loop.rows)  # a row that came after the resume state will come again
            write_recipe(folder, recipe, described, network, processes.device)
        in_pieces = data.task in (LANGUAGE, CAPTIONING)  # a sample is read in several
        reporter.start(
            {
                "run": str(folder),
                "arch": recipe.arch,
                "data": data.name,
                "classes": data.num_classes,
                "several": plural(data.source.unit),
                "train_samples": len(data.positions("train")) if in_pieces else loader.samples_per_epoch,
                "val_samples": val_samples,
                "parameters": count_params(model, frozen=True),
                "budget": recipe.budget,
                "batch_size": recipe.batch_size,
                "device": str(processes.device),
                "threads": torch.get_num_threads(),
                "precision": recipe.precision,
            }
        )
        reason = "failed"
        try:
            reason = loop.run()
        finally:
            best = next((row for row in reversed(loop.rows) if row["best"]), None)
            reporter.end({"run": str(folder), "reason": reason, "best": best})
    if reason != "interrupted":
        loop.rows[-1] |= {"ended": reason}
    if processes.is_main:
        write_metrics(folder / METRICS, loop.rows)
    return Run(folder, recipe, tuple(loop.rows), best, reason)


@contextmanager
def plain_memory_errors(recipe: Recipe) -> Generator[None]:
    """Out of memory, on the device or the machine, as one sentence."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TrainingError(_out_of_memory(recipe)) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # what torch's CPU allocator says
            raise
        raise TrainingError(_out_of_memory(recipe)) from error


def _out_of_memory(recipe: Recipe) -> str:
    return (
        f"{recipe.arch} ran out of memory with batch_size {recipe.batch_size}; use a smaller batch_size, "
        f"batch_size auto, or accumulate {2 * recipe.accumulate}, which has the same result"
    )
