"""Conversion of a checkpoint, in or out, and its passport: where the tensors came from, and what they gave there."""

import dataclasses
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from corinth.data.preprocess import Preprocess
from corinth.errors import UsageError, WeightsError
from corinth.files import replacing, write_json
from corinth.registry import configure, entry
from corinth.weights.adapting import config_of, head_names, input_names
from corinth.weights.describing import FREE, known_checkpoint, other_architecture
from corinth.weights.folder import CONFIG_FILE, ModelConfig, load_model, read_config, save_model
from corinth.weights.hub import torchvision_table
from corinth.weights.known import KnownCheckpoint
from corinth.weights.layouts import Source, key_maps
from corinth.weights.library import LibraryCheck, check_in_library
from corinth.weights.loading import choose_layout, dump_weights, load_weights
from corinth.weights.origin import NOT_STATED, origin_of
from corinth.weights.reading import MODEL_FILE, SUFFIXES, Tensors, find_file, read_tensors
from corinth.weights.report import LoadReport, some

Target = Literal["corinth", "torchvision", "timm"]
PASSPORT = "passport.json"
PICKLED = (".pth", ".pt")
MOST_DIFFERENCE = 1e-5  # of an output on the probe; every conversion measured so far had none


@dataclass(frozen=True, kw_only=True)
class Passport:
    """What passport.json says, and but for `libraries` config.json under "source"."""

    title: str  # the id, or the path
    arch: str
    sha256: str  # of the source's file
    licence: str
    origin: str
    url: str | None
    revision: str | None
    read_as: str  # layouts
    written_as: str
    options: Mapping[str, Any]  # of the architecture, where they are not the registered ones
    keys: Mapping[str, str]  # our name -> the source's
    written_keys: Mapping[str, str] | None  # our name -> the written file's, where that is not ours
    reshaped: Mapping[str, str]  # our name -> what was done to the tensor
    ignored: Sequence[str]  # the source's names
    probe: str
    read_again: float  # largest difference of an output: written and read again, against the source read directly
    round_trip: float  # the same, after the way out into the source's layout and in again
    libraries: Sequence[LibraryCheck]  # against the library of the source's layout, and that of the written one's
    notes: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def to_source(self) -> dict[str, Any]:
        """What goes into the weights: nothing that depends on what is installed, so that their bytes do not."""
        return {name: value for name, value in self.to_dict().items() if name != "libraries"}


@dataclass(frozen=True)
class _Loaded:
    """The source as a model of ours, and what is known of it."""

    model: nn.Module
    arch: str
    layout: Source
    keys: Mapping[str, str]
    report: LoadReport
    file: Path
    state: Mapping[str, Tensor]  # as the source has it
    known: KnownCheckpoint | None = None
    own: ModelConfig | None = None


def convert(
    source: str | Path,
    arch: str,
    output: str | Path,
    *,
    to: Target = "corinth",
    layout: Source = "auto",
    preprocess: Preprocess | None = None,
    classes: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Passport:
    """Write the checkpoint `source` (a file, a folder, a hub's id) as `to` has it, with its passport beside it.

    `output` is a file (.safetensors; for torchvision and timm .pth too) or a folder; what is there is not overwritten.
    Classes, input channels and auxiliary heads are taken as the tensors have them; `options` are the architecture's
    others. Corinth's own form needs the preprocessing: the source's, where that is known, or `preprocess`. The same
    source gives the same bytes. What answers otherwise than in timm or torchvision, where these are installed, is a
    `WeightsError`, as is what a round trip changes.
    """
    if to not in get_args(Target):
        raise UsageError(f"to {to!r} is none of {', '.join(get_args(Target))}")
    place = _place(Path(output), to)
    if entry(arch).card.family == "recurrent":
        writes = {"captioning", "text-from-label"} & {*entry(arch).card.tasks}
        what = "network that writes texts" if writes else "network of sequences"
        raise UsageError(f"{arch} is not converted: a run's model.safetensors is all that a {what} needs")
    loaded = _load(source, entry(arch).name, layout, dict(options or {}))
    preprocess = preprocess or _preprocess(loaded)
    count, channels = config_of(loaded.model).num_classes, config_of(loaded.model).in_chans
    if preprocess is not None and preprocess.channels != channels:
        raise UsageError(
            f"{source} takes images of {channels} channels, and the preprocessing is for {preprocess.channels}; state "
            "a mean and a standard deviation for each channel"
        )
    names = tuple(classes or _classes(loaded)) if count else ()
    if len(names) != count:
        given = "are given" if classes else "come with it"
        raise UsageError(f"{source} has {count} classes, and {len(names)} names {given}; state {count} with --classes")
    blank = _passport(source, loaded, to)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / place.name
        _write(trial, loaded, to, preprocess, names, blank)
        probe = _probe(loaded, preprocess)
        back = load_model(trial)[0] if to == "corinth" else _again(loaded, _file(trial, to), to)
        there_and_back = _again(loaded, dump_weights(loaded.model, source=loaded.layout), loaded.layout)
        passport = dataclasses.replace(
            blank,
            probe=f"{'x'.join(map(str, probe.shape))} normal numbers of seed 0",
            read_again=_difference(loaded.model, back, probe),
            round_trip=_difference(loaded.model, there_and_back, probe),
        )
        if not all(found <= MOST_DIFFERENCE for found in (passport.read_again, passport.round_trip)):  # NaN is not
            raise WeightsError(
                f"{source} gives other outputs once converted: they differ by {passport.read_again:.1e}, after a round "
                f"trip by {passport.round_trip:.1e}; nothing was written"
            )
        checks = [check_in_library(loaded.layout, loaded.state, loaded.model, loaded.arch, probe)]
        if to not in ("corinth", loaded.layout):
            written = read_tensors(_file(trial, to)).state
            checks.append(check_in_library(to, written, loaded.model, loaded.arch, probe))
    for check in checks:
        if not check.agrees:
            raise WeightsError(
                f"{source} gives other outputs in Corinth than in {check.library} {check.version} ({check.network}): "
                f"they differ by {check.difference:.1e}, and the largest is {check.largest:.1e}; nothing was written"
            )
    passport = dataclasses.replace(passport, libraries=checks)
    _write(place, loaded, to, preprocess, names, passport)
    write_json(passport_of(place), passport.to_dict())
    return passport


def passport_of(output: str | Path) -> Path:
    """Where the passport of what `convert` wrote is."""
    output = Path(output)
    return output.with_suffix(f".{PASSPORT}") if output.suffix in SUFFIXES else output / PASSPORT


def _place(output: Path, to: Target) -> Path:
    """`output`, if it can be written without losing anything."""
    allowed = (".safetensors",) if to == "corinth" else (".safetensors", *PICKLED)
    if output.suffix in SUFFIXES and output.suffix not in allowed:
        raise UsageError(f"{output} is neither a folder nor a {' or '.join(allowed)} file")
    file = _file(output, to)
    taken = [file, passport_of(output), *([file.with_name(CONFIG_FILE)] if file.name == MODEL_FILE else [])]
    if there := next((path for path in taken if path.exists()), None):
        raise UsageError(f"{there} is there already; name another output, or remove it")
    return output


def _file(output: Path, to: Target) -> Path:
    """The weights of an output, which may be a folder."""
    if output.suffix in SUFFIXES:
        return output
    return output / ("model.pth" if to == "torchvision" else MODEL_FILE)


def _load(source: str | Path, arch: str, layout: Source, options: dict[str, Any]) -> _Loaded:
    file = find_file(source)
    found = read_tensors(source)
    if found.metadata is not None or _is_own(file):
        if options:
            raise UsageError(f"{source} is Corinth's own and says what it was created with; leave the options out")
        if layout not in ("auto", "corinth"):
            raise UsageError(f"{source} is Corinth's own; its layout is not {layout}")
        model, own = load_model(source)
        if entry(own.arch).name != arch:
            raise other_architecture(str(source), own.arch, arch)
        report = load_weights(model, file, source="corinth", arch=arch)
        return _Loaded(
            model, arch, "corinth", {name: name for name in model.state_dict()}, report, file, found.state, own=own
        )
    known = known_checkpoint(source)
    if known is not None and known.arch != arch:
        raise other_architecture(str(source), known.arch, arch)
    options = {**(known.options if known else {}), **options}
    with torch.device("meta"):
        sketch = entry(arch).cls(configure(arch, **options))
    chosen = choose_layout(found, known, sketch, layout, arch)
    options = {**_as_found(found, sketch, chosen), **options}
    with torch.random.fork_rng(devices=()):
        model = entry(arch).cls(configure(arch, **options))
    report = load_weights(model, source, source=chosen, arch=arch)
    if report.missing:
        raise WeightsError(
            f"{source} has nothing for {some(report.missing)} of this {arch}, and conversion adds nothing"
        )
    keys = key_maps(model)[chosen]
    names = {target[0]: theirs for theirs in found.state if (target := keys.to_ours(theirs)) is not None}
    names = {name: names[name] for name in model.state_dict() if name in names}
    return _Loaded(model.eval(), arch, chosen, names, report, file, found.state, known=known)


def _is_own(file: Path) -> bool:
    try:
        read_config(file)
    except WeightsError:
        return False
    return True


def _as_found(found: Tensors, sketch: nn.Module, layout: Source) -> dict[str, Any]:
    """Classes, channels and auxiliary heads that the tensors have."""
    keys, config = key_maps(sketch)[layout], config_of(sketch)
    arrived: dict[str, Tensor] = {}
    for theirs, tensor in found.state.items():
        if (target := keys.to_ours(theirs)) is not None:
            arrived[target[0]] = tensor
    own = sketch.state_dict()
    heads = {arrived[name].shape[0] for name in head_names(sketch) if name in arrived and arrived[name].ndim}
    options: dict[str, Any] = {"num_classes": max(heads, default=0)}
    for name in input_names(sketch):
        if name in arrived and arrived[name].ndim == own[name].ndim == 4:
            options["in_chans"] = arrived[name].shape[1] * config.in_chans // own[name].shape[1]
    if hasattr(config, "aux_heads"):
        options["aux_heads"] = any(keys.is_optional(name) for name in arrived)
    return options


def _preprocess(loaded: _Loaded) -> Preprocess | None:
    source = loaded.known or loaded.own
    known = None if source is None else source.preprocess
    return known if isinstance(known, Preprocess) else None


def _classes(loaded: _Loaded) -> Sequence[str]:
    source = loaded.known or loaded.own
    return tuple(map(str, range(config_of(loaded.model).num_classes))) if source is None else source.classes


def _passport(source: str | Path, loaded: _Loaded, to: Target) -> Passport:
    """All but the measurements."""
    config, origin = config_of(loaded.model), origin_of(source)
    registered = entry(loaded.arch).config
    theirs = key_maps(loaded.model).get(to)
    targets = {} if theirs is None else {name: theirs.to_theirs(name) for name in loaded.model.state_dict()}
    return Passport(
        title=origin["title"],
        arch=loaded.arch,
        sha256=origin["sha256"],
        licence=origin["licence"],
        origin=origin["origin"],
        url=origin.get("url"),
        revision=origin.get("revision"),
        read_as=loaded.layout,
        written_as=to,
        options={
            field.name: json.loads(json.dumps(getattr(config, field.name)))
            for field in dataclasses.fields(config)
            if getattr(config, field.name) != getattr(registered, field.name)
        },
        keys=loaded.keys,
        written_keys=None if to == "corinth" else {name: target[0] for name, target in targets.items() if target},
        reshaped=loaded.report.reshaped,
        ignored=loaded.report.unexpected,
        probe="",
        read_again=0.0,
        round_trip=0.0,
        libraries=(),
        notes=(*loaded.report.notes, *_warnings(loaded, to)),
    )


def _warnings(loaded: _Loaded, to: Target) -> list[str]:
    """Where the library that the file is written for builds the architecture otherwise than these weights want."""
    if to == "corinth":
        return []
    config, registered = config_of(loaded.model), entry(loaded.arch).config
    theirs = {field.name: getattr(registered, field.name) for field in dataclasses.fields(registered)}
    names = [name.partition(":")[2] for name in entry(loaded.arch).card.references if name.startswith(f"{to}:")]
    rows = [row for row in torchvision_table() if row["model"] in names]
    if to == "torchvision" and rows and "norm_eps" in theirs:
        theirs["norm_eps"] = rows[0]["norm_eps"]
    return [
        f"{to} builds this network with {name}={value!r}, and these weights want {getattr(config, name)!r}"
        for name, value in theirs.items()
        if getattr(config, name) != value and not FREE.search(name)
    ]


def _write(
    place: Path, loaded: _Loaded, to: Target, preprocess: Preprocess | None, classes: Sequence[str], passport: Passport
) -> None:
    if to == "corinth":
        if preprocess is None:
            raise UsageError(
                f"the preprocessing of {passport.title} is not known: state it, as Corinth's own form keeps it"
            )
        save_model(
            place, loaded.model, arch=loaded.arch, preprocess=preprocess, classes=classes, source=passport.to_source()
        )
        return
    file, tensors = _file(place, to), dump_weights(loaded.model, source=to)
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    if file.suffix in PICKLED:
        buffer = io.BytesIO()  # a file's own name would be written into it
        torch.save(tensors, buffer)
        data = buffer.getvalue()
    else:
        data = safetensors.torch.save(tensors, {"format": "pt"})
    with replacing(file) as temporary:
        temporary.write_bytes(data)
    if to == "timm" and place.suffix not in SUFFIXES and preprocess is not None:
        write_json(place / CONFIG_FILE, _timm_config(loaded, preprocess, classes, passport.licence))


def _timm_config(loaded: _Loaded, preprocess: Preprocess, classes: Sequence[str], licence: str) -> dict[str, Any]:
    """config.json as timm has it, so that it can open the folder."""
    if preprocess.fit == "pad":
        raise UsageError("timm has no preprocessing that pads images; name a file as the output, not a folder")
    name = next(name for name in entry(loaded.arch).card.references if name.startswith("timm:"))
    count = config_of(loaded.model).num_classes
    named = tuple(classes) != tuple(map(str, range(count)))
    return {
        "architecture": name.partition(":")[2],
        "num_classes": count,
        **({"label_names": list(classes)} if named else {}),
        "pretrained_cfg": {
            "input_size": [preprocess.channels, *preprocess.size],
            "mean": list(preprocess.mean),
            "std": list(preprocess.std),
            "crop_pct": preprocess.crop_pct,
            "crop_mode": {"crop": "center"}.get(preprocess.fit, preprocess.fit),
            "interpolation": preprocess.interpolation,
            "num_classes": count,
            "license": None if licence == NOT_STATED else licence,
        },
    }


def _again(loaded: _Loaded, weights: Path | Mapping[str, Tensor], layout: Source) -> nn.Module:
    """A second model of the same kind, from what was written."""
    with torch.random.fork_rng(devices=()):
        model = type(loaded.model)(config_of(loaded.model))
    state = weights if isinstance(weights, Mapping) else read_tensors(weights).state
    report = load_weights(model, state, source=layout, arch=loaded.arch)
    if report.missing:
        raise WeightsError(f"the layout {layout!r} lost {some(report.missing)} of {loaded.arch}")
    return model.eval()


def _probe(loaded: _Loaded, preprocess: Preprocess | None) -> Tensor:
    """One image that is always the same."""
    config = config_of(loaded.model)
    size = preprocess.size if preprocess else entry(loaded.arch).card.input_size[-2:]
    if hasattr(config, "img_size"):
        size = (config.img_size, config.img_size)
    return torch.randn((1, config.in_chans, *size), generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def _difference(one: nn.Module, other: nn.Module, probe: Tensor) -> float:
    pairs = zip(_tensors(one(probe)), _tensors(other(probe)), strict=True)
    return torch.stack([(a - b).abs().max() for a, b in pairs]).max().item()  # NaN stays NaN


def _tensors(output: Any) -> list[Tensor]:
    """Of a network that answers with one tensor, or with tuples of them."""
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
