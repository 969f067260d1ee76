"""Images and masks made on the spot."""

from collections.abc import Callable

import numpy as np

Writer = Callable[[str, np.ndarray], None]


def photo(seed: int, size: tuple[int, int] = (6, 8)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def ids(*values: int, size: tuple[int, int] = (6, 8)) -> np.ndarray:
    """The values in turn, pixel by pixel."""
    return np.resize(np.array(values, dtype=np.uint8), size)


def pairs(write: Writer, images: str, masks: str, count: int = 6, *, values: tuple[int, ...] = (0, 1, 2)) -> None:
    """As many images and masks; the formats are paths with {} for the number."""
    for i in range(count):
        write(images.format(i), photo(i + 1000 * len(images)))
        write(masks.format(i), ids(*values))
