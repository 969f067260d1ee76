"""Every kind of file comes out as the pixels a person sees, or as one sentence."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corinth.data.decode import MAX_PIXELS, UnreadableImage, decode, read_header, read_image, to_array
from corinth.errors import DataError


@pytest.fixture
def scene() -> np.ndarray:
    """Smooth colours (so that lossy formats keep them), no symmetry."""
    y, x = np.mgrid[0:24, 0:40]
    return np.stack([x * 6, y * 10, 255 - x * 3 - y * 4], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "tolerance"), [("a.png", 0), ("a.bmp", 0), ("a.ppm", 0), ("a.tif", 0), ("a.jpg", 12), ("a.webp", 12)]
)
def test_colour_formats(tmp_path: Path, scene: np.ndarray, name: str, tolerance: int) -> None:
    Image.fromarray(scene).save(tmp_path / name)
    found = read_image(tmp_path / name)
    assert found.dtype == np.uint8
    assert found.shape == (24, 40, 3)
    assert np.abs(found.astype(int) - scene).mean() <= tolerance / 3
    header = read_header(tmp_path / name)
    assert (header.size, header.channels) == ((24, 40), 3)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.pgm", "a.webp", "a.jpg"])
def test_grey_formats(tmp_path: Path, scene: np.ndarray, name: str) -> None:
    grey = scene[..., 0]
    Image.fromarray(grey).save(tmp_path / name)
    found = read_image(tmp_path / name)
    if name != "a.webp":  # WebP has no grey
        assert found.ndim == 2
        assert read_header(tmp_path / name).channels == 1
    else:
        found = found[..., 0]
    assert np.abs(found.astype(int) - grey).max() <= 6


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_is_scaled_not_cut(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 1, 128, 129, 256, 257], [1000, 20000, 32768, 40000, 65534, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    found = read_image(tmp_path / name)
    assert np.array_equal(found, np.round(values.astype(float) * 255 / 65535))
    assert read_header(tmp_path / name).channels == 1


def test_16_bit_pgm_uses_its_own_white(tmp_path: Path) -> None:
    values = np.array([[0, 100, 511, 1023]], dtype=">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 4 1 1023\n" + values.tobytes())
    assert read_image(tmp_path / "a.pgm").tolist() == [[0, 25, 127, 255]]


def test_text_pgm_and_bitmap(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_text("P2\n# comment\n3 1\n255\n0 7 255\n")
    assert read_image(tmp_path / "a.pgm").tolist() == [[0, 7, 255]]
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").tolist() == [[255, 0]]


def test_palette(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([250, 10, 20, 0, 200, 100])
    image.putpixel((1, 0), 1)
    for name in ("a.png", "a.gif", "a.bmp"):
        image.save(tmp_path / name)
        assert read_image(tmp_path / name).tolist() == [[[250, 10, 20], [0, 200, 100]]]


def test_alpha_is_composited_on_white(tmp_path: Path) -> None:
    rgba = np.array([[[100, 0, 200, 255], [100, 0, 200, 0], [100, 0, 200, 128]]], dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    solid, clear, half = read_image(tmp_path / "a.png")[0].astype(int)
    assert solid.tolist() == [100, 0, 200]
    assert clear.tolist() == [255, 255, 255]
    assert np.abs(half - [177, 127, 227]).max() <= 1


def test_grey_alpha_stays_grey(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[40, 255], [40, 0]]], dtype=np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[40, 255]]
    assert read_header(tmp_path / "a.png").channels == 1


def test_transparent_palette_colour(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([250, 10, 20, 0, 200, 100])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=1)
    assert read_image(tmp_path / "a.png").tolist() == [[[250, 10, 20], [255, 255, 255]]]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, scene: np.ndarray, suffix: str, orientation: int) -> None:
    turned = {  # how a camera in this position stores the upright scene
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(turned[orientation](scene))).save(path, exif=exif)
    found = read_image(path)
    assert found.shape == scene.shape
    assert np.abs(found.astype(int) - scene).mean() < 4
    assert read_header(path).size == (24, 40)


def test_cmyk(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 60, 20)).convert("CMYK").save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.mode == "CMYK"
    found = read_image(tmp_path / "a.jpg")
    assert found.shape == (8, 8, 3)
    assert np.abs(found.astype(int) - [200, 60, 20]).max() <= 4


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


def test_bytes_are_decoded_like_files(tmp_path: Path, scene: np.ndarray) -> None:
    Image.fromarray(scene).save(tmp_path / "a.png")
    assert np.array_equal(decode((tmp_path / "a.png").read_bytes()), scene)


def test_32_bit_images_are_refused() -> None:
    with pytest.raises(UnreadableImage, match="no defined black and white"):
        to_array(Image.new("F", (2, 2)))
    with pytest.raises(UnreadableImage, match="do not fit 16 bits"):
        to_array(Image.new("I", (2, 2), 70000))


def _png_claiming(width: int, height: int) -> bytes:
    """A valid PNG header with almost no data behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height", "said"), [(10_000, 10_000, "megapixels"), (20_000, 20_000, "megapixels")])
def test_enormous_images_are_refused_unread(tmp_path: Path, width: int, height: int, said: str) -> None:
    assert width * height > MAX_PIXELS
    path = tmp_path / "bomb.png"
    path.write_bytes(_png_claiming(width, height))
    with pytest.raises(DataError, match=said) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    with pytest.raises(UnreadableImage, match=said):
        read_header(path)


def test_damage_is_one_sentence_with_the_path(tmp_path: Path, scene: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
    cases = {
        "empty.png": (b"", "0 bytes"),
        "text.jpg": (b"this is no image at all", "not an image"),
        "cut.jpg": (buffer.getvalue()[: len(buffer.getvalue()) // 2], "damaged"),
        "cut.png": (b"\x89PNG\r\n\x1a\n\x00\x00", "not an image|damaged"),
    }
    for name, (content, said) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=said) as caught:
            read_image(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="missing"):
        read_image(tmp_path / "nowhere.png")


def test_damage_in_a_png_chunk(tmp_path: Path, scene: np.ndarray) -> None:
    Image.fromarray(scene).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(bytes(data))
    with pytest.raises(DataError, match="damaged"):
        read_image(tmp_path / "a.png")


def test_postscript_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    with pytest.raises(DataError, match="not an image"):
        read_image(tmp_path / "a.jpg")
