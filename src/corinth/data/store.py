"""Preprocessed images by row: in memory where they fit, decoded by worker processes where they do not."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from corinth.data.collect import Progress, check_usable, workers
from corinth.data.decode import UnreadableImage, quiet
from corinth.data.images import ImageData
from corinth.data.preprocess import Preprocess
from corinth.data.source import ArraySource, ImageSource, TargetSource
from corinth.errors import DataError

_CHUNK = 1024  # images of one array that are preprocessed together


class Store(Protocol):
    """Some samples of a data set, for a loader.

    Rows are numbered 0..N-1; `index` (int64, N) says where each lies in the source. `dropped` lists those found
    damaged so far, as (name, reason).
    """

    index: Tensor

    @property
    def dropped(self) -> Sequence[tuple[str, str]]: ...

    def __len__(self) -> int: ...

    def arrange(self, order: Tensor, batch_size: int) -> Tensor:
        """The rows of a pass in the order in which batches take them."""
        ...

    def stream(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Any, Tensor]]:
        """(rows that could be read, what they hold, their targets) for each batch of rows, in order."""
        ...

    def ready(self, inputs: Any) -> Any:
        """What `stream` gives, as the network takes it, on the same device."""
        ...


class ImageStore:
    """What both stores of images do alike; theirs are uint8 (B, C, H, W)."""

    preprocess: Preprocess

    def arrange(self, order: Tensor, batch_size: int) -> Tensor:
        return order

    def ready(self, inputs: Tensor) -> Tensor:
        return self.preprocess.normalise(inputs)


def make_store(
    data: ImageData,
    split: str | np.ndarray | Sequence[int],
    preprocess: Preprocess,
    *,
    memory_limit: int | None = None,
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> "MemoryStore | StreamStore":
    """The images of a part ("train", "val", "test", "all") or at some positions of the source.

    In memory if they take at most `memory_limit` bytes (default: half of what is free now), else streamed by
    `num_workers` processes (default: one a core). Images that turn out damaged are left out and listed in
    `dropped`; past the data's `max_corrupt` share it is a `DataError`.
    """
    positions = data.positions(split) if isinstance(split, str) else np.asarray(split, dtype=np.int64)
    limit = free_memory() // 2 if memory_limit is None else memory_limit
    if held_bytes(data, preprocess, len(positions)) > limit:
        return StreamStore(data, positions, preprocess, workers() if num_workers is None else num_workers)
    images, targets, dropped = decode_all(data.source, positions, preprocess, progress=progress)
    check_usable([*data.corrupt, *dropped.values()], len(data) + len(data.corrupt), data.max_corrupt, data.spec)
    kept = np.array([p for p in positions.tolist() if p not in dropped], dtype=np.int64) if dropped else positions
    return MemoryStore(
        images,
        targets,
        torch.from_numpy(kept.copy()),
        preprocess,
        list(dropped.values()),
    )


class MemoryStore(ImageStore):
    """All images in one uint8 tensor (N, C, H, W), all targets in another: int64 (N,), or as `collate` gives them."""

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        index: Tensor,
        preprocess: Preprocess,
        dropped: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.images, self.targets, self.index = images, targets, index
        self.preprocess, self.dropped = preprocess, dropped

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "MemoryStore":
        """The same with the images on a device, for one that has room for them; targets and index stay on the CPU."""
        return MemoryStore(self.images.to(device), self.targets, self.index, self.preprocess, self.dropped)

    def gather(self, rows: Tensor) -> Tensor:
        return self.images.index_select(0, rows.to(self.images.device))

    def stream(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for rows in batches:
            targets = self.targets[rows]
            if targets.is_floating_point():  # boxes: as many as these images have, not the one with the most of all
                targets = targets[:, : max(1, int((targets[..., 0] >= 0).sum(dim=1).max()))]
            yield rows, self.gather(rows), targets


class StreamStore(ImageStore):
    """Images decoded by worker processes when they are needed; damage is found then, and the image left out."""

    def __init__(self, data: ImageData, positions: np.ndarray, preprocess: Preprocess, num_workers: int) -> None:
        self.preprocess = preprocess
        self.index = torch.from_numpy(positions.copy())
        self._data = data
        self._damaged: dict[int, tuple[str, str]] = {}
        self._rows = _Rows(data.source, positions, preprocess)
        self._order = _Order()
        self._workers = num_workers
        self._loader: DataLoader | None = None

    @property
    def dropped(self) -> Sequence[tuple[str, str]]:
        return list(self._damaged.values())

    def __len__(self) -> int:
        return len(self.index)

    def gather(self, rows: Tensor) -> Tensor:
        _, images, _, damaged = self._rows[rows.tolist()]
        if damaged:
            name, reason = next(iter(damaged.values()))
            raise DataError(f"{name}: {reason}")
        return images

    def stream(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        if self._loader is None:  # workers live from one pass to the next
            self._loader = DataLoader(
                self._rows,
                sampler=self._order,
                batch_size=None,
                collate_fn=_as_it_is,
                num_workers=self._workers,
                persistent_workers=self._workers > 0,
                worker_init_fn=_start_worker,
                pin_memory=torch.cuda.is_available(),
                generator=torch.Generator(),  # a worker's seed is drawn from it: leave the process's own one alone
            )
        self._order.batches = [rows.tolist() for rows in batches]
        total = len(self._data) + len(self._data.corrupt)
        for rows, images, targets, damaged in self._loader:
            self._damaged |= damaged
            if damaged:
                found = [*self._data.corrupt, *self._damaged.values()]
                check_usable(found, total, self._data.max_corrupt, self._data.spec)
            yield rows, images, targets


_Item = tuple[Tensor, Tensor, Tensor, dict[int, tuple[str, str]]]  # rows read, images, targets, what could not be read


class _Rows(Dataset):
    """A whole batch is one item, so one worker makes it."""

    def __init__(self, source: ImageSource, positions: np.ndarray, preprocess: Preprocess) -> None:
        self.source, self.positions, self.preprocess = source, positions, preprocess

    def __getitem__(self, index: list[int]) -> _Item:
        kept, images, targets, damaged = [], [], [], {}
        for row in index:
            position = int(self.positions[row])
            try:
                image = self.preprocess(self.source.image(position))
                targets.append(ready_target(self.source, position, self.preprocess))
                images.append(image)
                kept.append(row)
            except UnreadableImage as error:
                damaged[position] = (self.source.name(position), str(error))
        shape = (0, self.preprocess.channels, *self.preprocess.size)
        stacked = torch.stack(images) if images else torch.empty(shape, dtype=torch.uint8)
        return torch.tensor(kept, dtype=torch.int64), stacked, collate(targets), damaged


class _Order:
    """The batches of the pass that comes next."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def _as_it_is(item: Any) -> Any:
    return item


def _start_worker(_: int) -> None:
    warnings.filterwarnings("ignore", module=r"PIL\.")  # a process of our own: nobody else's filters


def ready_target(source: ImageSource, position: int, preprocess: Preprocess) -> Tensor:
    """The target of an image as the network's input has it: a class (), a mask (H, W) or boxes (n, 5)."""
    if not isinstance(source, TargetSource):
        return torch.tensor(source.labels[position])
    target = source.target(position)
    if target.dtype == np.uint8:
        return preprocess.mask(target)
    height, width = source.sizes[position].tolist()
    return preprocess.boxes(torch.from_numpy(target), (height, width))


def collate(targets: Sequence[Tensor]) -> Tensor:
    """Targets of several images in one tensor; fewer boxes than the most are filled up with rows of label -1."""
    if not targets:
        return torch.empty(0, dtype=torch.int64)
    if not targets[0].is_floating_point():
        return torch.stack(list(targets))
    most = max(1, *map(len, targets))
    boxes = torch.full((len(targets), most, targets[0].shape[1]), -1.0)
    for row, target in zip(boxes, targets, strict=True):
        row[: len(target)] = target
    return boxes


def held_bytes(data: ImageData, preprocess: Preprocess, count: int) -> int:
    """Bytes of memory that `count` preprocessed images take, and their masks where they have some."""
    masks = data.task == "semantic-segmentation"
    return preprocess.bytes_for(count) + masks * count * preprocess.size[0] * preprocess.size[1]


def decode_all(
    source: ImageSource,
    positions: np.ndarray,
    preprocess: Preprocess,
    *,
    targets: bool = True,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor, dict[int, tuple[str, str]]]:
    """Decode and preprocess with a thread a core: uint8 (N, C, H, W) of what could be read, its targets, and the rest.

    The last is position -> (name, reason) of what could not be read. Without `targets` none is looked at.
    """
    n = len(positions)
    out = torch.empty((n, preprocess.channels, *preprocess.size), dtype=torch.uint8)
    if isinstance(source, ArraySource):
        for start in range(0, n, _CHUNK):
            rows = positions[start : start + _CHUNK]
            out[start : start + len(rows)] = preprocess.batch(source.images[rows])
            if progress:
                progress("preparing images", start + len(rows), n)
        return out, torch.from_numpy(source.labels[positions]), {}
    damaged: dict[int, tuple[str, str]] = {}
    ready: list[Tensor | None] = [None] * n

    def work(row: int) -> None:
        position = int(positions[row])
        try:
            out[row] = preprocess(source.image(position))
            ready[row] = ready_target(source, position, preprocess) if targets else torch.tensor(0)
        except UnreadableImage as error:
            damaged[position] = (source.name(position), str(error))

    with quiet(), ThreadPoolExecutor(workers()) as pool:
        for done, _ in enumerate(pool.map(work, range(n)), start=1):
            if progress and (done % 200 == 0 or done == n):
                progress("preparing images", done, n)
    if damaged:
        out = out[torch.tensor([p not in damaged for p in positions.tolist()])]
    return out, collate([target for target in ready if target is not None]), dict(sorted(damaged.items()))


def free_memory() -> int:
    """Bytes this process may still take: of the machine, and of the container it runs in."""
    known = [value for read in (_machine, _cgroup2, _cgroup1) if (value := read()) is not None]
    return min(known) if known else 4 << 30


def _machine() -> int | None:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup2() -> int | None:
    base = "/sys/fs/cgroup/memory."
    return _room(f"{base}max", f"{base}current", f"{base}stat", "inactive_file ")


def _cgroup1() -> int | None:
    base = "/sys/fs/cgroup/memory/memory."
    return _room(f"{base}limit_in_bytes", f"{base}usage_in_bytes", f"{base}stat", "total_inactive_file ")


def _room(limit: str, used: str, stat: str, cached: str) -> int | None:
    have, taken = _lines(limit), _lines(used)
    if not have or not taken or not have[0].isdigit():  # "max": no limit
        return None
    given_back = sum(int(line.split()[1]) for line in _lines(stat) if line.startswith(cached))  # files' cache
    return max(0, int(have[0]) - int(taken[0]) + given_back)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:  # another system, or not allowed to look
        return []
