"""Transcription from the recipe to the run folder, its answers, its report; and compared."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("soundfile")

import soundfile
import torch

from corinth.cli import main
from corinth.compare.bakeoff import compare
from corinth.data import Sequences, open_data
from corinth.data.dataset import DataSet
from corinth.errors import DataError, UsageError, WeightsError
from corinth.predictor import Transcriber, load_run
from corinth.registry import list_models
from corinth.report import run_report
from corinth.training import Run, train
from corinth.weights import read_config
from spoken_tones import said, write_sentences

CHANGES = {"speed": 0.2, "pitch": 0.05, "time_masks": 1}


def quick(data: DataSet | str, output: Path, **fields: Any) -> Run:
    usual: dict[str, Any] = {"arch": "bigru", "budget": "14ep", "batch_size": 8, "lr": 0.02, "warmup": 0.0}
    usual |= {"options": {"hidden_size": 16}, "series": {"stack": 2}}
    return train(data=data, output=str(output), **(usual | fields))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sentences(tmp_path_factory.mktemp("said"), 60)


@pytest.fixture(scope="module")
def data(table: Path) -> DataSet:
    return open_data(table)


@pytest.fixture(scope="module")
def run(data: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick(data, tmp_path_factory.mktemp("runs") / "run", series_augmentation=CHANGES)


@pytest.fixture(scope="module")
def network(run: Run) -> Transcriber:
    found = load_run(run.path)
    assert isinstance(found, Transcriber)
    return found


def test_words_are_learnt_and_scored(run: Run, network: Transcriber, data: DataSet) -> None:
    found = network.evaluate(data, "test")
    assert found.error_rate < 0.2
    assert found.error_rate == found.word_error_rate
    assert found.substituted + found.missed + found.added == round(found.error_rate * found.labels)
    assert sorted(found.index.tolist()) == data.positions("test").tolist()
    counts = np.array([len(data.source.target(i)) for i in found.index])
    assert (found.per_sample * counts).sum() / counts.sum() == pytest.approx(found.error_rate)
    assert found.exact == pytest.approx((found.per_sample == 0).mean())
    assert run.best is not None
    assert run.best["val_error_rate"] == pytest.approx(network.evaluate(data, "val", beam=1).error_rate)
    config = read_config(run.path)
    assert (config.task, config.classes) == ("transcription", ("high", "low", "mid"))
    assert config.config["num_classes"] == 4
    assert config.config["pool"] == "none"


def test_batches_and_single_recordings_say_the_same(network: Transcriber, table: Path, data: DataSet) -> None:
    files = sorted(table.parent.glob("*.wav"))[:7]
    together, apart = network.predict(files), [network.predict(file)[0] for file in files]
    assert [t.text for t in together] == [t.text for t in apart]
    assert [t.probability for t in together] == pytest.approx([t.probability for t in apart], rel=1e-3)
    assert all(0 < (t.probability or 0) <= 1 for t in together)
    best_path = network.predict(files, beam=1)
    assert all((b.probability or 0) >= (p.probability or 0) * 0.999 for p, b in zip(best_path, together) if p == b)
    assert len(network.predict(table.parent)) == 60  # a folder
    series = data.source.sequence(0)
    assert network.predict([series])[0].labels == network.predict(table.parent / data.source.name(0))[0].labels


def test_what_cannot_be_heard(network: Transcriber, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"none")
    soundfile.write(tmp_path / "fine.wav", said(["low"]), 8000)
    (tmp_path / "empty").mkdir()
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    names = [tmp_path / name for name in ("broken.wav", "fine.wav", "gone.wav", "empty", "photo.png")]
    broken, fine, gone, empty, photo = network.predict(names)
    assert f"{tmp_path / 'photo.png'}: is no recording (.wav" in str(photo.error)
    assert "not a readable recording" in str(broken.error)
    assert fine.error is None
    assert "there is no such file" in str(gone.error)
    assert "is a folder without recordings" in str(empty.error)
    assert broken.to_dict() == {"name": str(tmp_path / "broken.wav"), "error": broken.error}
    for bad in ({"beam": 0}, {"batch_size": 0}):
        with pytest.raises(UsageError, match="0 is not at least 1"):
            network.predict(names, **bad)


def test_damaged_weights_are_said(network: Transcriber, data: DataSet, table: Path) -> None:
    damaged = copy.copy(network)
    damaged.model = copy.deepcopy(network.model)
    next(damaged.model.parameters()).data.fill_(torch.nan)
    for call in (lambda: damaged.predict(table.parent / "0.wav"), lambda: damaged.evaluate(data, "test")):
        with pytest.raises(WeightsError, match="outputs are not finite"):
            call()


def test_other_data(network: Transcriber, data: DataSet, tmp_path: Path) -> None:
    fast = write_sentences(tmp_path / "fast", 20, rate=16000)
    with pytest.raises(DataError, match="open it with audio_rate=8000"):
        network.evaluate(open_data(fast), "test")  # ty: ignore[invalid-argument-type]
    brought: Any = open_data(fast, audio_rate=8000)
    assert network.evaluate(brought, "all").error_rate < 0.5
    (tmp_path / "unknown.csv").write_text("path,text\n" + "\n".join(f"fast/{i}.wav,loud" for i in range(10)))
    unknown: Any = open_data(tmp_path / "unknown.csv", audio_rate=8000)
    with pytest.raises(DataError, match=r"the transcript of fast/0\.wav has 'loud', which was not seen in training"):
        network.evaluate(unknown, "all")


def test_the_same_seed_gives_the_same_run_and_a_resumed_one_too(data: DataSet, table: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"series_augmentation": CHANGES, "schedule": "constant"}
    whole = quick(data, tmp_path / "a", budget="3ep", **how)
    part = quick(data, tmp_path / "b", budget="2ep", **how)
    longer = train(resume=part.path, budget="3ep")
    assert longer.metrics[-1]["train_loss"] == whole.metrics[-1]["train_loss"]
    plain = quick(data, tmp_path / "c", budget="3ep", schedule="constant")
    assert plain.metrics[-1]["train_loss"] != whole.metrics[-1]["train_loss"]


def test_a_run_does_not_go_on_with_sound_at_another_rate(table: Path, tmp_path: Path) -> None:
    slower = open_data(table, audio_rate=4000)
    part = quick(slower, tmp_path / "run", budget="1ep")
    with pytest.raises(DataError, match="was trained on sound at 4000 Hz; open it with audio_rate=4000"):
        train(resume=part.path, budget="2ep")
    assert train(data=slower, resume=part.path, budget="2ep").metrics[-1]["epoch"] == 2


def test_accumulated_parts_train_as_one_batch(data: DataSet, tmp_path: Path) -> None:
    options = {"hidden_size": 16, "drop_rate": 0.0}
    runs = [quick(data, tmp_path / str(n), budget="1ep", accumulate=n, options=options) for n in (1, 3)]
    one, three = ([row["val_loss"] for row in run.metrics] for run in runs)
    assert one == pytest.approx(three, rel=1e-4)


def test_every_recurrent_network_has_the_task() -> None:
    assert set(list_models(task="transcription")) == set(list_models(task="sequence-tagging"))


@pytest.mark.parametrize("arch", ["rnn", "bilstm", pytest.param("lstm_layernorm", marks=pytest.mark.slow)])
def test_other_networks_train(arch: str, data: DataSet, tmp_path: Path) -> None:
    run = quick(data, tmp_path / "run", arch=arch, budget="16samples", options={"hidden_size": 4})
    assert load_run(run.path).task == "transcription"


def test_fields_that_do_not_fit_are_refused(data: DataSet, tmp_path: Path) -> None:
    refused = {
        "series.stack": ({"series": {"stack": 12}}, r"steps with series.stack 12, and its transcript needs \d"),
        "crop": ({"series_augmentation": {"crop": 0.1}}, "crop cuts away what transcripts say"),
        "max_len": ({"max_len": 20}, "max_len cuts away what transcripts say"),
        "tokenizer": ({"tokenizer": "char"}, "tokenizer does nothing with recordings with transcripts"),
        "pool": ({"options": {"pool": "mean"}}, "pool mean does not fit"),
        "crf": ({"options": {"crf": True}}, "crf True does not fit"),
        "class_weights": ({"class_weights": "balanced"}, "class_weights balanced is not for transcription"),
    }
    for fields, message in refused.values():
        with pytest.raises(UsageError, match=message):
            quick(data, tmp_path / "none", **fields)
    assert not (tmp_path / "none").exists()


def test_characters_are_labels_where_asked_for(table: Path, tmp_path: Path) -> None:
    run = quick(str(table), tmp_path / "run", budget="1ep", transcript_units="characters", series={"stack": 1})
    network = load_run(run.path)
    assert isinstance(network, Transcriber)
    assert network.units == "characters"
    assert set(network.classes) == {*"lowmidhigh", "\u2423"}
    data: Any = open_data(table, transcript_units="characters")
    found = network.evaluate(data, "test")
    assert found.labels > 2 * sum(len(data.source.text(i).split()) for i in data.positions("test"))
    assert found.word_error_rate >= found.exact - 1


def test_a_run_goes_on_from_weights_at_their_own_rate(run: Run, tmp_path: Path) -> None:
    fast = write_sentences(tmp_path / "fast", 20, rate=16000)
    options = {"hidden_size": 16}
    again = quick(str(fast), tmp_path / "run", weights=str(run.path), budget="1ep", series={}, options=options)
    assert read_config(again.path).preprocess == read_config(run.path).preprocess
    assert run_report(again.path)[0].is_file()


def test_the_report_shows_what_was_heard(run: Run) -> None:
    page = run_report(run.path)[0].read_text()
    assert "Without an error" in page
    assert " substituted, " in page
    assert "label error rate on the validation recordings of said" in page
    assert page.count('<img class="sound" src="data:image/png;base64,') == 8
    assert page.count("data:image/svg+xml;base64,") == 8
    assert "error rate per recording" in page


def test_commands(run: Run, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run.path), "--beam", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["beam"] == 4
    assert 0 <= found["error_rate"] < 0.5
    assert main(["evaluate", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "error rate" in out
    assert "said, test part, 12 recordings" in out
    (tmp_path / "broken.wav").write_bytes(b"none")
    files = [str(table.parent / "0.wav"), str(tmp_path / "broken.wav")]
    assert main(["predict", str(run.path), *files, "--format", "json"]) == 3
    first, second = json.loads(capsys.readouterr().out)
    assert set(first) == {"name", "text", "labels", "probability"}
    assert "error" in second
    assert main(["predict", str(run.path), files[0], "--format", "csv", "--beam", "1"]) == 0
    assert capsys.readouterr().out.startswith("name,transcript,probability,error")
    assert main(["predict", str(run.path), files[0]]) == 0
    assert first["text"] in capsys.readouterr().out
    fast = write_sentences(tmp_path / "fast", 20, rate=16000)
    assert main(["evaluate", str(run.path), "--data", str(fast), "--split", "all"]) == 0
    assert main(["gradients", str(run.path)]) != 0
    assert "whose answers are at no step of their own" in capsys.readouterr().err


def test_doctor_counts_labels_and_times_a_network(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--data", str(table), "--model", "gru", "--budget", "1ep", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["unit"] == "recording"
    assert set(found["data"]["classes"]) == {"low", "mid", "high"}
    assert found["job"]["samples_per_second"] > 0
    assert main(["doctor", "--data", str(table), "--transcript-units", "characters"]) == 0
    assert "60 recordings (36 train, 12 val, 12 test)" in capsys.readouterr().out


def test_beam_is_for_transcription(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(arch="cnn", data="digits", budget="64samples", output=str(tmp_path / "run"))
    for verb in (["evaluate", str(run.path)], ["predict", str(run.path), "x.png"]):
        assert main([*verb, "--beam", "2"]) == 2
        assert "--beam is for translation, transcription and captioning" in capsys.readouterr().err


def test_compared(data: DataSet, tmp_path: Path) -> None:
    board = compare(
        data,
        models="gru,bigru",
        budget="4ep",
        seeds=2,
        output=tmp_path / "board",
        overrides={"options": {"hidden_size": 8}, "series": {"stack": 2}, "batch_size": 8, "lr": 0.02},
    )
    assert [row.reason for row in board.rows] == [None, None]
    scores = [row.score_test for row in board.rows]
    assert scores == sorted(scores)  # lower is better
    page = (tmp_path / "board" / "report.html").read_text()
    assert '<img class="sound"' in page


def test_posteriors_are_those_of_the_network(network: Transcriber, data: DataSet) -> None:
    rows = network.preprocess([data.source.sequence(0)])
    logits = network.logits(Sequences.of(rows))
    assert logits.shape == (1, len(rows[0]), 4)
    with torch.inference_mode():
        torch.testing.assert_close(logits, network.model(rows[0][None], torch.tensor([len(rows[0])])))
