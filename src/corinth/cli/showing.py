"""`corinth show`: everything known about one architecture, and its layers at the size you want."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from corinth.cli.output import Cell, print_facts, print_table, quantity, size_of, to_json
from corinth.cli.parsing import assignments, parse
from corinth.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Options:
    """One architecture: its card, its layers, its recipe."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """A name that `corinth list` shows."""
    img_size: int | None = None
    """Side of the input image; the card's own if left out."""
    in_chans: int | None = None
    """Channels of the input image."""
    num_classes: int | None = None
    """Classes of the head; 0: features."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FIELD=VALUE")] = ()
    """Another option of the architecture, such as drop_rate=0.2; may be repeated."""
    json: bool = False
    """JSON on stdout."""


def main(args: Sequence[str]) -> int:
    options = parse(Options, "show", args)
    import torch

    from corinth.inspect import count_params, layers, stages
    from corinth.registry import create_model, entry

    found = entry(options.name)
    if options.img_size is not None and options.img_size < 1:
        raise UsageError(f"--img-size {options.img_size} is not at least 1")
    config = configured(found.name, overrides := _overrides(options, found.config))
    input_size = _input_size(found.card, config, options.img_size)
    with torch.device("meta"):
        model = create_model(found.name, **overrides)
    rows, parts = layers(model, input_size), stages(model)
    params, macs = count_params(model), sum(row.macs for row in rows)
    card = found.card
    if options.json:
        print(
            to_json(
                {
                    "name": found.name,
                    "input_size": list(input_size),
                    "params": params,
                    "macs": macs,
                    "config": dataclasses.asdict(config),
                    "card": {**dataclasses.asdict(card), "published": dict(card.published)},
                    "stages": {stage.name: stage.count for stage in parts},
                    "layers": [dataclasses.asdict(row) for row in rows],
                }
            )
        )
        return 0
    print_facts(
        {
            "name": found.name if found.name == options.name else f"{found.name} (also {options.name})",
            "paper": f"{card.paper}, {card.year}" + (f", arXiv:{card.arxiv}" if card.arxiv else ""),
            "family": card.family,
            "input": size_of(input_size),
            "parameters": f"{params:,}",
            "multiply-adds": f"{macs:,} ({quantity(macs)})",
            "published": "; ".join(f"{metric}: {value}" for metric, value in card.published.items()) or None,
            "deviations": "; ".join(card.deviations) or "none",
            "references": ", ".join(card.references) or None,
            "synonyms": "; ".join(f"{ours}: {theirs}" for ours, theirs in card.synonyms.items()) or None,
            "options": ", ".join(f"{k}={v}" for k, v in dataclasses.asdict(config).items()),
            "stages": ", ".join(stage.name for stage in parts),
            "recipe": _recipe(card.recipe) or "the default",
            "published recipe": _recipe(card.published_recipe) or None,
        }
    )
    print()
    columns = dict.fromkeys(("layer", "type", "kernel", "stride", "pad", "out", "params", "macs", "field"), "right")
    print_table(columns | {"layer": "left", "type": "left"}, [_line(row) for row in rows])
    print(
        f"total: {params:,} parameters, {macs:,} multiply-adds; "
        "field: the input pixels that one output sees, padding included"
    )
    return 0


def _overrides(options: Options, config: Any) -> dict[str, Any]:
    """The config fields that the flags and --set change."""
    given = {name: getattr(options, name) for name in ("img_size", "in_chans", "num_classes")}
    if not hasattr(config, "in_chans") and (
        flag := next((n for n in ("img_size", "in_chans") if given[n] is not None), "")
    ):
        raise UsageError(
            f"--{flag.replace('_', '-')} is for images, and {options.name} takes sequences; see --set input_size"
        )
    overrides = {name: value for name, value in given.items() if value is not None and hasattr(config, name)}
    for name, value in assignments(options.set).items():
        if overrides.setdefault(name, value) != value:
            raise UsageError(f"--set {name}={value} contradicts --{name.replace('_', '-')} {overrides[name]}")
    return overrides


def _input_size(card: Any, config: Any, img_size: int | None) -> tuple[int, ...]:
    """(C, H, W): the config's channels; its image size where it has one, else the one asked for, else the card's.

    Of a recurrent network (T, I): the card's steps, the config's inputs; (T,) tokens of one that translates; of one
    that takes clips (T, C, H, W); (N,) of one that takes rows of tables.
    """
    if not hasattr(config, "input_size") and not hasattr(config, "in_chans"):
        return card.input_size
    if not hasattr(config, "in_chans"):
        return (card.input_size[0], config.input_size)
    if getattr(config, "input_size", 0):
        return (config.input_size,)
    *steps, _, height, width = card.input_size
    side = getattr(config, "img_size", img_size)
    return (*steps, config.in_chans, *((height, width) if side is None else (side, side)))


def configured(name: str, overrides: dict[str, Any]) -> Any:
    """The architecture's config; an option it has not is a `UsageError` here, because the user typed it."""
    from corinth.registry import configure

    try:
        return configure(name, **overrides)
    except TypeError as error:
        raise UsageError(str(error)) from error


def _line(row: Any) -> tuple[Cell, ...]:
    kernel = _pair(row.kernel) + (f" d{_pair(row.dilation)}" if row.dilation not in (None, (1, 1)) else "")
    return (
        row.name,
        row.type + (f" /{row.groups}" if row.groups != 1 else ""),
        kernel,
        _pair(row.stride),
        _pair(row.padding),
        size_of(row.out_shape),
        f"{row.params:,}" if row.params else "",
        f"{row.macs:,}" if row.macs else "",
        _pair(row.receptive_field),
    )


def _pair(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return str(value[0]) if len(set(value)) == 1 else size_of(value)
    return str(value)


def _recipe(recipe: Any) -> str:
    return ", ".join(f"{key}={_short(value)}" for key, value in recipe.items())


def _short(value: Any) -> str:
    """A long list by its ends and its length: some recipes name every step at which the rate falls."""
    if isinstance(value, tuple | list) and len(value) > 8:
        return f"({value[0]}, {value[1]}, ..., {value[-1]}; {len(value)} in all)"
    return str(value)
