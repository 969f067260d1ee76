"""Texts and time series from the recipe to the run folder, its predictions, its report; and compared."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corinth.compare.bakeoff import compare
from corinth.data import SequenceData, open_data
from corinth.errors import DataError, UsageError, WeightsError
from corinth.predictor import SequenceClassifier, load_run
from corinth.registry import list_models
from corinth.report import run_report
from corinth.training import Recipe, Run, recipe_for, train
from corinth.weights import read_config
from sequence_sets import cells, text_rows, waves, write_steps, write_table, write_ts

OPTIONS = {"hidden_size": 16}
TEXT_OPTIONS = {**OPTIONS, "input_size": 8}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> SequenceData:
    data = open_data(write_table(tmp_path_factory.mktemp("texts") / "reviews.tsv", text_rows(each=40)))
    assert isinstance(data, SequenceData)
    return data


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> SequenceData:
    data = open_data(write_ts(tmp_path_factory.mktemp("series") / "waves.ts", *waves(each=40)))
    assert isinstance(data, SequenceData)
    return data


def quick(data: SequenceData, output: Path, **fields: Any) -> Run:
    usual: dict[str, Any] = {"arch": "gru", "budget": "12ep", "batch_size": 8, "lr": 0.01, "warmup": 0.0}
    usual["options"] = TEXT_OPTIONS if data.is_text else OPTIONS
    return train(data=data, output=str(output), **(usual | fields))


@pytest.fixture(scope="module")
def text_run(texts: SequenceData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick(texts, tmp_path_factory.mktemp("runs") / "texts", arch="bigru")


@pytest.fixture(scope="module")
def series_run(series: SequenceData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick(series, tmp_path_factory.mktemp("runs") / "series")


# ---- training ----


def test_texts_are_learnt_and_scored(text_run: Run, texts: SequenceData) -> None:
    predictor = load_run(text_run.path)
    assert isinstance(predictor, SequenceClassifier)
    found = predictor.evaluate(texts, "test", batch_size=5)
    assert found.top1 > 0.9
    assert text_run.best is not None
    assert text_run.best["val_top1"] == pytest.approx(predictor.evaluate(texts, "val").top1)
    assert sorted(found.index.tolist()) == texts.positions("test").tolist()
    whole = predictor.evaluate(texts, "test", batch_size=500)
    np.testing.assert_allclose(
        found.probs[np.argsort(found.index)],  # ty: ignore
        whole.probs[np.argsort(whole.index)],  # ty: ignore
        atol=1e-5,
    )


def test_series_are_learnt_and_scored(series_run: Run, series: SequenceData) -> None:
    assert load_run(series_run.path).evaluate(series, "test").score > 0.9
    config = read_config(series_run.path)
    assert config.task == "sequence-classification"
    assert config.config["input_size"] == 2
    assert config.preprocess.to_dict()["kind"] == "series"


@pytest.mark.parametrize("arch", list_models(task="sequence-classification"))
def test_every_architecture_trains_on_texts_and_series(
    arch: str, texts: SequenceData, series: SequenceData, tmp_path: Path
) -> None:
    for data in (texts, series):
        run = quick(data, tmp_path / data.name, arch=arch, budget="16samples", evaluate_every="16samples")
        assert np.isfinite(run.metrics[-1]["val_loss"])
        assert load_run(run.path).arch == arch


def test_the_same_seed_gives_the_same_run_and_a_resumed_one_too(texts: SequenceData, tmp_path: Path) -> None:
    whole = quick(texts, tmp_path / "a", budget="3ep", seed=4)
    same = quick(texts, tmp_path / "b", budget="3ep", seed=4)
    other = quick(texts, tmp_path / "c", budget="3ep", seed=5)
    losses = [[row["train_loss"] for row in run.metrics] for run in (whole, same, other)]
    assert losses[0] == losses[1] != losses[2]
    part = quick(texts, tmp_path / "d", budget="3ep", seed=4, early_stopping=0, schedule="constant")
    longer = train(resume=part.path, budget="4ep")
    straight = quick(texts, tmp_path / "e", budget="4ep", seed=4, schedule="constant")
    assert longer.metrics[-1]["train_loss"] == straight.metrics[-1]["train_loss"]


def test_accumulated_parts_train_as_one_batch(texts: SequenceData, tmp_path: Path) -> None:
    runs = [
        quick(texts, tmp_path / str(n), budget="1ep", accumulate=n, options={**TEXT_OPTIONS, "drop_rate": 0.0})
        for n in (1, 3)
    ]
    one, three = ([row["val_loss"] for row in run.metrics] for run in runs)
    assert one == pytest.approx(three, rel=1e-4)


def test_batch_size_auto(texts: SequenceData, tmp_path: Path) -> None:
    run = quick(texts, tmp_path / "r", budget="1ep", batch_size="auto")
    assert run.recipe.batch_size == 8


def test_long_texts_lose_their_end_and_it_is_said(texts: SequenceData, tmp_path: Path) -> None:
    from corinth.training.sequences import build_sequence_model

    said: list[str] = []
    recipe = recipe_for("gru", "x", max_len=4, options=TEXT_OPTIONS)
    _, encoding = build_sequence_model(recipe, texts, said.append)
    assert encoding.max_len == 4
    assert len(said) == 1
    assert said[0].endswith("of 80 sequences are longer than max_len, 4 tokens, and lose their end")
    longer = sum(len(text.split()) > 4 for text in texts.source.texts)  # ty: ignore
    assert said[0].startswith(f"{longer} ")


def test_a_trained_network_goes_on_with_its_own_tokenizer(text_run: Run, tmp_path: Path) -> None:
    rows = [(f"a lovely zebra {i}", "good") for i in range(12)] + [(f"a dull zebra {i}", "bad") for i in range(12)]
    other = open_data(write_table(tmp_path / "zebras.tsv", rows))
    assert isinstance(other, SequenceData)
    recipe = dataclasses.replace(text_run.recipe, weights=str(text_run.path), budget="1ep", output=None)
    run = train(recipe, data=other, output=str(tmp_path / "r"))
    before, after = (read_config(found.path).preprocess for found in (text_run, run))
    assert after == before


# ---- what does not fit ----


def test_what_does_not_fit_is_one_sentence(
    texts: SequenceData, series: SequenceData, text_run: Run, series_run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "r"
    for said, call in {
        "is data for sequence-classification and cnn does image-classification": lambda: quick(texts, out, arch="cnn"),
        "img_size does nothing with texts, which reviews are": lambda: quick(texts, out, img_size=32),
        "tokenizer does nothing with time series": lambda: quick(series, out, tokenizer="bpe"),
        "max_len does nothing with images": lambda: train(arch="cnn", data="digits", max_len=3, output=str(out)),
        "input_size 5 does not fit waves, which needs 2": lambda: quick(series, out, options={"input_size": 5}),
        "num_classes 7 does not fit reviews": lambda: quick(texts, out, options={"num_classes": 7}),
        "was not trained on texts": lambda: quick(texts, out, weights=str(series_run.path)),
        "holds time series, and this bigru was trained on texts": lambda: load_run(text_run.path).evaluate(series),
    }.items():
        with pytest.raises(UsageError, match=said) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not out.exists()


def test_a_strange_tokenizer_is_refused(text_run: Run, tmp_path: Path) -> None:
    from corinth.data.sequences.tokenizing import train_tokenizer

    config = json.loads((text_run.path / "config.json").read_text())
    config["preprocess"]["tokenizer"] = train_tokenizer(["abc"], "char", 50, lowercase=True).to_str()
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((text_run.path / "model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"its tokenizer has 5 tokens and its network \d+; the tokenizer is not the"):
        load_run(tmp_path)


def test_recipes_of_sequences() -> None:
    recipe = recipe_for("lstm", "x")
    assert recipe.optimizer == "adamw"
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    for field, value in {"max_len": 0, "vocab_size": 2, "tokenizer": "letters"}.items():
        with pytest.raises(UsageError, match=field):
            recipe_for("lstm", "x", **{field: value})


# ---- predictions ----


def test_texts_and_files_of_texts_are_predicted(text_run: Run, tmp_path: Path) -> None:
    predictor = load_run(text_run.path)
    assert isinstance(predictor, SequenceClassifier)
    (tmp_path / "a.txt").write_text("boring , a dull mess\n")
    write_table(tmp_path / "b.tsv", [("great fun", "?"), ("", "?")])
    found = predictor.predict(["great fun , a joy", tmp_path / "a.txt", tmp_path / "b.tsv", "  ", tmp_path / "no.txt"])
    assert [p.label for p in found] == ["good", "bad", "good", None, None, None]
    assert found[0].name == "great fun , a joy"
    assert found[0].probability is not None
    assert sum(p for _, p in found[0].top) == pytest.approx(1, abs=1e-5)
    assert "the text is empty" in (found[3].error or "")
    assert "no.txt" in (found[5].error or "")
    assert [p.label for p in predictor.predict("a joy")] == ["good"]


def test_series_and_files_of_series_are_predicted(series_run: Run, tmp_path: Path) -> None:
    predictor = load_run(series_run.path)
    assert isinstance(predictor, SequenceClassifier)
    values, labels = waves(each=3, seed=9)
    np.savetxt(tmp_path / "a.csv", values[0], delimiter=",", header="x,y", comments="")
    (tmp_path / "b.csv").write_text("1,2\n3\n")
    (tmp_path / "c.csv").write_text("1,2\n3,nan\n")
    write_ts(tmp_path / "d.ts", values, labels)
    paths = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv", "d.ts")]
    found = predictor.predict([values[3], *paths, values[0][:, :1]])
    assert [p.label for p in found] == ["fast", "slow", None, None, *labels, None]
    assert "b.csv: line 2: has 1 channels and the first has 2" in (found[2].error or "")
    assert "c.csv: the value of channel 2 at step 2 is missing" in (found[3].error or "")
    assert "is (steps, 2) numbers" in (found[-1].error or "")


def test_probabilities_do_not_depend_on_the_batch(text_run: Run) -> None:
    predictor = load_run(text_run.path)
    assert isinstance(predictor, SequenceClassifier)
    texts = [text for text, _ in text_rows(each=6, seed=3)]
    one, many = (predictor.predict(texts, batch_size=size) for size in (1, 64))
    for a, b in zip(one, many, strict=True):
        assert a.name == b.name
        assert a.label == b.label
        assert a.probability == pytest.approx(b.probability, abs=1e-5)


# ---- reports and comparisons ----


def test_the_report_shows_texts_and_curves(text_run: Run, texts: SequenceData) -> None:
    path, why_not = run_report(text_run.path, texts)
    page = path.read_text(encoding="utf-8")
    assert why_not is None
    assert "of the validation texts of reviews right" in page
    assert "image" not in page.lower().split("<style")[0]


def test_a_mistake_is_shown_as_what_it_is(text_run: Run, texts: SequenceData, series: SequenceData) -> None:
    from corinth.report.pictures import drawn_series, mistakes

    index = texts.positions("test")[:4]
    targets = texts.source.labels[index]
    wrong = np.eye(2)[1 - targets][None]
    found = mistakes(texts, index, targets, wrong, texts.classes)
    assert [m.text for m in found] == [texts.source.sequence(int(i)) for i in index]
    assert all(m.picture is None for m in found)
    (first,) = mistakes(series, series.positions("test")[:1], np.array([0]), np.eye(2)[[[1]]], series.classes)
    assert first.text is None
    assert (first.picture or "").startswith("data:image/svg+xml;base64,")
    assert drawn_series(np.zeros((1, 1), dtype=np.float32))
    assert len(drawn_series(np.random.default_rng(0).normal(size=(100_000, 1)))) < 20_000


def test_networks_are_compared_on_texts(texts: SequenceData, tmp_path: Path) -> None:
    overrides = {"batch_size": 8, "lr": 0.01, "options": TEXT_OPTIONS}
    board = compare(texts, "gru,rnn", budget="3ep", seeds=2, output=tmp_path / "c", overrides=overrides)
    assert board.exit_code == 0
    assert board.task == "sequence-classification"
    row = next(row for row in board.rows if row.label == "gru")
    assert row.cost is not None
    assert row.cost.macs > 0
    assert row.cost.latency_ms is not None
    assert row.cost.problem is None
    assert board.report is not None
    page = board.report.read_text(encoding="utf-8")
    assert "scored once on 16 test texts" in page
    assert "Latency of one sequence" in page or "Latency of one text" in page
    assert "median length" in page


def test_a_control_with_shuffled_labels(series: SequenceData, tmp_path: Path) -> None:
    board = compare(
        series,
        "gru",
        budget="2ep",
        seeds=1,
        control="shuffled-labels",
        output=tmp_path / "c",
        overrides={"batch_size": 8, "options": OPTIONS},
        latency=False,
        report=False,
    )
    assert board.rows[0].chance == pytest.approx(0.5, abs=0.05)


def test_tokens_have_a_latency() -> None:
    from corinth import create_model
    from corinth.inspect import latency

    model = create_model("gru", vocab_size=9, input_size=4, hidden_size=4)
    assert latency(model, (5, 1), batch=2, seconds=0.01).batch == 2
    assert torch.is_grad_enabled()


# ---- options that would do nothing, and other ways in ----


def test_a_run_s_encoding_cannot_be_changed(texts: SequenceData, text_run: Run, tmp_path: Path) -> None:
    for field, value in {"tokenizer": "bpe", "max_len": 3, "vocab_size": 50, "lowercase": False}.items():
        with pytest.raises(UsageError, match=f"{field} is that of the weights"):
            quick(texts, tmp_path / "r", weights=str(text_run.path), **{field: value})


def test_finetuning_on_texts(texts: SequenceData, text_run: Run, tmp_path: Path) -> None:
    recipe = recipe_for("bigru", texts.spec, finetune=True, weights=str(text_run.path), options=TEXT_OPTIONS)
    recipe = dataclasses.replace(recipe, budget="1ep", batch_size=8)
    run = train(recipe, data=texts, output=str(tmp_path / "r"))
    assert run.metrics[-1]["val_top1"] > 0.8


def test_an_answer_at_every_step_does_not_fit_labels(texts: SequenceData, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pool none gives an answer at every step"):
        quick(texts, tmp_path / "r", options={**TEXT_OPTIONS, "pool": "none"})


def test_another_number_of_channels_is_one_sentence(series_run: Run, tmp_path: Path) -> None:
    other = open_data(write_ts(tmp_path / "three.ts", *waves(channels=3)))
    assert isinstance(other, SequenceData)
    with pytest.raises(DataError, match="three has series of 3 channels, and the network takes 2"):
        load_run(series_run.path).evaluate(other)


def test_sequence_runs_are_not_converted(text_run: Run, tmp_path: Path) -> None:
    from corinth.weights.passport import convert

    with pytest.raises(UsageError, match=r"bigru is not converted: a run's model\.safetensors is all"):
        convert(text_run.path, "bigru", tmp_path / "x", to="corinth")


def test_what_a_person_may_give_to_predict(text_run: Run, series_run: Run, tmp_path: Path) -> None:
    words, waving = load_run(text_run.path), load_run(series_run.path)
    assert isinstance(words, SequenceClassifier)
    assert isinstance(waving, SequenceClassifier)
    (tmp_path / "f").mkdir()
    (tmp_path / "f/a.txt").write_text("a joy")
    (tmp_path / "one.csv").write_text("great fun\nboring\n")
    write_table(tmp_path / "bare.tsv", [("great fun", "good"), ("boring", "bad"), ("a joy", "good")], header=None)
    found = words.predict([tmp_path / "f", tmp_path / "one.csv", tmp_path / "bare.tsv", np.str_("boring")])
    assert [p.label for p in found] == ["good", "good", "bad", "good", "bad", "good", "bad"]
    with pytest.raises(UsageError, match="a text is a string or a path, and number 1 is NoneType"):
        words.predict(["a", None])
    values, labels = waves(each=1, seed=5)
    np.save(tmp_path / "a.npy", values[1])
    np.savez(tmp_path / "b.npz", x=np.stack([values[0][:12], values[1][:12]]))
    (tmp_path / "c.ts").write_text("@classLabel false\n@data\n1,2,3:4,5,6\n")
    (tmp_path / "d.csv").write_text("x,y\n")
    (tmp_path / "e.csv").write_text("1,oops\n3,4\n")
    paths = [tmp_path / name for name in ("a.npy", "b.npz", "c.ts", "d.csv", "e.csv")]
    found = waving.predict([torch.from_numpy(values[0]), *paths])
    assert [p.label for p in found[:4]] == ["slow", "fast", *labels]
    assert [p.error is None for p in found] == [True] * 5 + [False] * 2
    assert "the series has no steps" in (found[5].error or "")
    assert "line 1: could not convert" in (found[6].error or "")


def test_a_comparison_of_an_older_version_goes_on(texts: SequenceData, tmp_path: Path) -> None:
    how: dict[str, Any] = {"budget": "1ep", "seeds": 1, "output": tmp_path / "c", "latency": False, "report": False}
    how["overrides"] = {"batch_size": 8, "options": TEXT_OPTIONS}
    compare(texts, "gru", **how)
    path = tmp_path / "c/compare.json"
    plan = json.loads(path.read_text())
    del plan["plan"]["recipes"]["gru"]["tokenizer"]
    path.write_text(json.dumps(plan))
    assert compare(texts, "gru", **how).exit_code == 0


def test_a_classifier_of_a_table_with_a_step_a_row_predicts_such_a_table(tmp_path: Path) -> None:
    table = write_steps(tmp_path / "cells.csv", cells("ABCDEF", each=4))
    lines = table.read_text().splitlines()
    kinds = ["kind", *("even" if int(line.split(",")[1]) % 2 == 0 else "odd" for line in lines[1:])]
    table.write_text("\n".join(f"{line},{kind}" for line, kind in zip(lines, kinds)))
    how = {"group_column": "cell,cycle", "label_column": "kind", "time_column": "seconds", "channel_columns": "volts"}
    data = open_data(table, **how)  # ty: ignore
    run = quick(data, tmp_path / "run", budget="1ep")  # ty: ignore
    said = load_run(run.path).predict(table)  # ty: ignore
    assert [answer.error for answer in said] == [None] * 24
    assert said[0].name == f"{table}, cell A, cycle 1"
