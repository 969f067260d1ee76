"""What augmentation does to pixels and to labels."""

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from corinth.data import Augmentation, Preprocess, TrainTransform
from corinth.data.augment import (
    color_jitter,
    cutmix,
    mixup,
    random_crop,
    random_erasing,
    random_flip,
    random_resized_crop,
)
from corinth.errors import UsageError


def chance(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def images(b: int = 32, c: int = 3, h: int = 9, w: int = 11, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (b, c, h, w), dtype=torch.uint8, generator=chance(seed))


def test_crop_is_a_shifted_window_of_the_padded_image() -> None:
    x, p = images(200), 3
    out = random_crop(x, p, chance(), fill=9)
    padded = F.pad(x, (p,) * 4, value=9)
    shifts = set()
    for image, canvas in zip(out, padded, strict=True):
        found = [
            (dy, dx)
            for dy in range(2 * p + 1)
            for dx in range(2 * p + 1)
            if torch.equal(image, canvas[:, dy : dy + 9, dx : dx + 11])
        ]
        assert len(found) == 1
        shifts |= set(found)
    assert len(shifts) > 40  # of 49
    assert {dy for dy, _ in shifts} == {dx for _, dx in shifts} == set(range(7))


def test_flip_mirrors_every_second_image() -> None:
    x = images(400)
    out = random_flip(x, chance())
    kept = (out == x).flatten(1).all(1)
    mirrored = (out == x.flip(-1)).flatten(1).all(1)
    assert (kept ^ mirrored).all()
    assert 160 < int(mirrored.sum()) < 240


def test_resized_crop_reads_windows_of_the_right_area_and_aspect() -> None:
    h, w, b = 40, 60, 500
    y, x = torch.meshgrid(torch.arange(h) * 4.0, torch.arange(w) * 4.0, indexing="ij")
    ramps = torch.stack([y, x]).round().to(torch.uint8).expand(b, 2, h, w)  # each pixel tells where it comes from
    out = random_resized_crop(ramps, (0.2, 0.5), chance()).float() / 4
    inside = out[:, :, 2:-2, 2:-2]  # away from the clamped border
    height = (inside[:, 0, -1, 0] - inside[:, 0, 0, 0]) / (h - 5) * h
    width = (inside[:, 1, 0, -1] - inside[:, 1, 0, 0]) / (w - 5) * w
    area, aspect = height * width / (h * w), width / height
    assert area.min() > 0.18
    assert area.max() < 0.53
    assert 0.3 < area.mean() < 0.4
    assert 0.72 < aspect.min() < 0.8
    assert 1.25 < aspect.max() < 1.39
    assert out[:, 0].min() >= 0
    assert out[:, 0].max() <= h - 1


def test_resized_crop_of_everything_is_the_image() -> None:
    x = images(4, h=12, w=12)
    # aspect is cut at the image's edge, so only a square draw keeps it whole: check against an exact draw
    whole = random_resized_crop(x.repeat(50, 1, 1, 1), (1.0, 1.0), chance())
    assert whole.shape == (200, 3, 12, 12)
    assert (whole.float() - x.repeat(50, 1, 1, 1).float()).abs().flatten(1).mean(1).min() < 5
    flat = torch.full((4, 3, 12, 12), 77, dtype=torch.uint8)
    assert torch.equal(random_resized_crop(flat, (0.1, 0.9), chance()), flat)


def test_jitter_of_nothing_is_nothing_and_stays_in_range() -> None:
    x = images()
    assert torch.equal(color_jitter(x, 0.0, chance()), x)
    out = color_jitter(x, 1.0, chance())
    assert out.dtype == torch.uint8
    assert not torch.equal(out, x)


def test_jitter_brightness_contrast_saturation() -> None:
    grey = torch.full((300, 1, 4, 4), 100, dtype=torch.uint8)  # only brightness can change it
    out = color_jitter(grey, 0.4, chance()).float()
    assert (out.flatten(1).std(1) == 0).all()
    assert 60 <= out.min() < 66
    assert 134 < out.max() <= 140
    x = images(300)
    out = color_jitter(x, 0.5, chance()).float()
    spread = out.flatten(1).std(1) / x.float().flatten(1).std(1)
    assert spread.min() < 0.6  # contrast and saturation shrink some
    assert len({round(float(s), 3) for s in spread}) > 200  # each image by its own factor


def test_erasing_clears_a_rectangle_of_the_stated_area() -> None:
    x = torch.ones(2000, 3, 32, 32)
    out = random_erasing(x, 0.25, chance())
    gone = (out == 0).all(1)
    assert torch.equal((out == 0).any(1), gone)  # all channels alike
    touched = gone.flatten(1).any(1)
    assert 0.2 < touched.float().mean() < 0.3
    for mask in gone[touched][:100]:
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        assert int(mask.sum()) == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)  # a full rectangle
    share = gone[touched].flatten(1).float().mean(1)
    assert share.min() > 0.01
    assert share.max() < 0.36
    assert torch.equal(x, torch.ones_like(x))
    assert torch.equal(random_erasing(x, 0.0, chance()), x)


def test_mixup_mixes_pixels_and_labels_alike() -> None:
    x = torch.randn(16, 3, 5, 5, generator=chance(1))
    y = torch.arange(16)
    mixed, labels = mixup(x, y, 1.0, 16, chance())
    assert torch.allclose(labels.sum(1), torch.ones(16))
    for i in range(16):
        partner = int(labels[i].clone().index_fill_(0, torch.tensor(i), 0).argmax())
        lam = labels[i, i]
        torch.testing.assert_close(mixed[i], lam * x[i] + (1 - lam) * x[partner])
    lams = {round(float(mixup(x, y, 1.0, 16, chance(seed))[1].diagonal().min()), 6) for seed in range(20)}
    assert len(lams) > 10


def test_cutmix_label_share_is_the_pasted_area() -> None:
    b = 8
    x = torch.arange(b, dtype=torch.float32).view(b, 1, 1, 1).expand(b, 3, 10, 12).contiguous()
    y = torch.arange(b)
    pasted_something = 0
    for seed in range(30):
        mixed, labels = cutmix(x, y, 1.0, b, chance(seed))
        for i in range(b):
            share = torch.stack([(mixed[i, 0] == k).float().mean() for k in range(b)])
            torch.testing.assert_close(share, labels[i])
            assert torch.equal(mixed[i, 0], mixed[i, 2])
        foreign = (mixed != x).any(1)
        if foreign.any():
            pasted_something += 1
            rows, columns = foreign.flatten(0, 0).any(0).any(1).nonzero(), foreign.any(0).any(0).nonzero()
            box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
            assert int(foreign.any(0).sum()) == int(box)
    assert pasted_something > 20
    assert torch.equal(x[:, 0, 0, 0], torch.arange(b).float())  # the inputs are untouched


FULL = Augmentation(
    random_resized_crop=(0.3, 1.0), crop_padding=0.25, flip=True, color_jitter=0.4, erasing=0.5, mixup=0.2, cutmix=1.0
)


@pytest.fixture
def prepare() -> Preprocess:
    return Preprocess(size=(9, 11), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)


def test_the_transform_is_a_pure_function_of_the_generator(prepare: Preprocess) -> None:
    transform = TrainTransform(prepare, FULL, 4)
    x, y = images(), torch.arange(32) % 4
    torch.manual_seed(0)
    first = transform(x, y, chance(7))
    torch.manual_seed(1)
    again, other = transform(x, y, chance(7)), transform(x, y, chance(8))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].dtype == first[1].dtype == torch.float32
    assert first[1].shape == (32, 4)


def test_no_augmentation_is_normalise(prepare: Preprocess) -> None:
    x, y = images(), torch.arange(32) % 4
    inputs, targets = TrainTransform(prepare, Augmentation(), 4)(x, y, chance())
    assert torch.equal(inputs, prepare.normalise(x))
    assert targets is y


def test_mixup_and_cutmix_take_turns(prepare: Preprocess) -> None:
    transform = TrainTransform(prepare, Augmentation(mixup=1.0, cutmix=1.0), 32)
    x = torch.arange(32, dtype=torch.uint8).view(32, 1, 1, 1).expand(32, 3, 9, 11) * 8
    levels = set(prepare.normalise(x).flatten().tolist())
    pasted = 0
    for seed in range(40):
        out = transform(x, torch.arange(32), chance(seed))[0]
        pasted += set(out.flatten().tolist()) <= levels  # cutmix makes no new values
    assert 10 < pasted < 30


@pytest.mark.parametrize(
    "options",
    [
        {"crop_padding": -0.1},
        {"crop_padding": 4},
        {"color_jitter": 1.5},
        {"erasing": 2.0},
        {"mixup": -0.1},
        {"cutmix": -1.0},
        {"random_resized_crop": (0.0, 1.0)},
        {"random_resized_crop": (0.9, 0.5)},
    ],
)
def test_bad_options_name_themselves(options: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        Augmentation(**options)
