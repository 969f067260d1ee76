"""The development data sets, read by name from $CORINTH_DATA."""

import os
from pathlib import Path

import numpy as np
import pytest

from corinth.data import Preprocess, make_store, open_data
from corinth.data.preflight import preflight

pytestmark = pytest.mark.data


@pytest.fixture(autouse=True)
def _needs_data(request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["name"] if hasattr(request.node, "callspec") else request.node.name[5:]
    folder = os.environ.get("CORINTH_DATA")
    if not folder or not (Path(folder) / name).is_dir():
        pytest.skip(f"the set {name} is not in $CORINTH_DATA")


@pytest.mark.parametrize(
    ("name", "images", "classes", "size", "channels", "parts"),
    [
        ("mnist_t10k", 10_000, 10, (28, 28), 1, [7000, 1000, 2000]),
        ("cifar10_subset", 6_000, 10, (32, 32), 3, [4500, 500, 1000]),
        ("orl_faces", 400, 40, (112, 92), 1, [280, 40, 80]),
        ("flowers5_128", 4_317, 5, (128, 128), 3, None),
    ],
)
def test_opens(
    name: str, images: int, classes: int, size: tuple[int, int], channels: int, parts: list[int] | None
) -> None:
    data = open_data(name)
    assert (len(data), data.num_classes, data.native_size, data.channels) == (images, classes, size, channels)
    assert not data.corrupt
    if parts:
        assert [len(data.splits[part]) for part in ("train", "val", "test")] == parts
    chosen = data.splits["test"][:20]
    store = make_store(data, chosen, Preprocess.measured(data, size=16, samples=50))
    assert store.gather(store.targets.new_tensor([0, 19])).shape == (2, channels, 16, 16)
    assert open_data(name).fingerprint == data.fingerprint


def test_mnist_t10k() -> None:
    data = open_data("mnist_t10k", val_share=0.0, test_share=0.2)
    assert np.bincount(data.labels("all")).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert len(data.splits["test"]) == pytest.approx(2000, abs=5)


def test_orl_faces() -> None:
    report = preflight(open_data("orl_faces"), verify=True)
    assert report.ok
    assert report.duplicates_across == 0
