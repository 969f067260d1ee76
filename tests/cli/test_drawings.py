"""Names of drawings: what is there already, and what a file system may take for the same name."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from corinth.cli.drawings import Drawings
from corinth.predictor.drawing import is_drawing, save


class Painter:
    """Draws one picture an image."""

    def pictures(self, path: Path) -> list[Path]:
        return [path]

    def write(self, image: Any, answer: Any, path: Path) -> None:
        save(Image.new("RGB", (4, 4)), path)


def drawn(drawings: Drawings, *images: Path) -> list[str]:
    for image in images:
        image.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(image)
        drawings.add(Painter(), SimpleNamespace(name=str(image)))  # ty: ignore[invalid-argument-type]
    return sorted(path.name for path in drawings.folder.iterdir())


def test_a_picture_that_appears_meanwhile_is_left_alone(tmp_path: Path) -> None:
    drawings = Drawings(tmp_path / "drawn", [], [])
    other = tmp_path / "drawn" / "a.png"
    Image.new("RGB", (2, 2)).save(other)
    assert drawn(drawings, tmp_path / "of" / "a.png") == ["a-2.png", "a.png"]
    assert not is_drawing(other)


@pytest.mark.parametrize(("one", "two"), [("\u00e9", "e\u0301"), ("A", "a"), ("STRASSE", "straße")])
def test_names_that_some_file_systems_take_for_one(one: str, two: str, tmp_path: Path) -> None:
    drawings = Drawings(tmp_path / "drawn", [], [])
    found = drawn(drawings, tmp_path / "first" / f"{one}.png", tmp_path / "second" / f"{two}.png")
    assert found == sorted([f"{one}.png", f"{two}-2.png"])
