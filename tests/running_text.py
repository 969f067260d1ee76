"""Running text that is made up: sentences in which a network can learn something."""

from pathlib import Path

import numpy as np

WHO, DOES, WHAT = ("The cat", "A dog", "My Owl"), ("sees", "hears", "eats"), ("the mouse", "a bird", "Kim")


def made_up(sentences: int = 240, seed: int = 0) -> str:
    """Such as "A dog eats the mouse.", a line each, about 20 characters."""
    rng = np.random.default_rng(seed)
    rows = (" ".join(str(rng.choice(words)) for words in (WHO, DOES, WHAT)) for _ in range(sentences))
    return "".join(f"{row}.\n" for row in rows)


def write(path: Path, text: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((made_up() if text is None else text).encode())
    return path
