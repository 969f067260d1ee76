"""Random changes to training images that move their masks or boxes with them, a batch at a time.

As in `corinth.data.augment`, every random number is drawn on the CPU from the generator passed in.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from corinth.data.augment import color_jitter
from corinth.data.augmentation import Augmentation
from corinth.data.preprocess import IGNORED, Preprocess
from corinth.errors import UsageError

VISIBLE = 0.25  # of a box's area that a crop must leave for the box to count


class JointTransform:
    """Crop, mirror, jitter and normalise: what a training batch with masks or boxes goes through."""

    def __init__(self, preprocess: Preprocess, augmentation: Augmentation) -> None:
        for name in ("erasing", "mixup", "cutmix"):
            if getattr(augmentation, name):
                raise UsageError(f"{name} mixes or hides what masks and boxes are about; it is for classification only")
        self.preprocess, self.augmentation = preprocess, augmentation

    def __call__(self, images: Tensor, targets: Tensor, chance: Generator) -> tuple[Tensor, Tensor]:
        """uint8 (B, C, H, W) and targets, masks uint8 (B, H, W) or boxes (B, M, 5), to float32 inputs and targets."""
        a = self.augmentation
        if a.random_resized_crop is not None or a.crop_padding or a.flip:
            windows, mirrored = draw_windows(images, a, chance)
            images = move_images(images, windows, mirrored, fill=self.preprocess.pad_value)
            if targets.is_floating_point():
                targets = move_boxes(targets, windows, mirrored, (images.shape[-2], images.shape[-1]))
            else:
                targets = move_masks(targets, windows, mirrored)
        if a.color_jitter:
            images = color_jitter(images, a.color_jitter, chance)
        return self.preprocess.normalise(images), targets


def draw_windows(images: Tensor, augmentation: Augmentation, chance: Generator) -> tuple[Tensor, Tensor]:
    """For each image the window that becomes the new image, float (B, 4) as left, top, width, height in pixels, and
    whether it is mirrored, bool (B,). A window may reach over the border by `crop_padding`; both are on the CPU."""
    b, _, h, w = images.shape
    windows = torch.tensor((0.0, 0.0, w, h)).repeat(b, 1)
    if augmentation.random_resized_crop is not None:
        low, high = augmentation.random_resized_crop
        share, aspect, x, y = torch.rand(4, b, generator=chance)
        pixels = (low + (high - low) * share) * h * w
        ratio = torch.exp((2 * aspect - 1) * math.log(4 / 3))
        width, height = (pixels * ratio).sqrt().clamp(1, w), (pixels / ratio).sqrt().clamp(1, h)
        windows = torch.stack((x * (w - width), y * (h - height), width, height), dim=1)
    if augmentation.crop_padding:
        padding = max(1, round(augmentation.crop_padding * w))
        windows[:, :2] += torch.randint(-padding, padding + 1, (b, 2), generator=chance)
    mirrored = torch.rand(b, generator=chance) < 0.5 if augmentation.flip else torch.zeros(b, dtype=torch.bool)
    return windows, mirrored


def move_images(images: Tensor, windows: Tensor, mirrored: Tensor, *, fill: int) -> Tensor:
    """The windows of uint8 images (B, C, H, W), read bilinearly; what lies outside the image is `fill`."""
    moved = _sample(images.float() - fill, windows, mirrored, "bilinear") + fill
    return moved.round_().clamp_(0, 255).to(torch.uint8)


def move_masks(masks: Tensor, windows: Tensor, mirrored: Tensor) -> Tensor:
    """The windows of class ids, uint8 (B, H, W); what lies outside the image is ignored."""
    moved = _sample(masks[:, None].float() - IGNORED, windows, mirrored, "nearest") + IGNORED
    return moved[:, 0].to(torch.uint8)


def move_boxes(boxes: Tensor, windows: Tensor, mirrored: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (B, M, 5) in pixels of the new image of (H, W); those of which too little is left get label -1."""
    h, w = size
    left, top, width, height = windows.to(boxes.device).T[:, :, None]
    label, x1, y1, x2, y2 = boxes.unbind(-1)
    x1, x2, y1, y2 = (x1 - left) * w / width, (x2 - left) * w / width, (y1 - top) * h / height, (y2 - top) * h / height
    flip = mirrored.to(boxes.device)[:, None]
    x1, x2 = torch.where(flip, w - x2, x1), torch.where(flip, w - x1, x2)
    area = (x2 - x1) * (y2 - y1)
    x1, x2, y1, y2 = x1.clamp(0, w), x2.clamp(0, w), y1.clamp(0, h), y2.clamp(0, h)
    seen = ((x2 - x1) * (y2 - y1) >= VISIBLE * area) & (label >= 0) & (x2 > x1) & (y2 > y1)
    moved = torch.stack((label, x1, y1, x2, y2), dim=-1)
    return torch.where(seen[..., None], moved, -1.0)


def _sample(x: Tensor, windows: Tensor, mirrored: Tensor, mode: str) -> Tensor:
    """Windows of float maps (B, C, H, W), zero outside."""
    h, w = x.shape[-2:]
    left, top, width, height = windows.T
    theta = torch.zeros(len(x), 2, 3)  # coordinates of the window in [-1, 1] to those of the image
    theta[:, 0, 0], theta[:, 0, 2] = width / w, (2 * left + width) / w - 1
    theta[:, 1, 1], theta[:, 1, 2] = height / h, (2 * top + height) / h - 1
    theta[mirrored, 0, 0] *= -1
    grid = F.affine_grid(theta.to(x.device), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode=mode, padding_mode="zeros", align_corners=False)
