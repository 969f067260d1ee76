"""A segmenter: masks in the images' own pixels, scores by hand, drawings, mask files."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score, jaccard_score
from torch import Tensor, nn

import corinth
from corinth.data import Preprocess, open_data
from corinth.errors import DataError, UsageError, WeightsError
from corinth.predictor import load_run
from corinth.predictor.draw_masks import draw, write_mask
from corinth.predictor.drawing import BASE, colour
from corinth.predictor.segmentation import MaskPrediction, Segmenter
from corinth.weights import save_model

CLASSES = ("dark", "middle", "bright")
PLAIN = Preprocess(size=(32, 48), channels=1, mean=(0.0,), std=(1.0,), fit="pad")


class Shades(nn.Module):
    """Calls a pixel by its brightness, below a third, below two thirds or above."""

    def forward(self, x: Tensor) -> Tensor:
        return -torch.cat([(x - level / 255).abs() for level in (42, 127, 212)], dim=1)


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(Shades(), PLAIN, CLASSES, "shades", device="cpu")


def picture(seed: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def shades(image: np.ndarray) -> np.ndarray:
    return np.digitize(image, [84.5, 169.5]).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight images whose masks are right for `Shades` but for a band of the wrong class and one that is ignored."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for i in range(8):
        image = picture(i, (20, 40 + i))
        mask = shades(image)
        mask[:3] = i % 3
        mask[-2:] = 255
        Image.fromarray(image).save(tmp_path / f"images/{i}.png")
        Image.fromarray(mask).save(tmp_path / f"masks/{i}.png")
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    return tmp_path


def test_masks_are_in_the_images_own_pixels(segmenter: Segmenter) -> None:
    images = [picture(0, (20, 30)), picture(1, (32, 48))]
    found = segmenter.predict(images)
    for image, prediction in zip(images, found):
        assert prediction.mask is not None
        assert prediction.mask.dtype == np.uint8
        assert np.array_equal(prediction.mask, shades(image))
    larger = np.repeat(np.repeat(shades(picture(2, (8, 12))) * 85 + 42, 10, axis=0), 10, axis=1)
    (one,) = segmenter.predict(larger)
    assert one.mask is not None
    assert one.mask.shape == (80, 120)
    assert (one.mask == shades(larger)).mean() > 0.5


def test_a_prediction_says_what_it_found(segmenter: Segmenter) -> None:
    image = np.zeros((4, 10), dtype=np.uint8)
    image[:, :3] = 255
    (found,) = segmenter.predict(image)
    assert found.shares == {"dark": 0.7, "bright": 0.3}
    assert found.summary == "dark 70 %, bright 30 %"
    assert found.rows() == [
        {"name": "image 0", "label": "dark", "share": 0.7},
        {"name": "image 0", "label": "bright", "share": 0.3},
    ]
    assert found.to_dict() == {"name": "image 0", "size": [4, 10], "shares": {"dark": 0.7, "bright": 0.3}}
    json.dumps(found.to_dict())


def test_an_unreadable_file_does_not_stop_the_others(segmenter: Segmenter, folder: Path) -> None:
    (folder / "images" / "3.png").write_bytes(b"no image")
    found = segmenter.predict(folder / "images", batch_size=3)
    assert [prediction.error is None for prediction in found] == [i != 3 for i in range(8)]
    assert found[3].error is not None
    assert "not an image" in found[3].error
    assert found[3].to_dict() == {"name": found[3].name, "error": found[3].error}
    assert found[3].summary == "nothing"
    with pytest.raises(UsageError, match="batch_size 0 is not at least 1"):
        segmenter.predict(folder / "images", batch_size=0)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_scores_agree_with_scikit_learn(segmenter: Segmenter, folder: Path, batch_size: int) -> None:
    data = open_data(folder)
    result = segmenter.evaluate(data, "all", batch_size=batch_size)
    assert result.index.tolist() == list(range(8))
    truth, called = [], []
    for i in range(8):
        mask = np.asarray(Image.open(folder / f"masks/{i}.png"))
        ours = shades(np.asarray(Image.open(folder / f"images/{i}.png")))
        truth.append(mask[mask != 255])
        called.append(ours[mask != 255])
        assert result.per_sample[i] == pytest.approx(f1_score(truth[i], called[i], average="macro"))
    everything = np.concatenate(truth), np.concatenate(called)
    assert result.score == result.miou == pytest.approx(jaccard_score(*everything, average="macro"))
    assert result.dice == pytest.approx(f1_score(*everything, average="macro"))
    assert result.pixel_accuracy == pytest.approx((everything[0] == everything[1]).mean())
    assert [s.iou for s in result.per_class] == pytest.approx(jaccard_score(*everything, average=None).tolist())
    assert [s.pixels for s in result.per_class] == np.bincount(everything[0]).tolist()
    assert result.confusion.sum() == len(everything[0])
    assert result.samples == 8
    known = json.loads(json.dumps(result.to_dict()))
    assert known["per_class"]["dark"]["dice"] == pytest.approx(result.per_class[0].dice)


def test_classes_are_matched_by_name(segmenter: Segmenter, folder: Path) -> None:
    before = segmenter.evaluate(open_data(folder), "all")
    table = np.arange(256, dtype=np.uint8)
    table[:3] = 2, 1, 0
    for path in (folder / "masks").iterdir():
        Image.fromarray(table[np.asarray(Image.open(path))]).save(path)
    (folder / "classes.txt").write_text("bright\nmiddle\ndark")
    data = open_data(folder)
    assert segmenter.evaluate(data, "all").confusion.tolist() == before.confusion.tolist()
    assert segmenter.truth(data, 2).classes == CLASSES
    (folder / "classes.txt").write_text("bright\nmiddle\npitch-black")
    with pytest.raises(DataError, match=r"the class 'pitch-black' .* was not seen in training; the run knows 'dark'"):
        segmenter.evaluate(open_data(folder), "all")


def test_what_cannot_be_scored(segmenter: Segmenter, folder: Path) -> None:
    Image.fromarray(np.full((20, 40), 255, dtype=np.uint8)).save(folder / "masks" / "0.png")
    data = open_data(folder)
    result = segmenter.evaluate(data, "all")
    assert result.samples == len(result.per_sample) == 7
    assert result.dropped == ((str(folder / "images" / "0.png"), "its mask has no pixel with a class"),)
    digits = open_data("digits")
    with pytest.raises(UsageError, match="digits has no masks: it is data for image-classification"):
        segmenter.evaluate(digits)

    class Broken(Shades):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * torch.nan

    with pytest.raises(WeightsError, match="outputs are not finite"):
        Segmenter(Broken(), PLAIN, CLASSES, "broken", device="cpu").evaluate(data, "all")


def test_the_truth_is_a_prediction(segmenter: Segmenter, folder: Path) -> None:
    data = open_data(folder)
    truth = segmenter.truth(data, 4)
    assert isinstance(truth, MaskPrediction)
    assert truth.mask is not None
    assert np.array_equal(truth.mask, np.asarray(Image.open(folder / "masks/4.png")))
    assert 255 in truth.mask
    assert sum(truth.shares.values()) == pytest.approx(1)


def test_from_a_run(tmp_path: Path) -> None:
    model = corinth.create_model("unet", width=2, depth=2, num_classes=3).eval()
    save_model(tmp_path, model, arch="unet", preprocess=PLAIN, classes=CLASSES, task="semantic-segmentation")
    found: Any = load_run(tmp_path, device="cpu")
    assert isinstance(found, Segmenter)
    (prediction,) = found.predict(picture(0, (50, 30)))
    assert prediction.mask.shape == (50, 30)


def test_a_drawing_shows_colours_rims_names_and_a_key() -> None:
    image = np.full((100, 200), 128, dtype=np.uint8)
    mask = np.zeros((100, 200), dtype=np.uint8)
    mask[:, 100:] = 2
    mask[:10] = 255
    found = draw(image, mask, ("sky", "road", "car"))
    drawn = np.asarray(found).astype(int)
    assert found.size[0] == 600
    assert found.size[1] > 300  # the image three times as large, and the key below it
    half = [(128 + band + 1) // 2 for band in colour(2)]
    assert np.abs(drawn[60, 590] - half).max() <= 1
    assert drawn[10, 300].tolist() == [128] * 3  # 255 keeps the image's own colours
    assert drawn[200, 298].tolist() == list(colour(0))  # a rim
    flat = drawn[:300].reshape(-1, 3)
    assert (flat == colour(2)).all(axis=1).sum() > 100  # the tag of the name
    key = drawn[300:].reshape(-1, 3)
    for number in (0, 2):
        assert (key == colour(number)).all(axis=1).sum() > 50
    assert not (key == colour(1)).all(axis=1).any()


@pytest.mark.parametrize("classes", [("background", "cell", "other"), ("0", "1")])
def test_a_background_keeps_the_images_own_colours(classes: tuple[str, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (480, 480, 3), dtype=np.uint8)
    mask = np.zeros((480, 480), dtype=np.uint8)
    mask[100:200, 100:200] = 1
    drawn = np.asarray(draw(image, mask, classes))
    assert np.array_equal(drawn[210:480], image[210:])
    assert not np.array_equal(drawn[100:200, 100:200], image[100:200, 100:200])


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (600, 5)])
def test_odd_sizes_are_drawn(size: tuple[int, int]) -> None:
    mask = np.ones(size, dtype=np.uint8)
    found = draw(np.zeros(size, dtype=np.uint8), mask, ("a", "a very long name of a class", "c"))
    assert found.mode == "RGB"
    with pytest.raises(DataError, match="does not fit an image"):
        draw(np.zeros((2, 2), dtype=np.uint8), mask, ("a", "b", "c"))


def test_colours_are_all_different() -> None:
    first = [colour(number) for number in range(60)]
    assert first[:7] == list(BASE)
    assert len(set(first)) == 60
    assert all(0 <= band <= 255 for number in range(255) for band in colour(number))


def test_a_mask_file_has_the_ids_and_the_colours(tmp_path: Path, segmenter: Segmenter) -> None:
    mask = np.array([[0, 1], [2, 255]], dtype=np.uint8)
    write_mask(tmp_path / "m.png", mask, 3)
    image = Image.open(tmp_path / "m.png")
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), mask)
    assert np.asarray(image.convert("RGB")).tolist() == [[list(colour(0)), list(colour(1))], [list(colour(2)), [0] * 3]]
    for bad in (mask + 3, mask.astype(np.int64), mask[0]):
        with pytest.raises(DataError, match="a mask is uint8"):
            write_mask(tmp_path / "n.png", bad, 3)
    pixels = picture(0, (20, 30))
    segmenter.write(pixels, segmenter.predict(pixels)[0], tmp_path / "a.png")
    assert (
        segmenter.pictures(tmp_path / "a.png")
        == sorted(tmp_path.glob("a*"))
        == [tmp_path / "a.png", tmp_path / "a_mask.png"]
    )
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a_mask.png")), shades(pixels))


def test_batches_are_no_larger_than_memory_bears(segmenter: Segmenter) -> None:
    """A U-Net holds maps of 64 to 128 channels in full size: half a gigabyte for 512 x 512 pixels."""
    assert segmenter.held(512) == 512
    large = dataclasses.replace(segmenter.preprocess, size=(512, 512))
    segmenter = Segmenter(segmenter.model, large, segmenter.classes, "shades")
    assert segmenter.held(512) == 8
    assert segmenter.held(3) == 3
    seen: list[int] = []
    segmenter.model.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    segmenter.predict([picture(0, (20, 30))] * 9, batch_size=64)
    assert seen == [8, 1]
