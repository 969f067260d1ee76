"""What a comparison declares before it starts, saved in compare.json so that a resume continues the same one."""

import json
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corinth.data.dataset import DataSet
from corinth.data.opening import OPTIONS
from corinth.data.sequences.label_encoding import FROM_LABEL
from corinth.data.sequences.source import SequenceData
from corinth.errors import CorinthError, UsageError
from corinth.files import sweep, write_json
from corinth.inspect.devices import choose_device
from corinth.registry import entry
from corinth.tasks.kinds import KINDS
from corinth.training import Recipe, recipe_for
from corinth.training.build import check_task, configure_for, planned_preprocess
from corinth.training.optimizers import find_optimizer
from corinth.training.options import OF_SEQUENCES, OF_TEXTS
from corinth.training.recipe import NESTED
from corinth.training.sequences import make_encoding

FORMAT = 1
MOST_SEEDS = 1000
FILE = "compare.json"
CONTROLS = ("shuffled-labels",)
OF_TOKENS = (*OF_TEXTS, *OF_SEQUENCES, "weights")  # fields of a recipe that settle what a token is
# fields of a recipe that say where and which run it is, not how it trains
_NOT_THE_RECIPE = ("output", "seed", "data", "tensorboard")


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One line of the comparison: a label, unique on the board, and the recipe that every seed of it uses."""

    label: str
    recipe: Recipe

    @property
    def arch(self) -> str:
        return self.recipe.arch


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who is compared on what, under which budget."""

    contenders: tuple[Contender, ...]
    budget: str
    seeds: tuple[int, ...]
    control: str | None
    fingerprint: str  # of the data, splits included

    def to_dict(self) -> dict[str, Any]:
        """Plain values, comparable with what a compare.json holds."""
        recipes = {}
        for contender in self.contenders:
            fields = contender.recipe.to_dict()
            recipes[contender.label] = {k: v for k, v in fields.items() if k not in _NOT_THE_RECIPE}
        return {
            "models": {c.label: c.arch for c in self.contenders},
            "budget": self.budget,
            "seeds": list(self.seeds),
            "control": self.control,
            "data_fingerprint": self.fingerprint,
            "recipes": recipes,
        }


def make_plan(
    data: DataSet,
    models: Sequence[str] | str,
    *,
    budget: str,
    seeds: int | Iterable[int],
    control: str | None,
    recipes: Mapping[str, Mapping[str, Any]] | None,
    overrides: Mapping[str, Any] | None,
) -> Plan:
    """Check every name and option before anything runs; each mistake is a `UsageError` of one sentence."""
    if control is not None and control not in CONTROLS:
        raise UsageError(f"control {control!r} is not known; there is {', '.join(CONTROLS)}")
    if control is not None and not KINDS[data.task].classification:
        raise UsageError(f"the control {control} is for classification, and {data.name} is data for {data.task}")
    labels = parse_models(models)
    for arch in labels.values():
        check_task(entry(arch), data, "--set task=")
    recipes = recipes or {}
    for label in recipes:
        if label not in labels:
            raise UsageError(
                f"a recipe is given for {label!r}, which is not compared; compared are {', '.join(labels)}"
            )
        if not isinstance(recipes[label], Mapping):
            raise UsageError(f"the recipe of {label} is {recipes[label]!r}; it must map fields to values")
        if shared := [name for name in OPTIONS if name in recipes[label]]:
            raise UsageError(f"the recipe of {label} sets {shared[0]}, but all share the same data; set it for all")
    contenders = []
    for label, arch in labels.items():
        own = _merged(overrides or {}, recipes.get(label, {}))
        if fixed := [name for name in ("budget", "seed", "output", "arch", "data") if name in own]:
            raise UsageError(f"the recipe of {label} sets {fixed[0]}, which the comparison itself decides")
        for part in NESTED:
            if isinstance(own.get(part), Mapping):  # changes what the recipe does by itself, as `options` does
                own = _merged({part: recipe_for(arch, data=data.spec).to_dict()[part]}, own)
        recipe = recipe_for(arch, data=data.spec, **{**own, **data.opened_with}, budget=budget)
        configure_for(entry(arch), recipe.options)
        find_optimizer(recipe.optimizer)
        contenders.append(Contender(label=label, recipe=recipe))
    return Plan(
        contenders=tuple(contenders),
        budget=budget,
        seeds=parse_seeds(seeds),
        control=control,
        fingerprint=data.fingerprint,
    )


def check_plan(plan: Plan, data: DataSet) -> None:
    """What no network of the plan could train with, found before anything is trained.

    What only one network cannot do, such as take so small an image, is left to become its row.
    """
    for contender in plan.contenders:
        recipe = contender.recipe
        choose_device(recipe.device)
        planned_preprocess(recipe, data)  # reads what the weights say of themselves
        if recipe.early_stopping and not data.scorable("val"):
            raise UsageError(f"early_stopping of {contender.label} needs a validation part and {data.name} has none")
    if data.task == FROM_LABEL:
        check_same_tokens(plan, data)


def check_same_tokens(plan: Plan, data: DataSet) -> None:
    """Nats per token can be compared only where all networks foretell the same tokens."""
    assert isinstance(data, SequenceData)
    asked = {tuple(getattr(c.recipe, name) for name in OF_TOKENS): c for c in reversed(plan.contenders)}
    if len(asked) < 2:
        return
    encodings: dict[str, Any] = {c.label: make_encoding(c.recipe, data) for c in reversed(asked.values())}
    (first, own), *others = ((label, encoding.words) for label, encoding in encodings.items())
    for label, found in others:
        if (found.tokenizer, found.max_len) != (own.tokenizer, own.max_len):
            raise UsageError(
                f"{label} writes with other tokens than {first}, and {KINDS[data.task].metric_name} can be compared "
                f"only with the same; give all the same {', '.join(OF_TOKENS[:-1])}, and weights of such a run or none"
            )


def parse_models(models: Sequence[str] | str) -> dict[str, str]:
    """`"lenet5,cnn"` or `["a=lenet5", "b=lenet5"]` to label -> architecture; unknown ones suggest the nearest."""
    names = models.split(",") if isinstance(models, str) else list(models)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise UsageError(f"the model {wrong[0]!r} is no name; `corinth list` shows them all")
    out: dict[str, str] = {}
    for name in (n.strip() for n in names):
        label, _, arch = name.rpartition("=")
        label = label or arch
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", label):
            raise UsageError(
                f"the label {label!r} cannot name a folder; use letters, digits, '.', '_', '+', '-', "
                "beginning with a letter or a digit"
            )
        if label in out:
            raise UsageError(f"{label!r} is named twice; write a=NAME b=NAME to compare one architecture with itself")
        entry(arch)
        out[label] = arch
    if not out:
        raise UsageError("no model to compare; name at least one, `corinth list` shows them all")
    return out


def parse_seeds(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """3 is seeds 0, 1, 2; a list is taken as it is."""
    try:
        if isinstance(seeds, Iterable):
            chosen = tuple(operator.index(seed) for seed in seeds)
        else:
            chosen = tuple(range(min(operator.index(seeds), MOST_SEEDS + 1)))
    except TypeError:
        chosen = ()
    if not 0 < len(chosen) <= MOST_SEEDS or len(set(chosen)) < len(chosen) or min(chosen) < 0 or max(chosen) >= 2**32:
        raise UsageError(
            f"seeds {seeds!r} should be a whole number from 1 to {MOST_SEEDS}, or different whole numbers from 0 to "
            "2^32 - 1"
        )
    return chosen


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, mappings inside merged too."""
    out = dict(base)
    for key, value in changes.items():
        inner = out.get(key)
        out[key] = _merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return out


def claim_folder(folder: Path, plan: Plan, *, resume: bool) -> None:
    """Write the plan into `folder`, or check that the one that lies there is the same."""
    declared, path = plan.to_dict(), folder / FILE
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a new folder with --output")
    if not path.exists():
        if folder.exists() and any(not path.match(f".{FILE}.*.tmp") for path in folder.iterdir()):
            raise UsageError(f"{folder} is not empty and holds no comparison; name a new folder with --output")
        write_json(path, {"format": FORMAT, "plan": declared})
        return
    if not resume:
        raise UsageError(f"{folder} holds a comparison already; resume it, or name a new folder with --output")
    try:
        before = json.loads(path.read_text(encoding="utf-8"))["plan"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorinthError(f"{path} cannot be read as a comparison's plan; name a new folder with --output") from error
    before = _completed(before)
    if before != declared:
        raise UsageError(
            f"{folder} holds another comparison ({'; '.join(differing(before, declared))}); "
            "give the same plan again to resume it, or name a new folder with --output"
        )
    sweep(folder)


def _completed(plan: Any) -> Any:
    """A plan with the fields that recipes have got since it was written, at their defaults."""
    recipes = plan.get("recipes") if isinstance(plan, dict) else None
    if not isinstance(recipes, dict) or not all(isinstance(recipe, dict) for recipe in recipes.values()):
        return plan
    usual = Recipe(arch="x", data="x").to_dict()
    fresh = {name: value for name, value in usual.items() if name not in (*_NOT_THE_RECIPE, "arch", "budget")}
    return plan | {"recipes": {label: fresh | recipe for label, recipe in recipes.items()}}


def differing(before: Any, now: Any, path: str = "", limit: int = 4) -> list[str]:
    """Where two nests of plain values differ: "budget: 20ep there, 5ep now"."""
    if path == "data_fingerprint":
        return ["the data or its splits have changed"]
    if isinstance(before, dict) and isinstance(now, dict):
        found: list[str] = []
        for key in [*before, *(k for k in now if k not in before)]:
            if before.get(key) != now.get(key):
                found += differing(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
        return found if len(found) <= limit else [*found[:limit], f"and {len(found) - limit} more"]
    return [f"{path}: {_short(before)} there, {_short(now)} now"]


def _short(value: Any) -> str:
    return "none" if value is None else ",".join(map(str, value)) if isinstance(value, list | dict) else str(value)
