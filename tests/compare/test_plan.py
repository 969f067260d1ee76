"""What a comparison declares, and the mistakes it refuses before anything is trained."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fabricate import image_data

from corinth.compare.plan import Plan, check_plan, claim_folder, differing, make_plan, parse_models, parse_seeds
from corinth.data import ImageData, open_data
from corinth.errors import CorinthError, UsageError


def plan(models: str = "lenet5,cnn", **changes: Any) -> Plan:
    options = {"budget": "2ep", "seeds": 2, "control": None, "recipes": None, "overrides": None} | changes
    return make_plan(image_data(), models, **options)


def test_models_by_name_and_by_label() -> None:
    assert parse_models("lenet5, cnn") == {"lenet5": "lenet5", "cnn": "cnn"}
    assert parse_models(["a=lenet5", "b=lenet5"]) == {"a": "lenet5", "b": "lenet5"}


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ("lenet6", "did you mean lenet5"),
        ("lenet5,lenet5", "named twice; write a=NAME b=NAME"),
        ("../up=lenet5", "cannot name a folder"),
        ("<b>=lenet5", "cannot name a folder"),
        ([], "no model to compare"),
    ],
)
def test_wrong_models(models: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_models(models)


def test_seeds() -> None:
    assert parse_seeds(3) == (0, 1, 2)
    assert parse_seeds([5, 2]) == (5, 2)
    assert parse_seeds(np.arange(2)) == parse_seeds(np.int64(2)) == (0, 1)
    for wrong in (0, -1, [], [1, 1], [-2], 2.5, "3", None, [0.5], [2**40]):
        with pytest.raises(UsageError, match="seeds"):
            parse_seeds(wrong)


def test_recipes_are_each_ones_own_with_common_and_single_changes() -> None:
    found = plan(
        overrides={"threads": 1, "augmentation": {"flip": True}},
        recipes={"cnn": {"lr": 0.0123, "augmentation": {"erasing": 0.5}}},
    )
    by_label = {c.label: c.recipe for c in found.contenders}
    assert by_label["cnn"].lr == 0.0123
    assert by_label["lenet5"].lr != 0.0123
    assert all(r.threads == 1 and r.budget == "2ep" and r.augmentation.flip for r in by_label.values())
    assert by_label["cnn"].augmentation.erasing == 0.5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipes": {"vgg11": {"lr": 1}}}, "'vgg11', which is not compared"),
        ({"recipes": {"cnn": {"budget": "9ep"}}}, "sets budget, which the comparison itself decides"),
        ({"overrides": {"learning_rate": 1}}, "no field 'learning_rate'"),
        ({"recipes": {"cnn": {"options": {"activation": "gelu"}}}}, "cnn: activation 'gelu'"),
        ({"recipes": {"cnn": {"options": {"kernel": 3}}}}, "cnn has no option 'kernel'"),
        ({"recipes": {"cnn": {"split_seed": 5}}}, "cnn sets split_seed, but all share the same data"),
        ({"overrides": {"optimizer": "nonsense"}}, "nonsense"),
        ({"models": [5]}, "the model 5 is no name"),
        ({"recipes": {"cnn": 5}}, "the recipe of cnn is 5"),
        ({"overrides": {"options": 5}}, "options"),
        ({"control": "shuffled"}, "shuffled-labels"),
        ({"budget": "20 bananas"}, "budget"),
    ],
)
def test_wrong_options(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan(**changes)


def test_the_same_plan_may_go_on_and_another_may_not(tmp_path: Path) -> None:
    claim_folder(tmp_path, plan(), resume=True)
    claim_folder(tmp_path, plan(), resume=True)
    with pytest.raises(UsageError, match="budget: 2ep there, 3ep now"):
        claim_folder(tmp_path, plan(budget="3ep"), resume=True)
    with pytest.raises(UsageError, match=r"recipes.cnn.lr: .* there, 0.5 now"):
        claim_folder(tmp_path, plan(recipes={"cnn": {"lr": 0.5}}), resume=True)
    with pytest.raises(UsageError, match="holds a comparison already"):
        claim_folder(tmp_path, plan(), resume=False)
    other = dataclasses.replace(plan(), fingerprint="another")
    with pytest.raises(UsageError, match="the data or its splits have changed"):
        claim_folder(tmp_path, other, resume=True)


def checked(data: ImageData, models: str, **overrides: Any) -> None:
    made = make_plan(data, models, budget="1ep", seeds=1, control=None, recipes=None, overrides=overrides)
    check_plan(made, data)


def test_patience_without_a_validation_part_is_noticed_first() -> None:
    data = open_data("digits", val_share=0)
    with pytest.raises(UsageError, match="early_stopping of cnn needs a validation part and digits has none"):
        checked(data, "cnn", early_stopping=2)


def test_a_device_or_weights_that_are_not_there_are_noticed_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="device 'gpux'"):
        checked(image_data(), "cnn", device="gpux")
    with pytest.raises(CorinthError, match="gone"):
        checked(image_data(), "cnn", weights=str(tmp_path / "gone"))


def test_a_change_of_augmentation_does_not_mirror_digits() -> None:
    options: dict[str, Any] = {"budget": "2ep", "seeds": 1, "control": None, "recipes": None}
    changes = {"augmentation": {"erasing": 0.1}}
    (contender,) = make_plan(open_data("digits"), "resnet18", **options, overrides=changes).contenders
    assert contender.recipe.augmentation.erasing == 0.1
    assert not contender.recipe.augmentation.flip
    assert contender.recipe.augmentation.crop_padding > 0


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "board").write_text("")
    with pytest.raises(UsageError, match="board is a file; name a new folder"):
        claim_folder(tmp_path / "board", plan(), resume=True)


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".compare.json.7.tmp").write_text("{")
    claim_folder(tmp_path, plan(), resume=True)
    (tmp_path / ".leaderboard.json.7.tmp").write_text("{")
    claim_folder(tmp_path, plan(), resume=True)
    assert [p.name for p in tmp_path.iterdir()] == ["compare.json"]


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(UsageError, match="not empty and holds no comparison"):
        claim_folder(tmp_path, plan(), resume=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_damaged_plan_is_one_sentence(tmp_path: Path) -> None:
    for damaged in ("{", "[]"):
        (tmp_path / "compare.json").write_text(damaged)
        with pytest.raises(CorinthError, match="cannot be read as a comparison's plan"):
            claim_folder(tmp_path, plan(), resume=True)


def test_long_differences_are_cut() -> None:
    before, now = {str(k): k for k in range(9)}, {str(k): -k - 1 for k in range(9)}
    assert differing(before, now)[-1] == "and 5 more"
