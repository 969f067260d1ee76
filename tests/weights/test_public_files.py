"""The two real public checkpoints: recognised, loaded, written back bit for bit, and as good as they claim."""

from pathlib import Path

import pytest
import torch

from corinth import create_model, dump_weights, load_weights
from corinth.data import open_data
from corinth.errors import WeightsError
from corinth.predictor import Classifier
from corinth.weights import known_checkpoint, load_model, save_model

pytestmark = pytest.mark.data
FILES = [("resnet20_cifar10", "weights/resnet_cifar10", 97), ("lenet5", "weights/mnist_lenet", 10)]


@pytest.mark.parametrize(("arch", "folder", "count"), FILES)
def test_recognised_and_loaded(corinth_data: Path, arch: str, folder: str, count: int) -> None:
    known = known_checkpoint(corinth_data / folder)
    assert known is not None
    assert known.arch == arch
    report = load_weights(create_model(arch), corinth_data / folder, arch=arch)
    assert report.source == "plain"
    assert report.exact
    assert len(report.loaded) == count


@pytest.mark.parametrize(("arch", "folder", "count"), FILES)
def test_written_back_bit_for_bit(corinth_data: Path, arch: str, folder: str, count: int) -> None:
    (file,) = (path for path in (corinth_data / folder).iterdir() if path.suffix in (".pth", ".th"))
    original = torch.load(file, map_location="cpu", weights_only=True)
    original = original.get("state_dict", original)
    dumped = dump_weights(create_model(arch, weights=file), source="plain")
    assert list(dumped) == list(original)
    assert all(torch.equal(dumped[name], tensor) for name, tensor in original.items())
    assert len(dumped) == len(original)


def test_resnet20_scores_what_it_should(corinth_data: Path) -> None:
    predictor = Classifier.from_weights("resnet20_cifar10", corinth_data / "weights/resnet_cifar10")
    result = predictor.evaluate(open_data(str(corinth_data / "cifar10_subset")), split="test")
    assert result.top1 == pytest.approx(0.804, abs=0.002)


def test_lenet5_scores_what_it_should(corinth_data: Path) -> None:
    predictor = Classifier.from_weights("lenet5", corinth_data / "weights/mnist_lenet")
    data = open_data("mnist_t10k")  # all 10,000 are MNIST's test part; the weights have seen none of them
    parts = [predictor.evaluate(data, split=split).top1 * len(data.splits[split]) for split in data.splits]
    assert sum(parts) / 10_000 == pytest.approx(0.9907, abs=0.001)


def test_our_form_keeps_where_it_came_from(corinth_data: Path, tmp_path: Path) -> None:
    known = known_checkpoint(corinth_data / "weights/mnist_lenet")
    assert known is not None
    model = create_model("lenet5", weights=corinth_data / "weights/mnist_lenet")
    save_model(
        tmp_path, model, arch="lenet5", preprocess=known.preprocess, classes=known.classes, source=known.to_source()
    )
    loaded, config = load_model(tmp_path)
    assert config.source == known.to_source()
    assert torch.equal(loaded.state_dict()["c1.weight"], model.state_dict()["c1.weight"])


def test_options_that_make_nonsense_of_the_weights_are_refused(corinth_data: Path) -> None:
    with pytest.raises(WeightsError, match="was trained with activation='relu', and this lenet5 has 'tanh'"):
        create_model("lenet5", activation="tanh", weights=corinth_data / "weights/mnist_lenet")
    with pytest.raises(WeightsError, match="holds the architecture resnet20_cifar10, not resnet56_cifar10"):
        create_model("resnet56_cifar10", weights=corinth_data / "weights/resnet_cifar10")
    with pytest.raises(WeightsError, match="holds the architecture lenet5, not resnet18"):
        create_model("resnet18", weights=corinth_data / "weights/mnist_lenet")


def test_a_new_head_on_real_weights(corinth_data: Path) -> None:
    report = load_weights(
        create_model("resnet20_cifar10", num_classes=5, in_chans=1), corinth_data / "weights/resnet_cifar10"
    )
    assert report.missing == ("head.weight", "head.bias")
    assert list(report.reshaped) == ["stem.conv.weight"]
