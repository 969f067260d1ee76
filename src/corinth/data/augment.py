"""Random changes to training images, a batch at a time, on the device of the images.

Every random number is drawn on the CPU from the generator passed in, so the result is the same on every device and
a pure function of the generator's state; nothing here waits for the device.
"""

import math

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from corinth.data.augmentation import Augmentation
from corinth.data.preprocess import Preprocess


class TrainTransform:
    """Augment, normalise, mix: what a training batch goes through."""

    def __init__(self, preprocess: Preprocess, augmentation: Augmentation, num_classes: int) -> None:
        self.preprocess, self.augmentation, self.num_classes = preprocess, augmentation, num_classes

    def __call__(self, images: Tensor, targets: Tensor, chance: Generator) -> tuple[Tensor, Tensor]:
        """uint8 (B, C, H, W) and int64 (B,) to float32 inputs and int64 (B,), or float (B, K) if samples were mixed."""
        a = self.augmentation
        if a.random_resized_crop is not None:
            images = random_resized_crop(images, a.random_resized_crop, chance)
        if a.crop_padding:
            padding = max(1, round(a.crop_padding * images.shape[-1]))
            images = random_crop(images, padding, chance, fill=self.preprocess.pad_value)
        if a.flip:
            images = random_flip(images, chance)
        if a.color_jitter:
            images = color_jitter(images, a.color_jitter, chance)
        inputs = self.preprocess.normalise(images)
        if a.erasing:
            inputs = random_erasing(inputs, a.erasing, chance)
        if a.mixup and a.cutmix:
            mixer, alpha = (mixup, a.mixup) if torch.rand((), generator=chance) < 0.5 else (cutmix, a.cutmix)
        else:
            mixer, alpha = (mixup, a.mixup) if a.mixup else (cutmix, a.cutmix)
        return mixer(inputs, targets, alpha, self.num_classes, chance) if alpha else (inputs, targets)


def random_crop(images: Tensor, padding: int, chance: Generator, *, fill: int = 0) -> Tensor:
    """For each image a window of its own size out of the image with `padding` pixels of `fill` around it."""
    b, c, h, w = images.shape
    padded = F.pad(images, (padding,) * 4, value=fill).contiguous()
    top, left = torch.randint(0, 2 * padding + 1, (2, b), generator=chance).to(images.device)
    # A row of a window is w bytes in a row anywhere in memory: row n of `runs` starts at byte n.
    runs = padded.as_strided((padded.numel() - w + 1, w), (1, 1))
    planes = torch.arange(b * c, device=images.device).view(b, c, 1) * padded.shape[2]
    rows = planes + top[:, None, None] + torch.arange(h, device=images.device)  # (B, C, H)
    starts = rows * padded.shape[3] + left[:, None, None]
    return runs.index_select(0, starts.flatten()).view(b, c, h, w)


def random_flip(images: Tensor, chance: Generator) -> Tensor:
    """Every second image, by chance, is mirrored left to right."""
    b = len(images)
    flip = torch.rand(b, generator=chance) < 0.5
    rows = torch.arange(b) + b * flip
    return torch.cat([images, images.flip(-1)]).index_select(0, rows.to(images.device))  # faster than torch.where


def random_resized_crop(images: Tensor, area: tuple[float, float], chance: Generator) -> Tensor:
    """For each image a random window, enlarged to the image's size.

    The window has `area` (low, high) of the image's area and an aspect of 3/4 to 4/3, uniform in its logarithm,
    cut where it is larger than the image. It is read bilinearly; a window is never larger than the image, so
    there is nothing to antialias.
    """
    b, _, h, w = images.shape
    share, aspect, x, y = torch.rand(4, b, generator=chance)
    pixels = (area[0] + (area[1] - area[0]) * share) * h * w
    ratio = torch.exp((2 * aspect - 1) * math.log(4 / 3))
    width, height = (pixels * ratio).sqrt().clamp(1, w), (pixels / ratio).sqrt().clamp(1, h)
    left, top = x * (w - width), y * (h - height)
    theta = torch.zeros(b, 2, 3)  # window coordinates in [-1, 1] to image coordinates in [-1, 1]
    theta[:, 0, 0], theta[:, 0, 2] = width / w, (2 * left + width) / w - 1
    theta[:, 1, 1], theta[:, 1, 2] = height / h, (2 * top + height) / h - 1
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    out = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return out.round_().clamp_(0, 255).to(torch.uint8)


def color_jitter(images: Tensor, strength: float, chance: Generator) -> Tensor:
    """Brightness, then contrast, then saturation, each by its own factor in [1 - strength, 1 + strength].

    Contrast mixes with the mean grey of the image, saturation with each pixel's grey (ITU-R 601); values are cut
    to the range of a pixel after each. Grey images have no saturation to change.
    """
    factors = 1 + strength * (2 * torch.rand(3, len(images), 1, 1, 1, generator=chance) - 1)
    brightness, contrast, saturation = factors.to(images.device)
    x = (images.float() * brightness).clamp_(0, 255)
    x = torch.lerp(_grey(x).mean((2, 3), keepdim=True), x, contrast).clamp_(0, 255)
    if images.shape[1] == 3:
        x = torch.lerp(_grey(x), x, saturation).clamp_(0, 255)
    return x.round_().to(torch.uint8)


def random_erasing(inputs: Tensor, probability: float, chance: Generator) -> Tensor:
    """Zhong et al., 2017 (arXiv:1708.04896): a rectangle of 2 to 33 % of the area, aspect 0.3 to 3.3, becomes 0.

    Inputs are normalised, so 0 is the mean colour; the paper's best fill is noise, its second the mean.
    """
    b, _, h, w = inputs.shape
    chosen, share, aspect, x, y = torch.rand(5, b, generator=chance)
    pixels = (0.02 + 0.31 * share) * h * w
    ratio = torch.exp((2 * aspect - 1) * math.log(10 / 3))
    width, height = ((pixels * r).sqrt().round().clamp(min=1) for r in (ratio, 1 / ratio))
    width, height = width.clamp(max=w), height.clamp(max=h)
    left, top = (x * (w - width + 1)).floor(), (y * (h - height + 1)).floor()
    width = torch.where(chosen < probability, width, 0)  # nothing is erased
    inside = _inside(left, width, w)[:, None, :] & _inside(top, height, h)[:, :, None]  # (B, H, W)
    return inputs.masked_fill(inside[:, None].to(inputs.device), 0)


def mixup(inputs: Tensor, targets: Tensor, alpha: float, num_classes: int, chance: Generator) -> tuple[Tensor, Tensor]:
    """Zhang et al., 2017 (arXiv:1710.09412): lam * x + (1 - lam) * partner, labels alike; one lam for a batch."""
    partner, lam = _partner(inputs, chance), _beta(alpha, chance)
    mixed = torch.lerp(inputs[partner], inputs, lam)
    return mixed, _mix_labels(targets, partner, lam, num_classes)


def cutmix(inputs: Tensor, targets: Tensor, alpha: float, num_classes: int, chance: Generator) -> tuple[Tensor, Tensor]:
    """Yun et al., 2019 (arXiv:1905.04899): a rectangle of the partner is pasted, the label's share is its area.

    One rectangle for a batch, its centre uniform, cut at the border; the share is counted after the cut.
    """
    h, w = inputs.shape[-2:]
    partner, lam = _partner(inputs, chance), _beta(alpha, chance)
    side = math.sqrt(1 - lam)
    cy, cx = (int(torch.randint(0, n, (), generator=chance)) for n in (h, w))
    half_h, half_w = int(h * side) // 2, int(w * side) // 2
    top, bottom = max(0, cy - half_h), min(h, cy + half_h)
    left, right = max(0, cx - half_w), min(w, cx + half_w)
    mixed = inputs.clone()
    mixed[:, :, top:bottom, left:right] = inputs[partner, :, top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (h * w)
    return mixed, _mix_labels(targets, partner, kept, num_classes)


def _mix_labels(targets: Tensor, partner: Tensor, kept: float, num_classes: int) -> Tensor:
    one_hot = F.one_hot(targets, num_classes).float()
    return torch.lerp(one_hot[partner], one_hot, kept)


def _partner(inputs: Tensor, chance: Generator) -> Tensor:
    return torch.randperm(len(inputs), generator=chance).to(inputs.device)


def _beta(alpha: float, chance: Generator) -> float:
    """A draw from Beta(alpha, alpha), from NumPy, as torch's takes no generator."""
    seed = int(torch.randint(2**62, (), generator=chance))
    return float(np.random.default_rng(seed).beta(alpha, alpha))


def _inside(start: Tensor, length: Tensor, n: int) -> Tensor:  # (B,) to bool (B, n)
    at = torch.arange(n)
    return (at >= start[:, None]) & (at < (start + length)[:, None])


def _grey(x: Tensor) -> Tensor:  # (B, C, H, W) to (B, 1, H, W)
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    weights = torch.tensor([0.299, 0.587, 0.114], device=x.device)[:, None, None]
    return (x * weights).sum(1, keepdim=True)
