"""Images as data URIs, which a page has in itself."""

import base64
import io

import numpy as np
from PIL import Image


def data_uri(image: np.ndarray, largest: int = 112) -> str:
    """A uint8 image (H, W) or (H, W, 3) as a PNG, made smaller if a side is longer than `largest` pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((largest, largest))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def svg_uri(width: int, height: int, content: str) -> str:
    """An SVG of so many units, from what stands in it."""
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{content}</svg>'
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode("ascii")
