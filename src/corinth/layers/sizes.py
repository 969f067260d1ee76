"""How many pixels a sliding window leaves, (N + 2P - F) / S + 1, and how many zeros TensorFlow puts around."""

from collections.abc import Callable


def window_out(size: int, kernel: int, stride: int = 1, padding: int = 0, *, ceil: bool = False) -> int:
    """Pixels per side after a convolution or pooling; 0 or less if the window does not fit.

    `ceil` rounds up as Caffe's pools do, but starts no window beyond the image (the rule of torch).
    """
    span = size + 2 * padding - kernel
    if not ceil:
        return span // stride + 1
    out = -(-span // stride) + 1
    return out - 1 if (out - 1) * stride >= size + padding else out


def smallest(fits: Callable[[int], bool], *, limit: int = 1024) -> int:
    """The smallest image side for which `fits` is true."""
    for size in range(1, limit + 1):
        if fits(size):
            return size
    raise ValueError(f"no image of up to {limit} pixels fits these layers")


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and behind `size` pixels so that ceil(size / stride) windows fit; the odd one goes behind."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
