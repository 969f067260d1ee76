"""What a batch of series goes through on its way into the network, the same in training and behind it."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from corinth.data.sequences.batch import Sequences

QUIET = 0.1  # the least spread that a channel is divided by, in those of the training part
PAUSE = 4.0  # in ln of power: a step that is so much quieter than the loudest, 17 dB, is a pause
STEPS = (1, 2)  # to either side, over which a change is measured


def normalised(inputs: Sequences) -> Sequences:
    """Zero mean and unit spread in each channel of each series; one that hardly changes is only centred."""
    inside = inputs.inside()[:, :, None]
    count = inside.sum(1, keepdim=True)
    values = (inputs.values - inputs.values.sum(1, keepdim=True) / count) * inside
    spread = (values.square().sum(1, keepdim=True) / count).sqrt()
    return Sequences(values / spread.clamp(min=QUIET), inputs.lengths)


def centred(inputs: Sequences) -> Sequences:
    """Bands (B, T, C), in ln of power, less the mean of each over the steps of its recording that are no pauses: so
    neither loudness, nor microphone, nor how long it is silent plays a part. Zero behind each end."""
    inside = inputs.inside()
    power = inputs.values.logsumexp(2).masked_fill(~inside, -torch.inf)
    sounding = (power >= power.amax(1, keepdim=True) - PAUSE)[:, :, None]
    mean = (inputs.values * sounding).sum(1, keepdim=True) / sounding.sum(1, keepdim=True)
    return Sequences((inputs.values - mean) * inside[:, :, None], inputs.lengths)


def cepstra(inputs: Sequences, count: int) -> Sequences:
    """The first `count` cosines over the bands (B, T, C), (B, T, count): the shape of a spectrum without the lines in
    it, which are the voice's pitch. The orthonormal DCT-II of Davis & Mermelstein 1980."""
    bands = inputs.values.shape[2]
    waves = torch.arange(count, device=inputs.values.device)
    middles = (torch.arange(bands, device=inputs.values.device) + 0.5) / bands
    cosines = torch.cos(math.pi * middles[:, None] * waves) * math.sqrt(2 / bands)
    cosines[:, 0] /= math.sqrt(2)
    return Sequences(inputs.values @ cosines.to(inputs.values), inputs.lengths)


def with_deltas(inputs: Sequences) -> Sequences:
    """The slope of each channel over 2 steps to either side as channels behind the others, (B, T, 2C).

    The regression of Furui 1986, sum over n of n (x[t + n] - x[t - n]) / (2 sum of n^2); beyond an end the first or
    the last value goes on.
    """
    values = inputs.values
    last = (inputs.lengths - 1).to(values.device)[:, None]
    here = torch.arange(values.shape[1], device=values.device).minimum(last)  # behind an end nothing changes
    changes = [n * (_at(values, (here + n).minimum(last)) - _at(values, (here - n).clamp(min=0))) for n in STEPS]
    slope = torch.stack(changes).sum(0) / (2 * sum(n * n for n in STEPS))
    both = torch.cat([values, slope * inputs.inside()[:, :, None]], dim=2)
    return Sequences(both, inputs.lengths)


def _at(values: Tensor, steps: Tensor) -> Tensor:
    """Values (B, T, C) at the steps (B, N)."""
    return values.gather(1, steps[:, :, None].expand(-1, -1, values.shape[2]))


def stacked(inputs: Sequences, count: int) -> Sequences:
    """Each `count` steps side by side, (B, T / count, C count); zeros fill the last up."""
    values = F.pad(inputs.values, (0, 0, 0, -inputs.values.shape[1] % count))
    return Sequences(values.reshape(len(values), -1, count * values.shape[2]), -(-inputs.lengths // count))
