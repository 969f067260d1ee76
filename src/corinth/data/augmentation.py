"""The options of augmentation and of series' features; what they do is in `corinth.data.augment`, and of series in
`corinth.data.sequences`. No torch here, so that options load fast."""

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


@dataclass(frozen=True, kw_only=True)
class SeriesFeatures:
    """What a series goes through before the network, in training and behind it; it belongs to the weights."""

    normalise: bool = False  # every series has zero mean and unit spread in each channel by itself
    cepstra: int = 0  # recordings: so many cosines over the bands in the bands' place, 13 are usual; 0: the bands
    deltas: bool = False  # the change of each channel from step to step is a channel too
    stack: int = 1  # so many steps become one, their values side by side: shorter series, and less to compute

    def __post_init__(self) -> None:
        if self.cepstra < 0:
            raise UsageError(f"cepstra {self.cepstra} is not a whole number from 0")
        if self.stack < 1:
            raise UsageError(f"stack {self.stack} is not a whole number of steps from 1")


@dataclass(frozen=True, kw_only=True)
class SeriesAugmentation:
    """What is done to training series and recordings, in this order; the defaults do nothing.

    Speed, pitch and masks are drawn for every series by itself. Masks are SpecAugment's (Park et al. 2019,
    arXiv:1904.08779), pitch is the warp of the frequency axis of Jaitly & Hinton 2013, which makes other speakers.
    """

    crop: float = 0.0  # up to this share of the steps is cut away, at both ends together
    trim: float = (
        0.0  # recordings: of this share of the ends what is quieter than some level goes, as a late start does
    )
    speed: float = 0.0  # the steps become up to so much faster or slower: 0.2 is 1 / 1.2 to 1.2 times
    pitch: float = 0.0  # recordings: frequencies become up to so much higher or lower, as of speed
    background: float = 0.0  # recordings: noise, at most so many dB below the loudest, covers what is quieter; 0: none
    filter: float = 0.0  # recordings: a smooth curve over the bands, as of another microphone, of so many deviations
    scale: float = 0.0  # all values are multiplied by 1 - scale to 1 + scale
    noise: float = 0.0  # standard deviation of what is added to each value, in those of its channel
    time_masks: int = 0  # so many stretches of steps become the mean
    time_mask: float = 0.1  # the longest of them, a share of the steps
    channel_masks: int = 0  # so many runs of neighbouring channels, or bands, become the mean
    channel_mask: float = 0.2  # the widest of them, a share of the channels

    def __post_init__(self) -> None:
        for name in ("crop", "scale"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} is not a share from 0 to below 1")
        for name in ("speed", "pitch", "filter", "noise"):
            if not 0 <= getattr(self, name) <= 4:
                raise UsageError(f"{name} {getattr(self, name)} is not in [0, 4]")
        if not 0 <= self.background <= 100:
            raise UsageError(f"background {self.background} is not in [0, 100] dB")
        for name in ("time_masks", "channel_masks"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} {getattr(self, name)} is not a whole number from 0")
        if not 0 <= self.trim <= 1:
            raise UsageError(f"trim {self.trim} is not a share from 0 to 1")
        for name in ("time_mask", "channel_mask"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(f"{name} {getattr(self, name)} is not a share above 0, up to 1")
