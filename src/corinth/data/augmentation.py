"""The options of augmentation; what they do is in `corinth.data.augment`. No torch here, so that options load fast."""

from dataclasses import dataclass

from corinth.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done to training images, in this order; the defaults do nothing."""

    random_resized_crop: tuple[float, float] | None = None  # share of the area, e.g. (0.08, 1); aspect 3/4 to 4/3
    crop_padding: float = 0.0  # border around the image out of which its size is cut: a share of the side, 1 pixel up
    flip: bool = False  # left to right, every second image
    color_jitter: float = 0.0  # brightness, contrast and saturation change by up to this share
    erasing: float = 0.0  # probability that a rectangle becomes the mean colour
    mixup: float = 0.0  # alpha of the Beta distribution; 0: off
    cutmix: float = 0.0  # alpha of the Beta distribution; with mixup as well: one of the two for each batch

    def __post_init__(self) -> None:
        if not 0 <= self.crop_padding <= 0.5:
            raise UsageError(f"crop_padding {self.crop_padding} is not a share of the side, from 0 to 0.5")
        if not 0 <= self.color_jitter <= 1:
            raise UsageError(f"color_jitter {self.color_jitter} is not in [0, 1]")
        if not 0 <= self.erasing <= 1:
            raise UsageError(f"erasing {self.erasing} is not a probability in [0, 1]")
        for name in ("mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} {getattr(self, name)} is not at least 0")
        if self.random_resized_crop is not None:
            object.__setattr__(self, "random_resized_crop", tuple(self.random_resized_crop))
            if (
                len(self.random_resized_crop) != 2
                or not 0 < self.random_resized_crop[0] <= self.random_resized_crop[1] <= 1
            ):
                raise UsageError(f"random_resized_crop {self.random_resized_crop} is not 0 < low <= high <= 1")
