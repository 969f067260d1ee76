"""Tiny image sets made on the spot; the makers of mask_toys.py can be imported."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No test sees the cache of the person who runs it, and only `data` tests see $CORINTH_DATA."""
    monkeypatch.setenv("CORINTH_CACHE", str(tmp_path / "cache"))
    if "data" not in request.keywords:
        monkeypatch.delenv("CORINTH_DATA", raising=False)


@pytest.fixture
def pixels() -> Callable[..., np.ndarray]:
    """Random pixels, the same for the same seed and no two seeds alike."""

    def make(seed: int, height: int = 10, width: int = 12, channels: int = 3) -> np.ndarray:
        shape = (height, width) if channels == 1 else (height, width, channels)
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return make


@pytest.fixture
def class_folders(pixels: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """`class_folders(root, cat=4, dog=5)` writes that many distinct PNG files a class."""
    made = 0

    def make(root: Path, channels: int = 3, **counts: int) -> Path:
        nonlocal made
        for name, count in counts.items():
            (root / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                Image.fromarray(pixels(made, channels=channels)).save(root / name / f"{i:03}.png")
                made += 1
        return root

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, np.ndarray], None]:
    """`write("images/a.png", pixels)` saves a picture in the test's folder."""

    def save(name: str, pixels: np.ndarray) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    return save
