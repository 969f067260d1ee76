"""Numbers as people read them."""

import math
from collections.abc import Sequence

from corinth.tasks.kinds import Kind


def percent(share: float | None, digits: int = 1) -> str:
    """0.9712 as "97.1 %"; never rounds up to a perfect score that was not reached."""
    if share is None:
        return ""
    text = f"{100 * share:.{digits}f}"
    if share < 1 and float(text) == 100:
        text = f"{100 - 10**-digits:.{digits}f}"
    return f"{text} %"


def points(difference: float, digits: int = 1) -> str:
    """A difference of shares in percentage points, signed with a real minus."""
    value = round(100 * difference, digits) + 0.0  # no "-0.0"
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}") if value else f"{0:.{digits}f}"


def number(value: float, digits: int = 4) -> str:
    """To so many significant digits: 0.03117 as "0.03117", 1.5 as "1.500", 12345.6 as "12,346"."""
    size = math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0
    return f"{value:,.{min(max(digits - 1 - size, 0), 9)}f}"


def score_text(kind: Kind, score: float | None) -> str:
    """A score of a kind of task: "97.1 %", or "0.03117" where scores are no shares."""
    if score is None or kind.share:
        return percent(score)
    return number(score)


def bare_score(kind: Kind, score: float) -> str:
    """The same without the sign for percent."""
    return f"{100 * score:.1f}" if kind.share else number(score)


def difference_text(kind: Kind, difference: float) -> str:
    """The difference of two scores, signed: of shares in percentage points."""
    if kind.share:
        return points(difference)
    text = number(difference, 3)
    return text.replace("-", "\N{MINUS SIGN}") if difference < 0 else f"+{text}" if difference > 0 else "0"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def quantity(number: float | None) -> str:
    """61706 as "61.7 k"."""
    if number is None:
        return ""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            scaled = number / limit
            digits = 0 if scaled == round(scaled) or scaled >= 100 else 1 if scaled >= 10 else 2
            return f"{scaled:.{digits}f} {unit}"
    return f"{number:g}"


def input_size(shape: Sequence[int], unit: str) -> str:
    """(1, 8, 8) as 1 × 8 × 8, (18,) as 18 tokens, or of a row as 18 values."""
    return f"{shape[0]} {'values' if unit == 'row' else 'tokens'}" if len(shape) == 1 else " × ".join(map(str, shape))


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def milliseconds(value: float | None) -> str:
    return (
        ""
        if value is None
        else f"{value:.2f} ms"
        if value < 10
        else f"{value:.1f} ms"
        if value < 100
        else f"{value:.0f} ms"
    )


def memory(size: int | None) -> str:
    """Bytes in binary units."""
    if size is None:
        return ""
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
