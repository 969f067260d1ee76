"""Language models: training, resuming, several processes, scores, reports, comparisons, and what is refused."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from corinth.cli import main
from corinth.compare.bakeoff import compare
from corinth.data import Loader, SequenceData, open_data
from corinth.data.sequences import windows
from corinth.data.sequences.language import PASSAGE
from corinth.data.sequences.language_encoding import LanguageEncoding, part_of
from corinth.errors import DataError, UsageError, WeightsError
from corinth.predictor import LanguageModel, load_run
from corinth.report import run_report
from corinth.tasks import LanguageModeling
from corinth.training import Run, train
from corinth.training.run import read_metrics
from running_text import made_up, write
from training.test_processes import free_port

OPTIONS: dict[str, Any] = {"hidden_size": 24, "input_size": 12, "drop_rate": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SequenceData:
    found = open_data(write(tmp_path_factory.mktemp("text") / "farm.txt"))
    assert isinstance(found, SequenceData)
    return found


def quick(data: SequenceData, output: Path, **fields: Any) -> Run:
    usual: dict[str, Any] = {"arch": "gru", "budget": "6ep", "batch_size": 6, "lr": 0.02, "warmup": 0.0, "max_len": 16}
    return train(data=data, output=str(output), **(usual | {"options": OPTIONS} | fields))


@pytest.fixture(scope="module")
def run(data: SequenceData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick(data, tmp_path_factory.mktemp("runs") / "run")


def tensors(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.path / "last" / "state.safetensors")


# ---- training ----


def test_a_network_learns_a_text(data: SequenceData, run: Run) -> None:
    losses = [row["val_loss"] for row in run.metrics]
    assert losses[-1] < 0.5 < 2 < losses[0] + 1.5  # a sentence has eight choices in some twenty characters
    assert run.best is not None
    assert run.best["val_nats_per_character"] == run.best["val_loss"]
    assert run.best["val_bits_per_character"] == pytest.approx(run.best["val_loss"] / np.log(2), rel=1e-5)
    assert run.metrics[-1]["epoch"] == 6
    config = json.loads((run.path / "config.json").read_text())
    assert config["classes"] == []
    assert config["task"] == "language-modeling"


def test_validation_and_evaluation_agree(data: SequenceData, run: Run) -> None:
    """A part this short is one stream for both."""
    found = load_run(run.path).evaluate(data, "val")
    assert run.best is not None
    assert found.score == pytest.approx(run.best["val_nats_per_character"], rel=1e-4)


def test_a_resumed_run_is_the_same_to_the_bit(data: SequenceData, tmp_path: Path) -> None:
    """The budget ends in the middle of an epoch, where states are carried on."""
    how: dict[str, Any] = {"schedule": "constant", "options": {**OPTIONS, "drop_rate": 0.2, "num_layers": 2}}
    whole = quick(data, tmp_path / "whole", budget="240samples", **how)
    quick(data, tmp_path / "part", budget="90samples", **how)
    resumed = train(data=data, resume=tmp_path / "part", budget="240samples")
    for name, values in tensors(whole).items():
        assert torch.equal(values, tensors(resumed)[name]), name
    assert "own.0.0" in tensors(whole)


@pytest.mark.parametrize("arch", ["gru", "lstm_peephole"])
def test_accumulating_is_the_same_training(arch: str, data: SequenceData, tmp_path: Path) -> None:
    how: dict[str, Any] = {"arch": arch, "budget": "1ep", "optimizer": "sgd", "lr": 0.1}
    whole, parts = quick(data, tmp_path / "a", **how), quick(data, tmp_path / "b", accumulate=4, **how)
    for name, values in load_file(whole.path / "model.safetensors").items():
        torch.testing.assert_close(load_file(parts.path / "model.safetensors")[name], values, rtol=1e-4, atol=1e-5)


WORKER = """
import sys
from corinth.training import train
print(train(output=sys.argv[1], **{fields!r}).best["val_loss"])
"""


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    fields = {"arch": "gru", "data": str(write(tmp_path / "a.txt")), "budget": "2ep", "batch_size": 6, "max_len": 16}
    fields |= {"options": OPTIONS, "device": "cpu", "optimizer": "sgd", "lr": 0.1}
    one = train(output=str(tmp_path / "one"), **fields)  # ty: ignore
    (tmp_path / "worker.py").write_text(WORKER.format(fields=fields))
    place = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    workers = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "worker.py"), str(tmp_path / "two")],
            env=os.environ | place | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    found = load_file(tmp_path / "two" / "model.safetensors")
    for name, values in load_file(one.path / "model.safetensors").items():
        torch.testing.assert_close(found[name], values, rtol=1e-3, atol=1e-4)
    state = load_file(tmp_path / "two" / "last" / "state.safetensors")
    assert {"own.0.0", "own.1.0"} <= set(state)
    rows = read_metrics(tmp_path / "two/metrics.jsonl")
    assert [row["val_loss"] for row in rows] == pytest.approx([row["val_loss"] for row in one.metrics], rel=1e-3)


def test_batch_size_auto_and_short_precision(data: SequenceData, tmp_path: Path) -> None:
    assert int(quick(data, tmp_path / "a", batch_size="auto", budget="1ep").recipe.batch_size) >= 8
    ran = quick(data, tmp_path / "b", precision="bf16", ema=0.9, budget="2ep")
    assert ran.metrics[-1]["val_loss"] < 3.5


@pytest.mark.parametrize("tokenizer", ["word", "bpe"])
def test_other_tokens_are_scored_by_the_character_too(tokenizer: str, data: SequenceData, tmp_path: Path) -> None:
    ran = quick(data, tmp_path / "run", tokenizer=tokenizer, vocab_size=60, budget="4ep")
    found = load_run(ran.path).evaluate(data, "val").to_dict()
    assert found["tokens"] < 0.6 * found["characters"]
    assert found["nats_per_token"] * found["tokens"] == pytest.approx(found["nats_per_character"] * found["characters"])
    assert ran.best is not None
    assert found["nats_per_token"] == pytest.approx(ran.best["val_loss"], rel=1e-4)
    assert found["perplexity"] == pytest.approx(ran.best["val_perplexity"], rel=1e-4)


def test_training_goes_on_from_weights_with_their_encoding(data: SequenceData, run: Run, tmp_path: Path) -> None:
    more = quick(data, tmp_path / "more", weights=str(run.path), max_len=None, budget="1ep", lr=1e-3)
    assert more.metrics[0]["val_loss"] < run.metrics[1]["val_loss"]
    encoding = load_run(more.path).preprocess
    assert isinstance(encoding, LanguageEncoding)
    assert encoding.max_len == 16


# ---- what is refused ----


def test_what_does_not_fit_is_refused(data: SequenceData, run: Run, tmp_path: Path) -> None:
    def tried(said: str, **fields: Any) -> None:
        with pytest.raises((UsageError, DataError), match=said):
            quick(data, tmp_path / "none", **fields)

    tried("bilstm reads a text backwards too, and would see what it has to predict", arch="bilstm")
    tried("bidirectional true reads farm backwards too", options={**OPTIONS, "bidirectional": True})
    tried("pool last does not fit farm, which needs none", options={**OPTIONS, "pool": "last"})
    tried("crf True does not fit farm, which needs False", options={**OPTIONS, "crf": True})
    tried("label_smoothing 0.1 is for classification", label_smoothing=0.1)
    tried("class_weights balanced is not for language-modeling", class_weights="balanced")
    tried("img_size does nothing with running text", img_size=8)
    tried("is data for language-modeling and lenet5 does image-classification", arch="lenet5", options={})
    tried("max_len is that of the weights", weights=str(run.path), max_len=8)


def test_a_strange_tokenizer_is_refused(run: Run, tmp_path: Path) -> None:
    config = json.loads((run.path / "config.json").read_text())
    other = LanguageEncoding.trained(
        open_data(write(tmp_path / "b.txt", "abc\n" * 400)), unit="char", vocab_size=9, lowercase=False, max_len=None
    )  # ty: ignore
    (tmp_path / "config.json").write_text(json.dumps(config | {"preprocess": other.to_dict()}))
    (tmp_path / "model.safetensors").write_bytes((run.path / "model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"its tokenizer has 6 tokens and its network \d+"):
        load_run(tmp_path)


# ---- scores ----


def test_a_part_is_read_in_one_pass(data: SequenceData, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = load_run(run.path)
    assert isinstance(predictor, LanguageModel)
    text = "".join(part_of(data, "test", lowercase=False))
    ids = torch.from_numpy(predictor.preprocess.tokens(text)[0])
    with torch.no_grad():
        logits = predictor.model(ids[None, :-1])[0]
    each = F.cross_entropy(logits, ids[1:], reduction="none").double().numpy()
    monkeypatch.setattr("corinth.predictor.language.AT_ONCE", 100 * predictor.preprocess.vocab_size)  # in pieces
    found = predictor.evaluate(data, "test", batch_size=1)
    assert (found.samples, found.tokens, found.characters) == (
        len(data.positions("test")),
        len(text) - 1,
        len(text) - 1,
    )
    assert found.score == pytest.approx(each.mean(), rel=1e-5)
    wanted = [each[: PASSAGE - 1].mean(), *(each[i - 1 : i - 1 + PASSAGE].mean() for i in (PASSAGE, 2 * PASSAGE))]
    assert found.per_sample[:3] == pytest.approx(wanted, rel=1e-4)
    assert found.index.tolist() == data.positions("test").tolist()
    surprise = predictor.surprise(text)
    assert np.isnan(surprise[0])
    assert surprise[1:] == pytest.approx(each, rel=1e-4, abs=1e-5)


def test_streams_with_a_run_up_come_close_to_one_pass(
    data: SequenceData, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = load_run(run.path)
    monkeypatch.setattr(windows, "WARM_UP", 100)
    monkeypatch.setattr(windows, "SHARE", 2)
    scored = windows.ScoredWindows(data, "train", predictor.preprocess)
    assert scored.streams > 10
    task = LanguageModeling(predictor.model)
    metrics = task.metrics()
    with torch.no_grad():
        for batch in Loader(scored, scored.streams):
            task.measure(metrics, batch)
    assert float(metrics.compute()["loss"]) == pytest.approx(predictor.evaluate(data, "train").score, rel=5e-3)


def test_scores_of_other_data(run: Run, data: SequenceData, tmp_path: Path) -> None:
    predictor = load_run(run.path)
    other = open_data(write(tmp_path / "other.txt", made_up(30, seed=5) + "§§"), classes=(), task="language-modeling")
    found = predictor.evaluate(other, "all")
    assert found.to_dict()["unknown_tokens"] == 2
    assert found.samples == len(other)
    short = open_data(write(tmp_path / "one.txt", "A"), classes=())
    with pytest.raises(DataError, match="has one token"):
        predictor.evaluate(short, "all")
    empty = replace(data, splits={**data.splits, "val": np.array([], dtype=np.int64)})
    with pytest.raises(DataError, match="the val part of farm is empty"):
        predictor.evaluate(empty, "val")


# ---- reports ----


def test_a_report_shows_what_it_writes_and_how_it_reads(data: SequenceData, run: Run) -> None:
    path, _ = run_report(run.path, data)
    page = path.read_text(encoding="utf-8")
    assert re.search(r"gru reaches 0\.\d+ nats per character on the validation passages of farm", page)
    for text in ("What it writes", "Always the likeliest", "Temperature 0.8", "How it reads", "under 0.1 %"):
        assert text in page
    assert "Bits per character" in page
    assert "Hardest passages" in page
    shaded = re.findall(r'<span(?: class="u\d")? title="[^"]+">([^<]+)</span>', page)
    assert "".join(shaded).replace("\u21b5", "").startswith(data.source.passages[data.positions("val")[0]])  # ty: ignore


def test_what_is_said_of_each_character(run: Run) -> None:
    predictor = load_run(run.path)
    assert isinstance(predictor, LanguageModel)
    found = predictor.foretell("at sees", before="The c")
    assert [entry.piece for entry in found] == list("at sees")
    surprise = predictor.surprise("The cat sees")
    assert [-np.log(entry.probability or 0) for entry in found] == pytest.approx(surprise[5:].tolist(), rel=1e-4)
    assert all(entry.likeliest[0][1] >= (entry.probability or 0) - 1e-6 for entry in found)
    assert predictor.foretell("The")[0].probability is None
    assert predictor.foretell("") == []


def test_a_comparison(data: SequenceData, tmp_path: Path) -> None:
    board = compare(
        data,
        "gru,small=rnn",
        budget="4ep",
        seeds=2,
        output=tmp_path,
        overrides={"batch_size": 6, "max_len": 16, "lr": 0.02},
        recipes={"gru": {"options": OPTIONS}, "small": {"options": {"hidden_size": 2, "input_size": 4}}},
    )
    assert [row.label for row in board.rows] == ["gru", "small"]  # the lower loss first
    first, second = (row.test for row in board.rows)
    assert first is not None
    assert second is not None
    assert first.mean < second.mean
    assert "nats per character of a passage" in board.headline
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "What they write" in page
    assert page.count('<figure class="text"><figcaption>') == 2


def test_gradients_by_step(data: SequenceData, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--data", data.spec, "--samples", "8", "--output", str(tmp_path / "g.html"), "--json"]
    assert main(["gradients", str(run.path), "rnn", *where]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [len(profile["norms"]) for profile in found.values()] == [PASSAGE - 1] * 2
    assert all(profile["norms"][0] > 0 for profile in found.values())
