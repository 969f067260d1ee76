"""The detector: boxes in original pixels, scores, drawings, and bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from corinth.data import ImageData, Preprocess, open_data
from corinth.errors import DataError, UsageError, WeightsError
from corinth.layers.points import PointOutputs, grid_points
from corinth.predictor import draw_boxes, drawing
from corinth.predictor.detection import Box, BoxPrediction, Detector

STRIDES = (8, 16, 32, 64, 128)
CLASSES = ("dark", "light")


class FindsLight(nn.Module):
    """A "detector" of one bright rectangle on black: its bounds, seen by every point of P3 in it, whatever its size."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> PointOutputs:
        batch, _, height, width = x.shape
        sides = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
        logits = [torch.full((batch, 2, *side), -20.0) for side in sides]
        distances = [torch.ones(batch, 4, *side) for side in sides]
        centres = grid_points(*sides[0], STRIDES[0], x).view(*sides[0], 2)
        for i, image in enumerate(x.mean(dim=1)):
            rows, columns = torch.nonzero(image > 0.5, as_tuple=True)
            if len(rows):
                low = torch.stack((columns.min(), rows.min())).float()
                high = torch.stack((columns.max(), rows.max())).float() + 1
                sees = torch.cat((centres - low, high - centres), dim=-1)
                inside = sees.amin(dim=-1) > 0
                logits[0][i, 1][inside] = 8.0
                distances[0][i] = sees.permute(2, 0, 1).clamp(min=0.1)
        return PointOutputs(
            tuple(logits), tuple(distances), tuple(torch.full((batch, 1, *side), 8.0) for side in sides), STRIDES
        )


def detector(size: tuple[int, int] = (64, 96), fit: str = "pad", model: nn.Module | None = None) -> Detector:
    preprocess = Preprocess(size=size, channels=1, mean=(0.0,), std=(1.0,), fit=fit)
    return Detector(model or FindsLight(), preprocess, CLASSES, "stub", device="cpu")


def scene(h: int, w: int, box: tuple[int, int, int, int] | None) -> np.ndarray:
    pixels = np.zeros((h, w), dtype=np.uint8)
    if box:
        x1, y1, x2, y2 = box
        pixels[y1:y2, x1:x2] = 255
    return pixels


@pytest.fixture
def data(tmp_path: Path) -> ImageData:
    """Five scenes of two sizes: three to test, one of them with nothing on it."""
    images, annotations = [], []
    boxes = [(20, 10, 60, 50), (8, 8, 40, 40), (100, 60, 180, 120), None, (16, 16, 60, 48)]
    for i, box in enumerate(boxes):
        h, w = (128, 192) if i == 2 else (64, 96)
        Image.fromarray(scene(h, w, box)).save(tmp_path / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": w, "height": h})
        if box:
            x1, y1, x2, y2 = box
            annotations.append({"id": i + 1, "image_id": i, "category_id": 2, "bbox": [x1, y1, x2 - x1, y2 - y1]})
    categories = [{"id": 1, "name": "dark"}, {"id": 2, "name": "light"}]
    for part, rows in (("train", (0, 1)), ("test", (2, 3, 4))):
        content = {
            "images": [images[i] for i in rows],
            "annotations": [a for a in annotations if a["image_id"] in rows],
            "categories": categories,
        }
        (tmp_path / f"{part}.json").write_text(json.dumps(content))
    return open_data(tmp_path, val_share=0)


@pytest.mark.parametrize("fit", ["pad", "squash"])
@pytest.mark.parametrize(
    ("h", "w", "box"),
    [
        (64, 96, (20, 10, 60, 50)),  # as the input is
        (128, 192, (40, 20, 120, 100)),  # twice as large
        (40, 40, (8, 4, 36, 40)),  # smaller: padded, not enlarged
        (160, 96, (10, 0, 90, 150)),  # another shape
    ],
)
def test_boxes_come_back_in_the_images_own_pixels(fit: str, h: int, w: int, box: tuple[int, ...]) -> None:
    (found,) = detector(fit=fit).predict([scene(h, w, box)])  # ty: ignore[invalid-argument-type]
    (best,) = found.boxes
    assert best.label == "light"
    assert best.score == pytest.approx(1, abs=1e-3)
    pixel = max(h / 64, w / 96, 1)
    assert best.corners == pytest.approx(box, abs=1.5 * pixel)
    assert 0 <= best.corners[0] < best.corners[2] <= w
    assert 0 <= best.corners[1] < best.corners[3] <= h


def test_paths_damaged_files_and_what_is_said(tmp_path: Path) -> None:
    Image.fromarray(scene(64, 96, (20, 10, 60, 50))).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    Image.fromarray(scene(64, 96, None)).save(tmp_path / "c.png")
    a, b, c = detector().predict(tmp_path, batch_size=2)
    assert (a.summary, c.summary) == ("1 light", "nothing")
    assert b.error is not None
    assert "b.png: not an image" in b.error
    assert b.to_dict() == {"name": str(tmp_path / "b.png"), "error": b.error}
    (row,) = a.rows()
    assert list(row) == ["name", "label", "score", "x1", "y1", "x2", "y2"]
    assert a.to_dict()["boxes"] == [{key: value for key, value in row.items() if key != "name"}]
    assert c.rows() == []


def test_only_what_is_sure_enough_is_shown() -> None:
    image = scene(64, 96, (20, 10, 60, 50))
    assert detector().predict(image, min_score=1.0)[0].boxes == ()
    with pytest.raises(UsageError, match=r"min_score 1\.5 is not in \[0, 1\]"):
        detector().predict(image, min_score=1.5)


def test_evaluation_is_in_the_images_own_pixels(data: ImageData) -> None:
    result = detector().evaluate(data)
    assert (result.samples, result.boxes) == (3, 2)
    assert result.map50 == pytest.approx(1)
    assert result.score == result.map > 0.85
    assert result.index.tolist() == [0, 1, 2]  # test.json is read before train.json
    assert result.per_sample[1] == 1  # nothing there, nothing found
    assert (result.per_sample > 0.8).all()
    dark, light = result.per_class
    assert (dark.name, dark.ap, dark.support) == ("dark", None, 0)
    assert (light.ap, light.ap50, light.support) == (result.map, pytest.approx(1), 2)
    assert json.loads(json.dumps(result.to_dict()))["per_class"]["light"]["support"] == 2
    whole = detector().evaluate(data, "all", batch_size=2)
    assert (whole.samples, whole.boxes) == (5, 4)


def test_classes_are_matched_by_name(data: ImageData) -> None:
    other = detector()
    other.classes = ("light", "dark")
    assert other.evaluate(data).map50 == 0  # the network says 1, which now is another class
    other.classes = ("dark", "red")
    with pytest.raises(DataError, match=r"the label .light. .4 boxes. was not seen in training"):
        other.evaluate(data)


def test_what_cannot_be_scored(data: ImageData, class_folder: Path) -> None:
    with pytest.raises(DataError, match=r"the val part of .* is empty"):
        detector().evaluate(data, "val")
    with pytest.raises(UsageError, match="is data for image-classification, and this stub finds boxes"):
        detector().evaluate(open_data(class_folder, val_share=0, test_share=0), "all")

    class Broken(FindsLight):
        def forward(self, x: Tensor) -> PointOutputs:
            output = super().forward(x)
            return output._replace(logits=tuple(level * torch.nan for level in output.logits))

    with pytest.raises(WeightsError, match="outputs are not finite"):
        detector(model=Broken()).evaluate(data)


@pytest.fixture
def class_folder(tmp_path: Path) -> Path:
    for name in CLASSES:
        (tmp_path / "folders" / name).mkdir(parents=True)
        for i in range(2):
            pixels = np.full((8, 8), 40 * i + len(name), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "folders" / name / f"{i}.png")
    return tmp_path / "folders"


def test_labels_of_boxes_cannot_be_shuffled(data: ImageData) -> None:
    with pytest.raises(UsageError, match="labels of a BoxSource cannot be replaced"):
        data.with_shuffled_labels(0)


def test_the_truth_is_drawn_like_a_prediction(data: ImageData, tmp_path: Path) -> None:
    truth = detector().truth(data, 0)
    assert truth.boxes == (Box("light", None, (100.0, 60.0, 180.0, 120.0)),)
    pixels = data.source.image(0)
    picture = detector().draw(pixels, truth)
    assert picture.mode == "RGB"
    assert picture.size == (192 * 3, 128 * 3)  # enlarged, so that names can be read
    detector().write(pixels, truth, tmp_path / "x.png")
    assert detector().pictures(tmp_path / "x.png") == list(tmp_path.glob("x*")) == [tmp_path / "x.png"]
    with Image.open(tmp_path / "x.png") as written:
        assert written.size == picture.size


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_boxes_show_on_any_ground(ground: int) -> None:
    pixels = np.full((600, 800, 3), ground, dtype=np.uint8)
    boxes = [Box("a", 0.9, (100, 200, 300, 400)), Box("b", None, (700, 2, 800, 100))]
    drawn = np.asarray(draw_boxes.draw(pixels, boxes, ["a", "b"])).astype(int)
    assert drawn.shape == (600, 800, 3)
    for (x, y), colour in (((100, 300), drawing.BASE[0]), ((750, 99), drawing.BASE[1])):
        assert tuple(drawn[y, x]) == colour
    assert np.abs(drawn[300, 90:101] - ground).max() > 100  # rim and line stand out
    assert tuple(drawn[300, 200]) == (ground,) * 3  # nothing inside
    changed = np.abs(drawn - ground).sum(axis=2) > 0
    assert changed[180:197, 100:150].mean() > 0.5  # the name, above its box
    assert not changed[500:].any()


def test_names_stay_within_the_picture() -> None:
    pixels = np.zeros((600, 800), dtype=np.uint8)
    box = Box("a class with a name that is long", 0.5, (790, 1, 800, 12))
    drawn = np.asarray(draw_boxes.draw(pixels, [box], [box.label]))
    assert (drawn[:40, 500:] > 0).any(axis=2).mean() > 0.1


def test_nothing_to_draw() -> None:
    picture = detector().draw(np.zeros((600, 500), dtype=np.uint8), BoxPrediction("x"))
    assert picture.size == (500, 600)
    assert not np.asarray(picture).any()


def test_batches_are_no_larger_than_memory_bears() -> None:
    finds, seen = detector(size=(2048, 4096)), []
    finds.model.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    finds.predict([scene(8, 8, None)] * 3, batch_size=64)
    assert seen == [2, 1]
