"""What drawings of masks and boxes share: colours of classes, their names on them, and how they are saved."""

import colorsys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from corinth.files import replacing

LEAST = 480  # pixels of a drawing's longer side: smaller images are enlarged, or no name could be read on them
MARK = "Software", "Corinth"  # a text in the file, before its pixels
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Okabe & Ito 2008, "Color Universal Design", without black: told apart by people of every kind of colour vision
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


def enlarged(picture: Image.Image) -> tuple[Image.Image, int]:
    """A picture below 480 pixels a whole number of times as large, and that number; others as they are, and 1."""
    times = max(1, -(-LEAST // max(picture.size)))
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST), times


def font_for(picture: Image.Image) -> Font:
    return ImageFont.load_default(size=max(13, round(max(picture.size) / 45)))


def tag_size(pen: ImageDraw.ImageDraw, text: str, font: Font) -> tuple[int, int]:
    """Width and height of `tag`."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    return int(right - left + 6), int(bottom - top + 6)


def tag(
    pen: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[float, float],
    size: tuple[int, int],
    background: tuple[int, int, int],
    font: Font,
) -> None:
    """A name on its class's colour, its upper left at `corner` or as near as a picture of `size` (W, H) lets it be."""
    left, top, *_ = pen.textbbox((0, 0), text, font=font)
    width, height = tag_size(pen, text, font)
    x = max(0, min(round(corner[0]), size[0] - width))
    y = max(0, min(round(corner[1]), size[1] - height))
    pen.rectangle((x, y, x + width, y + height), fill=background, outline=ink(background))
    pen.text((x + 3 - left, y + 3 - top), text, font=font, fill=ink(background))


def save(picture: Image.Image, path: str | Path) -> None:
    """As a PNG that `is_drawing` knows again."""
    info = PngInfo()
    info.add_text(*MARK)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG", optimize=picture.mode == "P", pnginfo=info)


def is_drawing(path: Path) -> bool:
    """Whether `save` made the file."""
    try:
        with path.open("rb") as file:
            return "\0".join(MARK).encode() in file.read(128)
    except OSError:
        return False
