"""Runs the command line in-process; a small trained run and a small image folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corinth.cli import main


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line of complaint; fails where there is more, or a traceback."""
        lines = [line for line in self.err.splitlines() if line.startswith("corinth: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


Cli = Callable[..., Result]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*args: str | Path) -> Result:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        found = capsys.readouterr()
        return Result(code, found.out, found.err)

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of lenet5 on digits, hardly trained."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    line = f"train --data digits --model lenet5 --budget 512samples --quiet --output {folder}"
    assert main(line.split()) == 0
    return folder


@pytest.fixture
def write_image() -> Callable[..., None]:
    """Writes an image of noise: path, seed, shape."""

    def write(path: Path, seed: int, shape: tuple[int, ...] = (12, 12)) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)).save(path)

    return write


@pytest.fixture
def photos(tmp_path: Path, write_image: Callable[..., None]) -> Path:
    """Two classes of twelve images, without declared splits."""
    for number in range(12):
        write_image(tmp_path / "photos" / "1" / f"{number}.png", number)
        write_image(tmp_path / "photos" / "7" / f"{number}.png", 100 + number)
    return tmp_path / "photos"
