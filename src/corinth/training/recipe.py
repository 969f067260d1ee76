"""The recipe: every hyper-parameter of one training run. Command line, YAML and Python are this one object.

Importing this module does not import torch, so that `corinth train --help` answers at once.
"""

import contextlib
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union

import yaml

from corinth.data.augmentation import Augmentation, SeriesAugmentation, SeriesFeatures
from corinth.errors import UsageError
from corinth.training.budget import parse_budget
from corinth.training.schedules import Schedule

NESTED = ("augmentation", "series", "series_augmentation")  # fields that have fields of their own
Scalar = bool | int | float | str
OptionValue = Scalar | tuple[Scalar, ...] | None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run, whole. A field's comment is its help text."""

    arch: str
    """Architecture; `corinth list` shows them."""
    data: str
    """A built-in name, a folder or a file: images, tables, texts, time series, recordings; docs/data.md lists them."""
    options: dict[str, OptionValue] = field(default_factory=dict)
    """Options of the architecture, such as drop_rate=0.2."""
    weights: str | None = None
    """Start from these weights: a run folder, a checkpoint file, or an id such as timm:resnet50.a1_in1k."""
    freeze: int | str | None = None
    """Leave the network as it is up to and including this stage: a name of `corinth show`, or a number of stages."""
    budget: str = "20ep"
    """20ep | 60s | 2e6samples | 1e15flops."""
    batch_size: int | Literal["auto"] = 128
    """Samples of one optimizer step, over all processes."""
    eval_batch_size: int = 512
    """Samples of one validation batch."""
    optimizer: str = "sgd"
    """sgd | adamw | any optimizer class of torch.optim."""
    lr: float = 0.1
    """Peak learning rate."""
    layer_decay: float = 1.0
    """Share of a stage's learning rate that the stage before it has; the head has the full rate."""
    momentum: float = 0.9
    nesterov: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 5e-4
    decay_norm_and_bias: bool = False
    """Apply weight decay to biases and norm parameters too."""
    schedule: Schedule = "cosine"
    warmup: float = 0.0
    """Share of the budget over which the learning rate rises."""
    step_at: tuple[float, ...] = (0.5, 0.75)
    """Step schedule: the shares of the budget at which the rate is multiplied."""
    step_gamma: float = 0.1
    final_lr: float = 0.0
    """Share of the peak learning rate that cosine and one-cycle end with."""
    label_smoothing: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: rare classes weigh more in the loss (of segmentation: rare pixels)."""
    regression_loss: Literal["squared", "huber", "absolute"] = "squared"
    """Of regression and forecasting; huber is linear beyond one standard deviation, so that outliers weigh less."""
    clip_norm: float | None = None
    """Largest norm of a phase's gradient."""
    accumulate: int = 1
    """Number of parts in which a batch goes through the network; saves memory."""
    ema: float = 0.0
    """Decay of the moving average of the weights that is evaluated and saved; 0: none."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: mixed, most operators in bfloat16; for GPUs, and CPUs with instructions for it (of x86 AVX512-BF16)."""
    compile: bool = False
    """Compile the network with torch.compile."""
    channels_last: bool = True
    early_stopping: int = 0
    """Stop after so many evaluations without a better validation metric; 0: never."""
    evaluate_every: str = "1ep"
    """Time between two validations: 1ep, 5e4samples or 30s."""
    save_every: float = 60.0
    """Seconds between two resume states."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    series: SeriesFeatures = field(default_factory=SeriesFeatures)
    series_augmentation: SeriesAugmentation = field(default_factory=SeriesAugmentation)
    img_size: int | None = None
    """Side of the square that images are brought to; none: chosen from the data and the architecture."""
    fit: Literal["crop", "squash", "pad"] = "crop"
    """How an image that is not square becomes one."""
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    tokenizer: Literal["word", "char", "bpe", "wordpiece", "unigram"] | None = None
    """Of texts and captions, what a token is; trained on the training part. None: a word, a character of a
    language model, a piece (bpe) of translations."""
    vocab_size: int = 16000
    """Of texts and captions, the most tokens that there are."""
    lowercase: bool | None = None
    """Of texts, whether capitals are made small; none: yes, but not of a language model or of translations."""
    share_vocab: bool = False
    """Of translations, whether source and target have one tokenizer."""
    max_len: int | None = None
    """Tokens or steps after which a sequence is cut, or that a language model's training step looks back over; none:
    512 tokens, 256 of translations and of captions and texts that are written, any number of steps, 128 tokens of a
    language model."""
    seed: int = 0
    split_seed: int = 0
    """Seed of the train / validation / test split, where the data declares none."""
    val_share: float = 0.1
    test_share: float = 0.2
    path_column: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    task: str | None = None
    """What the data are for, where they serve several tasks: text-from-label of texts with labels, captioning of images
    with labels and captions, forecasting of a table with a row a step. None: what they look like."""
    transcript_units: Literal["words", "characters"] = "words"
    """Of recordings with transcripts, what a label is."""
    source_column: str | None = None
    """Of translations, what is translated: a column, by name or number, or the language that files end with (en)."""
    group_column: str | None = None
    """Of a table with a step a row: which sequence it belongs to; several columns with commas between."""
    target_column: str | None = None
    """The number of each sequence that is to be predicted; of translations, what they are translated to."""
    time_column: str | None = None
    """The time of each step; it must rise in a sequence."""
    channel_columns: str | None = None
    """The inputs, with commas between; none: all other columns of numbers."""
    split_group: str | None = None
    """What must stay in one part, such as the person or the battery cell."""
    val_groups: str | None = None
    """Those of split_group that are the validation part, with commas between."""
    test_groups: str | None = None
    """Those of split_group that are the test part, with commas between."""
    horizon: int | None = None
    """Of forecasting, how many steps are to be forecast."""
    window: int | None = None
    """Of forecasting, the steps that are seen before; none: twice the horizon."""
    season: int | None = None
    """Of forecasting, after how many steps the series comes round again, for the baseline that repeats them; none: a
    day, a week or a year, as the times say."""
    missing: Literal["refuse", "fill"] = "refuse"
    """Of forecasting, what becomes of missing values and rows: fill takes the last value before."""
    relative: Literal["none", "last", "window"] = "last"
    """Of forecasting, what the network sees of a window: what is above its last step, what is above its mean over its
    spread, or the values as they are."""
    threads: int | None = None
    """CPU threads; none: as many as torch takes."""
    device: str = "auto"
    """auto | cpu | cuda | cuda:1 | mps."""
    tensorboard: bool = False
    """Also write TensorBoard events into the run folder."""
    output: str | None = None
    """Run folder; none: runs/<date>-<arch>-<data>."""

    def __post_init__(self) -> None:
        for name, hint in _hints().items():
            object.__setattr__(self, name, _fitted(getattr(self, name), hint, name))
        if isinstance(self.freeze, str) and self.freeze.isdecimal():
            object.__setattr__(self, "freeze", int(self.freeze))
        parse_budget(self.budget)
        parse_budget(self.evaluate_every, field="evaluate_every", kinds=("ep", "samples", "s"))
        for name in ("arch", "data", "optimizer", "device"):
            self._need(name, bool(getattr(self, name)), "a name")
        for name in ("eval_batch_size", "accumulate"):
            self._need(name, getattr(self, name) >= 1, "a whole number from 1")
        self._need("batch_size", self.batch_size == "auto" or self.batch_size >= 1, "a whole number from 1, or auto")
        self._need("threads", self.threads is None or self.threads >= 1, "a whole number from 1, or none")
        self._need("img_size", self.img_size is None or self.img_size >= 1, "a whole number from 1, or none")
        self._need("vocab_size", self.vocab_size >= 3, "a whole number from 3")
        self._need("max_len", self.max_len is None or self.max_len >= 1, "a whole number from 1, or none")
        for name in ("horizon", "window", "season"):
            value = getattr(self, name)
            self._need(name, value is None or value >= 1, "a whole number of steps from 1, or none")
        self._need("early_stopping", self.early_stopping >= 0, "a whole number from 0")
        self._need("lr", 0 < self.lr < math.inf, "more than 0")
        self._need("layer_decay", 0 < self.layer_decay <= 1, "more than 0, at most 1")
        freezes = self.freeze is None or (self.freeze >= 1 if isinstance(self.freeze, int) else bool(self.freeze))
        self._need("freeze", freezes, "a stage's name, a whole number of stages from 1, or none")
        self._need("save_every", self.save_every > 0, "more than 0 seconds")
        self._need("clip_norm", self.clip_norm is None or self.clip_norm > 0, "more than 0, or none")
        self._need("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more")
        for name in ("momentum", "warmup", "label_smoothing", "ema"):
            self._need(name, 0 <= getattr(self, name) < 1, "from 0 to below 1")
        self._need("betas", all(0 <= beta < 1 for beta in self.betas), "two numbers from 0 to below 1")
        self._need("step_at", all(0 <= at <= 1 for at in self.step_at), "shares of the budget, from 0 to 1")
        self._need("step_gamma", 0 < self.step_gamma <= 1, "more than 0, at most 1")
        self._need("final_lr", 0 <= self.final_lr <= 1, "from 0 to 1")
        for name in ("val_share", "test_share"):
            self._need(name, 0 <= getattr(self, name) < 1, "from 0 to below 1")
        self._need("val_share", self.val_share + self.test_share < 1, "less than 1 together with test_share")
        for name in ("seed", "split_seed"):
            self._need(name, 0 <= getattr(self, name) < 2**32, "a whole number from 0 to 2^32 - 1")
        if self.batch_size != "auto":
            self._need("accumulate", self.accumulate <= self.batch_size, f"at most batch_size, {self.batch_size}")

    def _need(self, name: str, holds: bool, valid: str) -> None:
        if not holds:
            raise UsageError(f"{name} {getattr(self, name)!r} is not valid; it must be {valid}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values only; `from_dict` is its inverse."""
        return _plain(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        return _build(cls, values, "the recipe")

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    @classmethod
    def from_yaml(cls, source: str | Path) -> "Recipe":
        """From YAML text, or from a file: a recipe of its own, or the `recipe.yaml` of a run."""
        try:
            text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the recipe {source} cannot be read: {error}") from error
        where = f"the recipe {source}" if isinstance(source, Path) else "the recipe"
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"{where} is not YAML: {' '.join(str(error).split())}") from error
        if isinstance(values, dict) and isinstance(values.get("recipe"), dict):
            values = values["recipe"]  # a run's file, with versions beside the recipe
        if not isinstance(values, dict):
            raise UsageError(f"{where} must be a mapping of field names to values")
        return _build(cls, values, where)


def recipe_for(arch: str, data: str, *, published: bool = False, finetune: bool = False, **overrides: Any) -> Recipe:
    """The recipe an architecture comes with: defaults, then its card's recipe, then `overrides`.

    `published=True` takes what the paper did on ImageNet instead of what suits small images. `finetune=True` makes
    of the card's recipe one that starts from `weights`: smaller rates, few epochs, the weights' own image size
    (`corinth.training.finetune` has the numbers). Another optimizer than the card's brings its own usual learning
    rate and weight decay, unless they are given too. Built-in data that mean something else when mirrored (digits)
    are not flipped.
    """
    from corinth.data.builtin import builtin
    from corinth.registry import entry  # imports torch

    if published and finetune:
        raise UsageError("published and finetune are two recipes; give one of them")
    found = entry(arch)
    values: dict[str, Any] = dict(found.card.published_recipe if published else found.card.recipe)
    if published and not values:
        raise UsageError(
            f"{found.name} has no published recipe; leave `published` out for the one that Corinth gives it"
        )
    if (known := builtin(str(data))) is not None and not known.mirrors:
        values["augmentation"] = {**values.get("augmentation", {}), "flip": False}
    optimizer = str(overrides.get("optimizer", "sgd")).lower()
    if "optimizer" in overrides and optimizer != str(values.get("optimizer", "sgd")).lower():
        values |= {"lr": 0.1, "weight_decay": 5e-4} if optimizer == "sgd" else {"lr": 1e-3, "weight_decay": 0.01}
    if isinstance(overrides.get("options"), Mapping):
        overrides = overrides | {"options": {**values.get("options", {}), **overrides["options"]}}
    if finetune:
        from corinth.training.finetune import finetuned

        if not overrides.get("weights"):
            raise UsageError(
                "finetune starts from weights and none are given; name a run folder, a checkpoint file or an id"
            )
        given = {key: overrides[key] for key in ("optimizer", "options", "weights") if key in overrides}
        values |= finetuned(Recipe.from_dict({**values, **given, "arch": arch, "data": data}))
    return Recipe.from_dict({**values, **overrides, "arch": arch, "data": data})


def _hints() -> dict[str, Any]:
    return typing.get_type_hints(Recipe)


def _build(cls: Any, values: Mapping[str, Any], where: str) -> Any:
    known = {f.name for f in dataclasses.fields(cls)}
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(known))}"
            raise UsageError(f"{where} has no field {key!r}; {hint}")
    missing = [
        f.name
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in values
    ]
    if missing:
        raise UsageError(f"{where} lacks {' and '.join(missing)}")
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{where}: {error}") from error


def _fitted(value: Any, hint: Any, name: str) -> Any:
    """`value` as the field's type wants it: 1 as 1.0, "1e-3" (a string to YAML) as 0.001, a list as a tuple.

    Anything else that is not of the type is a `UsageError`.
    """
    wrong = UsageError(f"{name} {value!r} is not valid; it must be {_wanted(hint)}")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        if type(value) in arguments and type(value) is not str:
            return value
        for option in arguments:
            with contextlib.suppress(UsageError):
                return _fitted(value, option, name)
        raise wrong
    if origin is Literal:
        if value in arguments and type(value) is type(arguments[arguments.index(value)]):
            return value
        raise wrong
    if origin is tuple and isinstance(value, list | tuple):
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise wrong
        of = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_fitted(v, h, name) for v, h in zip(value, of, strict=True))
    if origin is dict and isinstance(value, Mapping):
        return {_fitted(k, arguments[0], name): _fitted(v, arguments[1], name) for k, v in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        built = _build(hint, {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}, name)
        return _fitted(built, hint, name)
    if dataclasses.is_dataclass(hint) and isinstance(value, hint):
        for key, inner in typing.get_type_hints(hint).items():
            object.__setattr__(value, key, _fitted(getattr(value, key), inner, f"{name}.{key}"))
        return value
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            raise wrong from None
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    raise wrong


def _wanted(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_wanted(a) for a in arguments)
    if origin is Literal:
        return " or ".join(repr(a) for a in arguments)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"a list, each {_wanted(arguments[0])}"
        return f"{len(arguments)} values, each {_wanted(arguments[0])}"
    words = {float: "a number", int: "a whole number", str: "text", bool: "true or false", type(None): "none"}
    return words.get(hint, "a mapping of names to values" if origin is dict else getattr(hint, "__name__", str(hint)))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return value
