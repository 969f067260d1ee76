"""Image sets in one piece: idx files (MNIST and its kin), CIFAR-10's binary batches, scikit-learn's digits."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from corinth.data.collect import Collected
from corinth.data.source import ArraySource
from corinth.errors import DataError

FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR_RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes


def idx_files(folder: Path) -> dict[str, tuple[Path, Path]]:
    """ "train" and "test" -> (images, labels), as far as both are in the folder, compressed or not."""
    found = {}
    for split, stem in (("train", "train"), ("test", "t10k")):
        pair = [_first(folder, f"{stem}-{kind}") for kind in ("images{}idx3-ubyte", "labels{}idx1-ubyte")]
        if pair[0] and pair[1]:
            found[split] = (pair[0], pair[1])
    return found


def open_idx(folder: Path, *, name: str) -> Collected:
    """MNIST's files. With both files train and test are declared; one file alone declares nothing."""
    files = idx_files(folder)
    images, labels = [], []
    for image_file, label_file in files.values():
        x, y = read_idx(image_file), read_idx(label_file)
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
            raise DataError(
                f"{image_file} holds an array of {x.shape} and {label_file.name} one of {y.shape}; "
                "expected (N, H, W) images and N labels"
            )
        images.append(x)
        labels.append(y.astype(np.int64))
    notes, declared = [], {}
    if len(files) == 2:
        n = len(labels[0])
        declared = {"train": np.arange(n), "test": np.arange(n, n + len(labels[1]))}
    else:
        notes.append(f"{folder} holds the {next(iter(files))} file only, which is split here")
    all_labels = np.concatenate(labels)
    count = int(all_labels.max()) + 1 if len(all_labels) else 0
    fashion = "fashion" in name.lower() and count == 10
    classes = FASHION if fashion else tuple(str(i) for i in range(count))
    return Collected(ArraySource(np.concatenate(images), all_labels, classes, name), declared, notes=notes)


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an idx file, gzip or plain."""
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be unpacked ({error}); fetch the file again") from error
    if len(data) < 4 or data[:3] != b"\x00\x00\x08" or len(data) < 4 + 4 * data[3]:
        raise DataError(f"{path}: not an idx file of unsigned bytes (it should start with 00 00 08)")
    shape = tuple(np.frombuffer(data, ">u4", data[3], offset=4).astype(int).tolist())
    start = 4 + 4 * data[3]
    if len(data) - start != int(np.prod(shape)):
        raise DataError(f"{path}: {len(data) - start} bytes for an array of {shape}; the file is cut or damaged")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def cifar_folder(folder: Path) -> Path | None:
    """Where CIFAR-10's binary batches lie: here or in the folder its archive makes."""
    for place in (folder, folder / "cifar-10-batches-bin"):
        if (place / "test_batch.bin").is_file() or (place / "data_batch_1.bin").is_file():
            return place
    return None


def open_cifar10(folder: Path, *, name: str) -> Collected:
    """`data_batch_*.bin` are the training part, `test_batch.bin` the test part."""
    train = sorted(folder.glob("data_batch_*.bin"))
    test = [p for p in (folder / "test_batch.bin",) if p.is_file()]
    records = [_cifar(path) for path in (*train, *test)]
    count = sum(len(r) for r in records[: len(train)])
    data = np.concatenate(records)
    images = np.ascontiguousarray(data[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    declared = {}
    if train and test:
        declared = {"train": np.arange(count), "test": np.arange(count, len(data))}
    notes = (
        []
        if len(train) == 5 and test
        else [f"{folder} holds {len(train)} of 5 training batches, {len(test)} of 1 test batch"]
    )
    return Collected(ArraySource(images, data[:, 0].astype(np.int64), CIFAR10, name), declared, notes=notes)


def open_digits() -> Collected:
    """1,797 handwritten digits of 8x8 pixels. Their values 0..16 become 0..255, rounded half up (8 is 128)."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    pixels = ((raw.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)
    source = ArraySource(pixels, raw.target.astype(np.int64), tuple(str(i) for i in range(10)), "digits")
    return Collected(source, {})


def _cifar(path: Path) -> np.ndarray:
    data = np.fromfile(path, np.uint8)
    if not len(data) or len(data) % _CIFAR_RECORD:
        raise DataError(f"{path}: {len(data)} bytes are no whole number of CIFAR-10 records of {_CIFAR_RECORD} bytes")
    data = data.reshape(-1, _CIFAR_RECORD)
    if data[:, 0].max() > 9:
        raise DataError(f"{path}: has the label {data[:, 0].max()}; CIFAR-10's labels are 0 to 9")
    return data


def _first(folder: Path, pattern: str) -> Path | None:
    names = [pattern.format(dash) + end for dash in "-." for end in (".gz", "")]
    return next((folder / name for name in names if (folder / name).is_file()), None)
