"""Stores and loaders: the same batches from memory and from workers, from any position on, on any number of ranks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from corinth.data import (
    Augmentation,
    Batch,
    ImageData,
    Loader,
    MemoryStore,
    Preprocess,
    StreamStore,
    TrainTransform,
    make_store,
    open_data,
)
from corinth.data.store import free_memory
from corinth.errors import DataError, UsageError

Folders = Callable[..., Path]


@pytest.fixture
def data(tmp_path: Path, class_folders: Folders) -> ImageData:
    return open_data(class_folders(tmp_path / "pets", cat=30, dog=30))


@pytest.fixture
def prepare(data: ImageData) -> Preprocess:
    return Preprocess.measured(data, size=8)


@pytest.fixture
def store(data: ImageData, prepare: Preprocess) -> MemoryStore:
    made = make_store(data, "train", prepare)
    assert isinstance(made, MemoryStore)
    return made


AUGMENT = Augmentation(crop_padding=0.25, flip=True, color_jitter=0.3, erasing=0.5, mixup=0.2, cutmix=1.0)


def train_loader(store, prepare: Preprocess, **options) -> Loader:
    options = {"batch_size": 8, "shuffle": True, "seed": 5, "transform": TrainTransform(prepare, AUGMENT, 2)} | options
    return Loader(store, **options)


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.index, b.index) and torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)


def all_same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))


# ---- stores ----


def test_memory_store(data: ImageData, prepare: Preprocess, store: MemoryStore) -> None:
    assert store.images.shape == (42, 3, 8, 8)
    assert store.images.dtype == torch.uint8
    assert store.index.tolist() == data.splits["train"].tolist()
    assert store.targets.tolist() == data.labels("train").tolist()
    for row in (0, 17, 41):
        assert torch.equal(store.images[row], prepare(data.source.image(int(store.index[row]))))
    assert torch.equal(store.gather(torch.tensor([3, 1])), store.images[[3, 1]])


def test_a_store_of_chosen_positions(data: ImageData, prepare: Preprocess) -> None:
    assert make_store(data, [5, 2], prepare).index.tolist() == [5, 2]


def test_progress_is_told(data: ImageData, prepare: Preprocess) -> None:
    calls: list[tuple[str, int, int]] = []
    make_store(data, "train", prepare, progress=lambda *call: calls.append(call))
    assert calls[-1] == ("preparing images", 42, 42)


@pytest.fixture
def streamed(data: ImageData, prepare: Preprocess) -> StreamStore:
    made = make_store(data, "train", prepare, memory_limit=100)
    assert isinstance(made, StreamStore)
    return made


def test_workers_and_memory_give_the_same_batches(
    store: MemoryStore, streamed: StreamStore, prepare: Preprocess
) -> None:
    held, made = train_loader(store, prepare), train_loader(streamed, prepare)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for _ in range(2):  # the workers live on into the second epoch
        assert all_same(list(held), list(made))
    assert torch.equal(torch.get_rng_state(), before)  # neither touches the process's own generator
    assert torch.equal(store.gather(torch.arange(5)), streamed.gather(torch.arange(5)))


def test_a_pass_left_in_the_middle_is_taken_up(streamed: StreamStore, prepare: Preprocess, store: MemoryStore) -> None:
    loader = train_loader(streamed, prepare)
    expected = list(train_loader(store, prepare))
    passing = iter(loader)
    first = [next(passing), next(passing)]
    del passing
    assert all_same(first + list(loader), expected)


@pytest.fixture
def damaged(tmp_path: Path, class_folders: Folders) -> ImageData:
    """One file whose header is fine and whose pixels are cut."""
    class_folders(tmp_path / "set", cat=10, dog=10)
    path = tmp_path / "set" / "cat" / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    return open_data(tmp_path / "set", max_corrupt=0.05)


def test_damage_is_left_out_while_streaming(damaged: ImageData) -> None:
    prepare = Preprocess(size=(8, 8), channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    held = make_store(damaged, "all", prepare)
    made = make_store(damaged, "all", prepare, memory_limit=0, num_workers=1)
    assert (len(held), len(made)) == (20, 21)
    batches = list(Loader(made, 1))
    assert [int(i) for batch in batches for i in batch.index] == held.index.tolist()
    assert list(made.dropped) == list(held.dropped)
    with pytest.raises(DataError, match=r"cut\.jpg: damaged"):
        made.gather(torch.arange(21))


def test_too_much_damage_stops_the_stream(damaged: ImageData) -> None:
    prepare = Preprocess(size=(8, 8), channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    strict = ImageData(**{**vars(damaged), "max_corrupt": 0.0})
    with pytest.raises(DataError, match="1 of 21 images cannot be used"):
        list(Loader(make_store(strict, "all", prepare, memory_limit=0, num_workers=0), 4))


def test_free_memory_is_plausible() -> None:
    assert 1 << 20 < free_memory() < 1 << 50


# ---- order ----


def test_an_evaluation_pass_is_in_order_and_whole(store: MemoryStore, prepare: Preprocess) -> None:
    loader = Loader(store, 10)
    batches = list(loader)
    assert [b.size for b in batches] == [10, 10, 10, 10, 2]
    assert len(loader) == 5
    assert torch.cat([b.index for b in batches]).tolist() == store.index.tolist()
    assert torch.equal(batches[0].inputs, prepare.normalise(store.images[:10]))
    assert torch.equal(torch.cat([b.targets for b in batches]), store.targets)
    assert (batches[0].inputs.dtype, batches[0].targets.dtype) == (torch.float32, torch.int64)


def test_every_epoch_has_every_image_once_in_its_own_order(store: MemoryStore) -> None:
    loader = Loader(store, 8, shuffle=True, seed=3)
    first, second = (torch.cat([b.index for b in loader]).tolist() for _ in range(2))
    assert sorted(first) == sorted(second) == store.index.tolist()
    assert first != second
    again = Loader(store, 8, shuffle=True, seed=3)
    assert torch.cat([b.index for b in again]).tolist() == first
    other = Loader(store, 8, shuffle=True, seed=4)
    assert torch.cat([b.index for b in other]).tolist() != first
    assert torch.equal(again.order(1), loader.order(1))


def test_drop_last(store: MemoryStore) -> None:
    loader = Loader(store, 10, shuffle=True, drop_last=True)
    assert (len(loader), loader.samples_per_epoch) == (4, 40)
    assert [b.size for b in loader] == [10] * 4


@pytest.mark.parametrize(
    ("n", "batch_size", "world", "expected"),
    [
        (33, 8, 1, 32),  # batch norm over one sample of one pixel has no variance
        (34, 8, 1, 34),
        (35, 8, 2, 32),  # ranks of 2 and 1
        (36, 8, 2, 36),
        (33, 1, 1, 33),  # every step is as small
        (34, 3, 2, 33),  # ranks of 1 and 0
        (1, 8, 1, 1),  # there is no other step
        (3, 8, 2, 3),
    ],
)
def test_a_training_step_has_two_samples_for_batch_norm(
    store: MemoryStore, prepare: Preprocess, n: int, batch_size: int, world: int, expected: int
) -> None:
    some = MemoryStore(store.images[:n], store.targets[:n], store.index[:n], prepare)
    ranks = [Loader(some, batch_size, shuffle=True, rank=r, world_size=world) for r in range(world)]
    assert {loader.samples_per_epoch for loader in ranks} == {expected}
    assert sum(b.size for loader in ranks for b in loader) == expected
    assert Loader(some, batch_size).samples_per_epoch == n


# ---- resume ----


def stretch(loader: Loader, count: int) -> Iterator[Batch]:
    """`count` batches, over the ends of epochs."""
    while count:
        for batch in loader:
            yield batch
            count -= 1
            if not count:
                return


@pytest.mark.parametrize("stop", [0, 1, 4, 5, 6, 7, 11, 12, 13])
def test_resume_goes_on_with_the_very_next_batch(store: MemoryStore, prepare: Preprocess, stop: int) -> None:
    expected = list(stretch(train_loader(store, prepare), 15))
    first = train_loader(store, prepare)
    begun = list(stretch(first, stop))
    state = first.state_dict()
    second = train_loader(store, prepare)
    second.load_state_dict(state)
    assert all_same(begun + list(stretch(second, 15 - stop)), expected)


def test_state_counts_samples(store: MemoryStore, prepare: Preprocess) -> None:
    loader = train_loader(store, prepare)
    passing = iter(loader)
    next(passing)
    next(passing)
    assert (loader.epoch, loader.position) == (0, 16)
    assert loader.state_dict() == {"epoch": 0, "position": 16, "seed": 5, "samples": 42}
    for _ in passing:
        pass
    assert loader.state_dict() == {"epoch": 1, "position": 0, "seed": 5, "samples": 42}


def test_state_after_the_last_batch_is_the_next_epoch(store: MemoryStore, prepare: Preprocess) -> None:
    loader = train_loader(store, prepare)
    for _ in loader:
        state = loader.state_dict()
    assert state["epoch"] == 1
    assert state["position"] == 0


def test_a_state_of_other_data_is_refused(store: MemoryStore, prepare: Preprocess) -> None:
    loader = train_loader(store, prepare)
    with pytest.raises(DataError, match="saw 41 samples and there are 42 now"):
        loader.load_state_dict({**loader.state_dict(), "samples": 41})
    with pytest.raises(UsageError, match="shuffled with seed 6, not 5"):
        loader.load_state_dict({**loader.state_dict(), "seed": 6})


# ---- ranks ----


@pytest.mark.parametrize("world", [2, 3, 5])
@pytest.mark.parametrize("shuffle", [False, True])
def test_ranks_share_one_order(store: MemoryStore, prepare: Preprocess, world: int, shuffle: bool) -> None:
    ranks = [Loader(store, 8, shuffle=shuffle, rank=r, world_size=world) for r in range(world)]
    passes = [list(loader) for loader in ranks]
    seen = torch.cat([b.index for batches in passes for b in batches]).tolist()
    assert len(seen) == len(set(seen)) == ranks[0].samples_per_epoch
    assert all(len(batches) == len(loader) for batches, loader in zip(passes, ranks, strict=True))
    if shuffle:
        assert len({len(batches) for batches in passes}) == 1  # no rank waits for another
        assert len(store) - len(seen) < 2 * world
    else:
        assert sorted(seen) == store.index.tolist()
    together = torch.cat([batches[0].index for batches in passes])
    assert torch.equal(together, store.index[ranks[0].order(0)[:8]])
    assert len({loader.epoch for loader in ranks}) == 1


def test_ranks_draw_their_own_chances(store: MemoryStore, prepare: Preprocess) -> None:
    same_images = MemoryStore(store.images[:1].repeat(8, 1, 1, 1), store.targets[:8], store.index[:8], prepare)
    a, b = (next(iter(train_loader(same_images, prepare, batch_size=8, rank=r, world_size=2))) for r in (0, 1))
    assert not torch.equal(a.inputs, b.inputs)


def test_bad_loaders(store: MemoryStore) -> None:
    with pytest.raises(UsageError, match="batch_size 0"):
        Loader(store, 0)
    with pytest.raises(UsageError, match=r"rank 2 is not in 0..1"):
        Loader(store, 4, rank=2, world_size=2)
    with pytest.raises(UsageError, match="less than one sample each"):
        Loader(store, 2, shuffle=True, rank=0, world_size=3)
    with pytest.raises(DataError, match="too few for one batch of 64"):
        Loader(store, 64, drop_last=True)
    nothing = MemoryStore(store.images[:0], store.targets[:0], store.index[:0], store.preprocess)
    with pytest.raises(DataError, match="nothing to load"):
        Loader(nothing, 4)


def test_batch_moves(store: MemoryStore) -> None:
    batch = next(iter(Loader(store, 4)))
    moved = batch.to("meta")
    assert (moved.inputs.device.type, moved.targets.device.type, moved.index.device.type) == ("meta", "meta", "cpu")
    assert batch.size == 4


def test_a_store_on_a_device(store: MemoryStore) -> None:
    there = store.to("cpu")
    assert all_same(list(Loader(there, 8)), list(Loader(store, 8)))
