"""Features of series and random changes to training series."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.fft import dct

from corinth.data import Sequences, SeriesEncoding
from corinth.data.augmentation import SeriesAugmentation, SeriesFeatures
from corinth.data.sequences import augment
from corinth.data.sequences.audio import BANDS, RANGE, band_centres, band_of
from corinth.data.sequences.augment import SeriesTransform
from corinth.data.sequences.features import cepstra, normalised, stacked, with_deltas
from corinth.errors import UsageError
from corinth.layers.ctc import NO_LABEL, fewest_steps

LENGTHS = (9, 4, 7, 1)


def batch(channels: int = 3, lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> Sequences:
    generator = torch.Generator().manual_seed(seed)
    return Sequences.of([torch.randn(length, channels, generator=generator) for length in lengths])


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def encoding(channels: int = 3, **options: Any) -> SeriesEncoding:
    return SeriesEncoding(mean=(0.0,) * channels, std=(1.0,) * channels, **options)


def nothing_behind_the_ends(found: Sequences) -> bool:
    return bool((found.values[~found.inside()] == 0).all())


# ---- features ----


def test_normalised_series_have_zero_mean_and_unit_spread() -> None:
    inputs = batch()
    values = 3 + 5 * inputs.values * inputs.inside()[:, :, None]
    values[:, :, 2] = 4.0  # says nothing
    found = normalised(Sequences(values * inputs.inside()[:, :, None], inputs.lengths))
    for row, length in zip(found.values[:3], LENGTHS, strict=False):
        np.testing.assert_allclose(row[:length].mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(row[:length, :2].std(0, correction=0), 1, atol=1e-4)
    assert nothing_behind_the_ends(found)
    np.testing.assert_allclose(found.values[:, :, 2], 0, atol=1e-5)


def test_cepstra_are_an_orthonormal_cosine_transform() -> None:
    inputs = batch(BANDS)
    found = cepstra(inputs, 13)
    assert found.values.shape == (4, 9, 13)
    np.testing.assert_allclose(found.values, dct(inputs.values.numpy(), norm="ortho")[:, :, :13], atol=1e-4)
    assert nothing_behind_the_ends(found)
    assert encoding(BANDS, cepstra=13, deltas=True, stack=2).finish(inputs).values.shape == (4, 5, 52)


def test_deltas_are_slopes() -> None:
    steps = torch.arange(9.0)
    lines = Sequences.of([torch.stack([2 * steps, -steps], 1), torch.stack([steps[:6] ** 2, steps[:6]], 1)])
    found = with_deltas(lines)
    assert found.values.shape == (2, 9, 4)
    assert torch.equal(found.values[:, :, :2], lines.values)
    np.testing.assert_allclose(found.values[0, 2:7, 2], 2, atol=1e-6)
    np.testing.assert_allclose(found.values[0, 2:7, 3], -1, atol=1e-6)
    np.testing.assert_allclose(found.values[1, 2:4, 2], [4, 6], atol=1e-6)
    # at the first step: (1 (x1 - x0) + 2 (x2 - x0)) / 10
    assert found.values[0, 0, 2].item() == pytest.approx((2 + 8) / 10)
    assert nothing_behind_the_ends(found)


def test_a_stack_has_the_steps_side_by_side() -> None:
    inputs = batch(2, (5, 3))
    found = stacked(inputs, 2)
    assert found.lengths.tolist() == [3, 2]
    assert torch.equal(found.values[0, 1], torch.cat([inputs.values[0, 2], inputs.values[0, 3]]))
    assert torch.equal(found.values[0, 2], torch.cat([inputs.values[0, 4], torch.zeros(2)]))
    assert nothing_behind_the_ends(found)


def test_an_encoding_of_one_is_its_row_in_a_batch() -> None:
    rows = [np.random.default_rng(i).normal(size=(length, 3)).astype(np.float32) for i, length in enumerate(LENGTHS)]
    own = encoding(normalise=True, deltas=True, stack=2)
    found = own.finish(Sequences.of(own.rows(rows)))
    assert found.values.shape[2] == own.width == 12
    for row, alone in enumerate(own(rows)):
        assert len(alone) == found.lengths[row] == own.steps(LENGTHS[row])
        np.testing.assert_allclose(found.values[row, : len(alone)], alone, atol=1e-5)


def test_bad_options_are_refused() -> None:
    with pytest.raises(UsageError, match="stack 0 is not a whole number"):
        SeriesFeatures(stack=0)
    for name, value in (("crop", 1.0), ("speed", -1), ("time_mask", 0.0), ("channel_masks", -1)):
        with pytest.raises(UsageError, match=f"{name} "):
            SeriesAugmentation(**{name: value})


# ---- augmentation ----


def test_speed_changes_lengths_and_keeps_the_ends() -> None:
    steps = torch.arange(40.0)
    inputs = Sequences.of([steps[:n, None] for n in (40, 31, 12, 1)] * 20)
    found = augment.random_speed(inputs, 0.5, chance(), torch.ones(80, dtype=torch.int64))
    ratio = inputs.lengths / found.lengths
    assert ratio.min() < 0.75
    assert ratio.max() > 1.35
    assert nothing_behind_the_ends(found)
    for row, length in enumerate(found.lengths.tolist()):
        line, last = found.values[row, :length, 0], inputs.lengths[row] - 1
        np.testing.assert_allclose(line, torch.linspace(0, float(last), length), atol=1e-4)
    none = augment.random_speed(inputs, 1e-9, chance(), torch.ones(80, dtype=torch.int64))
    torch.testing.assert_close(none.values, inputs.values, atol=1e-4, rtol=0)


def test_pitch_moves_a_tone_to_another_band() -> None:
    rate, band = 8000, 20
    centres = band_centres(rate)
    np.testing.assert_allclose(band_of(centres, rate), torch.arange(float(BANDS)), atol=1e-4)
    tone = torch.exp(-0.5 * ((torch.arange(BANDS) - band) / 1.5) ** 2).expand(6, BANDS)
    found = augment.random_pitch(Sequences.of([tone] * 50), 0.3, rate, chance())
    factors = augment._factors(50, 0.3, chance())
    expected = band_of(centres[band] / factors, rate)
    np.testing.assert_allclose(found.values[:, 0].argmax(1), expected, atol=0.75)
    assert found.values[:, 0].argmax(1).unique().numel() > 4


def test_masks_are_runs_within_each_series() -> None:
    inputs = Sequences.of([torch.ones(n, 8) for n in (20, 10, 5)] * 30)
    found = augment.mask_steps(inputs, 0.4, chance())
    for row, length in zip(found.values, inputs.lengths.tolist()):
        masked = (row[:length] == 0).all(1)
        assert int(masked.sum()) <= 0.4 * length + 1
        assert masked.int().diff().abs().sum() <= 2  # one run
        assert (row[:length][~masked] == 1).all()
    across = augment.mask_channels(inputs, 0.5, chance())
    widths = [(row[0] == 0).sum().item() for row in across.values]
    assert min(widths) == 0
    assert max(widths) == 4


def test_background_covers_what_is_quieter() -> None:
    loud = torch.zeros(30, BANDS)
    loud[10:] = -RANGE
    found = augment.random_background(Sequences.of([loud] * 60), 17.4, chance())
    np.testing.assert_allclose(found.values[:, :10], 0, atol=0.3)
    levels = found.values[:, 10:].mean((1, 2))
    assert (levels == -RANGE).float().mean().item() == pytest.approx(0.3, abs=0.15)
    assert levels.max() < -3.5
    assert levels.max() > -6


def test_a_filter_is_the_same_at_all_steps() -> None:
    inputs = Sequences.of([torch.zeros(n, BANDS) for n in (9, 4)] * 100)
    found = augment.random_filter(inputs, 0.5, chance())
    assert nothing_behind_the_ends(found)
    np.testing.assert_array_equal(found.values[0, 0], found.values[0, 8])
    curves = found.values[:, 0]
    assert curves[:, 0].std().item() == pytest.approx(0.5 * (1 + 1 / 4 + 1 / 9) ** 0.5, rel=0.2)
    assert curves.diff(dim=1).abs().max() < 0.35  # smooth


def test_crops_are_windows() -> None:
    inputs = Sequences.of([torch.arange(1.0, n + 1)[:, None] for n in (20, 10, 2, 1)] * 10)
    found = augment.random_crop(inputs, 0.5, chance())
    assert nothing_behind_the_ends(found)
    for row, length, whole in zip(found.values, found.lengths.tolist(), inputs.lengths.tolist()):
        assert whole / 2 <= length <= whole
        assert (row[:length].diff(dim=0) == 1).all()
        assert 1 <= row[0] <= whole
    assert {int(row[0]) for row in found.values} > {1, 2, 3}


def test_trim_takes_quiet_ends() -> None:
    power = torch.tensor([-9.0, -5.0, 0.0, -1.0, -6.5, -9.0])
    inputs = Sequences.of([power[:, None].expand(6, BANDS), power[:4, None].expand(4, BANDS)] * 200)
    found = augment.random_trim(inputs, 0.5, chance(), torch.ones(400, dtype=torch.int64))
    assert nothing_behind_the_ends(found)
    kept = [tuple(row[:length, 0].tolist()) for row, length in zip(found.values, found.lengths.tolist(), strict=True)]
    whole = tuple(power.tolist())
    assert {(row[0], row[-1]) for row in kept[::2]} == {(a, b) for a in (-9, -5, 0) for b in (-1, -6.5, -9)}
    assert all(row == whole[whole.index(row[0]) :][: len(row)] for row in kept)
    assert {row[-1] for row in kept[1::2]} == {-1}
    assert sum(row[0] == -9 for row in kept) / 400 == pytest.approx(0.5, abs=0.08)
    assert torch.equal(augment.random_trim(inputs, 1.0, chance(), inputs.lengths).values, inputs.values)


def test_noise_and_scale_leave_padding_alone() -> None:
    transform = SeriesTransform(encoding(), SeriesAugmentation(scale=0.5, noise=0.1))
    inputs = batch()
    found, _ = transform(inputs, torch.zeros(4), chance())
    assert nothing_behind_the_ends(found)
    assert not torch.equal(found.values, inputs.values)


def test_the_generator_alone_decides() -> None:
    changes = SeriesAugmentation(crop=0.2, speed=0.3, scale=0.2, noise=0.1, time_masks=2, channel_masks=1)
    transform = SeriesTransform(encoding(deltas=True, normalise=True, stack=2), changes)
    inputs, targets = batch(), torch.zeros(4)
    first, again, other = (transform(inputs, targets, chance(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first.values, again.values)
    assert torch.equal(first.lengths, again.lengths)
    assert first.values.shape != other.values.shape or not torch.equal(first.values, other.values)


def test_nothing_becomes_too_short_for_its_transcript() -> None:
    targets = torch.tensor([[1, 1, 2], [0, 1, NO_LABEL]])
    own = encoding(2, stack=2)
    transform = SeriesTransform(own, SeriesAugmentation(speed=3.0))
    inputs = batch(2, (9, 30))
    shortest = 100
    for seed in range(30):
        found, _ = transform(inputs, targets, chance(seed))
        assert (found.lengths >= fewest_steps(targets)).all()
        shortest = min(shortest, int(found.lengths[0]))
    assert shortest == 4


@pytest.mark.parametrize(
    "change",
    [
        {"crop": 0.2},
        {"speed": 0.2},
        {"pitch": 0.2},
        {"background": 20.0},
        {"filter": 0.5},
        {"scale": 0.2},
        {"noise": 0.5},
        {"time_masks": 1},
        {"channel_masks": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_series_on_a_device_stay_there(change: dict[str, Any]) -> None:
    """The lengths and what is random are on the CPU; mixed with the values they would be refused. (What `trim` cuts
    depends on the values, so it fetches their power.)"""
    inputs = batch(BANDS)
    transform = SeriesTransform(encoding(BANDS, audio_rate=8000, deltas=True), SeriesAugmentation(**change))
    found, _ = transform(Sequences(inputs.values.to("meta"), inputs.lengths), torch.zeros(4, device="meta"), chance())
    wanted, _ = transform(inputs, torch.zeros(4), chance())
    assert found.values.is_meta
    assert found.lengths.is_cpu
    assert found.values.shape == wanted.values.shape
