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


def test_battery_nasa(tmp_path: Path) -> None:
    """A discharge lasts as long as the capacity it is to predict: that is said, and not of a charge."""
    archive = np.load(Path(os.environ["CORINTH_DATA"]) / "battery_nasa" / "nasa_B0005_B0006_B0007_B0018_256pt.npz")
    cells = ("B0005", "B0006", "B0007", "B0018")
    capacity = np.concatenate([archive[f"{cell}_capacity"] for cell in cells]).astype(np.float64)
    group = np.concatenate([[cell] * len(archive[f"{cell}_capacity"]) for cell in cells])
    curves = [curve[:, curve[1] < -1] for cell in cells for curve in archive[f"{cell}_discharge"]]  # under load
    lengths = np.array([int(np.ptp(curve[3]) / 10) for curve in curves])
    x = np.zeros((len(curves), lengths.max(), 1))
    for row, (curve, length) in enumerate(zip(curves, lengths)):
        x[row, :length, 0] = np.interp(np.arange(length) * 10, curve[3] - curve[3, 0], curve[0])
    np.savez(tmp_path / "discharges.npz", x=x, y=capacity, group=group, lengths=lengths)
    found = preflight(open_data(tmp_path / "discharges.npz", test_groups="B0005", val_share=0.0))
    assert any("the number of steps of a series gives its target away" in finding.text for finding in found.findings)
    charges = [archive[f"{cell}_charge"][: len(archive[f"{cell}_capacity"]), 1] for cell in cells]
    x = np.nan_to_num(np.concatenate(charges))[:, :, None]
    np.savez(tmp_path / "charges.npz", x=x, y=capacity, group=group)
    found = preflight(open_data(tmp_path / "charges.npz", test_groups="B0005", val_share=0.0))
    assert not any("away" in finding.text for finding in found.findings)


def test_hand_gestures() -> None:
    """Its tables have no header, and the class in the first column."""
    folder = Path(os.environ["CORINTH_DATA"]) / "hand_gestures"
    for file, rows, columns in (("keypoint.csv", 4787, 42), ("point_history.csv", 5296, 32)):
        data = open_data(folder / file, label_column="1")
        assert (data.task, len(data), len(data.source.number_names)) == ("tabular-classification", rows, columns)
        assert data.classes == ("0", "1", "2", "3")
