"""Data sets known by name, and where they are looked for."""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from corinth.data.collect import Progress
from corinth.data.download import download, unpack
from corinth.errors import DataError, UsageError
from corinth.files import cache_folder

_MNIST = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_FASHION = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}


@dataclass(frozen=True, kw_only=True)
class Builtin:
    """A named set: the folder names it goes by, the files that make it complete, where it can be fetched.

    A candidate folder counts if it has every file of one of the `complete` lists (a trailing slash: a folder).
    """

    name: str
    about: str
    folders: tuple[str, ...]
    complete: tuple[tuple[str, ...], ...]
    system: tuple[str, ...] = ()  # where a distribution's package puts it
    mirrors: bool = True  # a picture mirrored left to right is still of its class
    base_url: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)  # file to fetch -> sha256


def _idx(*stems: str) -> tuple[tuple[str, ...], ...]:
    names = [f"{s}-{kind}" for s in stems for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    return tuple(names), tuple(f"{name}.gz" for name in names)


BUILTINS = {
    entry.name: entry
    for entry in (
        Builtin(
            name="digits",
            about="1,797 grey 8x8 handwritten digits, in scikit-learn",
            folders=(),
            complete=(),
            mirrors=False,
        ),
        Builtin(
            name="mnist",
            about="70,000 grey 28x28 handwritten digits",
            folders=("mnist", "MNIST"),
            complete=_idx("train", "t10k"),
            system=("/usr/share/datasets/mnist",),
            mirrors=False,
            base_url="https://ossci-datasets.s3.amazonaws.com/mnist/",
            files=_MNIST,
        ),
        Builtin(
            name="mnist_t10k",
            about="MNIST's 10,000 test images alone, split here",
            folders=("mnist_t10k",),
            complete=_idx("t10k"),
            mirrors=False,
            base_url="https://ossci-datasets.s3.amazonaws.com/mnist/",
            files={name: sha for name, sha in _MNIST.items() if name.startswith("t10k")},
        ),
        Builtin(
            name="fashion_mnist",
            about="70,000 grey 28x28 pictures of clothes",
            folders=("fashion_mnist", "fashion-mnist", "FashionMNIST"),
            complete=_idx("train", "t10k"),
            system=("/usr/share/datasets/fashion-mnist",),
            base_url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            files=_FASHION,
        ),
        Builtin(
            name="cifar10",
            about="60,000 colour 32x32 pictures of ten kinds of things",
            folders=("cifar10", "cifar-10", "CIFAR10", "cifar-10-batches-bin"),
            complete=(
                ("test_batch.bin", *(f"data_batch_{i}.bin" for i in range(1, 6))),
                ("cifar-10-batches-bin/",),
                ("train/airplane/", "test/airplane/"),
            ),
            base_url="https://www.cs.toronto.edu/~kriz/",
            files={"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
        ),
        Builtin(
            name="etth1",
            about="14,400 hours of an electricity transformer, 7 channels to forecast; 12, 4 and 4 months as parts",
            folders=("ett", "ETT-small"),
            complete=(("ETTh1.csv",),),
        ),
    )
}


def data_folders() -> list[Path]:
    """Where named sets are looked for: $CORINTH_DATA if set, then the cache."""
    own = os.environ.get("CORINTH_DATA")
    return [*([Path(own).expanduser()] if own else []), cache_folder()]


def builtin(name: str) -> Builtin | None:
    return BUILTINS.get(name.lower().replace("-", "_"))


def locate(found: Builtin, *, progress: Progress | None = None) -> Path:
    """The folder of a built-in set, fetched into the cache if it is nowhere on this machine."""
    places = [folder / name for folder in data_folders() for name in found.folders]
    places += [Path(path) for path in found.system]
    for place in places:
        if any(all(_there(place, file) for file in files) for files in found.complete):
            return place
    folder = cache_folder() / found.folders[0]
    if found.base_url is None:
        raise DataError(
            f"{found.name} is not on this machine and cannot be fetched; "
            f"put {', '.join(found.complete[0])} into {folder}"
        )
    for file, sha256 in found.files.items():
        download(found.base_url + file, folder / file, sha256=sha256, progress=progress)
        if file.endswith(".tar.gz"):
            unpack(folder / file, folder)
    return folder


def named_paths(name: str) -> list[Path]:
    """Where a set of that name, or a path below one, would lie among the user's data sets."""
    if not name or name.startswith((".", os.sep, "~")) or ".." in Path(name).parts:
        return []
    return [folder / name for folder in data_folders()]


def unknown(spec: str) -> UsageError:
    """The sentence for a name or path that leads nowhere."""
    forms = "a built-in name, a folder of class folders, a CSV or Parquet table, or time series (.ts, .npz)"
    if os.sep in spec or Path(spec).suffix:
        return UsageError(f"there is no data at {spec}; expected {forms}")
    own = [p.name for folder in data_folders() if folder.is_dir() for p in folder.iterdir() if p.is_dir()]
    near = difflib.get_close_matches(spec.lower().replace("-", "_"), [*BUILTINS, *own], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the built-in names are {', '.join(BUILTINS)}"
    return UsageError(f"no data set or path is called {spec!r}; {hint} (data is {forms})")


def _there(place: Path, file: str) -> bool:
    return (place / file).is_dir() if file.endswith("/") else (place / file).is_file()
