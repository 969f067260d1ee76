"""Features and augmentation of series in a recipe, in the run and its weights, in comparisons."""

from pathlib import Path
from typing import Any

import pytest
import torch

from corinth.cli.comparing import _recipes
from corinth.compare.plan import make_plan
from corinth.data import SequenceData, open_data
from corinth.data.augmentation import SeriesAugmentation, SeriesFeatures
from corinth.errors import UsageError
from corinth.predictor import load_run
from corinth.training import Recipe, Run, recipe_for, train
from corinth.training.options import refuse_idle_fields
from corinth.weights import read_config
from sequence_sets import text_rows, waves, write_table, write_ts

CHANGES: dict[str, Any] = {"crop": 0.1, "speed": 0.2, "scale": 0.1, "noise": 0.1, "time_masks": 1, "channel_masks": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SequenceData:
    found = open_data(write_ts(tmp_path_factory.mktemp("series") / "waves.ts", *waves(each=40)))
    assert isinstance(found, SequenceData)
    return found


def quick(data: SequenceData, output: Path, **fields: Any) -> Run:
    usual: dict[str, Any] = {"arch": "gru", "budget": "2ep", "batch_size": 8, "lr": 0.01, "warmup": 0.0}
    return train(data=data, output=str(output), **(usual | {"options": {"hidden_size": 16}} | fields))


def test_features_belong_to_the_weights(data: SequenceData, tmp_path: Path) -> None:
    series = {"deltas": True, "stack": 2, "normalise": True}
    run = quick(data, tmp_path / "a", series=series, budget="12ep", series_augmentation={"speed": 0.1})
    config = read_config(run.path)
    assert config.config["input_size"] == 8
    assert (config.preprocess.deltas, config.preprocess.stack, config.preprocess.normalise) == (True, 2, True)
    network: Any = load_run(run.path)
    found = network.evaluate(data, "test")
    assert found.top1 > 0.9
    alone = [network.predict([data.source.sequence(int(i))])[0].label for i in found.index]
    assert alone == [network.classes[row.argmax()] for row in found.probs]
    assert run.recipe.series == SeriesFeatures(**series)
    again = quick(data, tmp_path / "b", weights=str(run.path))
    assert read_config(again.path).preprocess == config.preprocess
    with pytest.raises(UsageError, match="series is that of the weights"):
        quick(data, tmp_path / "c", weights=str(run.path), series={"stack": 3})


def test_changed_series_train_the_same_from_the_same_seed(data: SequenceData, tmp_path: Path) -> None:
    how: dict[str, Any] = {"series_augmentation": CHANGES, "schedule": "constant"}
    whole, same = (quick(data, tmp_path / name, budget="3ep", **how) for name in "ab")
    part = quick(data, tmp_path / "c", budget="2ep", **how)
    longer = train(resume=part.path, budget="3ep")
    plain = quick(data, tmp_path / "d", budget="3ep", schedule="constant")
    losses = [run.metrics[-1]["train_loss"] for run in (whole, same, longer, plain)]
    assert losses[0] == losses[1] == losses[2] != losses[3]
    weights = [load_run(run.path).model.state_dict() for run in (whole, longer)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_recipe_has_them(data: SequenceData) -> None:
    recipe = recipe_for("gru", data.spec, series={"stack": 2}, series_augmentation=CHANGES)
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    assert recipe.series_augmentation == SeriesAugmentation(**CHANGES)
    with pytest.raises(UsageError, match="did you mean speed"):
        recipe_for("gru", data.spec, series_augmentation={"sped": 0.2})


def test_what_does_nothing_is_refused(data: SequenceData, tmp_path: Path) -> None:
    for name, value in (("trim", 0.5), ("pitch", 0.2), ("background", 20.0)):
        with pytest.raises(UsageError, match=f"series_augmentation.{name} is for recordings, and waves has none"):
            quick(data, tmp_path / "a", series_augmentation={name: value})
    with pytest.raises(UsageError, match=r"series\.cepstra is for recordings, and waves has none"):
        quick(data, tmp_path / "a", series={"cepstra": 13})
    with pytest.raises(UsageError, match="transcript_units does nothing with time series"):
        refuse_idle_fields(recipe_for("gru", data.spec, transcript_units="characters"), data)
    texts = open_data(write_table(tmp_path / "t.tsv", text_rows()))
    assert isinstance(texts, SequenceData)
    for field in ({"series": {"stack": 2}}, {"series_augmentation": {"speed": 0.2}}):
        with pytest.raises(UsageError, match=f"{next(iter(field))} does nothing with texts"):
            quick(texts, tmp_path / "a", **field)


def test_comparisons_set_them_one_by_one(data: SequenceData) -> None:
    items = ["series.stack=2", "series_augmentation.speed=0.2", "gru.series_augmentation.noise=0.1"]
    overrides, recipes = _recipes(items, ["gru", "lstm"])
    plan = make_plan(data, "gru,lstm", budget="1ep", seeds=1, control=None, overrides=overrides, recipes=recipes)
    gru, lstm = (contender.recipe for contender in plan.contenders)
    assert gru.series == lstm.series == SeriesFeatures(stack=2)
    assert gru.series_augmentation == SeriesAugmentation(speed=0.2, noise=0.1)
    assert lstm.series_augmentation == SeriesAugmentation(speed=0.2)
