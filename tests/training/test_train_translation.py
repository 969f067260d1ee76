"""Translation from data to reports: training, resume, scores, predictions, the command line, comparisons."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loop_toys import stopped_after
from sacrebleu.metrics import BLEU, CHRF

from corinth.cli import main
from corinth.compare.bakeoff import compare
from corinth.data import SequenceData, open_data
from corinth.errors import DataError, UsageError, WeightsError
from corinth.predictor import Translator, load_run, translation
from corinth.predictor.translation import TranslationEvaluation
from corinth.report import run_report
from corinth.training import Run, train
from pair_sets import pair_rows, write_aligned

OPTIONS: dict[str, Any] = {"hidden_size": 32, "embed_dim": 16, "drop_rate": 0.0, "cell": "gru"}
SENTENCE = "two red dog runs."
NAMES = ("seq2seq", "seq2seq_bahdanau", "seq2seq_luong")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SequenceData:
    found = open_data(write_aligned(tmp_path_factory.mktemp("pairs") / "toy_en_de", pair_rows(300)))
    assert isinstance(found, SequenceData)
    return found


def quick(data: SequenceData, output: Path, **fields: Any) -> Run:
    usual: dict[str, Any] = {"arch": "seq2seq_luong", "budget": "15ep", "batch_size": 16, "lr": 0.01, "warmup": 0.0}
    usual |= {"tokenizer": "word", "label_smoothing": 0.0, "options": OPTIONS}
    return train(data=data, output=str(output), **(usual | fields))


@pytest.fixture(scope="module", params=NAMES)
def run(request: pytest.FixtureRequest, data: SequenceData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick(data, tmp_path_factory.mktemp("runs") / "run", arch=request.param)


@pytest.fixture(scope="module")
def scored(run: Run, data: SequenceData) -> TranslationEvaluation:
    found = load_run(run.path).evaluate(data)
    assert isinstance(found, TranslationEvaluation)
    return found


def test_the_rules_are_learnt(run: Run, scored: TranslationEvaluation) -> None:
    """By those with attention; without it some words are mixed up."""
    least = {"seq2seq": 0.0, "seq2seq_bahdanau": 0.8, "seq2seq_luong": 0.4}[run.recipe.arch]
    assert (run.best or {})["val_bleu"] >= least
    assert scored.bleu >= least
    assert scored.score == scored.bleu
    assert scored.loss < 1.5
    assert 0.5 < scored.accuracy <= 1


def test_scores_are_sacrebleu_s_of_the_texts(scored: TranslationEvaluation, data: SequenceData) -> None:
    source: Any = data.source
    truth = [source.translations[i] for i in scored.index]
    assert sorted(scored.index) == sorted(data.positions("test"))
    assert scored.bleu == pytest.approx(BLEU().corpus_score(scored.texts, [truth]).score / 100)
    assert scored.chrf == pytest.approx(CHRF().corpus_score(scored.texts, [truth]).score / 100)
    each = [CHRF().sentence_score(a, [b]).score / 100 for a, b in zip(scored.texts, truth)]
    np.testing.assert_allclose(scored.per_sample, each)
    assert scored.signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a")
    json.dumps(scored.to_dict(), allow_nan=False)


def test_predictions(run: Run, tmp_path: Path) -> None:
    predictor = load_run(run.path)
    assert isinstance(predictor, Translator)
    (found,) = predictor.predict(SENTENCE)
    assert found.score < 0
    if run.recipe.arch == "seq2seq_bahdanau":
        assert found.translation == "läuft zwei Hund rot."
    lines = ["one green cat sleeps.", "three black bird sings."]
    (tmp_path / "lines.txt").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "table.csv").write_text("source\none cat\n", encoding="utf-8")
    files = [tmp_path / name for name in ("lines.txt", "none.txt", "table.csv", "none.csv")]
    given = [*files, "  ", SENTENCE]
    first, second, absent, table, none, empty, last = predictor.predict(given, batch_size=2, beam=3)
    alone = [predictor.predict(line, beam=3)[0].translation for line in lines]
    assert [first.translation, second.translation] == alone
    assert all(alone)
    assert first.name.endswith("lines.txt, sentence 1")
    assert "cannot be read" in (absent.error or "")
    assert "none.csv cannot be read" in (none.error or "")
    assert empty.error == "the sentence is empty"
    assert last.translation == predictor.predict(SENTENCE, beam=3)[0].translation
    assert "is a table" in (table.error or "")
    with pytest.raises(UsageError, match="beam 0 is not at least 1"):
        predictor.predict(SENTENCE, beam=0)
    with pytest.raises(UsageError, match="a sentence is a string or a path, and this is int"):
        predictor.predict([3])  # ty: ignore[invalid-argument-type]


def test_a_beam_may_be_wider_than_what_is_searched_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = load_run(run.path)
    assert isinstance(predictor, Translator)
    wanted = predictor.predict([SENTENCE, "one green cat sleeps."], beam=5)
    monkeypatch.setattr(translation, "AT_ONCE", 2)
    assert [f.tokens for f in predictor.predict([SENTENCE, "one green cat sleeps."], beam=5)] == [
        w.tokens for w in wanted
    ]


def test_alignments_add_up_to_one(run: Run) -> None:
    predictor = load_run(run.path)
    assert isinstance(predictor, Translator)
    (found,) = predictor.predict(SENTENCE)
    weights = predictor.alignment(found.source, found.tokens)
    if run.recipe.arch == "seq2seq":
        assert weights is None
    else:
        assert weights is not None
        assert weights.shape == (len(found.tokens), 6)  # five tokens and the end's
        torch.testing.assert_close(weights.sum(1), torch.ones(len(found.tokens)))


def test_the_report_shows_translations(run: Run, data: SequenceData) -> None:
    path, _ = run_report(run.path, data)
    page = path.read_text(encoding="utf-8")
    assert "Typical pairs" in page
    assert "Hardest pairs" in page
    assert page.count('<ul class="translations">') == 2
    assert ("<svg" in page and "looks at" in page) == (run.recipe.arch != "seq2seq")
    assert "nan" not in page.split("<script")[0]


def test_unfit_uses_of_a_run(run: Run, tmp_path: Path, data: SequenceData) -> None:
    predictor = load_run(run.path)
    table = tmp_path / "t.tsv"
    table.write_text("text\tlabel\n" + "".join(f"text {i}\t{'ab'[i % 2]}\n" for i in range(20)))
    texts = open_data(table)
    with pytest.raises(UsageError, match="holds no translations"):
        predictor.evaluate(texts)
    bare = dataclasses.replace(data, splits={**data.splits, "val": np.empty(0, dtype=np.int64)})
    with pytest.raises(DataError, match=r"the val part of .* is empty"):
        predictor.evaluate(bare, "val")
    config = json.loads((run.path / "config.json").read_text())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.safetensors").write_bytes((run.path / "model.safetensors").read_bytes())
    vocabulary = json.loads(config["preprocess"]["target_tokenizer"])
    vocabulary["model"]["vocab"] |= {"extra": len(vocabulary["model"]["vocab"])}
    config["preprocess"]["target_tokenizer"] = json.dumps(vocabulary)
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="the tokenizers are not the run's own"):
        load_run(broken)


def test_an_interrupted_run_goes_on_exactly(
    data: SequenceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields: dict[str, Any] = {"arch": "seq2seq_bahdanau", "budget": "2ep", "options": {**OPTIONS, "drop_rate": 0.2}}
    whole = quick(data, tmp_path / "whole", **fields)
    with stopped_after(7, monkeypatch):
        cut = quick(data, tmp_path / "cut", **fields)
    assert cut.interrupted
    rest = train(resume=cut.path, data=data)
    assert (rest.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()
    assert rest.metrics[-1]["val_bleu"] == whole.metrics[-1]["val_bleu"]


def test_accumulation_has_the_same_result(data: SequenceData, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"budget": "64samples", "optimizer": "sgd", "lr": 0.5, "weight_decay": 0.0}
    once = quick(data, tmp_path / "once", **fields)
    parts = quick(data, tmp_path / "parts", accumulate=4, **fields)
    a, b = (load_run(run.path).model.state_dict() for run in (once, parts))
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], rtol=1e-4, atol=1e-6)


def test_pairs_the_other_way_round_are_refused(data: SequenceData, tmp_path: Path) -> None:
    run = quick(data, tmp_path / "run", budget="16samples")
    turned = open_data(data.spec, source_column="de")
    said = "translates de to en, and the network en to de; turn it round with source_column en"
    with pytest.raises(DataError, match=said):
        load_run(run.path).evaluate(turned, "all")
    with pytest.raises(DataError, match=said):
        quick(turned, tmp_path / "next", weights=str(run.path), tokenizer=None)


def test_a_run_can_start_from_another_one(data: SequenceData, tmp_path: Path) -> None:
    first = quick(data, tmp_path / "first", budget="2ep")
    second = quick(data, tmp_path / "second", budget="16samples", lr=1e-9, weights=str(first.path), tokenizer=None)
    assert load_run(second.path).evaluate(data).score == pytest.approx(
        load_run(first.path).evaluate(data).score, abs=0.02
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"class_weights": "balanced"}, "class_weights balanced is not for translation"),
        ({"fit": "pad"}, "fit does nothing with translations"),
        ({"arch": "lstm", "options": {}}, "is data for translation and lstm does sequence-classification"),
        ({"options": {"target_vocab_size": 5}}, "target_vocab_size 5 does not fit"),
    ],
)
def test_what_does_not_fit_is_refused(data: SequenceData, tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        quick(data, tmp_path / "run", **fields)
    assert not (tmp_path / "run").exists()


def test_gradients_by_step_are_not_of_translations(data: SequenceData, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradients", "lstm", "--data", data.spec]) == 2
    assert "is data for translation; gradients by step are of texts" in capsys.readouterr().err


def test_the_size_of_batches_can_be_chosen_by_trying(data: SequenceData, tmp_path: Path) -> None:
    run = quick(data, tmp_path / "run", batch_size="auto", budget="64samples")
    assert run.metrics[-1]["samples"] >= 64


def test_sharing_a_vocabulary_is_for_translations(tmp_path: Path) -> None:
    table = tmp_path / "t.tsv"
    table.write_text("text\tlabel\n" + "".join(f"text {i}\t{'ab'[i % 2]}\n" for i in range(40)))
    with pytest.raises(UsageError, match="share_vocab does nothing with texts"):
        train(arch="lstm", data=str(table), share_vocab=True, output=str(tmp_path / "run"))


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_aligned(tmp_path / "toy_en_de", pair_rows(300))
    where = tmp_path / "run"
    options = [f"--set={name}={value}" for name, value in OPTIONS.items()]
    args = ["--model", "seq2seq_bahdanau", "--data", str(folder), "--epochs", "15", "--batch-size", "16"]
    args += ["--lr", "0.01", "--warmup", "0", "--label-smoothing", "0", "--tokenizer", "word"]
    assert main(["train", *args, *options, "--source-column", "de", "--quiet", "--output", str(where)]) == 0
    assert (where / "report.html").is_file()
    capsys.readouterr()
    assert main(["predict", str(where), "läuft zwei Hund rot.", "--beam", "2", "--format", "json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert said["translation"] == SENTENCE
    assert main(["predict", str(where), "läuft zwei Hund rot."]) == 0
    assert SENTENCE in capsys.readouterr().out
    assert main(["predict", str(where), "läuft zwei Hund rot.", "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("name,source,translation,score,error\n")
    assert main(["evaluate", str(where), "--beam", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bleu"] > 0.5
    assert (found["beam"], found["split"]) == (1, "test")
    assert main(["evaluate", str(where)]) == 0
    assert "nrefs:1|case:mixed" in capsys.readouterr().out


def test_a_beam_is_for_translation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(arch="cnn", data="digits", budget="64samples", output=str(tmp_path / "run"))
    assert main(["predict", str(run.path), "x.png", "--beam", "2"]) == 2
    assert "--beam is for translation" in capsys.readouterr().err
    assert main(["evaluate", str(run.path), "--beam", "2"]) == 2
    assert "--beam is for translation" in capsys.readouterr().err


def test_a_comparison_shows_the_same_sentences_by_each_network(data: SequenceData, tmp_path: Path) -> None:
    overrides = {"options": OPTIONS, "batch_size": 16, "lr": 0.02, "tokenizer": "word"}
    board = compare(
        data, NAMES[1:], budget="1ep", seeds=2, output=tmp_path / "board", overrides=overrides, latency=False
    )
    assert not any(row.failures for row in board.rows)
    assert all(0 < (row.score_test or 0) <= 1 and row.metric is not None for row in board.rows)
    assert board.report is not None
    page = board.report.read_text(encoding="utf-8")
    section = page.split("The same pairs by each network")[1].split("</section>")[0]
    assert section.count("<dt>text</dt>") == 8
    shown = section.split("<dt>text</dt><dd>")[1:]
    assert len({text.split("</dd>")[0] for text in shown[:4]}) == 4, "a sentence is shown twice"
    assert section.count("<dt>seq2seq_bahdanau</dt>") == section.count("<dt>seq2seq_luong</dt>") == 8
    assert "BLEU" in page
    with pytest.raises(UsageError, match="the control shuffled-labels is for classification"):
        compare(data, NAMES[1:], budget="1ep", seeds=1, output=tmp_path / "control", control="shuffled-labels")


def test_the_first_stages_can_be_frozen(data: SequenceData, tmp_path: Path) -> None:
    first = quick(data, tmp_path / "first", budget="32samples")
    second = quick(
        data, tmp_path / "second", budget="32samples", weights=str(first.path), tokenizer=None, freeze="encoder"
    )
    before, after = (load_run(run.path).model.state_dict() for run in (first, second))
    frozen = {name for name in before if name.startswith(("source_embed.", "encoder."))}
    assert frozen
    for name in before:
        assert torch.equal(before[name], after[name]) == (name in frozen), name
