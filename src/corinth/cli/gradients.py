"""`corinth gradients`: how far back in time do recurrent networks learn from?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from corinth.cli.output import Cell, note, print_table, to_json
from corinth.cli.parsing import assignments, parse
from corinth.errors import UsageError

if TYPE_CHECKING:
    from corinth.data import SequenceData
    from corinth.inspect import GradientProfile

STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # that the table shows


@dataclass(frozen=True, kw_only=True)
class Options:
    """The norm of the loss's gradient at every step of the input, before training or of a trained run."""

    networks: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NETWORKS")]
    """Recurrent architectures, as they begin, and run folders."""
    data: str | None = None
    """Data as `corinth train` takes them; of runs their own if left out."""
    part: Literal["train", "val", "test", "all"] = "train"
    samples: int = 256
    """How many sequences are looked at, drawn with the seed."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FIELD=VALUE")] = ()
    """An option of the architectures, such as hidden_size=64; may be repeated."""
    text_column: str | None = None
    label_column: str | None = None
    seed: int = 0
    output: Path = Path("gradients.html")
    """Where the plot is written."""
    json: bool = False
    """JSON on stdout."""


def main(args: Sequence[str]) -> int:
    options = parse(Options, "gradients", args)
    if not options.networks:
        raise UsageError("corinth gradients needs recurrent architectures, such as rnn lstm, or run folders")
    if options.samples < 1:
        raise UsageError(f"--samples {options.samples} is not at least 1")
    if options.output.exists() and options.output.suffix != ".html":
        raise UsageError(f"--output {options.output} exists and is no page of ours; name an .html file")
    data = _open(options)
    found: dict[str, GradientProfile] = {}
    for name in options.networks:
        if name in found:
            raise UsageError(f"{name} is named twice")
        found[name] = _profile(name, data, options)
    steps = max(len(profile.norms) for profile in found.values())
    shown = [back for back in STEPS if back < steps]
    if options.json:
        print(to_json({name: {"norms": p.norms.tolist(), "counts": p.counts.tolist()} for name, p in found.items()}))
    else:
        columns = {"steps back": "right", **dict.fromkeys(found, "right")}
        rows = [(back, *(_cell(profile, back) for profile in found.values())) for back in shown]
        print_table(columns, rows)
        print("gradient of the loss with respect to a step's input, as a share of that at the last step, median")
    why_not = _write(options.output, data, found, options)
    note(f"plot: {options.output}")
    if why_not is not None:
        note(why_not)
    return 0


def _open(options: Options) -> "SequenceData":
    from corinth.data import SequenceData, open_data
    from corinth.data.opening import OPTIONS
    from corinth.training.recipe import Recipe

    how: dict[str, Any] = {name: getattr(options, name) for name in ("text_column", "label_column")}
    spec = options.data
    if spec is None:
        run = next((Path(name) for name in options.networks if (Path(name) / "recipe.yaml").is_file()), None)
        if run is None:
            raise UsageError("there is nothing to look at; say --data PATH")
        recipe = Recipe.from_yaml(run / "recipe.yaml")
        spec = recipe.data
        how = {name: getattr(recipe, name) for name in OPTIONS} | {k: v for k, v in how.items() if v is not None}
    data = open_data(spec, **how)
    if not isinstance(data, SequenceData):
        raise UsageError(f"{data.name} is data for {data.task}; gradients by step are of texts, series and sentences")
    if not len(data.positions(options.part)):
        raise UsageError(f"the {options.part} part of {data.name} is empty; choose another --part")
    return data


def _profile(name: str, data: "SequenceData", options: Options) -> "GradientProfile":
    """Of an architecture with fresh weights, or of a run."""
    import numpy as np
    import torch

    from corinth.data import Loader, SequenceStore
    from corinth.inspect import gradients_by_step
    from corinth.training.build import build_model
    from corinth.training.job import make_task
    from corinth.training.recipe import recipe_for

    if (Path(name) / "config.json").is_file():
        from corinth.predictor import load_run

        predictor = load_run(name, device="cpu")
        if predictor.task != data.task:
            raise UsageError(f"{name} does {predictor.task}, and {data.name} is data for {data.task}")
        model, encoding, arch = predictor.model, predictor.preprocess, predictor.arch
        recipe = recipe_for(arch, data.spec)
    else:
        torch.manual_seed(options.seed)
        recipe = recipe_for(name, data.spec, options=assignments(options.set))
        model, encoding = build_model(recipe, data)
    positions = data.positions(options.part)
    count = min(options.samples, len(positions))
    chosen = np.sort(np.random.default_rng(options.seed).choice(positions, size=count, replace=False))
    task: Any = make_task(recipe, model, data)
    rng = torch.Generator()
    prepared: Any = encoding
    store = SequenceStore(data, chosen, prepared)
    return gradients_by_step(model, Loader(store, 64), lambda batch: task.losses("train", batch, rng)["loss"].value)


def _cell(profile: "GradientProfile", back: int) -> Cell:
    return f"{profile.at(back):.2g}" if back < len(profile.norms) else ""


def _write(path: Path, data: "SequenceData", found: "dict[str, GradientProfile]", options: Options) -> str | None:
    from corinth.data.collect import plural
    from corinth.report import figures, page
    from corinth.report.machine import machine_facts

    count = max(int(profile.counts[0]) for profile in found.values())
    context = {
        "data": data.name,
        "lead": f"{count:,} {plural(data.source.unit)} of the {options.part} part, each network in evaluation mode.",
        "rows": [(name, p.half, p.at(len(p.norms) - 1), len(p.norms)) for name, p in found.items()],
        "machine": machine_facts([None]),
    }
    norms = {name: (profile.norms / profile.norms[0]).tolist() for name, profile in found.items()}
    charts = {"gradients": figures.choices({"gradients": figures.norms_by_step(norms)})}
    return page.write(path, "gradients.html", context, charts)
