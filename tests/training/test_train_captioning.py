"""Captioning from data to reports: training, resume, scores, predictions, the command line, comparisons."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loop_toys import stopped_after
from sacrebleu.metrics import BLEU, CHRF

from caption_sets import COLOURS, write_captioned, write_labelled
from corinth.cli import main
from corinth.compare.bakeoff import compare
from corinth.data import ImageData, open_data
from corinth.errors import DataError, UsageError, WeightsError
from corinth.predictor import Captioner, load_run
from corinth.predictor.captioning import CaptionEvaluation
from corinth.report import run_report
from corinth.tasks.bleu import in_columns
from corinth.training import Run, train

OPTIONS: dict[str, Any] = {"hidden_size": 32, "embed_dim": 32, "drop_rate": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ImageData:
    found = open_data(write_captioned(tmp_path_factory.mktemp("captions"), 120))
    assert isinstance(found, ImageData)
    return found


def quick(data: ImageData, output: Path, **fields: Any) -> Run:
    usual: dict[str, Any] = {"arch": "show_and_tell", "budget": "12ep", "batch_size": 16, "lr": 0.01, "warmup": 0.0}
    return train(data=data, output=str(output), **(usual | {"options": OPTIONS, "augmentation": {}} | fields))


@pytest.fixture(scope="module")
def run(data: ImageData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick(data, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def scored(run: Run, data: ImageData) -> CaptionEvaluation:
    found = load_run(run.path).evaluate(data)
    assert isinstance(found, CaptionEvaluation)
    return found


def test_colours_are_learnt(run: Run, scored: CaptionEvaluation, data: ImageData) -> None:
    assert (run.best or {})["val_bleu"] > 0.4
    source: Any = data.source
    colours = [next(c for c in COLOURS if c in source.captions[i][0]) for i in scored.index]
    assert np.mean([colour in text for colour, text in zip(colours, scored.texts)]) > 0.8
    assert scored.bleu > 0.4
    assert scored.score == scored.chrf > 0.6


def test_scores_are_sacrebleu_s_against_all_captions(scored: CaptionEvaluation, data: ImageData) -> None:
    source: Any = data.source
    truth = [source.captions[i] for i in scored.index]
    assert sorted(scored.index) == sorted(data.positions("test"))
    bleu, chrf = BLEU(lowercase=True), CHRF(lowercase=True)
    assert scored.bleu == pytest.approx(bleu.corpus_score(scored.texts, in_columns(truth)).score / 100)
    each = [chrf.sentence_score(a, list(b)).score / 100 for a, b in zip(scored.texts, truth)]
    np.testing.assert_allclose(scored.per_sample, each)
    assert scored.signature.startswith("nrefs:2|case:lc")
    exact = [text in {t.lower() for t in some} for text, some in zip(scored.texts, truth)]
    assert scored.exact == pytest.approx(np.mean(exact))
    json.dumps(scored.to_dict(), allow_nan=False)


def test_predictions_have_the_log_probability_of_their_tokens(run: Run, data: ImageData, tmp_path: Path) -> None:
    predictor: Any = load_run(run.path)
    assert isinstance(predictor, Captioner)
    path = Path(data.source.name(0))
    (tmp_path / "broken.png").write_bytes(b"x")
    found = predictor.predict([path, tmp_path / "broken.png", data.source.image(1)], beam=3)
    assert [p.error is None for p in found] == [True, False, True]
    assert found[1].name.endswith("broken.png")
    for said, position in ((found[0], 0), (found[2], 1)):
        words = predictor.preprocess.words
        picture = predictor.preprocess.normalise(predictor.preprocess(data.source.image(position))[None])
        before = torch.tensor([[words.begin, *said.tokens[:-1]]])
        with torch.inference_mode():
            logits = predictor.model(picture, before)[0]
            logits[:, list(words.silent)] = -torch.inf
            logits[0, words.end] = -torch.inf
            logs = logits.log_softmax(1)
        expected = sum(float(logs[step, token]) for step, token in enumerate(said.tokens))
        assert said.log_probability == pytest.approx(expected, abs=1e-3)
        assert words.decoded([said.tokens]) == [said.caption]
    greedy = predictor.predict(path, beam=1)[0]
    assert greedy.log_probability <= 0
    with pytest.raises(UsageError, match="beam 0 is not at least 1"):
        predictor.predict(path, beam=0)


def test_an_interrupted_training_goes_on_exactly(
    data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields: dict[str, Any] = {"budget": "2ep", "augmentation": {"crop_padding": 0.1}}
    whole = quick(data, tmp_path / "whole", **fields)
    with stopped_after(7, monkeypatch):
        cut = quick(data, tmp_path / "cut", **fields)
    assert cut.interrupted
    rest = train(resume=cut.path, data=data)
    assert (rest.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()
    assert rest.metrics[-1]["val_bleu"] == whole.metrics[-1]["val_bleu"]


def test_accumulating_is_the_same_training(data: ImageData, tmp_path: Path) -> None:
    """But for batch norm, which sees a part: so only the decoder learns, and the norms are as they are."""
    fields: dict[str, Any] = {"budget": "32samples", "freeze": "project", "optimizer": "sgd", "lr": 0.1}
    whole = quick(data, tmp_path / "whole", **fields)
    parts = quick(data, tmp_path / "parts", accumulate=4, **fields)
    ours, theirs = (load_run(found.path).model.state_dict() for found in (whole, parts))
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-5)


def test_a_small_last_step_is_not_split_into_single_pictures(data: ImageData, tmp_path: Path) -> None:
    few = dataclasses.replace(data, splits={**data.splits, "train": data.positions("train")[:5]})  # 10 captions
    assert quick(few, tmp_path / "run", budget="2ep", batch_size=7, accumulate=3).metrics[-1]["samples"] == 20


def test_a_run_can_start_from_another_one_and_a_backbone_from_a_classifier(data: ImageData, tmp_path: Path) -> None:
    first = quick(data, tmp_path / "first", budget="1ep")
    second = quick(data, tmp_path / "second", budget="16samples", lr=1e-9, weights=str(first.path))
    a, b = (load_run(found.path).evaluate(data).score for found in (first, second))
    assert a == pytest.approx(b, abs=0.05)
    with pytest.raises(UsageError, match="tokenizer is that of the weights"):
        quick(data, tmp_path / "third", weights=str(first.path), tokenizer="char")
    classifier = train(arch="resnet20_cifar10", data="digits", budget="64samples", output=str(tmp_path / "digits"))
    said: list[str] = []

    class Heard:
        def message(self, text: str) -> None:
            said.append(text)

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    reporter: Any = Heard()
    quick(data, tmp_path / "fourth", budget="16samples", weights=str(classifier.path), reporter=reporter)
    assert any(text.startswith("weights of the backbone") for text in said)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"class_weights": "balanced"}, "class_weights balanced is not for captioning"),
        ({"share_vocab": True}, "share_vocab does nothing with pictures with captions"),
        ({"augmentation": {"mixup": 0.2}}, "augmentation.mixup mixes labels"),
        ({"arch": "resnet18", "options": {}}, "is data for captioning and resnet18 does image-classification"),
        ({"options": {"vocab_size": 5}}, "vocab_size 5 does not fit"),
        (
            {"batch_size": 7, "accumulate": 4},
            "batch_size 7 is too small for captioning with accumulate 4: .* 8",
        ),
        ({"batch_size": 1}, "batch_size 1 is too small"),
        ({"fit": "squash", "img_size": 2}, "img_size 2 is too small"),
    ],
)
def test_what_does_not_fit_is_refused(data: ImageData, tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        quick(data, tmp_path / "run", **fields)
    assert not (tmp_path / "run").exists()


def test_long_captions_lose_their_end_and_that_is_said(data: ImageData, tmp_path: Path, capsys: Any) -> None:
    where = tmp_path / "run"
    args = ["train", "--model", "show_and_tell", "--data", data.spec, "--budget", "32samples", "--max-len", "3"]
    assert main([*args, "--output", str(where)]) == 0
    said = capsys.readouterr()
    assert "240 of 240 captions are longer than max_len, 3 tokens, and lose their end" in said.out + said.err
    predictor: Any = load_run(where)
    assert all(len(p.tokens) <= 3 for p in predictor.predict([data.source.image(i) for i in range(4)]))


def test_a_tokenizer_of_another_run_is_refused(run: Run, data: ImageData, tmp_path: Path) -> None:
    predictor: Any = load_run(run.path)
    words = predictor.preprocess.words
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("model.safetensors", "config.json"):
        (copy / name).write_bytes((run.path / name).read_bytes())
    config = json.loads((copy / "config.json").read_text())
    tokenizer = json.loads(words.tokenizer)
    vocabulary = tokenizer["model"]["vocab"]
    del vocabulary[max(vocabulary, key=vocabulary.__getitem__)]
    config["preprocess"]["words"]["tokenizer"] = json.dumps(tokenizer)
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="the tokenizer is not the run's own"):
        load_run(copy)
    config["preprocess"] = predictor.preprocess.images.to_dict()
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="not one of pictures with captions"):
        load_run(copy)


def test_data_of_another_kind_and_damaged_weights_are_refused(run: Run, data: ImageData, tmp_path: Path) -> None:
    predictor: Any = load_run(run.path)
    with pytest.raises(UsageError, match="holds no pictures with captions"):
        predictor.evaluate(open_data("digits"))
    empty = dataclasses.replace(data, splits={**data.splits, "test": np.empty(0, dtype=np.int64)})
    with pytest.raises(DataError, match="the test part of captions is empty"):
        predictor.evaluate(empty)
    with torch.no_grad():
        predictor.model.project.weight[0] = torch.nan
    with pytest.raises(WeightsError, match="not finite"):
        predictor.evaluate(data)


def test_the_report_shows_pictures_with_both_captions(run: Run, data: ImageData) -> None:
    path, _ = run_report(run.path, data)
    page = path.read_text(encoding="utf-8")
    assert page.count('<ul class="captions">') == 2
    hardest, typical = (part.split("</section>")[0] for part in page.split('<ul class="captions">')[1:])
    assert hardest.count("<img") == typical.count("<img") == 8
    assert 'class="small" src="data:image/png;base64,' in hardest
    assert "the square is" in page or "the bar is" in page
    assert "case:lc" in page
    assert "chrF by epoch" in page
    assert ">BLEU<" in page


def test_a_comparison_shows_the_same_pictures_by_each_network(data: ImageData, tmp_path: Path) -> None:
    board = compare(
        data,
        ["one=show_and_tell", "two=show_and_tell"],
        budget="1ep",
        seeds=1,
        output=tmp_path / "board",
        overrides={"options": OPTIONS, "batch_size": 16},
        recipes={"two": {"options": {**OPTIONS, "num_layers": 2}}},
        latency=False,
    )
    assert not any(row.failures for row in board.rows)
    assert all(row.cost is not None and row.metric is not None for row in board.rows)
    assert board.report is not None
    page = board.report.read_text(encoding="utf-8")
    section = page.split("The same pictures by each network")[1].split("</section>")[0]
    assert section.count("<img") == 8
    assert section.count("<dt>one</dt>") == section.count("<dt>two</dt>") == 8
    assert "translate" not in section


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, where = write_captioned(tmp_path / "set", 80), tmp_path / "run"
    options = [f"--set={name}={value}" for name, value in OPTIONS.items()]
    args = ["--model", "show_and_tell", "--data", str(table), "--epochs", "2", "--batch-size", "16", "--lr", "0.01"]
    assert main(["train", *args, *options, "--quiet", "--output", str(where)]) == 0
    assert (where / "report.html").is_file()
    capsys.readouterr()
    picture = str(tmp_path / "set" / "pictures" / "000.png")
    assert main(["predict", str(where), picture, "--beam", "5", "--format", "json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert said["caption"]
    assert said["log_probability"] < 0
    assert main(["predict", str(where), picture]) == 0
    assert said["caption"] in capsys.readouterr().out
    assert main(["predict", str(where), picture, str(tmp_path / "no.png"), "--format", "csv"]) == 3
    assert capsys.readouterr().out.startswith("name,caption,log_probability,error\n")
    assert main(["evaluate", str(where), "--beam", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["beam"], found["split"]) == (1, "test")
    assert main(["evaluate", str(where)]) == 0
    assert "case:lc" in capsys.readouterr().out
    assert main(["doctor", "--data", str(table), "--model", "show_and_tell"]) == 0
    assert "captions from column 'caption'" in capsys.readouterr().out
    assert main(["show", "show_and_tell", "--img-size", "32", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["input_size"] == [3, 32, 32]
    assert main(["generate", str(where)]) == 2
    assert "does captioning, and corinth generate is for language models" in capsys.readouterr().err
    assert main(["convert", str(where), "show_and_tell", "--output", str(tmp_path / "x.safetensors")]) == 2
    assert "all that a network that writes texts needs" in capsys.readouterr().err
    other = write_labelled(tmp_path / "labels.tsv")
    assert main(["evaluate", str(where), "--data", str(other)]) == 2
    assert "data for captioning are needed" in capsys.readouterr().err


def test_the_size_of_batches_can_be_chosen_by_trying(data: ImageData, tmp_path: Path) -> None:
    run = quick(data, tmp_path / "run", batch_size="auto", budget="64samples")
    assert run.metrics[-1]["samples"] >= 64
