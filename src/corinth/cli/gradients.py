"""`corinth gradients`: how far back in time do recurrent networks learn from?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from corinth.cli.output import Cell, note, print_table, to_json
from corinth.cli.parsing import assignments, parse
from corinth.cli.reopening import how_again
from corinth.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from corinth.data import SequenceData
    from corinth.inspect import GradientProfile

STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # that the table shows


@dataclass(frozen=True, kw_only=True)
class Options:
    """The norm of the loss's gradient at every step of the input, before training or of a trained run."""

    networks: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NETWORKS")]
    """Recurrent architectures, as they begin, and run folders."""
    data: str | None = None
    """Data as `corinth train` takes them; the runs' own if left out."""
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
    networks = [_network(name, options) for name in options.networks]
    if options.set and all(network.run for network in networks):
        raise UsageError("--set is for architectures as they begin, and runs have their options")
    spec, how = _where(networks, options)
    found: dict[str, GradientProfile] = {}
    for network in networks:
        if network.name in found:
            raise UsageError(f"{network.name} is named twice")
        data = _open(network, spec, how, options)
        found[network.name] = _profile(network, data, options)
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


@dataclass(frozen=True)
class _Network:
    """An architecture as it begins, or a trained run with its recipe and predictor."""

    name: str
    run: bool
    recipe: Any = None
    predictor: Any = None


def _network(name: str, options: Options) -> _Network:
    if not (Path(name) / "config.json").is_file():
        return _Network(name, run=False)
    from corinth.predictor import load_run
    from corinth.training.recipe import Recipe

    return _Network(name, True, Recipe.from_yaml(Path(name) / "recipe.yaml"), load_run(name, device="cpu"))


def _where(networks: Sequence[_Network], options: Options) -> tuple[str, dict[str, Any]]:
    """The data of all, and how they are opened: as is said, or as the runs' own."""
    asked = {name: getattr(options, name) for name in ("text_column", "label_column")}
    asked = {name: column for name, column in asked.items() if column is not None}
    runs = [network for network in networks if network.run]
    if options.data is None and not runs:
        raise UsageError("there is nothing to look at; say --data PATH")
    specs = [network.recipe.data for network in runs]
    if options.data is None and (other := [spec for spec in specs if spec != specs[0]]):
        raise UsageError(f"the runs are of {specs[0]} and {other[0]}; say with --data on which to look at them")
    spec = options.data or specs[0]
    return spec, (how_again(runs[0].recipe, runs[0].predictor, spec) if runs else {}) | asked


def _open(network: _Network, spec: str, how: dict[str, Any], options: Options) -> "SequenceData":
    """The data, of a run with its own classes."""
    from corinth.data import SequenceData, open_data

    classes = network.predictor.classes if network.run else None
    data = open_data(spec, classes=classes, **how)
    if (
        not isinstance(data, SequenceData)
        or data.task in ("translation", "text-from-label")
        or data.source.unit == "clip"
    ):
        raise UsageError(f"{data.name} is data for {data.task}; gradients by step are of texts, series and sentences")
    if data.task == "transcription":
        raise UsageError(f"{data.name} is data for {data.task}, whose answers are at no step of their own")
    if network.run and network.predictor.task != data.task:
        raise UsageError(f"{network.name} does {network.predictor.task}, and {data.name} is data for {data.task}")
    if not len(data.positions(options.part)):
        raise UsageError(f"the {options.part} part of {data.name} is empty; choose another --part")
    return data


def _profile(network: _Network, data: "SequenceData", options: Options) -> "GradientProfile":
    import numpy as np
    import torch

    from corinth.data import Loader, SequenceStore, SeriesEncoding
    from corinth.data.sequences.forecast import FORECASTING
    from corinth.data.sequences.forecast_store import ForecastStore
    from corinth.data.sequences.language import LANGUAGE
    from corinth.inspect import gradients_by_step
    from corinth.training.build import build_model
    from corinth.training.forecasting import make_forecasting
    from corinth.training.recipe import recipe_for

    model: Any
    encoding: Any
    if network.run:
        model, encoding = network.predictor.model, network.predictor.preprocess
        if isinstance(encoding, SeriesEncoding):
            encoding.check_data(data)
    else:
        torch.manual_seed(options.seed)
        built: Any = build_model(recipe_for(network.name, data.spec, options=assignments(options.set)), data)
        model, encoding = built
    if model.cfg.bidirectional or model.cfg.pool in ("mean", "max"):
        note(f"{network.name}: its head sees early steps directly too, not only through time")
    measured = getattr(encoding, "target_mean", None) is not None
    positions = data.positions(options.part)
    count = min(options.samples, len(positions))
    chosen = np.sort(np.random.default_rng(options.seed).choice(positions, size=count, replace=False))

    def loss(batch: Any) -> "Tensor":
        """The mean cross-entropy, of tagged sentences that of their last word, of passages that of their last token; of
        numbers the mean squared error."""
        logits, targets = model(batch.inputs.values, batch.inputs.lengths), batch.targets
        if measured:
            return torch.nn.functional.mse_loss(logits[:, 0].float(), targets)
        if logits.ndim == 3:
            rows, last = torch.arange(len(logits)), batch.inputs.lengths - 1
            logits, targets = logits[rows, last], targets[rows, last] if targets.ndim == 2 else targets
        return torch.nn.functional.cross_entropy(logits.float(), targets)

    if data.task == FORECASTING:
        task = make_forecasting(encoding, recipe_for("lstm", data.spec), model, data)

        def loss(batch: Any) -> "Tensor":  # standardised, the mean squared error of all steps ahead
            return task.losses("train", batch, torch.Generator())["loss"].value

    store: Any = (ForecastStore if data.task == FORECASTING else SequenceStore)(data, chosen, encoding)
    if data.task == LANGUAGE:
        store.predict_last()
    try:
        return gradients_by_step(model, Loader(store, 64), loss)
    except UsageError as error:
        raise UsageError(f"{network.name}: {error}") from error


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
