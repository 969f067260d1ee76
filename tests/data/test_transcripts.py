"""Recordings with transcripts: reading them, and what cannot be used."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("soundfile")

import soundfile

from corinth.data import SequenceData, SequenceStore, SeriesEncoding, open_data
from corinth.data.augmentation import SeriesFeatures
from corinth.data.loader import Loader
from corinth.data.preflight import preflight
from corinth.data.sequences.source import SPACE, TranscriptSource, spoken
from corinth.data.sequences.transcripts import labels_of, needed_steps
from corinth.errors import DataError, UsageError
from spoken_tones import said, write_sentences


def opened(path: Path, **options: object) -> tuple[SequenceData, TranscriptSource]:
    data = open_data(path, **options)  # ty: ignore[invalid-argument-type]
    assert isinstance(data, SequenceData)
    assert isinstance(data.source, TranscriptSource)
    return data, data.source


def test_a_table_of_paths_and_transcripts(tmp_path: Path) -> None:
    data, source = opened(write_sentences(tmp_path))
    assert data.task == "transcription"
    assert data.classes == ("high", "low", "mid")
    assert {part: len(rows) for part, rows in data.splits.items()} == {"train": 24, "val": 8, "test": 8}
    rows = dict(line.split(",")[:2] for line in (tmp_path / "said.csv").read_text().splitlines()[1:])
    assert [source.text(i) for i in range(len(data))] == [rows[source.name(i)] for i in range(len(data))]
    assert any("transcripts from column 'transcript'" in note for note in data.notes)
    found = preflight(data)
    assert found.classes["low"]["train"] > 0
    found.refuse_errors()


def test_columns_with_other_names_and_labels_beside_them(tmp_path: Path) -> None:
    write_sentences(tmp_path)
    lines = (tmp_path / "said.csv").read_text().splitlines()
    renamed = ["sound,words_said,label", *(",".join([*line.split(",")[:2], "a"]) for line in lines[1:])]
    (tmp_path / "other.csv").write_text("\n".join(renamed))
    data, _ = opened(tmp_path / "other.csv", path_column="sound", text_column="words_said")
    assert len(data) == 40
    rows = [f"{line.rsplit(',', 1)[0]},{'ab'[i % 2]}" for i, line in enumerate(lines[1:])]
    labelled = ["path,transcript,label", *rows]
    (tmp_path / "both.csv").write_text("\n".join(labelled))
    assert open_data(tmp_path / "both.csv").task == "sequence-classification"
    assert open_data(tmp_path / "both.csv", label_column="label").task == "sequence-classification"


def test_characters(tmp_path: Path) -> None:
    assert labels_of("  the   cat ", "characters") == [*"the", SPACE, *"cat"]
    assert labels_of("  the   cat ", "words") == ["the", "cat"]
    assert spoken(labels_of("the cat", "characters"), "characters") == "the cat"
    write_sentences(tmp_path)
    rows = ["path,text", *(f"{i}.wav,a{'b' * (i % 3)} c" for i in range(20))]
    (tmp_path / "letters.csv").write_text("\n".join(rows))
    data, source = opened(tmp_path / "letters.csv", transcript_units="characters")
    assert data.classes == ("a", "b", "c", SPACE)
    assert source.text(2) == "abb c"
    assert data.opened_with["transcript_units"] == "characters"


def test_transcripts_for_which_there_is_no_room(tmp_path: Path) -> None:
    assert needed_steps([1, 1, 2, 2, 2]) == 8
    table = write_sentences(tmp_path)
    soundfile.write(tmp_path / "short.wav", said(["low"])[240:520], 8000)  # 2 steps
    text = table.read_text()
    table.write_text(f"{text}\nshort.wav,low low,train")
    data, _ = opened(table)
    assert len(data) == 40
    assert data.corrupt[0][0].endswith("short.wav")
    assert data.corrupt[0][1] == "has 2 steps, and its transcript of 2 labels needs 3"
    table.write_text(f"{text}\nshort.wav,low high,train\n0.wav,,train")
    data, _ = opened(table)
    assert [reason for _, reason in data.corrupt] == ["the transcript is empty"]
    table.write_text(f"{text}\n" + "\n".join("0.wav,,train" for _ in range(5)))
    with pytest.raises(DataError, match=r"5 of 45 recordings cannot be used .* the transcript is empty"):
        open_data(table)


def test_labels_of_a_run(tmp_path: Path) -> None:
    table = write_sentences(tmp_path)
    data, source = opened(table, classes=("mid", "low", "high"))
    assert data.classes == ("mid", "low", "high")
    assert source.text(0) == opened(table)[1].text(0)
    with pytest.raises(DataError, match=r"said\.csv: the transcript of \d+\.wav has 'mid', which was not seen"):
        open_data(table, classes=("low", "high"))
    with pytest.raises(UsageError, match="data for transcription, and data for sequence-classification are needed"):
        open_data(table, task="sequence-classification")


def test_the_fingerprint_has_the_transcripts_in_it(tmp_path: Path) -> None:
    table = write_sentences(tmp_path)
    before = open_data(table).fingerprint
    assert open_data(table).fingerprint == before
    lines = table.read_text().splitlines()
    path, words, part = lines[3].split(",")
    lines[3] = f"{path},{words} low,{part}"
    table.write_text("\n".join(lines))
    assert open_data(table).fingerprint != before


def test_recordings_at_another_rate(tmp_path: Path) -> None:
    slow, fast = write_sentences(tmp_path / "slow"), write_sentences(tmp_path / "fast", rate=16000)
    _, at_8 = opened(slow)
    _, at_16 = opened(fast)
    assert (at_8.audio_rate, at_16.audio_rate) == (8000, 16000)
    data, brought = opened(fast, audio_rate=8000)
    assert brought.audio_rate == 8000
    assert "40 recordings of another rate are brought to 8000 Hz" in data.notes
    same, other = at_8.sequence(0), brought.sequence(0)
    assert abs(len(same) - len(other)) <= 2
    assert (same.max(axis=0) > -2).tolist() == (other.max(axis=0) > -2).tolist()  # the bands of its tones


def test_batches(tmp_path: Path) -> None:
    data, source = opened(write_sentences(tmp_path))
    encoding = SeriesEncoding.measured(data, max_len=None, features=SeriesFeatures(stack=2, deltas=True))
    for batch in Loader(SequenceStore(data, "train", encoding), 8):
        assert batch.inputs.values.shape[2] == encoding.width == 4 * source.channels
        for row, position in enumerate(batch.index.tolist()):
            labels = source.transcripts[position]
            np.testing.assert_array_equal(batch.targets[row, : len(labels)], labels)
            assert (batch.targets[row, len(labels) :] == -100).all()
            assert batch.inputs.lengths[row] == encoding.steps(len(source.sequence(position)))
