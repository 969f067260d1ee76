"""Numbers as people read them."""

import pytest

from corinth.report import formats


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
