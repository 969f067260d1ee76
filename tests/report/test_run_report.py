"""The report of one training run."""

from pathlib import Path

import pytest
import torch

from corinth.data import ImageData, open_data
from corinth.errors import UsageError
from corinth.report import run_report
from corinth.training import train


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return open_data("digits")


@pytest.fixture(scope="module")
def run(digits: ImageData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    path = tmp_path_factory.mktemp("run") / "run"
    train(arch="lenet5", data=digits, budget="2ep", threads=1, output=str(path))
    torch.set_rng_state(state)
    torch.set_num_threads(threads)
    return path


def test_it_shows_the_validation_part(run: Path, digits: ImageData) -> None:
    path, note = run_report(run, digits)
    assert (path, note) == (run / "report.html", None)
    text = path.read_text(encoding="utf-8")
    assert f"{len(digits.positions('val')):,} images in 10 classes" in text
    for words in (
        "of the validation images of digits right",
        "flatters it a little",
        "Learning curves",
        "Recipe",
        "61.7 k",
    ):
        assert words in text


def test_with_very_many_classes_there_is_no_confusion_matrix(
    run: Path, digits: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corinth.report.figures.MOST_CLASSES", 9)
    path, _ = run_report(run, digits)
    assert "with this many classes it could not be read" in path.read_text(encoding="utf-8")


def test_from_the_folder_alone(run: Path) -> None:
    path, _ = run_report(run)
    assert "lenet5" in path.read_text(encoding="utf-8")


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run folder"):
        run_report(tmp_path)
