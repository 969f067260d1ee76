"""Recordings as time series: mono sound to the logarithm of its power in mel bands, a step every 10 ms.

Davis & Mermelstein 1980 introduced mel bands; the scale is O'Shaughnessy's, mel(f) = 2595 log10(1 + f / 700).
"""

import importlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
FLOOR = 1e-6  # power below which all is silence, of samples in [-1, 1]


def is_audio_file(path: str | Path) -> bool:
    return Path(path).suffix.lower() in AUDIO_SUFFIXES


def audio_files(folder: Path) -> Iterator[LabelledFile]:
    """The recordings of a folder of class folders."""
    for file, label, part in class_files(folder, AUDIO_SUFFIXES):
        yield LabelledFile(str(file), file.relative_to(folder).as_posix(), label, part)


def collect_audio(
    files: Sequence[LabelledFile], *, where: str, max_corrupt: float, progress: Progress | None = None
) -> Collected:
    """Read every recording; all are brought to the rate that most of them have."""
    library()  # its absence is said before anything is read
    read: list[tuple[np.ndarray, int] | str] = []
    with ThreadPoolExecutor(workers()) as pool:
        for done, found in enumerate(pool.map(_try, files), start=1):
            read.append(found)
            if progress and (done % 200 == 0 or done == len(files)):
                progress("reading recordings", done, len(files))
    corrupt = [(file.path, found) for file, found in zip(files, read, strict=True) if isinstance(found, str)]
    check_usable(corrupt, len(files), max_corrupt, where, "recording")
    good = [(file, found) for file, found in zip(files, read, strict=True) if not isinstance(found, str)]
    names = ordered({file.label for file, _ in good})
    check_names(names, where)
    check_left(names, {file.label for file in files}, where)
    rates = Counter(rate for _, (_, rate) in good)
    rate = max(rates, key=lambda rate: (rates[rate], rate))
    notes = [f"recordings become {BANDS} mel bands every {1000 * HOP:g} ms, at {rate} Hz"]
    if len(rates) > 1:
        notes.append(f"{len(good) - rates[rate]} recordings of another rate are brought to {rate} Hz")
    number = {name: i for i, name in enumerate(names)}
    source = SeriesSource(
        series=tuple(features(samples, own, rate) for _, (samples, own) in good),
        places=tuple(file.key for file, _ in good),
        labels=np.array([number[file.label] for file, _ in good], dtype=np.int64),
        classes=tuple(names),
        audio_rate=rate,
        digests=tuple(_digest(samples, own) for _, (samples, own) in good),
    )
    return Collected(source, declared_parts([file.split for file, _ in good]), corrupt, notes, CLASSIFICATION)


def _digest(samples: np.ndarray, rate: int) -> bytes:
    return blake2b(str(rate).encode() + samples.tobytes(), digest_size=16).digest()


def _try(file: LabelledFile) -> tuple[np.ndarray, int] | str:
    try:
        return read_audio(file.path)
    except DataError as error:
        return str(error).removeprefix(f"{file.path}: ")


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
    """`log_mel` less the mean of each band over the recording, which takes the loudness and the microphone out."""
    found = log_mel(samples, own_rate, rate)
    return found - found.mean(axis=0)


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

    def mel(frequency: float) -> float:
        return 2595 * math.log10(1 + frequency / 700)

    edges = 700 * (10 ** (torch.linspace(0, mel(rate / 2), BANDS + 2, dtype=torch.float64) / 2595) - 1)
    frequencies = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return torch.minimum(rising, falling).clamp(min=0).float()
