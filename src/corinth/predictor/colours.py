"""Colours for classes that people of every kind of colour vision can tell apart, as far as there are enough."""

import colorsys

# Okabe & Ito 2008, "Color Universal Design", without black
BASE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)


def colour(number: int) -> tuple[int, int, int]:
    """The RGB of a class: seven plain colours, the same dark and pale, then others around the circle of hues."""
    shade, place = divmod(number, len(BASE))
    red, green, blue = BASE[place]
    if shade == 0:
        return red, green, blue
    if shade == 1:
        return red * 45 // 100, green * 45 // 100, blue * 45 // 100
    if shade == 2:
        return (red + 2 * 255) // 3, (green + 2 * 255) // 3, (blue + 2 * 255) // 3
    step = number - 3 * len(BASE)
    r, g, b = colorsys.hsv_to_rgb(step * 0.618034 % 1, 0.5 + 0.5 * (step % 2), 0.6 + 0.4 * (step // 2 % 2))
    return round(r * 255), round(g * 255), round(b * 255)


def ink(background: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever is read more easily on a colour (luminance of ITU-R 601)."""
    red, green, blue = background
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else (255, 255, 255)
