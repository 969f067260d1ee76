"""`corinth doctor`: is this machine ready, are the data sound, and what would a training cost?"""

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from corinth import __version__
from corinth.cli.output import Cell, duration, megabytes, print_facts, quantity, size_of, to_json
from corinth.cli.parsing import parse
from corinth.errors import UsageError

if TYPE_CHECKING:
    from corinth.cli.estimate import Estimate

EXTRAS = {  # package -> (extra, what is missing without it)
    "plotly": ("report", "report.html"),
    "pandas": ("tables", "Parquet data"),
    "pyarrow": ("tables", "Parquet data"),
    "faster_coco_eval": ("detection", "average precision of boxes"),
    "tensorboard": ("tensorboard", "--tensorboard"),
    "soundfile": ("audio", "recordings"),
    "openvino": ("openvino", "forms of corinth.optimize in it"),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Check this machine; with --data the data too; with --model also what a training would take."""

    data: Annotated[str | None, tyro.conf.arg(metavar="PATH")] = None
    """Data as `corinth train` takes them."""
    model: Annotated[str | None, tyro.conf.arg(aliases=("--arch",), metavar="NAME")] = None
    """Time a few training steps of this architecture and estimate the whole job."""
    budget: str | None = None
    """Of the job: 20ep | 60s | 2e6samples | 1e15flops; the recipe's own if left out."""
    verify: bool = False
    """Decode every image in place of trusting its header."""
    device: str = "auto"
    path_column: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    task: str | None = None
    """What the data are for, where they serve several tasks, such as text-from-label."""
    transcript_units: Literal["words", "characters"] = "words"
    """Of recordings with transcripts, what a label is."""
    source_column: str | None = None
    group_column: str | None = None
    target_column: str | None = None
    time_column: str | None = None
    channel_columns: str | None = None
    split_group: str | None = None
    val_groups: str | None = None
    test_groups: str | None = None
    horizon: int | None = None
    """Of forecasting, how many steps are to be forecast."""
    window: int | None = None
    season: int | None = None
    missing: Literal["refuse", "fill"] = "refuse"
    json: bool = False
    """JSON on stdout."""


def main(args: Sequence[str]) -> int:
    options = parse(Options, "doctor", args)
    recipe = None
    if options.model is not None:  # a wrong name or budget is said before the data are read
        if options.data is None:
            raise UsageError("--model needs --data: what a training takes depends on both")
        from corinth.training.recipe import recipe_for

        changed: dict[str, Any] = {"device": options.device}
        changed |= {} if options.budget is None else {"budget": options.budget}
        recipe = recipe_for(options.model, options.data, **changed)
    found: dict[str, Any] = {"environment": environment()}
    if not options.json:
        print_facts(found["environment"])
    code = 0
    if options.data is not None:
        from corinth.data import open_data
        from corinth.data.opening import AHEAD, COLUMNS, GROUPS
        from corinth.data.preflight import preflight

        options_of_data = (*COLUMNS, *GROUPS, "transcript_units", "task", *AHEAD)
        data = open_data(options.data, **{name: getattr(options, name) for name in options_of_data})
        planned = None
        if recipe is not None:
            from corinth.training.build import planned_preprocess

            planned = planned_preprocess(recipe, data)
        checked = preflight(data, preprocess=planned, verify=options.verify)
        found["data"] = checked.to_dict()
        code = 0 if checked.ok else 1
        if not options.json:
            print("", *checked.lines(), sep="\n")
        if recipe is not None and checked.ok:
            from corinth.cli.estimate import estimate

            job = estimate(recipe, data)
            found["job"] = job.to_dict()
            if not options.json:
                print()
                print_facts(_job(job))
    if options.json:
        print(to_json(found))
    return code


def environment() -> dict[str, Cell]:
    """Versions, devices, threads, free memory, kernels (compiled now if need be), and which extras are installed."""
    import torch

    from corinth.data.store import free_memory
    from corinth.layers.native import described

    if torch.cuda.is_available():
        devices = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    elif torch.backends.mps.is_available():
        devices = "mps"
    else:
        devices = "cpu only"
    facts: dict[str, Cell] = {
        "corinth": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "torch": str(torch.__version__),
        "devices": devices,
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} logical cores",
        "kernels": described(),
        "free memory": megabytes(free_memory()),
        "data folder": os.environ.get("CORINTH_DATA", "not set ($CORINTH_DATA)"),
    }
    for package, (extra, purpose) in EXTRAS.items():
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = f"absent: no {purpose}; pip install 'corinth[{extra}]'"
    return facts


def _job(job: "Estimate") -> dict[str, Cell]:
    return {
        "network": f"{job.arch}, {quantity(job.params)} parameters, {quantity(job.macs)} multiply-adds",
        "input": size_of(job.input_size),
        "speed": f"{job.samples_per_second:,.0f} training samples/s on {job.device}, batch {job.batch_size}",
        "budget": job.budget,
        "time": f"about {duration(job.seconds)}",
        "memory": f"about {megabytes(job.bytes)} more than at the start" if job.bytes is not None else None,
    }
