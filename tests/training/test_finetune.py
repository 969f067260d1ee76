"""Freezing, layer-wise learning rates and the fine-tuning recipe."""

import hashlib
import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from loop_toys import Regression, loop, recipe
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch import Tensor, nn

from corinth.cli.training import read
from corinth.data import ImageData, open_data
from corinth.errors import UsageError
from corinth.inspect import stages
from corinth.predictor import load_run
from corinth.registry import card, create_model
from corinth.training import Recipe, Run, SilentReporter, recipe_for, train
from corinth.training.finetune import FIRST_STAGE_SHARE, freeze, training_mode
from corinth.training.optimizers import make_optimizer
from corinth.weights.passport import convert

RESNET: dict[str, Any] = {
    "arch": "resnet20_cifar10",
    "options": {"depth": (1, 1, 1), "width": 4},
    "img_size": 8,
    "batch_size": 32,
    "budget": "2ep",
    "lr": 0.05,
    "device": "cpu",
    "threads": 1,
}
NAMES = ["stem", "stages.0", "stages.1", "stages.2", "head"]


@pytest.fixture(scope="module")
def digits() -> ImageData:
    """Few of them."""
    data = open_data("digits")
    return replace(data, splits=data.splits | {part: data.splits[part][:160] for part in ("train", "val")})


@pytest.fixture(scope="module")
def base(digits: ImageData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Weights to start from."""
    return train(data=digits, output=str(tmp_path_factory.mktemp("base") / "run"), **RESNET | {"budget": "1ep"})


def last(run: Run) -> dict[str, Tensor]:
    """The network's tensors at the end of a training."""
    prefix = "nets.model."
    state = load_file(run.path / "last/state.safetensors")
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def frozen_names(keys: Mapping[str, Any], upto: str) -> set[str]:
    """Written down by hand: what lies in the stages up to and including `upto`, running statistics included."""
    wanted = NAMES[: NAMES.index(upto) + 1]
    return {key for key in keys if any(key.startswith(f"{name}.") for name in wanted)}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ema": 0.9, "accumulate": 2, "clip_norm": 0.5},
        {"precision": "bf16", "layer_decay": 0.5, "optimizer": "adamw", "lr": 0.01},
        {"batch_size": "auto"},
    ],
    ids=lambda fields: ",".join(fields) or "plain",
)
def test_what_is_frozen_stays_bit_for_bit_and_the_rest_learns(
    digits: ImageData, base: Run, tmp_path: Path, fields: dict[str, Any]
) -> None:
    before = load_file(base.path / "model.safetensors")
    settings = RESNET | {"weights": str(base.path), "freeze": "stages.1"} | fields
    run = train(data=digits, output=str(tmp_path / "run"), **settings)
    kept, after = load_file(run.path / "model.safetensors"), last(run)
    frozen = frozen_names(before, "stages.1")
    assert {key.rpartition(".")[2] for key in frozen} >= {"weight", "bias", "running_mean", "running_var"}
    for key, tensor in before.items():
        for found in (kept[key], after[key]):
            assert torch.equal(found, tensor) == (key in frozen), key


def test_frozen_stages_cost_no_memory_of_the_optimizer(digits: ImageData, base: Run, tmp_path: Path) -> None:
    settings = RESNET | {"weights": str(base.path), "freeze": 4, "budget": "32samples"}
    run = train(data=digits, output=str(tmp_path / "run"), **settings)
    state = load_file(run.path / "last/state.safetensors")
    remembered = [key for key in state if key.startswith("optimizer.")]
    assert len(remembered) == 2  # the head's weight and bias
    assert run.recipe.freeze == 4
    assert Recipe.from_yaml(run.path / "recipe.yaml") == run.recipe


class Listening(SilentReporter):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.info: Mapping[str, Any] = {}

    def start(self, info: Mapping[str, Any]) -> None:
        self.info = info

    def message(self, text: str) -> None:
        self.said.append(text)


def test_what_is_frozen_is_said(digits: ImageData, base: Run, tmp_path: Path) -> None:
    listening = Listening()
    settings = RESNET | {"weights": str(base.path), "freeze": "stages", "budget": "32samples"}
    train(data=digits, output=str(tmp_path / "run"), reporter=listening, **settings)
    whole = sum(p.numel() for p in create_model(RESNET["arch"], **RESNET["options"], in_chans=1).parameters())
    head = 16 * 10 + 10
    assert f"frozen: stem, stages.0, stages.1, stages.2 ({whole - head:,} of {whole:,} parameters)" in listening.said
    assert listening.info["parameters"] == whole


class Interrupting(SilentReporter):
    def evaluation(self, row: Mapping[str, Any]) -> None:
        if row["epoch"] == 1:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_resumed_run_goes_on_exactly(digits: ImageData, base: Run, tmp_path: Path, optimizer: str) -> None:
    weights = shutil.copytree(base.path, tmp_path / "weights")
    settings = RESNET | {"weights": str(weights), "freeze": 2, "layer_decay": 0.6, "optimizer": optimizer}
    settings |= {"ema": 0.9, "clip_norm": 1.0, "warmup": 0.3, "lr": 0.01, "augmentation": {"crop_padding": 0.125}}
    whole = train(data=digits, output=str(tmp_path / "whole"), **settings)
    cut = train(data=digits, output=str(tmp_path / "cut"), reporter=Interrupting(), **settings)
    assert cut.interrupted
    shutil.rmtree(weights)  # what it started from is not needed any more
    again = train(data=digits, resume=cut.path)
    for file in ("model.safetensors", "last/state.safetensors"):
        first, second = load_file(whole.path / file), load_file(again.path / file)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_run_says_what_it_started_from(digits: ImageData, base: Run, tmp_path: Path) -> None:
    config = json.loads((base.path / "config.json").read_text())
    assert config["source"] is None
    origin = {"licence": "Apache-2.0", "origin": "https://example.org/weights", "url": "https://example.org/1"}
    weights = shutil.copytree(base.path, tmp_path / "weights")
    (weights / "config.json").write_text(json.dumps(config | {"source": origin}))
    run = train(data=digits, output=str(tmp_path / "run"), **RESNET | {"weights": str(weights), "budget": "32samples"})
    digest = hashlib.sha256((weights / "model.safetensors").read_bytes()).hexdigest()
    started_from = {"title": str(weights), "sha256": digest, **origin}
    assert json.loads((run.path / "config.json").read_text())["source"] == started_from
    assert yaml.safe_load((run.path / "recipe.yaml").read_text())["network"]["started_from"] == started_from
    passport = convert(run.path, RESNET["arch"], tmp_path / "converted.safetensors")
    assert (passport.licence, passport.origin) == (origin["licence"], origin["origin"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch.compile's own imports
def test_a_compiled_network_can_be_frozen(digits: ImageData, base: Run, tmp_path: Path) -> None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("no C++ compiler on the PATH: compile cannot be tried")
    before = load_file(base.path / "model.safetensors")
    settings = RESNET | {"weights": str(base.path), "freeze": "stages.0", "layer_decay": 0.5, "compile": True}
    after = last(train(data=digits, output=str(tmp_path / "run"), **settings))
    frozen = frozen_names(before, "stages.0")
    assert {key for key in before if torch.equal(before[key], after[key])} == frozen


class Staged(nn.Module):
    """Three stages over the loop's points."""

    def __init__(self) -> None:
        super().__init__()
        self.cfg = SimpleNamespace(in_chans=3, min_size=1)
        self.head, self.body, self.stem = nn.Linear(4, 1), nn.Linear(4, 4), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x.flatten(1)).tanh()).tanh())


def staged() -> Regression:
    task = Regression()
    task.nets = nn.ModuleDict({"model": Staged()})
    return task


def rates(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, tuple[float, float]]:
    """The rate and the weight decay of each parameter."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(p)]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]
    }


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_each_group_follows_the_schedule_at_its_own_rate(optimizer: str) -> None:
    task = staged()
    settings = recipe(
        optimizer=optimizer, lr=0.2, layer_decay=0.5, warmup=0.2, schedule="cosine", final_lr=0.1, weight_decay=0.01
    )
    made, _ = loop(task, settings)
    wanted = {0.0: 0.0, 0.1: 0.5, 0.2: 1.0, 0.6: 0.1 + 0.9 * (1 + math.cos(math.pi / 2)) / 2, 1.0: 0.1}
    for progress, share in wanted.items():
        made.set_lr("train", progress)
        found = rates(made.optimizers["train"], task.nets["model"])
        for stage, factor in (("head", 1.0), ("body", 0.5), ("stem", 0.25)):
            assert found[f"{stage}.weight"] == pytest.approx((0.2 * factor * share, 0.01))
            assert found[f"{stage}.bias"] == pytest.approx((0.2 * factor * share, 0.0))
        assert made.lr == pytest.approx(0.2 * share)  # what is logged is the head's


def test_one_step_moves_each_stage_by_its_own_rate() -> None:
    task = staged()
    model = task.nets["model"]
    made, _ = loop(task, recipe(layer_decay=0.5, momentum=0.0, weight_decay=0.0, schedule="constant"))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    batch = next(iter(made.loader))
    (task.predict(batch) - batch.targets).square().mean().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    made.train(batch, 0.0)
    for name, parameter in model.named_parameters():
        rate = 0.1 * {"head": 1.0, "body": 0.5, "stem": 0.25}[name.partition(".")[0]]
        torch.testing.assert_close(parameter.detach(), before[name] - rate * gradients[name])


def test_freezing_leaves_the_rates_of_the_others() -> None:
    model = Staged()
    freeze(model, "stem", "staged")
    found = rates(make_optimizer(recipe(layer_decay=0.5), [model]), model)
    assert {name: rate for name, (rate, _) in found.items()} == pytest.approx(
        {"head.weight": 0.1, "head.bias": 0.1, "body.weight": 0.05, "body.bias": 0.05}
    )


def test_without_decay_the_groups_are_two() -> None:
    groups = make_optimizer(recipe(), [Staged()]).param_groups
    assert [(len(group["params"]), group["lr"], group["weight_decay"]) for group in groups] == [
        (3, 0.1, 5e-4),
        (3, 0.1, 0.0),
    ]


def test_only_what_is_frozen_whole_is_in_evaluation_mode() -> None:
    with torch.device("meta"):
        model = create_model("vgg11_bn", fc_dim=8)
    freeze(model, "features.4", "vgg11_bn")
    training_mode(model)
    norms = [key for key, module in model.named_modules() if isinstance(module, nn.BatchNorm2d) and not module.training]
    assert norms == ["features.1", "features.5"]
    assert all(module.training for module in (model, model.features, model.fc6, model.drop))
    model.requires_grad_(True)
    training_mode(model)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("upto", [2, "2", "stages.0"])
def test_a_number_of_stages_or_a_name(upto: int | str) -> None:
    model = create_model("resnet20_cifar10")
    wanted = Recipe(arch="a", data="d", freeze=upto).freeze
    assert wanted is not None
    freeze(model, wanted, "resnet20_cifar10")
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if name.startswith(("stem.", "stages.0."))}


@pytest.mark.parametrize(
    ("upto", "said"),
    [
        ("stage.1", "is no stage of resnet20_cifar10; did you mean stages.1? it has " + ", ".join(NAMES)),
        ("layer3", "is no stage of resnet20_cifar10; it has " + ", ".join(NAMES)),
        ("head", "freeze 'head' leaves nothing of resnet20_cifar10 to train; the last stage that can be frozen is st"),
        (5, "freeze 5 leaves nothing of resnet20_cifar10 to train; the last stage that can be frozen is stages.2"),
    ],
)
def test_a_stage_that_is_not_there_is_one_sentence(
    digits: ImageData, tmp_path: Path, upto: int | str, said: str
) -> None:
    settings = {key: value for key, value in RESNET.items() if key != "options"}
    with pytest.raises(UsageError) as error:
        train(data=digits, output=str(tmp_path / "run"), **settings, freeze=upto)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [("layer_decay", 0), ("layer_decay", 1.01), ("layer_decay", -0.5), ("freeze", 0), ("freeze", "")],
)
def test_values_that_cannot_be(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^{field} .* is not valid; it must be "):
        Recipe(arch="a", data="d", **{field: value})


@pytest.mark.parametrize("name", ["resnet20_cifar10", "cnn", "resnet50", "vgg19_bn", "googlenet", "lenet5_1998"])
def test_the_recipe_for_fine_tuning(name: str) -> None:
    own, tuned = recipe_for(name, "photos/"), recipe_for(name, "photos/", finetune=True, weights="w.safetensors")
    assert tuned.lr < own.lr
    assert tuned.warmup > 0
    assert tuned.img_size is None
    assert tuned.freeze is None
    assert (tuned.optimizer, tuned.weight_decay, tuned.label_smoothing) == (
        own.optimizer,
        own.weight_decay,
        own.label_smoothing,
    )
    assert tuned.augmentation.flip == own.augmentation.flip
    assert tuned.augmentation.random_resized_crop is None
    assert tuned.batch_size <= own.batch_size
    with torch.device("meta"):
        count = len(stages(create_model(name)))
    assert tuned.layer_decay ** (count - 1) == pytest.approx(FIRST_STAGE_SHARE, rel=0.05)


def test_what_is_given_wins_over_the_recipe_for_fine_tuning() -> None:
    given: dict[str, Any] = {"lr": 0.5, "budget": "3ep", "layer_decay": 1.0, "img_size": 48, "freeze": "stem"}
    tuned = recipe_for("resnet18", "photos/", finetune=True, weights="w", **given)
    assert {name: getattr(tuned, name) for name in given} == given
    adam = recipe_for("resnet18", "photos/", finetune=True, weights="w", optimizer="adamw")
    assert adam.lr < recipe_for("resnet18", "photos/", optimizer="adamw").lr
    other = recipe_for("cnn", "photos/", finetune=True, weights="w", options={"channels": (8, 16)})
    assert other.options == {**card("cnn").recipe["options"], "channels": (8, 16)}
    assert other.layer_decay < recipe_for("cnn", "photos/", finetune=True, weights="w").layer_decay


def test_fine_tuning_needs_weights() -> None:
    with pytest.raises(UsageError, match="finetune starts from weights and none are given; name a run folder, a"):
        recipe_for("cnn", "digits", finetune=True)
    with pytest.raises(UsageError, match="finetune starts from weights"):
        train(arch="cnn", data="digits", finetune=True)
    with pytest.raises(UsageError, match="published and finetune are two recipes"):
        recipe_for("resnet18", "digits", finetune=True, published=True, weights="w")
    with pytest.raises(UsageError, match="cnn has no option 'chanels'"):
        recipe_for("cnn", "digits", finetune=True, weights="w", options={"chanels": 3})


LINE = "--data digits --model cnn --finetune"


def test_the_flag_is_the_argument() -> None:
    found = read(f"{LINE} --weights w.safetensors --lr 0.5 --freeze 1 --set channels=8,16".split()).recipe
    options = {"channels": (8, 16)}
    assert found == recipe_for(
        "cnn", "digits", finetune=True, weights="w.safetensors", lr=0.5, freeze=1, options=options
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "--finetune needs --weights: a run folder, a checkpoint file or an id to start from"),
        ("--weights w --published", "published and finetune are two recipes"),
        ("--recipe r.yaml --weights w", "--recipe and --finetune are two recipes"),
        ("--weights w --layer-decay 2", "layer_decay 2.0 is not valid"),
    ],
)
def test_flags_that_contradict_each_other(line: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(f"{LINE} {line}".split())


@pytest.fixture(scope="module")
def digit_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Real handwritten digits of some classes as PNG files: so many a class to train on, 8 to validate, 60 to test."""

    def write(name: str, classes: range, train: int) -> Path:
        folder, source = tmp_path_factory.mktemp(name), load_digits()
        images = (source.images * (255 / 16)).astype(np.uint8)
        for label in classes:
            rows = np.flatnonzero(source.target == label)
            for part, chosen in (("train", rows[:train]), ("val", rows[-8:]), ("test", rows[110:170])):
                (folder / part / f"digit {label}").mkdir(parents=True)
                for row in chosen:
                    Image.fromarray(images[row]).save(folder / part / f"digit {label}" / f"{row}.png")
        return folder

    return write


def test_few_images_are_learnt_better_from_weights_of_others(digit_folder: Callable[..., Path], tmp_path: Path) -> None:
    """Trained on the digits 0 to 4, then on four images each of 5 to 9; chance is 0.2."""
    shared: dict[str, Any] = {
        "arch": "resnet20_cifar10",
        "options": {"depth": (1, 1, 1), "width": 8},
        "augmentation": {"crop_padding": 0.0625},
        "evaluate_every": "15ep",
        "device": "cpu",
        "threads": 1,
    }
    many, few = (open_data(str(digit_folder(*made))) for made in (("many", range(5), 100), ("few", range(5, 10), 4)))
    first = train(data=many, output=str(tmp_path / "first"), **shared, img_size=8, budget="10ep", batch_size=32, lr=0.1)
    scores = []
    for seed in (0, 1, 2):
        tuned = train(
            data=few, output=str(tmp_path / f"tuned{seed}"), **shared, finetune=True, weights=str(first.path), seed=seed
        )
        fields = {"img_size": 8, "budget": tuned.recipe.budget, "batch_size": tuned.recipe.batch_size, "seed": seed}
        scratch = train(data=few, output=str(tmp_path / f"scratch{seed}"), **shared, **fields)
        assert load_run(tuned.path).preprocess == load_run(first.path).preprocess
        scores.append([load_run(run.path).evaluate(few, "test").top1 for run in (tuned, scratch)])
    better, worse = np.mean(scores, axis=0)  # of one seed alone it depends on how sums are rounded
    assert better > 0.6
    assert better > worse + 0.1
