"""The network that a recipe and the data mean together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from corinth import create_model
from corinth.cli.estimate import estimate
from corinth.data import ArraySource, ImageData, Preprocess
from corinth.errors import UsageError
from corinth.training import Recipe
from corinth.training.build import build_model
from corinth.weights import save_model


@pytest.fixture
def images() -> Callable[..., ImageData]:
    def make(side: int, channels: int, classes: int = 3) -> ImageData:
        rng = np.random.default_rng(0)
        shape = (30, side, side) if channels == 1 else (30, side, side, 3)
        names = tuple("abcdefgh"[:classes])
        source = ArraySource(
            images=rng.integers(0, 256, shape, dtype=np.uint8),
            labels=np.arange(30) % classes,
            classes=names,
            prefix="t",
        )
        splits = {"train": np.arange(20), "val": np.arange(20, 25), "test": np.arange(25, 30)}
        return ImageData(
            name="t",
            spec="t",
            source=source,
            splits=splits,
            declared_splits=(),
            notes=(),
            native_size=(side, side),
            channels=channels,
            fingerprint="0",
        )

    return make


def test_channels_and_classes_are_the_data_s(images: Callable[..., ImageData]) -> None:
    for channels in (1, 3):
        model, preprocess = build_model(Recipe(arch="resnet20_cifar10", data="t"), images(32, channels))
        assert (model.cfg.in_chans, model.cfg.num_classes) == (channels, 3)
        assert (preprocess.channels, preprocess.size) == (channels, (32, 32))


def test_size(images: Callable[..., ImageData]) -> None:
    def side(arch: str, native: int, **fields: object) -> int:
        model, preprocess = build_model(Recipe(arch=arch, data="t", **fields), images(native, 3))
        model.eval()(torch.zeros(1, 3, *preprocess.size))
        return preprocess.size[0]

    assert side("resnet20_cifar10", 24) == 24  # made for small images: as they are
    assert side("resnet20_cifar10", 48) == 32
    assert side("lenet5", 24) == 32  # one size only
    assert side("lenet5", 24, img_size=24) == 24
    assert side("lenet5", 24, options={"img_size": 20}) == 20
    assert side("resnet18", 100, img_size=64) == 64


def test_an_image_too_small(images: Callable[..., ImageData]) -> None:
    with pytest.raises(UsageError, match="img_size 16 is too small for vgg11; it must be at least 32"):
        build_model(Recipe(arch="vgg11", data="t", img_size=16), images(16, 3))
    with pytest.raises(UsageError, match="lenet5: img_size 8"):
        build_model(Recipe(arch="lenet5", data="t", img_size=8), images(8, 1))


def test_the_preprocessing_belongs_to_the_weights(images: Callable[..., ImageData], tmp_path: Path) -> None:
    before = create_model("lenet5", img_size=24, num_classes=7)
    own = Preprocess(size=(24, 24), channels=1, mean=(0.1,), std=(0.2,), fit="squash")
    save_model(tmp_path, before, arch="lenet5", preprocess=own, classes=tuple("abcdefg"))
    recipe = Recipe(arch="lenet5", data="t", weights=str(tmp_path))
    said: list[str] = []
    model, preprocess = build_model(recipe, images(40, 3), said.append)
    assert preprocess == own
    assert any("prepared as for the weights (fit squash, bilinear), not as the recipe says (crop" in s for s in said)
    assert model.cfg.num_classes == 3
    assert torch.equal(model.c1.weight, before.c1.weight)


def test_another_size_keeps_the_weights_mean_and_spread(images: Callable[..., ImageData], tmp_path: Path) -> None:
    own = Preprocess(size=(32, 32), channels=3, mean=(0.1,) * 3, std=(0.2,) * 3, crop_pct=0.9, fit="squash")
    save_model(
        tmp_path, create_model("resnet20_cifar10"), arch="resnet20_cifar10", preprocess=own, classes=tuple("abcdefghij")
    )
    recipe = Recipe(arch="resnet20_cifar10", data="t", weights=str(tmp_path), img_size=48)
    assert build_model(recipe, images(40, 1))[1] == replace(own, size=(48, 48))


def test_mean_and_spread_are_the_training_part_s(images: Callable[..., ImageData]) -> None:
    data = images(32, 1)
    _, preprocess = build_model(Recipe(arch="resnet20_cifar10", data="t"), data)
    pixels = data.source.images[:20] / 255
    assert preprocess.mean[0] == pytest.approx(pixels.mean(), abs=1e-4)
    assert preprocess.std[0] == pytest.approx(pixels.std(), abs=1e-4)
    dark = replace(data, splits=data.splits | {"train": np.arange(10)})
    assert build_model(Recipe(arch="resnet20_cifar10", data="t"), dark)[1].mean != preprocess.mean


def test_options_that_contradict_the_data_or_each_other(images: Callable[..., ImageData]) -> None:
    data = images(20, 1)
    with pytest.raises(UsageError, match=f"num_classes 77 does not fit .*, which has {data.num_classes} classes"):
        build_model(Recipe(arch="lenet5", data="t", options={"num_classes": 77}), data)
    with pytest.raises(UsageError, match="img_size 28 and the architecture's own img_size 40 disagree"):
        build_model(Recipe(arch="lenet5", data="t", img_size=28, options={"img_size": 40}), data)


def test_what_was_loaded_is_said(images: Callable[..., ImageData], tmp_path: Path) -> None:
    torch.save(create_model("lenet5", num_classes=77).state_dict(), tmp_path / "w.pth")
    said: list[str] = []
    build_model(Recipe(arch="lenet5", data="t", weights=str(tmp_path / "w.pth")), images(20, 1), said.append)
    (sentence,) = said
    assert sentence.startswith("weights: 8 tensors loaded from")
    assert "2 fresh: head.weight, head.bias" in sentence


def test_an_estimate_decodes_no_image(images: Callable[..., ImageData], monkeypatch: pytest.MonkeyPatch) -> None:
    """Phone photos take a tenth of a second each; they are read once, by the training."""

    def read(*_: object) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr(ArraySource, "image", read)
    monkeypatch.setattr(Preprocess, "batch", read)
    found = estimate(Recipe(arch="lenet5", data="t", budget="2ep", device="cpu"), images(20, 1), seconds=0.01)
    assert found.input_size == (1, 32, 32)
    assert found.bytes is None or found.bytes >= 25 * 32 * 32
