"""Which mistakes are shown, and how."""

import base64
import io

import numpy as np
import pytest
from fabricate import image_data
from PIL import Image

from corinth.report.pictures import data_uri, mistakes


def test_worst_first_wrong_for_most_seeds_then_surest() -> None:
    data = image_data(classes=("a", "b"), samples=40)
    targets = np.array([0, 0, 0, 1])
    sure = {"right": (0.9, 0.1), "unsure": (0.4, 0.6), "sure": (0.1, 0.9)}
    first = [sure["right"], sure["unsure"], sure["sure"], (0.2, 0.8)]
    second = [sure["right"], sure["unsure"], sure["right"], (0.2, 0.8)]
    found = mistakes(data, np.array([4, 8, 12, 16]), targets, np.array([first, second]), ("a", "b"))
    assert [(m.name, m.target, m.predicted, m.wrong, m.runs) for m in found] == [
        ("noise[8]", "a", "b", 2, 2),
        ("noise[12]", "a", "b", 1, 2),
    ]
    assert [m.probability for m in found] == pytest.approx([0.6, 0.9])
    assert found[0].small


@pytest.mark.parametrize("shape", [(8, 8), (300, 200, 3)])
def test_data_uri_is_the_image_no_larger_than_needed(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    head, _, body = data_uri(image).partition(",")
    assert head == "data:image/png;base64"
    shown = Image.open(io.BytesIO(base64.b64decode(body)))
    assert max(shown.size) <= 112
    if max(shape) <= 112:
        assert (np.asarray(shown) == image).all()
