"""From an image file to upright 8-bit pixels, or to one sentence about why not.

What comes out is uint8, (H, W) for grey images and (H, W, 3) for all others:
- EXIF orientation is applied;
- 16-bit grey is scaled, 65535 to 255 (rounded), never clipped;
- palettes are looked up, CMYK, YCbCr, LAB and HSV become RGB;
- transparent pixels are composited on white;
- of an animation the first frame counts.
"""

import io
import os
import struct
import warnings
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from corinth.errors import DataError

MAX_PIXELS = 64_000_000  # more is refused: a small file can unpack to many gigabytes
EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".pgm", ".ppm", ".pbm", ".pnm", ".gif", ".tif", ".tiff"}
)
# Formats that only decode: Pillow hands EPS to an outside program, which no data set needs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "GIF", "TIFF")
_GREY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
# What Pillow's plugins raise on damaged files, by their source: no common base, and SyntaxError for PNG.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError),
    *(struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning),
)


class UnreadableImage(DataError):
    """One image that cannot be used; the message is the reason alone, without the path."""


@dataclass(frozen=True)
class Header:
    """What the first bytes of an image file tell."""

    size: tuple[int, int]  # (H, W), upright
    channels: int  # 1 or 3, as decoding will give
    bytes: int
    turned: bool = False  # whether the file says that its pixels must be turned or mirrored to be upright

    @property
    def said(self) -> str:
        """Width x height, and whether the file turned them."""
        turned = ", turned upright as its file says" if self.turned else ""
        return f"{self.size[1]} x {self.size[0]}{turned}"


@contextmanager
def quiet() -> Generator[None]:
    """Keep Pillow's warnings about odd files off the terminal; what matters is reported by us, with the path.

    Python's filters are global to the process, so this is entered once around a whole scan, not in each thread.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def is_image_file(path: str | Path) -> bool:
    """Whether the name ends like an image's; nothing is opened."""
    return Path(path).suffix.lower() in EXTENSIONS


def read_image(path: str | Path) -> np.ndarray:
    """The pixels of one file; a `DataError` that names the file and the reason if it cannot be used."""
    try:
        with quiet():
            return decode(path)
    except UnreadableImage as error:
        raise DataError(f"{path}: {error}") from error


def decode(file: str | Path | bytes) -> np.ndarray:
    """The pixels of a file or of its bytes: uint8 (H, W) or (H, W, 3). Raises `UnreadableImage`."""
    try:
        with _open(file) as image:
            return to_array(image)
    except _DAMAGE as error:
        raise UnreadableImage(_reason(error)) from error


@contextmanager
def opened(file: str | Path) -> Generator[Image.Image]:
    """A Pillow image whose damage, here or where it is read further, is an `UnreadableImage`."""
    try:
        with _open(file) as image:
            yield image
    except _DAMAGE as error:
        raise UnreadableImage(_reason(error)) from error


def read_header(path: str | Path) -> Header:
    """Size and channels without decoding the pixels, so damage further on is not seen. Raises `UnreadableImage`."""
    try:
        with _open(path) as image:
            width, height = image.size
            # Pillow turns TIFF itself. Asking a PNG without EXIF for it would decode the pixels.
            known = image.format != "TIFF" and "exif" in image.info
            orientation = image.getexif().get(0x0112, 1) if known else 1
            if orientation in (5, 6, 7, 8):
                width, height = height, width
            channels = 1 if image.mode in _GREY else 3
            return Header((height, width), channels, os.path.getsize(path), turned=orientation in range(2, 9))
    except _DAMAGE as error:
        raise UnreadableImage(_reason(error)) from error


def to_array(image: Image.Image) -> np.ndarray:
    """A Pillow image as uint8 (H, W) or (H, W, 3), by the rules at the top of this file."""
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(_too_large(image))
    try:
        image.load()  # before the orientation is read: PNG may keep it behind the pixels
        image = ImageOps.exif_transpose(image)
    except _DAMAGE as error:
        raise UnreadableImage(_reason(error)) from error
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in (None, "PNG", "PPM")):
        values = np.asarray(image).astype(np.int64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise UnreadableImage("its grey values do not fit 16 bits, so black and white are unknown")
        return ((values + 128) // 257).astype(np.uint8)  # rounds value * 255 / 65535
    if image.mode in ("I", "F"):
        raise UnreadableImage(
            f"mode {image.mode} (32 bits a pixel) has no defined black and white; save it as 8 or 16 bit"
        )
    mode = "L" if image.mode in _GREY else "RGB"
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        composite = np.asarray(Image.alpha_composite(white, image))
        return composite[..., 0] if mode == "L" else composite[..., :3]
    return np.asarray(image.convert(mode))


def _open(file: str | Path | bytes) -> Image.Image:
    if isinstance(file, bytes):
        image = Image.open(io.BytesIO(file), formats=_FORMATS)
    else:
        if os.path.isfile(file) and os.path.getsize(file) == 0:
            raise UnreadableImage("the file is empty (0 bytes)")
        image = Image.open(file, formats=_FORMATS)
    if image.width * image.height > MAX_PIXELS:
        reason = _too_large(image)
        image.close()
        raise UnreadableImage(reason)
    return image


def _too_large(image: Image.Image) -> str:
    return (
        f"{image.width} x {image.height} is {image.width * image.height / 1e6:.0f} megapixels, "
        f"over the limit of {MAX_PIXELS / 1e6:.0f}"
    )


def _reason(error: BaseException) -> str:
    match error:
        case FileNotFoundError():
            return "the file is missing"
        case PermissionError():
            return "the file may not be read (permission denied)"
        case IsADirectoryError():
            return "this is a folder, not an image file"
        case UnidentifiedImageError():
            return "not an image in a format that is read here (JPEG, PNG, WebP, BMP, PGM/PPM, GIF, TIFF)"
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return f"more pixels than the limit of {MAX_PIXELS / 1e6:.0f} megapixels"
        case _:
            return f"damaged: {str(error).strip() or type(error).__name__}"
