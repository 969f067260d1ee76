"""Our own form of a trained model: `model.safetensors` with `config.json`, enough to build it again and use it."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

import corinth
from corinth.data.caption_encoding import CaptionEncoding
from corinth.data.preparation import Preparation, preparation_from_dict
from corinth.data.sequences.encoding import Tokens
from corinth.data.sequences.label_encoding import LabelEncoding
from corinth.data.sequences.pair_encoding import PairEncoding
from corinth.data.sequences.wording import Wording
from corinth.errors import CorinthError, UsageError, WeightsError
from corinth.files import replacing, write_json
from corinth.registry import configure, entry
from corinth.weights.adapting import config_of, shapes, sketch
from corinth.weights.hub import hub_id
from corinth.weights.loading import load_weights
from corinth.weights.reading import METADATA, MODEL_FILE, find_file, read_tensors

CONFIG_FILE = "config.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What config.json holds."""

    arch: str
    config: dict[str, Any]  # every field of the architecture's config
    preprocess: Preparation
    classes: tuple[str, ...]
    task: str = "image-classification"
    card_version: str | None = None  # `card_version` of the architecture when this was saved
    corinth: str | None = None  # the version that saved it
    source: Mapping[str, Any] | None = None  # where the weights came from: sha256, licence, origin
    extra: Mapping[str, Any] = field(default_factory=dict)  # "data" and whatever else the saver added

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "arch": self.arch,
            "config": self.config,
            "card_version": self.card_version,
            "preprocess": self.preprocess.to_dict(),
            "classes": list(self.classes),
            "task": self.task,
            "corinth": self.corinth,
            "source": None if self.source is None else dict(self.source),
            **self.extra,
        }

    @classmethod
    def from_dict(cls, values: Any, where: str | Path) -> "ModelConfig":
        """From the JSON at `where`; `WeightsError` if that is not what `to_dict` gives."""
        if not isinstance(values, dict):
            raise WeightsError(f"{where} does not describe a model: it holds no mapping")
        rest = dict(values)
        if rest.pop("format", None) != FORMAT:
            raise WeightsError(
                f"{where} has format {values.get('format')!r}; this version of Corinth reads format {FORMAT}"
            )
        try:
            return cls(
                arch=rest.pop("arch"),
                config=as_config(rest.pop("config")),
                preprocess=preparation_from_dict(rest.pop("preprocess")),
                classes=tuple(rest.pop("classes")),
                task=rest.pop("task"),
                card_version=rest.pop("card_version", None),
                corinth=rest.pop("corinth", None),
                source=rest.pop("source", None),
                extra=rest,
            )
        except (KeyError, TypeError, AttributeError, CorinthError) as error:
            raise WeightsError(f"{where} does not describe a model: {type(error).__name__} {error}") from error


def card_version(arch: str) -> str:
    """A short hash of what the architecture is, to notice when a later Corinth means something else by the name."""
    found = entry(arch)
    known = [found.card.params, found.card.macs, *found.card.deviations, dataclasses.asdict(found.config)]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]


def save_model(
    path: str | Path,
    model: nn.Module,
    *,
    arch: str,
    preprocess: Preparation,
    classes: Sequence[str],
    task: str | None = None,
    source: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> ModelConfig:
    """Write `model.safetensors` and `config.json` into the folder `path`, each of them whole or not at all.

    The safetensors carry the config too, so that the file alone is enough; where `path` is a .safetensors file, it is
    all that is written. `task` is the first of the architecture's card if it is not given. `extra` adds entries such
    as "data" to the config. A full disk is a `CorinthError`, and what was there before stays.
    """
    if shapes(model) != sketch(model):
        raise UsageError(f"this {type(model).__name__} is not what its cfg says: load_model could not build it again")
    config = ModelConfig(
        arch=entry(arch).name,
        config=dataclasses.asdict(config_of(model)),
        preprocess=preprocess,
        classes=tuple(classes),
        task=task or entry(arch).card.tasks[0],
        card_version=card_version(arch),
        corinth=corinth.__version__,
        source=source,
        extra=dict(extra or {}),
    )
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {METADATA: json.dumps(config.to_dict(), ensure_ascii=False, allow_nan=False)}
    alone = Path(path).suffix == ".safetensors"
    with replacing(path if alone else Path(path) / MODEL_FILE) as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors, metadata))
    if not alone:
        write_json(Path(path) / CONFIG_FILE, config.to_dict())
    return config


def load_model(path: str | Path) -> tuple[nn.Module, ModelConfig]:
    """The model of a run folder, or of a `.safetensors` file that Corinth wrote, in evaluation mode on the CPU."""
    config = read_config(path)
    file = find_file(path)
    try:
        with torch.random.fork_rng(devices=()):  # fresh weights are drawn and thrown away: nobody else's draws move
            model = entry(config.arch).cls(configure(config.arch, **config.config))
    except (TypeError, CorinthError) as error:
        raise WeightsError(f"{file}: its config does not fit this version of Corinth: {error}") from error
    report = load_weights(model, file, source="corinth", arch=config.arch)
    if not report.exact:
        raise WeightsError(f"{file} and its config disagree: {report}")
    known, cfg = config.preprocess, config_of(model)
    words = known.words if isinstance(known, CaptionEncoding | LabelEncoding) else known
    if isinstance(words, Tokens | Wording) and words.vocab_size != cfg.vocab_size:
        raise WeightsError(
            f"{file}: its tokenizer has {words.vocab_size} tokens and its network {cfg.vocab_size}; "
            "the tokenizer is not the run's own"
        )
    if isinstance(known, PairEncoding):
        sizes = (known.source_vocab_size, known.target_vocab_size)
        if sizes != (cfg.source_vocab_size, cfg.target_vocab_size):
            raise WeightsError(
                f"{file}: its tokenizers have {sizes[0]} and {sizes[1]} tokens and its network {cfg.source_vocab_size} "
                f"and {cfg.target_vocab_size}; the tokenizers are not the run's own"
            )
    outputs = getattr(cfg, "num_classes", 0) - (config.task == "transcription")  # the blank has no name
    if outputs and config.classes and len(config.classes) != outputs:
        raise WeightsError(f"{file}: its config names {len(config.classes)} classes for a network of {outputs}")
    return model.eval(), config


def read_config(path: str | Path) -> ModelConfig:
    """The config of a run folder or weights file: config.json beside the file, else the copy inside it."""
    if hub_id(path) is not None:
        raise WeightsError(
            f"{path} is a foreign checkpoint, no run: name its architecture and load it with load_weights"
        )
    file = find_file(path)
    beside = file.parent / CONFIG_FILE
    if file.name == MODEL_FILE and beside.is_file():
        try:
            return ModelConfig.from_dict(json.loads(beside.read_text(encoding="utf-8")), beside)
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise WeightsError(f"{beside} cannot be read as JSON: {error}") from error
    metadata = read_tensors(file).metadata
    if metadata is None:
        raise WeightsError(
            f"{file} does not say what it is: there is no {CONFIG_FILE} beside it; "
            "name the architecture and load it with load_weights"
        )
    return ModelConfig.from_dict(metadata, file)


def as_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a config that JSON or YAML gave, with tuples for lists."""
    return {name: _tuples(value) for name, value in values.items()}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
