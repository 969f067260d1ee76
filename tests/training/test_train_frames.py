"""A class for every frame: from the recipe to the run folder, its predictions, its report; compared; by command."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clip_sets import clips, write_archive, write_folders
from corinth.cli import main
from corinth.compare.bakeoff import compare
from corinth.data import SequenceData, open_data
from corinth.data.sequences.clip_encoding import ClipEncoding
from corinth.errors import DataError, UsageError
from corinth.inspect import count_macs
from corinth.predictor import FrameClassifier, load_run
from corinth.registry import list_models
from corinth.report import run_report
from corinth.report.frames import shown_frames
from corinth.training import Run, train
from corinth.weights import read_config

OPTIONS: dict[str, Any] = {"channels": (4, 8), "hidden_size": 8, "drop_rate": 0.0}
PLAIN: dict[str, Any] = {"hidden_size": 8, "drop_rate": 0.0}


def opened(path: Path, **options: Any) -> SequenceData:
    found = open_data(path, **options)
    assert isinstance(found, SequenceData)
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SequenceData:
    return opened(write_archive(tmp_path_factory.mktemp("clips") / "clips.npz"))


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> SequenceData:
    """A number at each step, and whether it and the one before are above 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 9)).astype(np.float32)
    y = np.where((x > 0) & (np.roll(x, 1, axis=1) > 0), "both", "no")
    path = tmp_path_factory.mktemp("series") / "steps.npz"
    np.savez(path, x=x, y=y, lengths=rng.integers(4, 10, 40))
    return opened(path)


def quick(data: SequenceData, output: Path, **fields: Any) -> Run:
    usual: dict[str, Any] = {"arch": "lrcn", "budget": "20ep", "batch_size": 6, "lr": 0.01, "options": OPTIONS}
    return train(data=data, output=str(output), **(usual | fields))


@pytest.fixture(scope="module")
def run(data: SequenceData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick(data, tmp_path_factory.mktemp("runs") / "lrcn")


def classifier(run: Run) -> FrameClassifier:
    found = load_run(run.path)
    assert isinstance(found, FrameClassifier)
    return found


def test_frames_are_learnt_and_scored(run: Run, data: SequenceData) -> None:
    found = classifier(run).evaluate(data, "test", batch_size=2)
    assert found.accuracy > 0.9
    assert found.frames == found.confusion.sum() == data.source.lengths[data.positions("test")].sum()
    assert found.accuracy == pytest.approx(found.confusion.trace() / found.frames)
    assert sorted(found.index.tolist()) == data.positions("test").tolist()
    assert [score.support for score in found.per_class] == found.confusion.sum(axis=1).tolist()
    val = classifier(run).evaluate(data, "val")
    assert run.best is not None
    assert run.best["val_accuracy"] == pytest.approx(val.accuracy, rel=1e-5)
    assert run.best["val_loss"] == pytest.approx(val.loss, rel=1e-3)
    config = read_config(run.path)
    assert (config.task, config.classes, config.config["in_chans"]) == ("frame-classification", data.classes, 1)
    assert isinstance(config.preprocess, ClipEncoding)
    assert count_macs(classifier(run).model, config.preprocess.shape) > 0


def test_predictions_of_arrays_archives_and_folders(run: Run, data: SequenceData, tmp_path: Path) -> None:
    predictor = classifier(run)
    frames, labels = clips()
    one, two = predictor.predict([frames[0], frames[1][..., None]], batch_size=1)
    assert len(one.labels) == len(one.probabilities) == len(frames[0])
    assert np.mean([a == b for a, b in zip(one.labels, labels[0])]) > 0.5
    together = predictor.predict(frames[:2])
    assert [p.labels for p in together] == [one.labels, two.labels]
    np.testing.assert_allclose(together[0].probabilities, one.probabilities, rtol=1e-4)
    root = write_folders(tmp_path / "set", {"": 3})
    (root / "clip1" / "9.png").write_bytes(b"no picture")
    archive = write_archive(tmp_path / "new.npz", y=None)
    said = predictor.predict(
        [root, root / "clip2", archive, tmp_path / "gone.npz", root / "labels.csv", np.zeros((2, 9))]
    )
    assert [p.name for p in said[:5]] == [
        *(str(root / f"clip{i}") for i in (0, 1, 2, 2)),
        f"{archive}, x[0]",
    ]
    assert (
        said[1].error == f"{root / 'clip1'}: frame 9.png: not an image in a format that is read here (JPEG, PNG, "
        "WebP, BMP, PGM/PPM, GIF, TIFF)"
    )
    assert said[2].labels == said[3].labels
    assert len(said[4].labels) == len(frames[0])
    assert [p.error is not None for p in said[-3:]] == [True, True, True]
    assert "is no clip: a clip is a folder of frames" in said[-2].error  # ty: ignore
    assert said[0].rows()[0] == {
        "name": str(root / "clip0"),
        "frame": 1,
        "label": said[0].labels[0],
        "probability": round(said[0].probabilities[0], 6),
    }
    assert sum(int(part.rsplit(" ", 1)[1]) for part in said[0].summary.split(", ")) == len(said[0].labels)
    with pytest.raises(UsageError, match="batch_size 0"):
        predictor.predict(frames[:1], batch_size=0)


def test_what_other_data_are_is_said(run: Run, data: SequenceData, series: SequenceData, tmp_path: Path) -> None:
    predictor = classifier(run)
    with pytest.raises(DataError, match="steps holds no clips of frames, which the network takes"):
        predictor.evaluate(series)
    path = write_archive(tmp_path / "o.npz")
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **{**arrays, "y": np.where(arrays["y"] == "dim", "grey", arrays["y"])})
    with pytest.raises(DataError, match="the label 'grey' was not seen in training; the run knows bright, dark, dim"):
        predictor.evaluate(opened(path), "all")
    np.savez(path, **{**arrays, "x": arrays["x"][:, :, :7]})
    with pytest.raises(DataError, match="o has frames of 7 x 8 pixels, grey, and the network takes 8 x 8 pixels, grey"):
        predictor.evaluate(opened(path), "all")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"label_smoothing": 0.1}, "label_smoothing"),
        ({"img_size": 16}, "img_size does nothing with clips of frames"),
        ({"tokenizer": "bpe"}, "tokenizer does nothing"),
        ({"series": {"deltas": True}}, "series does nothing"),
        ({"options": {"in_chans": 3}}, "in_chans 3 does not fit clips, which needs 1"),
        ({"arch": "lstm", "options": {}}, "lstm takes numbers, and clips has clips of frames; lrcn takes these"),
        ({"arch": "resnet18", "options": {}}, "clips is data for frame-classification and resnet18 does image-class"),
        ({"regression_loss": "huber"}, "regression_loss huber is for regression"),
    ],
)
def test_what_does_nothing_is_refused(data: SequenceData, tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        quick(data, tmp_path / "r", **fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"arch": "lrcn", "options": {}}, "lrcn takes clips of frames, and steps has numbers; use lstm, gru"),
        ({"options": {"crf": True}}, "crf True does not fit steps"),
        ({"options": {"pool": "mean"}}, "pool mean does not fit steps, which needs none"),
        ({"series": {"stack": 2}}, "series.stack changes the steps of a series, and each has a label of its own"),
        ({"series_augmentation": {"speed": 0.1}}, "series_augmentation.speed changes the steps"),
        ({"series_augmentation": {"crop": 0.1}}, "series_augmentation.crop changes the steps"),
    ],
)
def test_series_keep_their_steps(series: SequenceData, tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        quick(series, tmp_path / "r", **({"arch": "lstm", "options": PLAIN} | fields))


def test_every_recurrent_network_says_a_class_for_every_step(series: SequenceData, tmp_path: Path) -> None:
    names = list_models(task="frame-classification")
    assert {"rnn", "lstm", "bilstm", "gru", "lstm_peephole", "lrcn", "bilrcn", "lrcn_single_frame"} <= set(names)
    run = quick(series, tmp_path / "gru", arch="gru", options=PLAIN, budget="60ep", lr=0.03, class_weights="balanced")
    found = classifier(run).evaluate(series, "test")
    assert found.accuracy > 0.8
    for name in ("bilstm", "lstm_peephole"):
        short = quick(series, tmp_path / name, arch=name, options=PLAIN, budget="12samples")
        assert classifier(short).evaluate(series, "test").samples == 8
    (one,) = classifier(run).predict([series.source.sequence(0)])
    assert len(one.labels) == series.source.lengths[0]
    changed = {"series_augmentation": {"noise": 0.1, "time_masks": 1}, "series": {"deltas": True}}
    quick(series, tmp_path / "more", arch="rnn", options=PLAIN, budget="1ep", **changed)


def test_parts_of_a_batch_give_the_same_network(series: SequenceData, tmp_path: Path) -> None:
    """Sequences of unequal length: a mean of means would not."""
    values = []
    for parts in (1, 3):
        run = quick(series, tmp_path / str(parts), arch="lstm", options=PLAIN, budget="2ep", accumulate=parts)
        said = classifier(run).predict([series.source.sequence(i) for i in range(9)])
        values.append(np.concatenate([answer.probabilities for answer in said]))
    np.testing.assert_allclose(values[0], values[1], rtol=1e-3)


def test_only_training_clips_are_cut(data: SequenceData, tmp_path: Path) -> None:
    said: list[str] = []

    class Listener:
        def message(self, text: str) -> None:
            said.append(text)

        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

    run = quick(data, tmp_path / "cut", max_len=3, budget="2ep", reporter=Listener())
    count = int((data.source.lengths[data.positions("train")] > 3).sum())
    total = len(data.positions("train"))
    assert f"{count} of {total} training sequences are longer than max_len, 3 frames, and lose their end" in said
    found = classifier(run).evaluate(data, "test")
    assert found.frames == data.source.lengths[data.positions("test")].sum()
    longest = int(data.source.lengths.argmax())
    (answer,) = classifier(run).predict([data.source.sequence(longest)])
    assert len(answer.labels) == data.source.lengths[longest] > 3
    val = classifier(run).evaluate(data, "val")
    assert run.best is not None
    assert run.best["val_accuracy"] == pytest.approx(val.accuracy, rel=1e-5)


def test_a_resumed_run_is_the_same(data: SequenceData, tmp_path: Path) -> None:
    steady: dict[str, Any] = {"schedule": "constant", "warmup": 0.0}
    whole = quick(data, tmp_path / "whole", budget="3ep", **steady)
    quick(data, tmp_path / "part", budget="2ep", **steady)
    longer = train(resume=tmp_path / "part", budget="3ep")
    for name in ("train_loss", "val_accuracy", "val_loss"):
        assert longer.metrics[-1][name] == whole.metrics[-1][name]


def test_a_run_goes_on_from_weights(run: Run, data: SequenceData, tmp_path: Path) -> None:
    more = quick(data, tmp_path / "more", weights=str(run.path), budget="1ep", lr=1e-5, freeze="cnn.1")
    assert read_config(more.path).preprocess == read_config(run.path).preprocess
    assert classifier(more).evaluate(data, "test").accuracy > 0.9
    before, after = (classifier(r).model.state_dict() for r in (run, more))
    assert torch.equal(before["cnn.0.0.weight"], after["cnn.0.0.weight"])


# ---- reports and comparisons ----


def test_reports_show_frames_and_bands(run: Run, data: SequenceData, series: SequenceData, tmp_path: Path) -> None:
    page = run_report(run.path, data)[0].read_text(encoding="utf-8")
    for words in ("Hardest clips", "Confusion", "accuracy of frames", '<div class="strip">', ">Frames<", "Macro F1"):
        assert words in page
    plain = quick(series, tmp_path / "rnn", arch="rnn", options=PLAIN, budget="1ep")
    page = run_report(plain.path, series)[0].read_text(encoding="utf-8")
    assert 'class="bands"' in page
    assert "</i>both</span>" in page


def test_the_stretch_with_most_errors_is_shown() -> None:
    true, said = "a" * 50, "a" * 30 + "b" * 5 + "a" * 15
    assert shown_frames(true, said, 10) == range(25, 35)
    assert shown_frames("aab", "aaa", 10) == range(3)


def test_networks_are_compared_clip_by_clip(data: SequenceData, tmp_path: Path) -> None:
    overrides = {"batch_size": 6, "lr": 0.01, "options": OPTIONS}
    board = compare(data, "lrcn,lrcn_single_frame", budget="4ep", seeds=2, output=tmp_path / "c", overrides=overrides)
    assert {row.label for row in board.rows} == {"lrcn", "lrcn_single_frame"}
    assert all(row.metric is not None for row in board.rows)
    assert board.report is not None
    page = board.report.read_text(encoding="utf-8")
    assert '<div class="strip">' in page
    with pytest.raises(UsageError, match="the control shuffled-labels is for classification"):
        compare(data, "lrcn", control="shuffled-labels", output=tmp_path / "d")


# ---- commands ----


def test_the_commands(run: Run, data: SequenceData, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--epochs", "1", "--set", "hidden_size=4", "--set", "channels=4,4", "--batch-size", "8", "--quiet"]
    assert main(["train", "--data", data.spec, "--model", "bilrcn", *size, "--output", str(tmp_path / "r")]) == 0
    assert main(["doctor", "--data", data.spec]) == 0
    assert "3 to 8 frames" in capsys.readouterr().out
    assert main(["evaluate", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "clips, test part, 5 clips" in out
    for words in ("accuracy", "frames", "is \\ called", "bright"):
        assert words in out
    root = write_folders(tmp_path / "set", {"": 2})
    assert main(["predict", str(run.path), str(root / "clip0"), data.spec]) == 0
    assert str(root / "clip0") in capsys.readouterr().out
    assert main(["predict", str(run.path), str(root), str(root / "labels.csv"), "--format", "csv"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "name,frame,label,probability,error"
    assert lines[1].startswith(f"{root / 'clip0'},1,")
    assert len(lines) == 2 + sum(map(len, clips(2)[0]))
    assert main(["predict", str(run.path), str(root / "clip1"), "--format", "json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert len(answer["labels"]) == len(answer["probabilities"]) == len(clips(2)[0][1])
    assert main(["show", "lrcn"]) == 0
    assert "16x3x32x32" in capsys.readouterr().out


def test_gradients_by_step(run: Run, series: SequenceData, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of series that of the last step's answer; of clips there are none."""
    plain = quick(series, tmp_path / "rnn", arch="rnn", options=PLAIN, budget="1ep")
    assert main(["gradients", str(plain.path), "--samples", "5", "--output", str(tmp_path / "g.html")]) == 0
    assert "gradient of the loss" in capsys.readouterr().out
    assert main(["gradients", str(run.path), "--output", str(tmp_path / "h.html")]) == 2
    assert "gradients by step are of texts, series and sentences" in capsys.readouterr().err
