"""Batches on the device, in an order that is a pure function of seed and epoch, from any position on."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from corinth.data.batch import Batch
from corinth.data.seeds import generator
from corinth.data.store import Store
from corinth.errors import DataError, UsageError


class Transform(Protocol):
    """What a training batch goes through: uint8 images or `Sequences`, and targets, to inputs and targets."""

    def __call__(self, images: Any, targets: Tensor, chance: Generator, /) -> tuple[Any, Tensor]: ...


class Loader:
    """One pass over a store per iteration.

    `batch_size` is what all processes take together in one step; `rank` of `world_size` gets its own slice of it,
    an even share (one sample fewer where it does not divide). In a shuffled (training) pass a last step too small
    to give every rank two samples, which batch norm needs, is left out (one sample where the steps are no larger, or
    there is no other step); in any other pass a rank may have one batch fewer than another.

    `epoch` and `position` (samples of this epoch done, by all ranks) are all the state there is: what is random in
    `transform` depends on seed, epoch, position and rank alone. A pass that was left in the middle goes on with the
    very next batch, here or, by `state_dict`, in another process.
    """

    def __init__(
        self,
        store: Store,
        batch_size: int,
        *,
        device: torch.device | str = "cpu",
        transform: Transform | None = None,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size} is not at least 1")
        if not 0 <= rank < world_size:
            raise UsageError(f"rank {rank} is not in 0..{world_size - 1}")
        if shuffle and batch_size < world_size:
            raise UsageError(f"batch_size {batch_size} gives {world_size} processes less than one sample each")
        if not len(store):
            raise DataError("there is nothing to load; the part of the data is empty")
        self.store, self.batch_size, self.device, self.transform = store, batch_size, torch.device(device), transform
        self.shuffle, self.seed, self.rank, self.world_size, self.drop_last = shuffle, seed, rank, world_size, drop_last
        self.epoch = 0
        self.position = 0
        if not self.samples_per_epoch:
            raise DataError(
                f"{len(store)} samples are too few for one batch of {batch_size} on {world_size} processes; "
                "use a smaller batch_size"
            )

    @property
    def samples_per_epoch(self) -> int:
        """Samples that one epoch gives to all ranks together."""
        n = len(self.store)
        rest = n % self.batch_size
        pairs = min(self.batch_size, n) >= 2 * self.world_size and rest < n
        left_out = self.drop_last or (self.shuffle and rest < self.world_size * (1 + pairs))
        return n - rest if left_out else n

    def __len__(self) -> int:
        """Batches of a whole epoch for this rank."""
        full, rest = divmod(self.samples_per_epoch, self.batch_size)
        return full * (self.rank < self.batch_size) + (self.rank < rest)

    def __iter__(self) -> Iterator[Batch]:
        if self.position >= self.samples_per_epoch:
            self.epoch, self.position = self.epoch + 1, 0
        epoch = self.epoch
        order = self.order(epoch)
        steps = [(start, end, *self._slice(start, end)) for start, end in self._steps(self.position)]
        steps = [(start, end, lo, hi) for start, end, lo, hi in steps if lo < hi]
        read = self.store.stream(order[lo:hi] for _, _, lo, hi in steps)
        for (start, end, _, _), (rows, inputs, targets) in zip(steps, read, strict=True):
            batch = self._finish(rows, inputs, targets, epoch, start) if len(rows) else None  # all of them damaged
            self.position = end
            if batch is not None:
                yield batch
        self.epoch, self.position = epoch + 1, 0

    def order(self, epoch: int) -> Tensor:
        """int64 rows of the store in the order in which this epoch takes them."""
        n = len(self.store)
        order = torch.randperm(n, generator=generator("order", self.seed, epoch)) if self.shuffle else torch.arange(n)
        return self.store.arrange(order, self.batch_size)

    def state_dict(self) -> dict[str, Any]:
        done = self.position >= self.samples_per_epoch
        return {
            "epoch": self.epoch + done,
            "position": 0 if done else self.position,
            "seed": self.seed,
            "samples": len(self.store),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another loader stopped; the data and the seed must be the same."""
        if state["samples"] != len(self.store):
            raise DataError(f"the saved run saw {state['samples']} samples and there are {len(self.store)} now")
        if state["seed"] != self.seed:
            raise UsageError(f"the saved run was shuffled with seed {state['seed']}, not {self.seed}")
        self.epoch, self.position = int(state["epoch"]), int(state["position"])

    def _steps(self, position: int) -> Iterator[tuple[int, int]]:
        """Start and end, in the epoch's order, of every step of all ranks from a position on."""
        total = self.samples_per_epoch
        for start in range(position, total, self.batch_size):
            yield start, min(start + self.batch_size, total)

    def _slice(self, start: int, end: int) -> tuple[int, int]:
        """This rank's samples of a step: an even share of them."""
        share, extra = divmod(end - start, self.world_size)
        lo = start + self.rank * share + min(self.rank, extra)
        return lo, lo + share + (self.rank < extra)

    def _finish(self, rows: Tensor, inputs: Any, targets: Tensor, epoch: int, start: int) -> Batch:
        inputs = inputs.to(self.device, non_blocking=True)
        targets = targets.to(self.device, non_blocking=True)
        if self.transform is None:
            inputs = self.store.ready(inputs)
        else:
            chance = generator("augment", self.seed, epoch, start, self.rank)
            inputs, targets = self.transform(inputs, targets, chance)
        return Batch(inputs, targets, index=self.store.index[rows])
