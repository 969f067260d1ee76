"""Numbers as people read them."""

from collections.abc import Sequence


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


def input_size(shape: Sequence[int]) -> str:
    """(1, 8, 8) as 1 × 8 × 8, (18,) as 18 tokens."""
    return f"{shape[0]} tokens" if len(shape) == 1 else " × ".join(map(str, shape))


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
