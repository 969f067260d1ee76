"""Small made-up pictures with captions that say their colour and shape, and texts of labels."""

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 230)}
SHAPES = ("square", "bar")
SIDE = 12  # pixels


def picture(colour: str, shape: str, rng: np.random.Generator) -> Image.Image:
    """A square or a bar somewhere on a grey ground."""
    pixels = rng.integers(110, 140, (SIDE, SIDE, 3)).astype(np.uint8)
    height, width = (6, 6) if shape == "square" else (2, 10)
    top, left = rng.integers(0, SIDE - height), rng.integers(0, SIDE - width + 1)
    pixels[top : top + height, left : left + width] = COLOURS[colour]
    return Image.fromarray(pixels)


def captions_of(colour: str, shape: str) -> tuple[str, str]:
    return f"A {colour} {shape}.", f"the {shape} is {colour}"


def write_captioned(
    folder: Path, count: int = 60, *, several: bool = True, header: tuple[str, str] = ("image", "caption")
) -> Path:
    """`captions.tsv`, with one row or two rows a picture, and the pictures in a folder beside it."""
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(header)]
    for number in range(count):
        colour, shape = str(rng.choice(list(COLOURS))), str(rng.choice(SHAPES))
        name = f"pictures/{number:03}.png"
        picture(colour, shape, rng).save(folder / name)
        lines += [f"{name}\t{caption}" for caption in captions_of(colour, shape)[: 1 + several]]
    table = folder / "captions.tsv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def write_labelled(path: Path, count: int = 120) -> Path:
    """A table of texts of two labels that have words of their own."""
    rng = np.random.default_rng(0)
    words = {"animals": ("dog", "cat", "bird", "horse"), "plants": ("oak", "rose", "fern", "moss")}
    lines = ["text\tlabel"]
    for number in range(count):
        label = list(words)[number % 2]
        text = " ".join(str(word) for word in rng.choice(words[label], rng.integers(2, 5)))
        lines.append(f"the {text}\t{label}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
