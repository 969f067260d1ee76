"""One deterministic path from an image to a tensor."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from corinth.data import Preprocess, choose_size, open_data
from corinth.errors import DataError, UsageError

Pixels = Callable[..., np.ndarray]


def make(size: tuple[int, int] = (8, 8), channels: int = 3, **options) -> Preprocess:
    return Preprocess(size=size, channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels, **options)


def chw(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


def test_an_image_of_the_right_size_is_unchanged(pixels: Pixels) -> None:
    image = pixels(0, 8, 8)
    out = make()(image)
    assert (out.dtype, out.shape, out.is_contiguous()) == (torch.uint8, (3, 8, 8), True)
    assert torch.equal(out, chw(image))
    assert torch.equal(make()(Image.fromarray(image)), out)


def test_crop_comes_before_the_resize(pixels: Pixels) -> None:
    image = pixels(0, 20, 33)
    window = chw(image)[None, :, :, 6:26]  # the centred 20 x 20
    expected = F.interpolate(window, (8, 8), mode="bilinear", antialias=True, align_corners=False)[0]
    assert torch.equal(make()(image), expected)


def test_crop_pct_keeps_a_share_of_each_side(pixels: Pixels) -> None:
    image = pixels(0, 20, 20)
    assert torch.equal(make((10, 10), crop_pct=0.5)(image), chw(image)[:, 5:15, 5:15])


def test_crop_to_a_wide_target(pixels: Pixels) -> None:
    image = pixels(0, 20, 20)
    assert torch.equal(make((10, 20))(image), chw(image)[:, 5:15])


def test_squash(pixels: Pixels) -> None:
    image = pixels(0, 20, 33)
    expected = F.interpolate(chw(image)[None], (8, 8), mode="bicubic", antialias=True, align_corners=False)[0]
    assert torch.equal(make(fit="squash", interpolation="bicubic")(image), expected)


def test_nearest_takes_pixels(pixels: Pixels) -> None:
    image = pixels(0, 16, 16)
    assert set(make(interpolation="nearest")(image).flatten().tolist()) <= set(image.flatten().tolist())


def test_resizing_is_antialiased() -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = 255
    small = make((8, 8))(stripes).float()
    assert (small - 127.5).abs().max() < 16  # without antialiasing whole stripes are missed


def test_pad_centres_without_resizing(pixels: Pixels) -> None:
    image = pixels(0, 6, 5, channels=1)
    out = make((10, 8), channels=1, fit="pad", pad_value=7)(image)
    assert torch.equal(out[0, 2:8, 1:6], torch.from_numpy(image))
    border = out.clone()
    border[0, 2:8, 1:6] = 7
    assert (border == 7).all()


def test_pad_shrinks_what_does_not_fit(pixels: Pixels) -> None:
    out = make((8, 8), channels=1, fit="pad", pad_value=0)(np.full((16, 32), 200, np.uint8))
    assert (out[0, 2:6] == 200).all()
    assert (out[0, :2] == 0).all()
    assert (out[0, 6:] == 0).all()


def test_colour_to_grey_is_itu_r_601(pixels: Pixels) -> None:
    image = pixels(0, 8, 8)
    assert np.array_equal(make(channels=1)(image)[0].numpy(), np.asarray(Image.fromarray(image).convert("L")))


def test_grey_to_colour_repeats(pixels: Pixels) -> None:
    image = pixels(0, 8, 8, channels=1)
    out = make(channels=3)(image)
    assert all(np.array_equal(channel.numpy(), image) for channel in out)


def test_other_channel_counts_pass_or_are_refused() -> None:
    five = np.zeros((8, 8, 5), np.uint8)
    assert make(channels=5)(five).shape == (5, 8, 8)
    with pytest.raises(DataError, match="has 5 channels and the network takes 3"):
        make(channels=3)(five)
    with pytest.raises(DataError, match="uint8"):
        make()(np.zeros((8, 8, 3)))


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize(("channels", "wanted"), [(1, 1), (3, 3), (3, 1), (1, 3)])
def test_many_at_once_is_one_by_one(pixels: Pixels, fit: str, channels: int, wanted: int) -> None:
    images = np.stack([pixels(i, 13, 17, channels) for i in range(5)])
    prepare = make((9, 7), channels=wanted, fit=fit)
    assert torch.equal(prepare.batch(images), torch.stack([prepare(image) for image in images]))


def test_normalise_is_its_formula() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(2, 3, 1, 1)
    prepare = Preprocess(size=(16, 16), channels=3, mean=(0.1, 0.5, 0.9), std=(0.2, 0.3, 1.0))
    out = prepare.normalise(images)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (prepare.mean, prepare.std))
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, (images.float() / 255 - mean) / std, atol=1e-6, rtol=1e-5)
    assert images.dtype == torch.uint8


def test_dict_round_trip() -> None:
    prepare = Preprocess(
        size=(8, 9), channels=1, mean=(0.1,), std=(0.2,), fit="pad", crop_pct=0.9, interpolation="bicubic", pad_value=3
    )
    assert Preprocess.from_dict(json.loads(json.dumps(prepare.to_dict()))) == prepare
    with pytest.raises(UsageError, match="no field sizes"):
        Preprocess.from_dict({**prepare.to_dict(), "sizes": 1})
    with pytest.raises(UsageError, match="lacks channels, mean"):
        Preprocess.from_dict({"size": [8, 8], "std": [1.0]})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": (0, 8)}, "size"),
        ({"size": (8,)}, "size"),
        ({"channels": 0}, "channels"),
        ({"mean": (0.5,)}, "one value for each of 3"),
        ({"std": (0.5, 0.0, 0.5)}, "not above 0"),
        ({"fit": "stretch"}, "fit 'stretch' is none of crop, squash, pad"),
        ({"interpolation": "lanczos"}, "is none of bilinear"),
        ({"crop_pct": 0.0}, "crop_pct"),
        ({"pad_value": 256}, "pad_value"),
    ],
)
def test_bad_values(options: dict, said: str) -> None:
    values = {"size": (8, 8), "channels": 3, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    with pytest.raises(UsageError, match=said):
        Preprocess(**values | options)


def test_measured_on_the_training_part_only(tmp_path: Path) -> None:
    for part, level in (("train", 100), ("test", 200)):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(6):
                image = np.full((6, 6, 3), (level, level + 20, level + 40 + i), np.uint8)
                Image.fromarray(image).save(tmp_path / part / name / f"{name}{i}.png")
    data = open_data(tmp_path, val_share=0.0)
    prepare = Preprocess.measured(data, size=6)
    blue = np.array([140 + i for i in range(6)]) / 255
    assert prepare.mean == pytest.approx((100 / 255, 120 / 255, blue.mean()), abs=1e-4)
    assert prepare.std == pytest.approx((1.0, 1.0, blue.std()), abs=1e-4)  # a constant channel is only centred
    assert prepare.size == (6, 6)
    assert Preprocess.measured(data, size=6, channels=1).channels == 1


@pytest.mark.parametrize(
    ("native", "default", "smallest", "fixed", "expected"),
    [
        ((28, 28), 32, 1, 32, 32),  # works at one size
        ((28, 28), 32, 1, None, 28),  # small networks take small images as they are
        ((8, 8), 32, 16, None, 16),  # but no smaller than they can
        ((20, 28), 32, 1, None, 28),
        ((128, 128), 32, 1, None, 32),
        ((32, 32), 224, 33, None, 224),  # networks for large images get large images
        ((500, 375), 224, 33, None, 224),
    ],
)
def test_choose_size(native: tuple[int, int], default: int, smallest: int, fixed: int | None, expected: int) -> None:
    assert choose_size(native, default, smallest, fixed) == expected
