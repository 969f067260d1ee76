"""Small made-up translations, in two languages that follow rules, and files of them."""

import gzip
from pathlib import Path

import numpy as np

NUMBERS = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier"}
COLOURS = {"red": "rot", "green": "grün", "blue": "blau", "black": "schwarz"}
ANIMALS = {"dog": "Hund", "cat": "Katze", "bird": "Vogel", "horse": "Pferd"}
VERBS = {"runs": "läuft", "sleeps": "schläft", "sings": "singt", "waits": "wartet"}


def pair_rows(count: int = 60, seed: int = 0) -> list[tuple[str, str]]:
    """Such as ("one red dog runs.", "läuft eins Hund rot."): all but the number change their places. Some are alike."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        number, colour, animal, verb = (str(rng.choice(list(words))) for words in (NUMBERS, COLOURS, ANIMALS, VERBS))
        ours = f"{number} {colour} {animal} {verb}."
        rows.append((ours, f"{VERBS[verb]} {NUMBERS[number]} {ANIMALS[animal]} {COLOURS[colour]}."))
    return rows


def write_aligned(
    folder: Path,
    rows: list[tuple[str, str]],
    *,
    stem: str = "train",
    languages: tuple[str, str] = ("en", "de"),
    packed: bool = False,
) -> Path:
    """`train.en` and `train.de`, a sentence a line."""
    folder.mkdir(parents=True, exist_ok=True)
    for side, language in enumerate(languages):
        content = "".join(f"{row[side]}\n" for row in rows).encode()
        name = folder / f"{stem}.{language}"
        if packed:
            name.with_name(f"{name.name}.gz").write_bytes(gzip.compress(content))
        else:
            name.write_bytes(content)
    return folder
