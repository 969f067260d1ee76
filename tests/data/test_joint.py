"""Masks and boxes go where their images go: fitted to the input and back, cropped, mirrored."""

import pytest
import torch
from torch import Generator, Tensor

from corinth.data import Augmentation, Loader, MemoryStore, Preprocess
from corinth.data.joint import JointTransform, move_boxes
from corinth.data.preprocess import IGNORED, choose_sides
from corinth.errors import UsageError

H, W = 24, 36


def preprocess(fit: str = "pad", size: tuple[int, int] = (H, W), **fields: object) -> Preprocess:
    return Preprocess(size=size, channels=1, mean=(0.0,), std=(1 / 255,), fit=fit, **fields)  # ty: ignore[invalid-argument-type]


def scenes(b: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Images that are 200 inside one rectangle and 40 outside; the same as masks and as boxes."""
    chance = Generator().manual_seed(1)
    images = torch.full((b, 1, H, W), 40, dtype=torch.uint8)
    masks = torch.zeros(b, H, W, dtype=torch.uint8)
    boxes = torch.full((b, 3, 5), -1.0)
    for i in range(b):
        x, y = (int(torch.randint(2, side - 14, (), generator=chance)) for side in (W, H))
        images[i, :, y : y + 9, x : x + 12] = 200
        masks[i, y : y + 9, x : x + 12] = 1
        boxes[i, 0] = torch.tensor((1, x, y, x + 12, y + 9))
    return images, masks, boxes


def ready(augmentation: Augmentation, targets: Tensor, images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    return JointTransform(preprocess(pad_value=7), augmentation)(images, targets, Generator().manual_seed(seed))


EVERYTHING = Augmentation(random_resized_crop=(0.4, 0.9), crop_padding=0.1, flip=True, color_jitter=0.0)


@pytest.mark.parametrize(
    "augmentation", [Augmentation(flip=True), Augmentation(crop_padding=0.2), EVERYTHING], ids=["flip", "shift", "all"]
)
def test_masks_stay_on_their_objects(augmentation: Augmentation) -> None:
    images, masks, _ = scenes()
    inputs, moved = ready(augmentation, masks, images)
    assert not torch.equal(moved, masks)
    clear = ((inputs[:, 0] - 200).abs() < 1) | ((inputs[:, 0] - 40).abs() < 1)  # not on a border between pixels
    assert clear.float().mean() > 0.7
    kept = clear & (moved != IGNORED)
    assert torch.equal(moved[kept] == 1, (inputs[:, 0] > 120)[kept])


@pytest.mark.parametrize(
    "augmentation", [Augmentation(flip=True), Augmentation(crop_padding=0.2), EVERYTHING], ids=["flip", "shift", "all"]
)
def test_boxes_stay_around_their_objects(augmentation: Augmentation) -> None:
    images, _, boxes = scenes()
    inputs, moved = ready(augmentation, boxes, images)
    seen = 0
    for image, found in zip(inputs[:, 0], moved, strict=True):
        assert (found[1:] == -1).all()  # rows that were filled up stay so
        bright = (image > 120).nonzero()
        if found[0, 0] < 0:
            continue
        seen += 1
        around = torch.stack([*bright.min(0).values.flip(0), *(bright.max(0).values.flip(0) + 1)]).float()
        assert (around - found[0, 1:]).abs().max() <= 1.0
    assert seen > 40


def test_a_box_of_which_too_little_is_left_is_dropped() -> None:
    boxes = torch.tensor([[[0.0, 0, 0, 8, 8], [1, 4, 4, 12, 12], [2, 20, 20, 30, 24]]])
    window = torch.tensor([[7.0, 0.0, W, H]])
    moved = move_boxes(boxes, window, torch.tensor([False]), (H, W))
    assert moved[0, 0].tolist() == [-1] * 5  # an eighth of it is left
    assert moved[0, 1].tolist() == [1, 0, 4, 5, 12]
    assert moved[0, 2].tolist() == [2, 13, 20, 23, 24]


def test_what_mixes_images_is_refused() -> None:
    for name in ("erasing", "mixup", "cutmix"):
        with pytest.raises(UsageError, match=f"{name} mixes or hides"):
            JointTransform(preprocess(), Augmentation(**{name: 0.5}))


@pytest.mark.parametrize("fit", ["pad", "squash", "crop"])
@pytest.mark.parametrize("size", [(24, 36), (30, 50), (20, 90), (60, 31)])
def test_boxes_and_masks_come_back_to_the_image(fit: str, size: tuple[int, int]) -> None:
    there = preprocess(fit)
    h, w = size
    box = torch.tensor([[3.0, w * 0.4, h * 0.4, w * 0.6, h * 0.6]])  # inside of every crop
    fitted = there.boxes(box, size)
    assert (fitted[0, 1:] >= 0).all()
    torch.testing.assert_close(there.boxes_back(fitted, size), box)
    mask = torch.zeros(size, dtype=torch.uint8)
    mask[: h // 2] = 1
    ids = there.mask(mask.numpy())
    assert ids.shape == (H, W)
    assert ids.dtype == torch.uint8
    inside = ids != IGNORED
    assert inside.all() == (fit != "pad" or size in {(24, 36)})
    back = there.mask_back(torch.stack([(ids != 1).float(), (ids == 1).float()]), size)
    assert back.shape == size
    seen = back != IGNORED
    assert seen.all() == (fit != "crop" or abs(h / w - H / W) < 1e-9)
    assert (back == mask)[seen].float().mean() > 0.85


def test_a_mask_is_fitted_as_its_image_is() -> None:
    """The window of a crop, the place on a canvas and the size are the image's own."""
    image = torch.zeros(40, 52, dtype=torch.uint8)
    image[10:30, 20:40] = 255
    for fit in ("pad", "squash", "crop"):
        there = preprocess(fit, interpolation="nearest")
        assert torch.equal(there(image.numpy())[0] == 255, there.mask((image // 255).numpy()) == 1)


def test_the_sides_of_an_input_keep_the_aspect_of_the_images() -> None:
    assert choose_sides((360, 480), longest=None, stride=32, min_size=32, fit="pad") == (384, 480)
    assert choose_sides((360, 480), longest=None, stride=32, min_size=32, fit="squash") == (352, 480)
    assert choose_sides((1200, 1600), longest=None, stride=32, min_size=32, fit="pad") == (384, 512)
    assert choose_sides((360, 480), longest=240, stride=16, min_size=32, fit="pad") == (192, 240)
    assert choose_sides((8, 200), longest=None, stride=16, min_size=32, fit="squash") == (32, 192)


def test_a_batch_has_as_many_rows_of_boxes_as_its_images_need() -> None:
    """One image with hundreds of boxes must not make every batch as wide: points are compared with each row."""
    images, _, boxes = scenes(6)
    boxes = torch.cat((boxes, torch.full((6, 497, 5), -1.0)), dim=1)
    boxes[4] = torch.tensor((1.0, 2.0, 2.0, 9.0, 9.0))
    store = MemoryStore(images, boxes, torch.arange(6), preprocess())
    widths = [batch.targets.shape[1] for batch in Loader(store, 2)]
    assert widths == [1, 1, 500]
    nothing = MemoryStore(images, torch.full((6, 7, 5), -1.0), torch.arange(6), preprocess())
    assert [tuple(batch.targets.shape) for batch in Loader(nothing, 3)] == [(3, 1, 5)] * 2
