"""A predictor from a run folder, and from foreign weights; files good and bad."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import corinth
from corinth.data import Preprocess, open_data
from corinth.errors import DataError, UsageError, WeightsError
from corinth.predictor import Classifier, load_run
from corinth.weights import save_model

DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved lenet5 that was never trained."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    preprocess = Preprocess(size=(32, 32), channels=1, mean=(0.3,), std=(0.4,))
    save_model(folder, corinth.create_model("lenet5"), arch="lenet5", preprocess=preprocess, classes=DIGITS)
    return folder


@pytest.fixture(scope="module")
def predictor(run: Path) -> Classifier:
    return load_run(run, device="cpu")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (40, 30)), ("b.jpg", (50, 60, 3)), ("deep/c.PNG", (8, 8))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not asked for")
    return tmp_path


def test_a_run_folder_is_all_it_needs(predictor: Classifier):
    assert (predictor.arch, predictor.classes) == ("lenet5", DIGITS)
    assert not predictor.model.training


def test_paths_folders_arrays_and_images_agree(predictor: Classifier, photos: Path):
    by_folder = predictor.predict(photos)
    assert [Path(p.name).name for p in by_folder] == ["a.png", "b.jpg", "c.PNG"]
    with Image.open(photos / "a.png") as image:
        array, picture = predictor.predict([np.asarray(image), image.copy()])
    path = predictor.predict(str(photos / "a.png"))[0]
    assert array.top == picture.top  # both in one batch
    torch.testing.assert_close([p for _, p in array.top], [p for _, p in path.top])
    torch.testing.assert_close([p for _, p in by_folder[0].top], [p for _, p in path.top])


def test_a_prediction_is_ranked(predictor: Classifier, photos: Path):
    found = predictor.predict(photos / "a.png", top=99)[0]
    shares = [p for _, p in found.top]
    assert len(shares) == 10
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    assert (found.label, found.probability) == found.top[0]
    assert len(predictor.predict(photos / "a.png", top=3)[0].top) == 3


def test_probabilities_are_the_models_own(predictor: Classifier):
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    inputs = predictor.preprocess.normalise(predictor.preprocess(pixels)[None])
    with torch.no_grad():
        expected = predictor.model(inputs).softmax(1)[0].max()
    assert predictor.predict(pixels)[0].probability == pytest.approx(float(expected))


def test_files_that_cannot_be_read_do_not_stop_the_others(predictor: Classifier, photos: Path):
    (photos / "empty.png").touch()
    (photos / "page.jpg").write_text("<html>")
    (photos / "cut.png").write_bytes((photos / "a.png").read_bytes()[:200])
    found = {Path(p.name).name: p for p in predictor.predict([photos, photos / "gone.png"], batch_size=2)}
    assert {name for name, p in found.items() if p.error} == {"empty.png", "page.jpg", "cut.png", "gone.png"}
    assert {name for name, p in found.items() if p.label} == {"a.png", "b.jpg", "c.PNG"}
    assert all(str(photos) in p.error for p in found.values() if p.error)
    assert found["empty.png"].to_dict() == {"name": str(photos / "empty.png"), "error": found["empty.png"].error}


def test_folders_are_read_as_in_training(predictor: Classifier, photos: Path, tmp_path_factory: pytest.TempPathFactory):
    """What a file manager hides is left out, links are followed."""
    (photos / "._a.png").write_bytes(b"finder's notes")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (photos / "a.png").rename(elsewhere / "moved.png")
    (photos / "linked").symlink_to(elsewhere)
    found = predictor.predict(photos)
    assert [Path(p.name).name for p in found] == ["b.jpg", "c.PNG", "moved.png"]
    assert not any(p.error for p in found)


def test_a_picture_that_breaks_while_it_is_read(predictor: Classifier, photos: Path):
    cut = photos / "cut.png"
    cut.write_bytes((photos / "a.png").read_bytes()[:200])
    with Image.open(cut) as lazy:
        (found,) = predictor.predict([lazy])
    assert found.error is not None
    assert found.error.startswith("damaged")


def test_a_batch_of_nothing(predictor: Classifier, photos: Path):
    with pytest.raises(UsageError, match="batch_size 0 is not at least 1"):
        predictor.predict(photos, batch_size=0)


@pytest.mark.parametrize("device", ["gpu", "cuda:64"])
def test_a_device_that_is_not_here(run: Path, device: str):
    with pytest.raises(UsageError, match=f"device '{device}' is not"):
        load_run(run, device=device)


def test_an_empty_part(predictor: Classifier):
    with pytest.raises(DataError, match="the test part of digits is empty; choose another, or all"):
        predictor.evaluate(open_data("digits", test_share=0))


def test_a_folder_without_images(predictor: Classifier, tmp_path: Path):
    with pytest.raises(DataError, match="without images"):
        predictor.predict(tmp_path)


def test_evaluate_takes_the_named_part(predictor: Classifier):
    data = open_data("digits")
    found = predictor.evaluate(data, "test")
    assert found.samples == len(data.splits["test"])
    assert found.probs is not None
    assert found.probs.shape == (found.samples, 10)
    np.testing.assert_array_equal(found.index, data.splits["test"])
    np.testing.assert_array_equal(found.targets, data.source.labels[data.splits["test"]])
    assert predictor.evaluate(data, "all", keep_probs=False).samples == len(data)
    assert found.top1 == pytest.approx((found.probs.argmax(1) == found.targets).mean())


def test_evaluate_does_not_depend_on_the_batch(predictor: Classifier):
    data = open_data("digits")
    one, other = (predictor.evaluate(data, "val", batch_size=size) for size in (7, 512))
    np.testing.assert_array_equal(one.confusion, other.confusion)
    assert one.loss == pytest.approx(other.loss, rel=1e-4)


def test_classes_are_matched_by_name(run: Path):
    predictor = load_run(run, device="cpu")
    straight = predictor.evaluate(open_data("digits"))
    predictor.classes = predictor.classes[::-1]  # outputs that stand for the other digits
    reversed_ = predictor.evaluate(open_data("digits"))
    assert reversed_.per_class[0].name == "9"
    assert reversed_.per_class[0].support == straight.per_class[9].support


def test_a_label_that_was_not_trained_on(predictor: Classifier, photos: Path):
    for name in ("zero", "1"):
        (photos / "set" / name).mkdir(parents=True)
        for number in range(8):
            pixels = np.full((9, 9), 10 * number, dtype=np.uint8)
            Image.fromarray(pixels).save(photos / "set" / name / f"{number}.png")
    with pytest.raises(DataError, match="zero"):
        predictor.evaluate(open_data(photos / "set"))


def test_an_unknown_part(predictor: Classifier):
    with pytest.raises(UsageError, match="holdout"):
        predictor.evaluate(open_data("digits"), "holdout")


def test_unknown_foreign_weights_need_their_preprocessing_said(run: Path, tmp_path: Path):
    torch.save(corinth.create_model("lenet5").state_dict(), tmp_path / "own.pth")
    with pytest.raises(UsageError, match="preprocessing and class names"):
        Classifier.from_weights("lenet5", tmp_path / "own.pth")
    preprocess = Preprocess(size=(32, 32), channels=1, mean=(0.0,), std=(1.0,))
    found = Classifier.from_weights(
        "lenet5", tmp_path / "own.pth", preprocess=preprocess, classes=DIGITS, source="corinth"
    )
    assert found.classes == DIGITS


def test_a_folder_that_is_no_run(tmp_path: Path):
    with pytest.raises(WeightsError):
        load_run(tmp_path)


@pytest.mark.data
@pytest.mark.parametrize(
    ("arch", "weights", "data", "at_least"),
    [
        ("resnet20_cifar10", "weights/resnet_cifar10", "cifar10_subset/test", 0.80),
        ("lenet5", "weights/mnist_lenet", "mnist_t10k", 0.984),
    ],
)
def test_real_public_weights_on_real_images(corinth_data: Path, arch: str, weights: str, data: str, at_least: float):
    predictor = Classifier.from_weights(arch, corinth_data / weights, device="cpu")
    spec = data if data == "mnist_t10k" else corinth_data / data
    found = predictor.evaluate(open_data(spec, classes=predictor.classes), "all", keep_probs=False)
    assert found.top1 >= at_least
    assert found.calibration_error < 0.2
