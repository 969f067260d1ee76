"""Numbers as people read them."""

import pytest

from corinth.report import formats
from corinth.tasks.kinds import KINDS, Kind


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9712, "97.1 %"), (1.0, "100.0 %"), (0.99999, "99.9 %"), (0.0, "0.0 %"), (None, "")],
)
def test_percent_never_promises_perfection(value: float | None, text: str) -> None:
    assert formats.percent(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.012, "+1.2"), (-0.012, "−1.2"), (-0.0001, "0.0"), (0.0, "0.0")])
def test_points(value: float, text: str) -> None:
    assert formats.points(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (61706, "61.7 k"),
        (25_557_032, "25.6 M"),
        (4_089_184_256, "4.09 G"),
        (810_000, "810 k"),
        (999, "999"),
        (0.5, "0.5"),
    ],
)
def test_quantity(value: float, text: str) -> None:
    assert formats.quantity(value) == text


def test_durations_memory_and_p_values() -> None:
    assert [formats.duration(s) for s in (1.26, 61, 3700, None)] == ["1.3 s", "1 min 01 s", "1 h 01 min", ""]
    assert [formats.memory(b) for b in (180 << 20, 3 << 29, None)] == ["180 MiB", "1.50 GiB", ""]
    assert [formats.milliseconds(ms) for ms in (0.456, 45.6, 456.0, None)] == ["0.46 ms", "45.6 ms", "456 ms", ""]
    assert [formats.p_value(p) for p in (0.0004, 0.034, 1.0)] == ["< 0.001", "0.034", "1.000"]


ERRORS = Kind("regression", "rmse", "RMSE", "absolute error", share=False, lower_is_better=True)


@pytest.mark.parametrize(
    ("value", "text"), [(0.031174, "0.03117"), (1.5, "1.500"), (12345.6, "12,346"), (0.0, "0.000"), (-2.25, "-2.250")]
)
def test_scores_that_are_no_shares_are_numbers(value: float, text: str) -> None:
    assert formats.score_text(ERRORS, value) == formats.bare_score(ERRORS, value) == text


@pytest.mark.parametrize(("value", "text"), [(0.0123, "+0.0123"), (-4.5, "\N{MINUS SIGN}4.50"), (0.0, "0")])
def test_differences_of_numbers_are_signed(value: float, text: str) -> None:
    assert formats.difference_text(ERRORS, value) == text


def test_shares_stay_percent_and_points() -> None:
    shares = KINDS["image-classification"]
    assert formats.score_text(shares, 0.971) == "97.1 %"
    assert formats.bare_score(shares, 0.971) == "97.1"
    assert formats.difference_text(shares, -0.012) == "\N{MINUS SIGN}1.2"
    assert formats.score_text(shares, None) == ""
