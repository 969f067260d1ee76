"""Random changes to training series, a batch at a time, on the device of the batch.

As with images every random number is drawn on the CPU from the generator passed in, so the result is a pure function
of the generator's state.
"""

import math

import torch
from torch import Generator, Tensor

from corinth.data.augmentation import SeriesAugmentation
from corinth.data.sequences.audio import RANGE, SILENCE, band_centres, band_of
from corinth.data.sequences.batch import Sequences
from corinth.data.sequences.encoding import SeriesEncoding
from corinth.layers.ctc import fewest_steps

CLEAN = 0.3  # share of recordings without background
LEVELS = (1.0, SILENCE)  # in ln of power: where a recording may begin or end, 4 to 30 dB below its loudest step


class SeriesTransform:
    """Augment, then what every batch goes through.

    Where targets are label sequences (B, U), no recording becomes too short for its own.
    """

    def __init__(self, encoding: SeriesEncoding, augmentation: SeriesAugmentation) -> None:
        self.encoding, self.augmentation = encoding, augmentation

    def __call__(self, inputs: Sequences, targets: Tensor, chance: Generator) -> tuple[Sequences, Tensor]:
        """Series (B, T, C) as they are, and their targets."""
        a, encoding = self.augmentation, self.encoding
        shortest = torch.ones_like(inputs.lengths)
        if targets.ndim == 2:
            shortest = torch.minimum(inputs.lengths, fewest_steps(targets.cpu()) * encoding.stack)
        if a.crop:
            inputs = random_crop(inputs, a.crop, chance)
        if a.trim:
            inputs = random_trim(inputs, a.trim, chance, shortest)
        if a.speed:
            inputs = random_speed(inputs, a.speed, chance, shortest)
        if a.pitch:
            assert encoding.audio_rate is not None  # refused for what is no sound
            inputs = random_pitch(inputs, a.pitch, encoding.audio_rate, chance)
        if a.background:
            inputs = random_background(inputs, a.background, chance)
        inputs = encoding.levelled(inputs)
        if a.filter:
            inputs = random_filter(inputs, a.filter, chance)
        if a.scale:
            factor = 1 + a.scale * (2 * torch.rand(len(inputs), 1, 1, generator=chance) - 1)
            inputs = Sequences(inputs.values * factor.to(inputs.values.device), inputs.lengths)
        if a.noise:
            inputs = add_noise(inputs, a.noise, chance)
        for _ in range(a.time_masks):
            inputs = mask_steps(inputs, a.time_mask, chance)
        for _ in range(a.channel_masks):
            inputs = mask_channels(inputs, a.channel_mask, chance)
        return encoding.widened(inputs), targets


def random_crop(inputs: Sequences, share: float, chance: Generator) -> Sequences:
    """Of each series a random window of at least 1 - `share` of its steps."""
    cut, place = torch.rand(2, len(inputs), generator=chance)
    kept = (inputs.lengths - (cut * share * inputs.lengths).long()).clamp(min=1)
    first = (place * (inputs.lengths - kept + 1)).long()
    return _at_steps(inputs, first[:, None] + torch.arange(int(kept.max())).float(), kept)


def random_trim(inputs: Sequences, share: float, chance: Generator, shortest: Tensor) -> Sequences:
    """Bands, in ln of power: at `share` of the ends the steps go that are quieter than the loudest by more than a
    random level of `LEVELS`. A recording that would become shorter than `shortest` stays as it is."""
    inside, steps = inputs.inside(), torch.arange(inputs.values.shape[1])
    power = inputs.values.logsumexp(2).masked_fill(~inside, -torch.inf).cpu()
    low, high = LEVELS
    level, cut = torch.rand(2, len(inputs), 2, generator=chance)
    level = (low + (high - low) * level).masked_fill(cut >= share, torch.inf)
    heard = power[:, None] >= (power.amax(1, keepdim=True) - level)[:, :, None]  # (B, 2, T): from each end
    heard &= inside.cpu()[:, None]
    first = torch.where(heard[:, 0], steps, len(steps)).amin(1)
    kept = torch.where(heard[:, 1], steps, -1).amax(1) + 1 - first
    enough = kept >= shortest
    first, kept = torch.where(enough, first, 0), torch.where(enough, kept, inputs.lengths)
    return _at_steps(inputs, first[:, None] + torch.arange(int(kept.max())).float(), kept)


def random_speed(inputs: Sequences, most: float, chance: Generator, shortest: Tensor) -> Sequences:
    """Each series at its own speed, its values read between the steps in straight lines; no shorter than `shortest`."""
    faster = _factors(len(inputs), most, chance)
    lengths = torch.maximum((inputs.lengths / faster).round().long(), shortest)
    apart = (inputs.lengths - 1) / (lengths - 1).clamp(min=1)
    return _at_steps(inputs, torch.arange(int(lengths.max())) * apart[:, None], lengths)


def random_pitch(inputs: Sequences, most: float, audio_rate: int, chance: Generator) -> Sequences:
    """The mel bands of each recording at frequencies that are a factor higher or lower."""
    centres = band_centres(audio_rate)
    at = band_of(_factors(len(inputs), most, chance)[:, None] * centres, audio_rate).clamp(0, len(centres) - 1)
    return Sequences(_between(inputs.values.transpose(1, 2), at).transpose(1, 2), inputs.lengths)


def random_background(inputs: Sequences, decibels: float, chance: Generator) -> Sequences:
    """Bands, in ln of power with 0 the loudest, under noise of a level between `RANGE` and `decibels` below that, which
    covers what is quieter; three of ten recordings stay as they are."""
    size, steps, bands = inputs.values.shape
    loudest = min(decibels * math.log(10) / 10, RANGE)
    level = -(loudest + (RANGE - loudest) * torch.rand(size, 1, 1, generator=chance))
    colour = torch.randn(size, 1, bands, generator=chance).cumsum(2) / math.sqrt(bands)
    noise = level + 0.5 * (colour + torch.randn(size, steps, bands, generator=chance))
    noise[torch.rand(size, generator=chance) < CLEAN] = -torch.inf
    return Sequences(torch.maximum(inputs.values, noise.to(inputs.values)), inputs.lengths)


def random_filter(inputs: Sequences, strength: float, chance: Generator) -> Sequences:
    """Each recording through a filter of its own, the same at all steps: the three slowest cosines over the bands, of
    normal heights that fall with their frequency."""
    bands = inputs.values.shape[2]
    waves = torch.arange(1, 4)[:, None]
    heights = strength * torch.randn(len(inputs), 3, generator=chance) / waves.T
    curve = heights @ torch.cos(math.pi * waves * torch.arange(bands) / bands)  # (B, C)
    filtered = inputs.values + curve[:, None].to(inputs.values) * inputs.inside()[:, :, None]
    return Sequences(filtered, inputs.lengths)


def add_noise(inputs: Sequences, spread: float, chance: Generator) -> Sequences:
    """Normal noise on each value, none behind the ends."""
    noise = torch.randn(inputs.values.shape, generator=chance).to(inputs.values.device)
    return Sequences(inputs.values + spread * noise * inputs.inside()[:, :, None], inputs.lengths)


def mask_steps(inputs: Sequences, share: float, chance: Generator) -> Sequences:
    """A stretch of up to `share` of the steps of each series becomes 0, the mean."""
    return _masked(inputs, _stretch(inputs.lengths, share, inputs.values.shape[1], chance)[:, :, None])


def mask_channels(inputs: Sequences, share: float, chance: Generator) -> Sequences:
    """A run of up to `share` of the channels of each series becomes 0, the mean."""
    channels = inputs.values.shape[2]
    of_each = torch.full((len(inputs),), channels)
    return _masked(inputs, _stretch(of_each, share, channels, chance)[:, None, :])


def _masked(inputs: Sequences, mask: Tensor) -> Sequences:
    return Sequences(inputs.values.masked_fill(mask.to(inputs.values.device), 0), inputs.lengths)


def _stretch(lengths: Tensor, share: float, size: int, chance: Generator) -> Tensor:
    """bool (B, size), true on a random stretch within the first `lengths`."""
    width, place = torch.rand(2, len(lengths), generator=chance)
    width = (width * (share * lengths + 1)).floor()
    first = (place * (lengths - width + 1)).floor()
    at = torch.arange(size)
    return (at >= first[:, None]) & (at < (first + width)[:, None])


def _factors(count: int, most: float, chance: Generator) -> Tensor:
    """From 1 / (1 + most) to 1 + most, uniform in their logarithm."""
    return torch.exp((2 * torch.rand(count, generator=chance) - 1) * math.log(1 + most))


def _at_steps(inputs: Sequences, at: Tensor, lengths: Tensor) -> Sequences:
    """Series read at fractional steps (B, N), of which `lengths` (B,) count."""
    at = torch.minimum(at, (inputs.lengths - 1)[:, None].float())
    found = Sequences(_between(inputs.values, at), lengths)
    return Sequences(found.values * found.inside()[:, :, None], lengths)


def _between(values: Tensor, at: Tensor) -> Tensor:
    """Values (B, T, C) read along T at fractional places (B, N), in straight lines between them, (B, N, C)."""
    at = at.to(values.device)
    low = at.floor().long()
    high = (low + 1).clamp(max=values.shape[1] - 1)
    shape = (-1, -1, values.shape[2])
    before, behind = (values.gather(1, place[:, :, None].expand(shape)) for place in (low, high))
    return torch.lerp(before, behind, (at - low)[:, :, None].to(values))
