"""Small made-up clips, and files of them."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ("dark", "dim", "bright")


def clips(count: int = 24, seed: int = 0, side: int = 8) -> tuple[list[np.ndarray], list[list[str]]]:
    """Grey clips uint8 (T, H, W) of 3 to 8 frames, and how bright each frame is, which changes once."""
    rng = np.random.default_rng(seed)
    frames, labels = [], []
    for _ in range(count):
        steps = int(rng.integers(3, 9))
        first, second = rng.integers(0, 3, 2)
        level = np.where(np.arange(steps) < steps // 2, first, second)
        pixels = 20 + 90 * level[:, None, None] + rng.integers(-15, 16, (steps, side, side))
        frames.append(pixels.clip(0, 255).astype(np.uint8))
        labels.append([NAMES[i] for i in level])
    return frames, labels


def write_archive(path: Path, seed: int = 0, **more: Any) -> Path:
    frames, labels = clips(seed=seed)
    most = max(map(len, frames))
    x = np.zeros((len(frames), most, 8, 8), dtype=np.uint8)
    y = np.full((len(frames), most), "", dtype="<U6")
    for row, (pixels, said) in enumerate(zip(frames, labels)):
        x[row, : len(pixels)], y[row, : len(said)] = pixels, said
    arrays = {"x": x, "y": y, "lengths": np.array([len(pixels) for pixels in frames])} | more
    np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
    return path


def write_folders(root: Path, parts: dict[str, int], seed: int = 0) -> Path:
    """`<part>/<clip>/<frame>.png` with labels.csv, frames named 8.png to 15.png; part "" is the folder itself."""
    for number, (part, count) in enumerate(parts.items()):
        lines = ["clip,frame,label"]
        for clip, (frames, labels) in enumerate(zip(*clips(count, seed=seed + number))):
            folder = root / part / f"clip{clip}"
            folder.mkdir(parents=True)
            for step, (frame, label) in enumerate(zip(frames, labels)):
                Image.fromarray(frame).save(folder / f"{8 + step}.png")
                lines.append(f"clip{clip},{8 + step}.png,{label}")
        (root / part / "labels.csv").write_text("\n".join(lines) + "\n")
    return root
