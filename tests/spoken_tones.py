"""Made-up recordings in which tones are words."""

from pathlib import Path

import numpy as np
import soundfile

TONES = {"low": 400.0, "mid": 1000.0, "high": 2500.0}


def said(words: list[str], rate: int = 8000, seed: int = 0) -> np.ndarray:
    """60 ms of each word's tone, and pauses of 30 ms around them."""
    noise = np.random.default_rng(seed)
    pause = np.zeros(int(0.03 * rate))
    steps = np.arange(int(0.06 * rate)) / rate
    pieces = [pause]
    for word in words:
        pieces += [0.3 * np.sin(2 * np.pi * TONES[word] * (1 + 0.02 * noise.normal()) * steps), pause]
    sound = np.concatenate(pieces)
    return (sound + noise.normal(0, 1e-3, len(sound))).astype(np.float32)


def write_sentences(folder: Path, count: int = 40, rate: int = 8000, seed: int = 0) -> Path:
    """`count` recordings of one to four words and a table of their transcripts; a fifth is the test part."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    rows = ["path,transcript,split"]
    for number in range(count):
        words = chance.choice(list(TONES), size=chance.integers(1, 5)).tolist()
        soundfile.write(folder / f"{number}.wav", said(words, rate, number), rate)
        rows.append(f"{number}.wav,{' '.join(words)},{('test', 'val', 'train', 'train', 'train')[number % 5]}")
    (folder / "said.csv").write_text("\n".join(rows))
    return folder / "said.csv"
