"""Texts of a label from data to reports: training, scores, samples, the command line, comparisons."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loop_toys import stopped_after

from caption_sets import write_labelled
from corinth.cli import main
from corinth.compare.bakeoff import compare
from corinth.compare.plan import check_plan, make_plan
from corinth.data import SequenceData, open_data
from corinth.data.sequences.batch import NO_TAG
from corinth.data.sequences.wording import Wording
from corinth.errors import UsageError, WeightsError
from corinth.predictor import LabelWriter, load_run
from corinth.predictor.writing import WritingEvaluation
from corinth.report import run_report
from corinth.training import Run, train

OPTIONS: dict[str, Any] = {"hidden_size": 24, "embed_dim": 16, "drop_rate": 0.0}
ANIMALS, PLANTS = {"the", "dog", "cat", "bird", "horse"}, {"the", "oak", "rose", "fern", "moss"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SequenceData:
    table = write_labelled(tmp_path_factory.mktemp("labels") / "t.tsv", 200)
    found = open_data(table, task="text-from-label")
    assert isinstance(found, SequenceData)
    return found


def quick(data: SequenceData, output: Path, **fields: Any) -> Run:
    usual: dict[str, Any] = {"arch": "label_decoder", "budget": "15ep", "batch_size": 16, "lr": 0.01, "warmup": 0.0}
    return train(data=data, output=str(output), **(usual | {"options": OPTIONS} | fields))


@pytest.fixture(scope="module")
def run(data: SequenceData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick(data, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def scored(run: Run, data: SequenceData) -> WritingEvaluation:
    found = load_run(run.path).evaluate(data)
    assert isinstance(found, WritingEvaluation)
    return found


def test_nats_a_token_are_those_of_the_network_read_text_by_text(
    run: Run, scored: WritingEvaluation, data: SequenceData
) -> None:
    predictor: Any = load_run(run.path)
    assert isinstance(predictor, LabelWriter)
    source: Any = data.source
    each = []
    for position in scored.index:
        (target,) = predictor.preprocess.words.targets([source.texts[position]])
        before = torch.cat((torch.tensor([predictor.preprocess.words.begin]), target[:-1]))
        with torch.inference_mode():
            logs = predictor.model(torch.tensor([source.labels[position]]), before[None])[0].log_softmax(1)
        each.append(-logs[range(len(target)), target].numpy())
        surprise = predictor.surprise(data.classes[source.labels[position]], source.texts[position])
        np.testing.assert_allclose(surprise, each[-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scored.per_sample, [nats.mean() for nats in each], rtol=1e-4)
    assert scored.score == pytest.approx(np.concatenate(each).mean(), rel=1e-5)
    assert scored.tokens == sum(map(len, each))
    assert sorted(scored.index) == sorted(data.positions("test"))
    assert scored.score < np.log(5), "four words of a label and the end are fewer than all"
    facts = scored.to_dict()
    assert facts["nats_per_character"] == pytest.approx(scored.nats / sum(len(source.texts[i]) for i in scored.index))
    json.dumps(facts, allow_nan=False)


def test_texts_have_the_words_of_their_label(run: Run) -> None:
    predictor: Any = load_run(run.path)
    for label, words in (("animals", ANIMALS), ("plants", PLANTS)):
        found = predictor.generate(label, count=20, temperature=0.7)
        assert all(text.text for text in found)
        said = [word for text in found for word in text.text.split()]
        assert np.mean([word in words for word in said]) > 0.9
    assert [t.text for t in predictor.generate("plants", count=2, seed=3)] == [
        t.text for t in predictor.generate("plants", count=5, seed=3)[:2]
    ]
    assert len({t.text for t in predictor.generate("plants", count=5, temperature=0)}) == 1
    assert all(len(t.text.split()) == 1 for t in predictor.generate("plants", count=3, length=1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"label": "plant"}, "the label 'plant' was not seen in training; the run knows animals, plants"),
        ({"label": "plants", "count": 0}, "count 0 is not valid"),
        ({"label": "plants", "temperature": -1}, "temperature -1 is not valid"),
        ({"label": "plants", "top_p": 2.0}, "top_p 2 is not valid"),
        ({"label": "plants", "length": 0}, "length 0 is not valid"),
    ],
)
def test_what_cannot_be_drawn_is_refused(run: Run, options: dict[str, Any], said: str) -> None:
    predictor: Any = load_run(run.path)
    with pytest.raises(UsageError, match=said):
        predictor.generate(**options)


def test_an_interrupted_training_goes_on_exactly(
    data: SequenceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields: dict[str, Any] = {"budget": "2ep", "options": {**OPTIONS, "drop_rate": 0.2}}
    whole = quick(data, tmp_path / "whole", **fields)
    with stopped_after(7, monkeypatch):
        cut = quick(data, tmp_path / "cut", **fields)
    assert cut.interrupted
    rest = train(resume=cut.path, data=data)
    assert (rest.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


def test_accumulation_has_the_same_result(data: SequenceData, tmp_path: Path) -> None:
    """Parts of a batch have different numbers of tokens: it is these that are averaged over."""
    fields: dict[str, Any] = {"budget": "64samples", "optimizer": "sgd", "lr": 0.5, "weight_decay": 0.0}
    whole, parts = (quick(data, tmp_path / str(n), accumulate=n, **fields) for n in (1, 4))
    ours, theirs = (load_run(found.path).model.state_dict() for found in (whole, parts))
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-6)


def test_labels_are_matched_by_name(run: Run, data: SequenceData, tmp_path: Path) -> None:
    """Of data whose labels have other numbers, as where one is missing."""
    lines = Path(data.spec).read_text().splitlines()
    table = tmp_path / "plants.tsv"
    table.write_text("\n".join([lines[0], *(line for line in lines if line.endswith("\tplants"))]) + "\n")
    predictor = load_run(run.path)
    found = predictor.evaluate(open_data(table, classes=predictor.classes, task="text-from-label"), "all")
    both = predictor.evaluate(data, "all")
    of_plants = [i for i, position in enumerate(both.index) if data.labels()[position] == 1]
    np.testing.assert_allclose(np.sort(found.per_sample), np.sort(both.per_sample[of_plants]), rtol=1e-4)


def test_unfit_uses_of_a_run(run: Run, data: SequenceData, tmp_path: Path) -> None:
    predictor: Any = load_run(run.path)
    with pytest.raises(UsageError, match="open it with task='text-from-label'"):
        predictor.evaluate(open_data(data.spec))
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "model.safetensors").write_bytes((run.path / "model.safetensors").read_bytes())
    config = json.loads((run.path / "config.json").read_text())
    config["preprocess"]["num_labels"] = 3
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="not one of texts of its classes"):
        load_run(copy)
    tokenizer = json.loads(config["preprocess"]["words"]["tokenizer"])
    tokenizer["model"]["vocab"] |= {"extra": len(tokenizer["model"]["vocab"])}
    config["preprocess"]["words"]["tokenizer"] = json.dumps(tokenizer)
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="the tokenizer is not the run's own"):
        load_run(copy)
    with torch.no_grad():
        predictor.model.decoder.head.bias[0] = torch.inf
    with pytest.raises(WeightsError, match="not finite"):
        predictor.evaluate(data)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"class_weights": "balanced"}, "class_weights balanced is not for text-from-label"),
        ({"arch": "lstm", "options": {}}, "is data for text-from-label and lstm does"),
        ({"options": {"num_classes": 5}}, "num_classes 5 does not fit"),
        ({"fit": "pad"}, "fit does nothing with texts"),
        ({"max_len": 1}, "max_len 1 leaves no room for a word before the end"),
    ],
)
def test_what_does_not_fit_is_refused(data: SequenceData, tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        quick(data, tmp_path / "run", **fields)
    assert not (tmp_path / "run").exists()


def test_a_run_of_another_task_is_no_start(data: SequenceData, tmp_path: Path) -> None:
    classifier = train(arch="lstm", data=data.spec, budget="16samples", output=str(tmp_path / "lstm"))
    with pytest.raises(UsageError, match="was not trained on texts to be written of their labels"):
        quick(data, tmp_path / "run", weights=str(classifier.path))
    first = quick(data, tmp_path / "first", budget="32samples")
    second = quick(data, tmp_path / "second", budget="16samples", lr=1e-9, weights=str(first.path))
    a, b = (load_run(found.path).evaluate(data).score for found in (first, second))
    assert a == pytest.approx(b, rel=1e-3)


def test_long_texts_lose_their_end(data: SequenceData, tmp_path: Path) -> None:
    run = quick(data, tmp_path / "run", budget="32samples", max_len=3, batch_size="auto")
    predictor: Any = load_run(run.path)
    found = predictor.evaluate(data, "all")
    assert found.tokens == 3 * len(data)
    assert NO_TAG not in predictor.preprocess.words.silent


def test_the_report_has_samples_of_each_label(run: Run, data: SequenceData) -> None:
    path, _ = run_report(run.path, data)
    page = path.read_text(encoding="utf-8")
    section = page.split("What it writes")[1].split("</section>")[0]
    assert "<b>animals</b>" in section
    assert "<b>plants</b>" in section
    assert section.split("</ul>")[0].count("<li>") == 5
    assert 'id="loss"' in page
    assert 'id="score"' not in page
    assert "<dt>animals</dt>" in page
    assert "How it reads" not in page


def test_a_text_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Wording, "decoded", lambda _, rows: ["the oak\nand\r\nthe fern"] * len(rows))
    assert main(["generate", str(run.path), "--label", "plants", "--count", "2"]) == 0
    assert capsys.readouterr().out == "the oak and the fern\n" * 2


def test_a_comparison_shows_what_each_network_writes(data: SequenceData, tmp_path: Path) -> None:
    board = compare(
        data,
        ["one=label_decoder", "two=label_decoder"],
        budget="2ep",
        seeds=1,
        output=tmp_path / "board",
        overrides={"options": OPTIONS, "batch_size": 16, "lr": 0.01},
        recipes={"two": {"options": {**OPTIONS, "num_layers": 2}}},
        latency=False,
    )
    assert not any(row.failures for row in board.rows)
    scores = [row.score_test for row in board.rows if row.score_test is not None]
    assert scores == sorted(scores), "fewer nats are better"
    assert board.report is not None
    page = board.report.read_text(encoding="utf-8")
    section = page.split("What they write")[1].split("</section>")[0]
    assert "<h3>one</h3>" in section
    assert section.count("<b>plants</b>") == 2


def test_networks_with_other_tokens_are_not_compared(run: Run, data: SequenceData, tmp_path: Path) -> None:
    models = "one=label_decoder,two=label_decoder"

    def planned(**own: Any) -> None:
        options = {"overrides": {"options": OPTIONS}, "recipes": {"two": own}}
        check_plan(make_plan(data, models, budget="1ep", seeds=1, control=None, **options), data)

    for other in ({"tokenizer": "char"}, {"vocab_size": 8}, {"max_len": 3}):
        with pytest.raises(UsageError, match="two writes with other tokens than one, and nats per token can be compar"):
            planned(**other)
    planned(vocab_size=5000)  # of which there are only these few
    planned(weights=str(run.path))
    other = quick(data, tmp_path / "other", budget="16samples", tokenizer="char")
    with pytest.raises(UsageError, match="two writes with other tokens than one"):
        planned(weights=str(other.path))


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, where = write_labelled(tmp_path / "t.tsv"), str(tmp_path / "run")
    args = ["train", "--model", "label_decoder", "--data", str(table), "--epochs", "2", "--quiet", "--output", where]
    assert main(args) == 2
    said = capsys.readouterr().err
    assert "is data for sequence-classification and label_decoder does text-from-label" in said
    assert "; or say --task text-from-label" in said
    compared = ["compare", "--data", str(table), "--models", "label_decoder", "--output", str(tmp_path / "board")]
    assert main(compared) == 2
    assert "; or say --set task=text-from-label" in capsys.readouterr().err
    assert main([*args, "--task", "text-from-label", "--set", "hidden_size=16"]) == 0
    capsys.readouterr()
    assert main(["generate", where, "--label", "plants", "--count", "3", "--top-k", "5", "--seed", "1"]) == 0
    texts = capsys.readouterr().out.splitlines()
    assert len(texts) == 3
    assert main(["generate", where, "--label", "plants", "--samples", "3", "--top-k", "5", "--seed", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == texts
    assert main(["generate", where, "--label", "plants", "--format", "json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert said["label"] == "plants"
    for wrong, what in (
        (["generate", where, "--label", "plant"], "the run knows animals, plants"),
        (["generate", where], "say --label, one of animals, plants"),
        (["generate", where, "--prompt", "the"], "--prompt is for language models"),
        (["generate", where, "--label", "plants", "--count", "0"], "--count 0 is not at least 1"),
        (["predict", where, "the oak"], "use corinth generate"),
        (["gradients", where], "gradients by step are of texts"),
    ):
        assert main(wrong) == 2
        assert what in capsys.readouterr().err
    assert main(["evaluate", where, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nats_per_token"] > 0
    assert main(["evaluate", where]) == 0
    assert "unknown             0 of 117 tokens" in capsys.readouterr().out
    other = tmp_path / "other.tsv"
    other.write_text(table.read_text().replace("\tplants", "\tstones"))
    assert main(["evaluate", where, "--data", str(other)]) == 1
    assert "the label 'stones' (60 texts) was not seen in training; the run knows 'animals'" in capsys.readouterr().err
    assert main(["doctor", "--data", str(table), "--task", "text-from-label", "--model", "label_decoder"]) == 0
    assert "2 classes" in capsys.readouterr().out
