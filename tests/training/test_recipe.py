import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from corinth.data import Augmentation
from corinth.errors import UsageError
from corinth.registry import card
from corinth.training import Recipe, recipe_for

FULL = Recipe(
    arch="resnet20_cifar10",
    data="photos/",
    options={"drop_rate": 0.2, "activation": "relu", "flag": True, "channels": (16, 32), "none": None},
    weights="w.safetensors",
    budget="2e6samples",
    betas=(0.5, 0.99),
    step_at=(0.3, 0.6, 0.9),
    clip_norm=1.0,
    ema=0.999,
    precision="bf16",
    augmentation=Augmentation(crop_padding=0.125, flip=True, random_resized_crop=(0.3, 1.0), mixup=0.2),
    img_size=64,
    threads=2,
    output="runs/x",
)


@pytest.mark.parametrize(
    "recipe", [FULL, Recipe(arch="lenet5", data="digits"), dataclasses.replace(FULL, batch_size="auto")]
)
def test_yaml_round_trip_is_exact(recipe: Recipe, tmp_path: Path) -> None:
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    (tmp_path / "r.yaml").write_text(recipe.to_yaml())
    assert Recipe.from_yaml(tmp_path / "r.yaml") == recipe


def test_yaml_written_by_hand() -> None:
    recipe = Recipe.from_yaml(
        "{arch: a, data: d, lr: 1e-3, weight_decay: 0, step_at: [0.5], clip_norm: 5e-1, threads: 2.0}"
    )
    assert (recipe.lr, recipe.weight_decay, recipe.step_at, recipe.clip_norm, recipe.threads) == (
        1e-3,
        0.0,
        (0.5,),
        0.5,
        2,
    )
    assert type(recipe.weight_decay) is float
    assert type(recipe.threads) is int


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{arch: a, data: d, learning_rate: 1}", "has no field 'learning_rate'"),
        ("{arch: a, data: d, shedule: step}", "'shedule'; did you mean schedule?"),
        ("{arch: a, data: d, augmentation: {flips: true}}", "augmentation has no field 'flips'; did you mean flip?"),
        ("{arch: a}", "lacks data"),
        ("[1, 2]", "must be a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_wrong_yaml_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=r"^(the recipe|augmentation)") as error:
        Recipe.from_yaml(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.yaml cannot be read"):
        Recipe.from_yaml(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("batch_size", "large"),
        ("batch_size", 12.5),
        ("eval_batch_size", 0),
        ("lr", 0),
        ("lr", float("nan")),
        ("lr", "fast"),
        ("momentum", 1.0),
        ("betas", (0.9,)),
        ("betas", (0.9, 1.0)),
        ("weight_decay", -1),
        ("schedule", "cosin"),
        ("warmup", 1.0),
        ("step_at", (1.5,)),
        ("step_gamma", 0),
        ("final_lr", 2),
        ("label_smoothing", 1),
        ("class_weights", "equal"),
        ("clip_norm", 0),
        ("accumulate", 0),
        ("accumulate", 129),
        ("ema", 1.0),
        ("precision", "fp16"),
        ("compile", "yes"),
        ("early_stopping", -1),
        ("save_every", 0),
        ("img_size", 0),
        ("fit", "stretch"),
        ("seed", -1),
        ("val_share", 1.0),
        ("threads", 0),
        ("optimizer", ""),
        ("options", 3),
    ],
)
def test_a_value_that_cannot_be_names_field_value_and_what_is_valid(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^{field} .* is not valid; it must be ") as error:
        Recipe(arch="a", data="d", **{field: value})
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("field", ["budget", "evaluate_every"])
def test_budgets_are_checked(field: str) -> None:
    with pytest.raises(UsageError, match=f"^{field} '20 steps' is not understood"):
        Recipe(arch="a", data="d", **{field: "20 steps"})
    with pytest.raises(UsageError, match="evaluate_every '1e9flops'"):
        Recipe(arch="a", data="d", evaluate_every="1e9flops")


def test_shares_must_leave_something_to_train_on() -> None:
    with pytest.raises(UsageError, match=r"val_share 0\.5 .* together with test_share"):
        Recipe(arch="a", data="d", val_share=0.5, test_share=0.5)


def test_a_wrong_augmentation_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"erasing 2\.0"):
        Recipe.from_dict({"arch": "a", "data": "d", "augmentation": {"erasing": 2.0}})


def test_recipe_for_lays_the_card_over_the_defaults_and_the_overrides_over_the_card() -> None:
    known = card("resnet20_cifar10").recipe
    recipe = recipe_for("resnet20_cifar10", data="digits", budget="60s")
    assert recipe.budget == "60s"
    for field in ("lr", "batch_size", "optimizer", "weight_decay"):
        if field in known:
            assert getattr(recipe, field) == known[field]
    assert recipe_for("resnet20_cifar10", data="digits", lr=0.5).lr == 0.5


def test_another_optimizer_brings_its_own_learning_rate() -> None:
    recipe = recipe_for("resnet20_cifar10", data="digits", optimizer="adamw")
    assert (recipe.optimizer, recipe.lr) == ("adamw", 1e-3)
    assert recipe_for("resnet20_cifar10", data="digits", optimizer="adamw", lr=0.01).lr == 0.01


def test_the_published_recipe_is_another_one() -> None:
    published = recipe_for("resnet50", data="photos", published=True)
    assert published.weight_decay == card("resnet50").published_recipe["weight_decay"]
    with pytest.raises(UsageError, match="lenet5 has no published recipe"):
        recipe_for("lenet5", data="digits", published=True)


def test_unknown_architecture_and_field() -> None:
    with pytest.raises(UsageError, match="did you mean resnet50"):
        recipe_for("resnet5O", data="digits")
    with pytest.raises(UsageError, match="no field 'learning_rate'"):
        recipe_for("lenet5", data="digits", learning_rate=1)


def test_the_recipe_needs_no_torch() -> None:
    code = "import sys, corinth.training.recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_digits_are_not_mirrored_but_pictures_are() -> None:
    assert recipe_for("resnet20_cifar10", "fashion_mnist").augmentation.flip
    assert recipe_for("resnet20_cifar10", "a/folder").augmentation.flip
    for digits in ("digits", "mnist", "mnist_t10k", "MNIST", "mnist-t10k"):
        assert not recipe_for("resnet20_cifar10", digits).augmentation.flip
        assert recipe_for("resnet20_cifar10", digits).augmentation.crop_padding == 0.0625
