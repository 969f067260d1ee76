"""Recordings as time series."""

from pathlib import Path

import numpy as np
import pytest
import torch

from corinth.data import SequenceData, Sequences, open_data
from corinth.data.sequences.audio import BANDS, FLOOR, HOP, RANGE, WINDOW, features, log_mel, mel_filters, read_audio
from corinth.data.sequences.features import centred
from corinth.data.sequences.source import SeriesSource
from corinth.errors import DataError, UsageError
from corinth.predictor import SequenceClassifier, load_run
from corinth.training import train

soundfile = pytest.importorskip("soundfile")


def tone(frequency: float, rate: int = 8000, seconds: float = 0.3, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.01, int(rate * seconds))
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate) + noise).astype(np.float32)


def beeps(frequency: float, rate: int = 8000, seconds: float = 0.2, seed: int = 0) -> np.ndarray:
    """A tone twice, near silence between: what goes on for all of a recording is taken for its microphone."""
    beep = tone(frequency, rate, seconds, seed)
    pause = np.random.default_rng(seed).normal(0, 1e-4, rate // 10).astype(np.float32)
    return np.concatenate([beep, pause, beep])


def write_tones(folder: Path, rate: int = 8000, each: int = 12) -> Path:
    for label, base in (("low", 300), ("high", 1500)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            samples = beeps(base + 10 * number, rate, 0.1 + 0.01 * number, number)
            soundfile.write(folder / label / f"{number}.wav", samples, rate)
    return folder


def test_mel_bands_are_triangles_that_overlap_by_half() -> None:
    filters = mel_filters(16000, 512).numpy()
    assert filters.shape == (257, BANDS)
    assert (filters >= 0).all()
    assert (filters.max(axis=0) > 0.5).all()
    peaks = filters.argmax(axis=0)
    assert (np.diff(peaks) >= 1).all()
    inside = slice(peaks[0] + 1, peaks[-1])  # at its ends there is but one triangle
    np.testing.assert_allclose(filters[inside].sum(axis=1), 1, atol=1e-5)
    mel = 2595 * np.log10(1 + np.linspace(0, 8000, 257)[peaks] / 700)
    np.testing.assert_allclose(np.diff(mel), np.diff(mel).mean(), atol=40)  # even, as far as the spectrum is fine


def test_the_loudest_band_is_that_of_the_tone() -> None:
    for frequency in (300.0, 1000.0, 3000.0):
        found = log_mel(tone(frequency), 8000, 8000)
        assert found.shape == (1 + (2400 - WINDOW * 8000) // (HOP * 8000), BANDS)
        assert found.dtype == np.float32
        edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), BANDS + 2) / 2595) - 1)
        loudest = np.median(found, axis=0).argmax()
        assert edges[loudest] < frequency < edges[loudest + 2]
    np.testing.assert_allclose(log_mel(np.zeros(8000, np.float32), 8000, 8000), np.log(FLOOR), rtol=1e-6)


def test_loudness_plays_no_part() -> None:
    quiet, loud = (features(volume * tone(500), 8000, 8000) for volume in (0.1, 1.0))
    assert quiet.max() == loud.max() == 0
    band = int(np.median(quiet, axis=0).argmax())
    np.testing.assert_allclose(quiet[:, band], loud[:, band], atol=1e-3)


def test_recordings_are_centred_over_what_is_no_pause() -> None:
    sound = torch.from_numpy(features(tone(500, seconds=0.5), 8000, 8000))
    louder = sound + 1.5
    other = sound + torch.linspace(-0.5, 0.5, BANDS)  # another microphone
    paused = torch.cat([sound, torch.full((60, BANDS), -RANGE)])
    found = centred(Sequences.of([sound, louder, other, paused])).values
    steps = len(sound)
    np.testing.assert_allclose(found[0, :steps].mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(found[1], found[0], atol=1e-4)
    np.testing.assert_allclose(found[2], found[0], atol=0.05)
    np.testing.assert_allclose(found[3, :steps], found[0, :steps], atol=1e-3)
    assert (found[0, steps:] == 0).all()


def test_another_rate_gives_nearly_the_same() -> None:
    slow, fast = (log_mel(tone(700, rate, 0.5, 1), rate, 8000) for rate in (8000, 16000))
    assert slow.shape == fast.shape
    band = int(np.median(slow, axis=0).argmax())
    np.testing.assert_allclose(slow[5:-5, band], fast[5:-5, band], atol=0.1)


def test_folders_tables_rates_and_channels(tmp_path: Path) -> None:
    folder = write_tones(tmp_path / "tones")
    stereo = np.stack([tone(300), tone(300)], axis=1)
    soundfile.write(folder / "low/0.wav", stereo, 8000)
    soundfile.write(folder / "low/1.wav", tone(310, 16000), 16000)
    data = open_data(folder)
    assert isinstance(data, SequenceData)
    assert isinstance(data.source, SeriesSource)
    assert data.classes == ("high", "low")
    assert data.source.channels == BANDS
    assert data.source.audio_rate == 8000
    assert "1 recordings of another rate are brought to 8000 Hz" in data.notes
    rows = [
        f"{p.relative_to(tmp_path)},{p.parent.name},{('train', 'test')[i % 2]}"
        for i, p in enumerate(folder.rglob("*.wav"))
    ]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,split", *rows]))
    table = open_data(tmp_path / "t.csv")
    assert table.task == "sequence-classification"
    assert len(table.positions("test")) == 12


def test_bad_recordings_are_left_out_or_stop(tmp_path: Path) -> None:
    folder = write_tones(tmp_path / "tones")
    (folder / "low/broken.wav").write_bytes(b"RIFF no sound")
    data = open_data(folder)
    assert len(data) == 24
    assert data.corrupt[0][0].endswith("broken.wav")
    assert "not a readable recording" in data.corrupt[0][1]
    soundfile.write(folder / "low/short.wav", np.zeros(50, np.float32), 8000)
    with pytest.raises(DataError, match=r"2 of 26 recordings cannot be used .* repair or remove them"):
        open_data(folder)
    with pytest.raises(DataError, match=r"short\.wav: lasts 6 ms, and 25 are needed"):
        read_audio(folder / "low/short.wav")


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_tones(tmp_path / "tones")
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(UsageError, match=r"install it with: pip install 'corinth\[audio\]'"):
        open_data(folder)


def test_recordings_are_learnt_and_predicted(tmp_path: Path) -> None:
    data = open_data(write_tones(tmp_path / "tones"))
    assert isinstance(data, SequenceData)
    options = {"hidden_size": 8}
    run = train(
        arch="gru", data=data, budget="15ep", batch_size=8, lr=0.02, options=options, output=str(tmp_path / "r")
    )
    predictor = load_run(run.path)
    assert isinstance(predictor, SequenceClassifier)
    soundfile.write(tmp_path / "new.wav", beeps(320, 16000, 0.2, 9), 16000)
    (tmp_path / "bad.wav").write_bytes(b"x")
    found = predictor.predict([tmp_path / "new.wav", tmp_path / "tones/high/3.wav", tmp_path / "bad.wav"])
    assert [p.label for p in found] == ["low", "high", None]
    other = open_data(write_tones(tmp_path / "fast", rate=16000))
    assert isinstance(other, SequenceData)
    with pytest.raises(DataError, match="fast has sound at 16000 Hz, and the network was trained on sound at 8000 Hz"):
        predictor.evaluate(other)


def test_the_fingerprint_is_that_of_the_sound(tmp_path: Path) -> None:
    import torch

    folder = write_tones(tmp_path / "tones")
    threads = torch.get_num_threads()
    prints = []
    for count in (1, 3):
        torch.set_num_threads(count)
        prints.append(open_data(folder).fingerprint)
    torch.set_num_threads(threads)
    assert prints[0] == prints[1]
    soundfile.write(folder / "low/0.wav", tone(333), 8000)
    assert open_data(folder).fingerprint != prints[0]


def test_recordings_among_other_files(tmp_path: Path) -> None:
    folder = write_tones(tmp_path / "tones")
    (folder / "low/README.txt").write_text("about these")
    assert len(open_data(folder)) == 24
    rows = [f"{p.relative_to(tmp_path)},{p.parent.name}" for p in sorted(folder.rglob("*.wav"))]
    (tmp_path / "bare.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match="looks like the path"):
        open_data(tmp_path / "bare.csv")
    (tmp_path / "mixed.csv").write_text("\n".join(["path,label", *rows, "gone.mp3,low"]))
    found = open_data(tmp_path / "mixed.csv")
    assert found.corrupt[0][1] == "there is no such file"


def test_silence_around_a_sound_changes_nothing() -> None:
    sound = tone(500, seconds=0.5)
    quiet = np.random.default_rng(3).normal(0, 1e-4, 4000).astype(np.float32)
    padded = np.concatenate([quiet, sound, quiet[:1600]])
    alone, within = features(sound, 8000, 8000), features(padded, 8000, 8000)
    assert abs(len(within) - len(alone)) <= 4  # steps that see the sound in part
    band = int(np.median(log_mel(sound, 8000, 8000), axis=0).argmax())
    np.testing.assert_allclose(within[8:40, band], alone[8:40, band], atol=0.1)
    with_pause = features(np.concatenate([sound, quiet, sound]), 8000, 8000)
    assert len(with_pause) > 1.8 * len(alone) + 40  # between sounds it stays
    np.testing.assert_allclose(with_pause[8:40, band], alone[8:40, band], atol=0.1)
    silent = features(np.zeros(4000, np.float32), 8000, 8000)
    assert silent.shape == (48, BANDS)
    np.testing.assert_allclose(centred(Sequences.of([torch.from_numpy(silent)])).values, 0, atol=1e-4)
