"""Recordings as time series: mono sound to the logarithm of its power in mel bands, a step every 10 ms.

Davis & Mermelstein 1980 introduced mel bands; the scale is O'Shaughnessy's, mel(f) = 2595 log10(1 + f / 700).
"""

import importlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corinth.data.collect import (
    Collected,
    LabelledFile,
    Progress,
    check_left,
    check_names,
    check_usable,
    ordered,
    workers,
)
from corinth.data.sequences.files import class_files, declared_parts
from corinth.data.sequences.source import CLASSIFICATION, SeriesSource
from corinth.errors import DataError, UsageError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".aiff", ".aif")
WINDOW, HOP = 0.025, 0.010  # seconds that a step sees, and from step to step
BANDS = 40
FLOOR = 1e-8  # power below which all is silence, of samples in [-1, 1]
# in ln of power, what is quieter than the loudest by more is as good as silent
RANGE = 9.0  # of a band at a step: 39 dB
SILENCE = 7.0  # of a step at an end: 30 dB


def is_audio_file(path: str | Path) -> bool:
    return Path(path).suffix.lower() in AUDIO_SUFFIXES


def audio_files(folder: Path) -> Iterator[LabelledFile]:
    """The recordings of a folder of class folders."""
    for file, label, part in class_files(folder, AUDIO_SUFFIXES):
        yield LabelledFile(str(file), file.relative_to(folder).as_posix(), label, part)


@dataclass(frozen=True)
class Recordings:
    """What can be used of some files: which of them, their series and digests, and the rate they were brought to."""

    good: list[int]
    series: tuple[np.ndarray, ...]
    digests: tuple[bytes, ...]
    rate: int
    corrupt: list[tuple[str, str]]
    notes: list[str]


def collect_audio(
    files: Sequence[LabelledFile],
    *,
    where: str,
    max_corrupt: float,
    audio_rate: int | None = None,
    progress: Progress | None = None,
) -> Collected:
    """Recordings with a label each."""
    read = read_recordings([file.path for file in files], where, max_corrupt, audio_rate, progress)
    good = [files[i] for i in read.good]
    names = ordered({file.label for file in good})
    check_names(names, where)
    check_left(names, {file.label for file in files}, where)
    number = {name: i for i, name in enumerate(names)}
    source = SeriesSource(
        series=read.series,
        places=tuple(file.key for file in good),
        labels=np.array([number[file.label] for file in good], dtype=np.int64),
        classes=tuple(names),
        audio_rate=read.rate,
        digests=read.digests,
    )
    return Collected(source, declared_parts([file.split for file in good]), read.corrupt, read.notes, CLASSIFICATION)


def read_recordings(
    paths: Sequence[str], where: str, max_corrupt: float, audio_rate: int | None, progress: Progress | None
) -> Recordings:
    """Read every recording, at `audio_rate` or else at the rate that most of them have. The sound of each is let go as
    soon as its series is made."""
    library()  # its absence is said before anything is read
    with ThreadPoolExecutor(workers()) as pool:
        rates = Counter(rate for rate in pool.map(_rate_of, paths) if rate is not None)
        rate = audio_rate or max(rates, key=lambda rate: (rates[rate], rate), default=0)
        read: list[tuple[np.ndarray, bytes] | str] = []
        for done, found in enumerate(pool.map(lambda path: _try(path, rate), paths), start=1):
            read.append(found)
            if progress and (done % 200 == 0 or done == len(paths)):
                progress("reading recordings", done, len(paths))
    corrupt = [(path, found) for path, found in zip(paths, read, strict=True) if isinstance(found, str)]
    check_usable(corrupt, len(paths), max_corrupt, where, "recording")
    good = [(place, found) for place, found in enumerate(read) if not isinstance(found, str)]
    notes = [f"recordings become {BANDS} mel bands every {1000 * HOP:g} ms, at {rate} Hz"]
    if other := sum(rates.values()) - rates[rate]:
        notes.append(f"{other} recordings of another rate are brought to {rate} Hz")
    return Recordings(
        good=[place for place, _ in good],
        series=tuple(series for _, (series, _) in good),
        digests=tuple(digest for _, (_, digest) in good),
        rate=rate,
        corrupt=corrupt,
        notes=notes,
    )


def _rate_of(path: str) -> int | None:
    """Samples a second, as the header says; None of what is no recording, whose reason is found when it is read."""
    soundfile = library()
    try:
        return soundfile.info(path).samplerate
    except (soundfile.SoundFileError, OSError):
        return None


def _try(path: str, rate: int) -> tuple[np.ndarray, bytes] | str:
    """The series and a digest of the sound; or why there is none."""
    try:
        samples, own = read_audio(path)
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")
    digest = blake2b(str(own).encode() + samples.tobytes(), digest_size=16).digest()
    return features(samples, own, rate), digest


def library() -> Any:
    """soundfile; a `UsageError` with the command that installs it where it is absent."""
    try:
        return importlib.import_module("soundfile")
    except (ImportError, OSError) as error:  # the second where its own library is missing
        raise UsageError(
            "recordings need the library soundfile; install it with: pip install 'corinth[audio]'"
        ) from error


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """Samples float32 (N,), the mean of all channels, and their number a second; a `DataError` for what is none."""
    soundfile = library()
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise DataError(f"{path}: not a readable recording ({str(error).splitlines()[0]})") from error
    if len(samples) < WINDOW * rate:
        raise DataError(f"{path}: lasts {1000 * len(samples) / rate:.0f} ms, and {1000 * WINDOW:g} are needed")
    if not np.isfinite(samples).all():
        raise DataError(f"{path}: has samples that are not finite")
    return samples.mean(axis=1), rate


def features(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """`log_mel` without the silence at both ends, from -`RANGE` to 0, the loudest of it."""
    found = log_mel(samples, own_rate, rate)
    power = np.log(np.exp(found).sum(axis=1))  # (T,)
    heard = np.flatnonzero(power >= power.max() - SILENCE)
    return np.maximum(found - found.max(), -RANGE)[heard[0] : heard[-1] + 1]


def log_mel(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """Sound (N,) of `own_rate`, brought to `rate`, to float32 (T, `BANDS`)."""
    if own_rate != rate:
        from scipy.signal import resample_poly

        ratio = Fraction(rate, own_rate)
        samples = resample_poly(samples, ratio.numerator, ratio.denominator).astype(np.float32)
    window, hop = round(WINDOW * rate), round(HOP * rate)
    size = 1 << math.ceil(math.log2(window))
    frames = torch.from_numpy(np.ascontiguousarray(samples)).unfold(0, window, hop) * torch.hann_window(window)
    power = torch.fft.rfft(frames, n=size).abs().square() / size
    return (power @ mel_filters(rate, size)).clamp(min=FLOOR).log().numpy()


@lru_cache(maxsize=16)
def mel_filters(rate: int, size: int) -> Tensor:
    """Triangles (size / 2 + 1, `BANDS`) that overlap by half, evenly spaced on the mel scale up to half the rate."""
    edges = _hertz(torch.linspace(0, _mel(rate / 2), BANDS + 2, dtype=torch.float64))
    frequencies = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return torch.minimum(rising, falling).clamp(min=0).float()


def band_centres(rate: int) -> Tensor:
    """The middle of each band, (`BANDS`,) in Hz."""
    return _hertz(torch.linspace(0, _mel(rate / 2), BANDS + 2)[1:-1])


def band_of(frequencies: Tensor, rate: int) -> Tensor:
    """The band that has each frequency in its middle, as fractions between two: the inverse of `band_centres`."""
    return 2595 * torch.log10(1 + frequencies / 700) / _mel(rate / 2) * (BANDS + 1) - 1


def _mel(frequency: float) -> float:
    return 2595 * math.log10(1 + frequency / 700)


def _hertz(mel: Tensor) -> Tensor:
    return 700 * (10 ** (mel / 2595) - 1)
