"""What is known of a checkpoint: a public file in our table, an id of a hub, or a folder as timm writes it."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corinth.data.preprocess import Preprocess
from corinth.errors import CorinthError, WeightsError
from corinth.registry import entry, list_models
from corinth.weights import plain
from corinth.weights.hub import HubFile, digest_of, fetch, hub_id, read_facts
from corinth.weights.known import KnownCheckpoint
from corinth.weights.reading import PLAIN_STEMS, SUFFIXES, find_file

# options that may differ from the checkpoint's: heads and input are adapted; dropout, initial values, the momentum of
# running statistics and what the backward pass keeps are training's
FREE = re.compile("num_classes|in_chans|drop|aux_|zero_init|norm_momentum|memory_efficient")
_MOST_SHOWN = 3  # options in which two architectures differ


def known_checkpoint(weights: str | Path) -> KnownCheckpoint | None:
    """What is known of a file, of the folder that holds it, or of a hub's id, which is fetched; None if nothing is."""
    if (wanted := hub_id(weights)) is not None:
        return _described(fetch(wanted))
    file = find_file(weights)
    return plain.recognised(file) or _timm_folder(file)


def needed_options(weights: str | Path, arch: str) -> dict[str, Any]:
    """The options without which a checkpoint makes no sense in `arch`; none if it is not known or of another."""
    known = known_checkpoint(weights)
    return dict(known.options) if known is not None and known.arch == entry(arch).name else {}


def whole_options(known: KnownCheckpoint) -> dict[str, Any]:
    """What a model must have been created with, as JSON has it: lists for tuples."""
    registered = dataclasses.asdict(entry(known.arch).config) if known.as_registered else {}
    return json.loads(json.dumps({**registered, **known.options}))


def other_architecture(where: str, theirs: str, ours: str) -> WeightsError:
    """The sentence for a checkpoint of another architecture; where shapes may fit all the same, what differs."""
    said = f"{where} holds the architecture {theirs}, not {ours}"
    if theirs not in list_models() or entry(theirs).cls is not entry(ours).cls:
        return WeightsError(said)
    its, own = (dataclasses.asdict(entry(name).config) for name in (theirs, ours))
    differing = [name for name in own if its[name] != own[name] and not FREE.search(name)][:_MOST_SHOWN]
    if not differing:
        return WeightsError(said)
    its_values, own_values = (", ".join(f"{name}={of[name]!r}" for name in differing) for of in (its, own))
    return WeightsError(f"{said}: the one has {its_values}, the other {own_values}")


def _described(file: HubFile) -> KnownCheckpoint:
    facts = file.facts
    describe = _torchvision if file.id.source == "torchvision" else _timm
    return dataclasses.replace(
        describe(str(file.id), file.path, facts),
        sha256=file.sha256,
        url=file.url,
        revision=file.revision,
        origin=file.url,
    )


def _torchvision(where: str, path: Path, row: Mapping[str, Any]) -> KnownCheckpoint:
    arch = _registered(f"torchvision:{row['model']}", where)
    config = entry(arch).config
    eps = getattr(config, "norm_eps", None)
    return KnownCheckpoint(
        title=where,
        sha256=digest_of(path),
        size=path.stat().st_size,
        arch=arch,
        options={} if eps in (None, row["norm_eps"]) else {"norm_eps": row["norm_eps"]},
        as_registered=True,
        preprocess=Preprocess(
            size=(row["crop"], row["crop"]),
            channels=len(row["mean"]),
            mean=row["mean"],
            std=row["std"],
            crop_pct=row["crop"] / row["resize"],
            interpolation=row["interpolation"],
        ),
        classes=tuple(map(str, range(row["num_classes"]))),
        named=False,
        licence=row["licence"] or "not stated",
        origin=row["url"],
        measured=f"top-1 {row['top1']} % on ImageNet-1K (torchvision)",
        layout="torchvision",
    )


def _timm(where: str, path: Path, facts: Mapping[str, Any]) -> KnownCheckpoint:
    cfg = facts.get("pretrained_cfg", facts)
    try:
        arch = _registered(f"timm:{facts['architecture']}", where)
        count = facts.get("num_classes", cfg.get("num_classes"))
        names = facts.get("label_names") or cfg.get("label_names") or ()
        named = isinstance(names, list) and len(names) == count
        args = {**(facts.get("model_args") or {}), "label_offset": cfg.get("label_offset") or 0}
        if other := {name: value for name, value in args.items() if not _is_usual(name, value)}:
            raise WeightsError(f"{where} was not made with timm's default options ({other}), and cannot be described")
        if (mode := cfg.get("crop_mode") or "center") not in ("center", "squash"):
            raise WeightsError(f"{where} wants images cropped in the mode {mode!r}, which Corinth does not have")
        channels, *size = cfg["input_size"]
        preprocess = Preprocess(
            size=(size[0], size[1]),
            channels=channels,
            mean=cfg["mean"],
            std=cfg["std"],
            fit="crop" if mode == "center" else "squash",
            crop_pct=cfg.get("crop_pct") or 0.875,
            interpolation=cfg.get("interpolation") or "bicubic",
        )
        classes = tuple(map(str, names if named else range(count)))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, CorinthError):
            raise WeightsError(f"{where}: {error}") from error
        raise WeightsError(f"{where} has a config.json that is not timm's: {type(error).__name__} {error}") from error
    return KnownCheckpoint(
        title=where,
        sha256=digest_of(path),
        size=path.stat().st_size,
        arch=arch,
        as_registered=True,
        preprocess=preprocess,
        classes=classes,
        named=named,
        licence=cfg.get("license") or "not stated",
        origin=cfg.get("origin_url") or "not stated",
        measured="not stated",
        layout="timm",
    )


def _is_usual(name: str, value: Any) -> bool:
    """Whether an argument with which timm made a network leaves it as registered, but for head and input."""
    return bool(FREE.search(name)) or (name, value) in (("global_pool", "avg"), ("label_offset", 0))


_OF_TIMM = {"pretrained_cfg", "input_size"}  # of its config.json, now and before


def _timm_folder(file: Path) -> KnownCheckpoint | None:
    """A folder as timm saves it, or as the hub has it; config.json describes its own file, or the only one."""
    beside = file.parent / "config.json"
    if not beside.is_file():
        return None
    try:
        facts = read_facts(beside)
    except WeightsError:
        return None  # `read_config` says what is wrong with it
    if not isinstance(facts.get("architecture"), str):
        return None
    if file.stem not in PLAIN_STEMS and not (facts.keys() & _OF_TIMM and _is_alone(file)):
        return None  # a config.json may be anybody's
    return _timm(str(file), file, facts)


def _is_alone(file: Path) -> bool:
    """Whether it is the only file of weights in its folder, as far as that can be read."""
    try:
        return [other for other in file.parent.iterdir() if other.suffix in SUFFIXES] == [file]
    except OSError:
        return False


def _registered(reference: str, where: str) -> str:
    """The architecture that a peer's name means here."""
    for name in list_models():
        if reference in entry(name).card.references:
            return name
    library, _, theirs = reference.partition(":")
    raise WeightsError(f"{where} holds {library}'s {theirs}, an architecture that Corinth does not have")
