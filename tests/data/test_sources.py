"""Folders, tables, binary files and names, right and wrong."""

import gzip
import hashlib
import io
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corinth.data import ArraySource, Preprocess, make_store, open_data
from corinth.data.binary import CIFAR10, FASHION
from corinth.data.builtin import BUILTINS, Builtin, locate
from corinth.data.download import download
from corinth.errors import CorinthError, DataError, UsageError
from corinth.files import cache_folder

Folders = Callable[..., Path]


def one_sentence(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert len(text) > 20
    return text


# ---- class folders ----


def test_class_folders(tmp_path: Path, class_folders: Folders) -> None:
    data = open_data(class_folders(tmp_path / "pets", cat=10, dog=20))
    assert (data.name, data.classes, data.num_classes, len(data)) == ("pets", ("cat", "dog"), 2, 30)
    assert data.native_size == (10, 12)
    assert data.channels == 3
    assert data.declared_splits == ()
    assert {name: len(p) for name, p in data.splits.items()} == {"train": 21, "val": 3, "test": 6}
    assert np.bincount(data.labels("all")).tolist() == [10, 20]
    assert data.source.name(0).endswith("cat/000.png")
    assert data.source.image(0).shape == (10, 12, 3)


def test_declared_splits_are_kept_and_val_is_carved_out_of_train(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path / "train", cat=10, dog=10)
    class_folders(tmp_path / "test", cat=3, dog=4)
    data = open_data(tmp_path)
    names = {part: {data.source.key(i) for i in data.splits[part]} for part in data.splits}
    assert data.declared_splits == ("train", "test")
    assert {name.split("/")[0] for name in names["test"]} == {"test"}
    assert {name.split("/")[0] for name in names["val"]} == {"train"}
    assert [len(names[part]) for part in ("train", "val", "test")] == [18, 2, 7]
    assert any("declared training part" in note for note in data.notes)


def test_an_image_beside_the_class_folders_of_the_parts(tmp_path: Path, class_folders: Folders) -> None:
    """A cover picture must not turn train and test into the classes."""
    for part in ("train", "test"):
        class_folders(tmp_path / part, cat=5, dog=5)
        Image.new("L", (4, 4)).save(tmp_path / part / "cover.png")
    data = open_data(tmp_path)
    assert (data.classes, data.declared_splits, len(data)) == (("cat", "dog"), ("train", "test"), 20)
    assert sum("images directly in" in note for note in data.notes) == 2


def test_a_class_called_train(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path, car=5, train=5)
    class_folders(tmp_path / "train", steam=5)
    data = open_data(tmp_path)
    assert (data.classes, data.declared_splits) == (("car", "train"), ())
    assert np.bincount(data.labels("all")).tolist() == [5, 10]


def test_links_to_folders_are_followed_once(tmp_path: Path, class_folders: Folders) -> None:
    pets = class_folders(tmp_path / "pets", cat=4, dog=4)
    class_folders(tmp_path / "elsewhere", more=3, fish=5)
    (pets / "fish").symlink_to(tmp_path / "elsewhere" / "fish")  # a class
    (pets / "cat" / "more").symlink_to(tmp_path / "elsewhere" / "more")
    (pets / "cat" / "more again").symlink_to(tmp_path / "elsewhere" / "more")
    (pets / "cat" / "round").symlink_to(pets / "cat")
    (pets / "cat" / "up").symlink_to(pets)
    data = open_data(pets)
    assert data.classes == ("cat", "dog", "fish")
    assert np.bincount(data.labels("all")).tolist() == [7, 4, 5]


@pytest.mark.parametrize("word", ["val", "valid", "validation"])
def test_three_declared_parts(tmp_path: Path, class_folders: Folders, word: str) -> None:
    for part, count in (("train", 5), (word, 2), ("test", 3)):
        class_folders(tmp_path / part, a=count, b=count)
    data = open_data(tmp_path)
    assert data.declared_splits == ("train", "val", "test")
    assert [len(data.splits[part]) for part in ("train", "val", "test")] == [10, 4, 6]


def test_a_class_called_train_is_a_class(tmp_path: Path, class_folders: Folders) -> None:
    data = open_data(class_folders(tmp_path, train=5, plane=5))
    assert data.classes == ("plane", "train")


def test_what_is_no_image_is_left_out_and_counted(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path, cat=5, dog=5)
    for name in ("cat/.hidden.png", "cat/notes.txt", "dog/Thumbs.db", "loose.png", ".git/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "dog" / "more").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "dog" / "more" / "deep.PNG")
    data = open_data(tmp_path)
    assert len(data) == 11
    assert not data.corrupt
    assert any("2 files that are no images" in note for note in data.notes)
    assert any("images directly in" in note for note in data.notes)


def test_numbered_classes_are_sorted_by_value(tmp_path: Path, class_folders: Folders) -> None:
    data = open_data(class_folders(tmp_path, **{"10": 4, "9": 4, "1": 4}))
    assert data.classes == ("1", "9", "10")


def test_an_empty_class(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path, cat=5, dog=5)
    (tmp_path / "fish").mkdir()
    with pytest.raises(DataError, match="class 'fish' has no images") as caught:
        open_data(tmp_path)
    one_sentence(caught.value)


def test_a_single_class(tmp_path: Path, class_folders: Folders) -> None:
    with pytest.raises(DataError, match="only one class, 'cat'; at least two"):
        open_data(class_folders(tmp_path, cat=9))


def test_too_few_images_to_split(tmp_path: Path, class_folders: Folders) -> None:
    with pytest.raises(DataError, match="class 'dog' has 2 different images, and 3 are needed"):
        open_data(class_folders(tmp_path, cat=9, dog=2))


def test_a_test_class_that_is_not_trained(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path / "train", cat=5, dog=5)
    class_folders(tmp_path / "test", cat=2, fish=2)
    with pytest.raises(DataError, match="test part has images of 'fish'"):
        open_data(tmp_path)


def test_names_that_look_the_same(tmp_path: Path, class_folders: Folders) -> None:
    """One with a combining accent, one without."""
    for name in ("caf\u00e9", "cafe\u0301"):
        class_folders(tmp_path, x=4)
        (tmp_path / "x").rename(tmp_path / name)
    with pytest.raises(DataError, match="look the same"):
        open_data(tmp_path)


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no class folder with images") as caught:
        open_data(tmp_path / "empty")
    one_sentence(caught.value)


def test_only_a_test_part(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path / "test", cat=2, dog=2)
    with pytest.raises(DataError, match="no training part"):
        open_data(tmp_path)
    data = open_data(tmp_path, classes=("dog", "cat"))
    assert [len(data.splits[part]) for part in ("train", "val", "test")] == [0, 0, 4]


# ---- damaged files ----


def spoil(folder: Path) -> dict[str, str]:
    """Four unusable files in class cat; name -> what must be said of it."""
    (folder / "cat" / "zero.png").write_bytes(b"")
    (folder / "cat" / "text.jpg").write_text("no image")
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    body = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    (folder / "cat" / "bomb.png").write_bytes(
        bomb + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )
    return {"zero.png": "0 bytes", "text.jpg": "not an image", "bomb.png": "100 megapixels"}


def test_damaged_files_are_reported_by_path(tmp_path: Path, class_folders: Folders) -> None:
    said = spoil(class_folders(tmp_path, cat=10, dog=10))
    data = open_data(tmp_path, max_corrupt=0.2)
    assert len(data) == 20
    found = {Path(path).name: reason for path, reason in data.corrupt}
    assert found.keys() == said.keys()
    for name, words in said.items():
        assert words in found[name]


def test_the_job_stops_past_the_allowed_share(tmp_path: Path, class_folders: Folders) -> None:
    spoil(class_folders(tmp_path, cat=10, dog=10))
    with pytest.raises(DataError, match=r"3 of 23 images cannot be used \(13.0%, allowed are 5.0%") as caught:
        open_data(tmp_path)
    assert str(tmp_path) in one_sentence(caught.value)


def test_a_truncated_file_is_found_when_it_is_decoded(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path, cat=10, dog=10)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / "cat" / "cut.jpg"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-1500])
    data = open_data(tmp_path, max_corrupt=0.1)
    assert len(data) == 21
    assert not data.corrupt
    store = make_store(data, "all", Preprocess.measured(data, size=8))
    assert len(store) == len(store.targets) == len(store.index) == 20
    ((name, reason),) = store.dropped
    assert name == str(path)
    assert "damaged" in reason
    with pytest.raises(DataError, match="1 of 21 images cannot be used"):
        make_store(open_data(tmp_path, max_corrupt=0.0), "all", store.preprocess)


def test_a_class_of_damaged_files_only(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path, cat=5, dog=5)
    (tmp_path / "fish").mkdir()
    (tmp_path / "fish" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="no image of class 'fish' can be read"):
        open_data(tmp_path, max_corrupt=0.5)


# ---- tables ----


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def photos(tmp_path: Path, class_folders: Folders) -> Path:
    class_folders(tmp_path / "photos", cat=5, dog=5)
    return tmp_path


def rows(photos: Path, separator: str = ",") -> str:
    files = sorted((photos / "photos").rglob("*.png"))
    return "".join(f"{f.relative_to(photos).as_posix()}{separator}{f.parent.name}\n" for f in files)


@pytest.mark.parametrize(
    ("header", "separator"), [("path,label", ","), ("Image;CLASS", ";"), ("file_name\ttarget", "\t")]
)
def test_csv_columns_are_inferred(photos: Path, header: str, separator: str) -> None:
    data = open_data(write_csv(photos / "table.csv", "\ufeff" + header + "\n" + rows(photos, separator)))
    assert (data.name, data.classes, len(data)) == ("table", ("cat", "dog"), 10)
    assert data.source.image(0).shape == (10, 12, 3)
    assert any("paths are read from column" in note for note in data.notes)


def test_csv_columns_can_be_named(photos: Path) -> None:
    table = write_csv(photos / "t.csv", "where,what\n" + rows(photos))
    with pytest.raises(DataError, match="none of the columns where, what looks like the path") as caught:
        open_data(table)
    assert "path_column" in one_sentence(caught.value)
    assert len(open_data(table, path_column="where", label_column="what")) == 10
    with pytest.raises(UsageError, match="path_column 'nowhere' is not there; the columns are where, what"):
        open_data(table, path_column="nowhere", label_column="what")


def test_csv_splits(photos: Path) -> None:
    lines = [
        f"{line},{('train', 'train', 'valid', 'test', 'test')[i % 5]}" for i, line in enumerate(rows(photos).split())
    ]
    data = open_data(write_csv(photos / "t.csv", "path,label,split\n" + "\n".join(lines)))
    assert data.declared_splits == ("train", "val", "test")
    assert [len(data.splits[part]) for part in ("train", "val", "test")] == [4, 2, 4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("path,label\n", "no rows"),
        ("label\ncat\n", "looks like the path"),
        ("path\na.png\n", "looks like the label"),
        ("path,label\na.png,cat,extra\n", "line 2: 3 values for 2 columns"),
        ("path,label\nphotos/cat/000.png,\n", "line 2: column 'label' is empty"),
        ("path,label\n,cat\n", "line 2: column 'path' is empty"),
        ("path,path\na,b\n", "same name"),
        ("path,label,split\nphotos/cat/000.png,cat,somewhere\n", "says 'somewhere'; it can say train"),
        ("path,label\nnowhere/1.png,cat\nnowhere/2.png,dog\n", "2 of 2 images cannot be used .* the file is missing"),
    ],
)
def test_a_bad_table_is_one_sentence(photos: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        open_data(write_csv(photos / "t.csv", text))
    assert "t.csv" in one_sentence(caught.value)


def test_a_table_that_is_no_text(photos: Path) -> None:
    (photos / "t.csv").write_bytes(b"path,label\n\xff\xfe\x00,cat\n")
    with pytest.raises(DataError, match="UTF-8"):
        open_data(photos / "t.csv")


def test_a_few_missing_files_are_left_out(photos: Path) -> None:
    table = write_csv(photos / "t.csv", "path,label\n" + rows(photos) + "photos/gone.png,cat\n")
    data = open_data(table, max_corrupt=0.1)
    assert len(data) == 10
    assert data.corrupt == ((str(photos / "photos/gone.png"), "the file is missing"),)


def test_a_folder_with_its_table(photos: Path) -> None:
    write_csv(photos / "labels.csv", "path,label\n" + rows(photos))
    assert open_data(photos).classes == ("cat", "dog")


def test_parquet(photos: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs the tables extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    paths = [line.split(",")[0] for line in rows(photos).split()]
    parquet.write_table(pyarrow.table({"image_path": paths, "label": [3] * 5 + [12] * 5}), photos / "t.parquet")
    data = open_data(photos / "t.parquet")
    assert data.classes == ("3", "12")
    assert len(data) == 10
    (photos / "bad.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(DataError, match="not a readable Parquet file") as caught:
        open_data(photos / "bad.parquet")
    one_sentence(caught.value)


def test_parquet_without_pyarrow(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (photos / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"pip install 'corinth\[tables\]'"):
        open_data(photos / "t.parquet")


# ---- binary files ----


def write_idx(path: Path, array: np.ndarray, *, pack: bool = True) -> None:
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if pack else data)


def idx_set(folder: Path, *, train: int = 40, test: int = 20, pack: bool = True) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (train + test, 6, 5), dtype=np.uint8)
    labels = np.arange(train + test) % 10
    end = ".gz" if pack else ""
    for stem, part in (("train", slice(0, train)), ("t10k", slice(train, None))):
        if len(images[part]):
            write_idx(folder / f"{stem}-images-idx3-ubyte{end}", images[part], pack=pack)
            write_idx(folder / f"{stem}-labels-idx1-ubyte{end}", labels[part], pack=pack)
    return images


@pytest.mark.parametrize("pack", [True, False])
def test_idx(tmp_path: Path, pack: bool) -> None:
    images = idx_set(tmp_path / "set", pack=pack)
    data = open_data(tmp_path / "set", val_share=0.25)
    assert data.declared_splits == ("train", "test")
    assert [len(data.splits[part]) for part in ("train", "val", "test")] == [30, 10, 20]
    assert np.array_equal(data.source.image(41), images[41])
    assert data.source.name(41) == "set[41]"
    assert (data.native_size, data.channels, data.classes) == ((6, 5), 1, tuple("0123456789"))


def test_a_test_file_alone_is_split_here(tmp_path: Path) -> None:
    idx_set(tmp_path / "set", train=0, test=100)
    data = open_data(tmp_path / "set")
    assert data.declared_splits == ()
    assert [len(data.splits[part]) for part in ("train", "val", "test")] == [70, 10, 20]


def test_damaged_idx_files(tmp_path: Path) -> None:
    idx_set(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    whole = gzip.decompress(path.read_bytes())
    for content, said in (
        (path.read_bytes()[:50], "cannot be unpacked"),
        (gzip.compress(whole[:-7]), "cut or damaged"),
        (gzip.compress(b"\x00\x00\x0d\x03" + whole[4:]), "not an idx file of unsigned bytes"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=said) as caught:
            open_data(tmp_path)
        one_sentence(caught.value)


def test_cifar10_binary(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    batches = tmp_path / "cifar10" / "cifar-10-batches-bin"
    batches.mkdir(parents=True)
    records = []
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        record = np.concatenate([np.arange(20)[:, None] % 10, rng.integers(0, 256, (20, 3072))], axis=1)
        records.append(record)
        record.astype(np.uint8).tofile(batches / name)
    data = open_data(tmp_path / "cifar10")
    assert data.classes == CIFAR10
    assert [len(data.splits[part]) for part in ("train", "val", "test")] == [90, 10, 20]
    planes = records[5][3, 1:].reshape(3, 32, 32)
    assert np.array_equal(data.source.image(103), planes.transpose(1, 2, 0))
    (batches / "test_batch.bin").write_bytes(b"short")
    with pytest.raises(DataError, match="no whole number of CIFAR-10 records"):
        open_data(tmp_path / "cifar10")


def test_digits() -> None:
    data = open_data("digits")
    assert (len(data), data.native_size, data.channels, data.num_classes) == (1797, (8, 8), 1, 10)
    assert isinstance(data.source, ArraySource)
    assert data.source.images.min() == 0
    assert data.source.images.max() == 255
    assert 128 in data.source.images  # 8 of 16, rounded half up
    assert data.source.name(12) == "digits[12]"


# ---- names ----


def test_names_are_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, cache, system = tmp_path / "own", tmp_path / "cache", tmp_path / "system"
    entry = Builtin(
        name="fashion_mnist",
        about="",
        folders=("fashion_mnist", "fashion-mnist"),
        complete=BUILTINS["fashion_mnist"].complete,
        system=(str(system),),
    )
    monkeypatch.setitem(BUILTINS, "fashion_mnist", entry)
    monkeypatch.setenv("CORINTH_DATA", str(own))
    with pytest.raises(DataError, match="not on this machine and cannot be fetched; put train-images-idx3-ubyte"):
        open_data("fashion_mnist")
    for place in (system, cache / "fashion-mnist", own / "fashion_mnist"):
        idx_set(place)
        assert locate(entry) == place
    data = open_data("Fashion-MNIST")
    assert data.name == "fashion_mnist"
    assert data.classes == FASHION
    (own / "fashion_mnist" / "t10k-labels-idx1-ubyte.gz").unlink()  # no longer complete
    assert locate(entry) == cache / "fashion-mnist"


def test_folders_in_corinth_data_have_names(
    tmp_path: Path, class_folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    class_folders(tmp_path / "own" / "pets", cat=4, dog=4)
    monkeypatch.setenv("CORINTH_DATA", str(tmp_path / "own"))
    assert len(open_data("pets")) == 8
    with pytest.raises(UsageError, match="did you mean pets"):
        open_data("petz")


def test_unknown_names_and_paths(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean fashion_mnist") as caught:
        open_data("fashon_mnist")
    one_sentence(caught.value)
    with pytest.raises(UsageError, match="the built-in names are digits, mnist"):
        open_data("zzz")
    with pytest.raises(UsageError, match=r"there is no data at .*nowhere/here; expected a built-in name, a folder"):
        open_data(tmp_path / "nowhere" / "here")
    (tmp_path / "a.zip").write_bytes(b"x")
    with pytest.raises(UsageError, match="a file of no known kind"):
        open_data(tmp_path / "a.zip")
    with pytest.raises(UsageError, match="digits is a built-in set; label_column belongs to a table"):
        open_data("digits", label_column="label")
    with pytest.raises(UsageError, match="is a folder; path_column belongs to a table"):
        open_data(tmp_path, path_column="x")


# ---- downloads ----


def test_download(tmp_path: Path) -> None:
    origin, target = tmp_path / "origin.bin", tmp_path / "cache" / "file.bin"
    origin.write_bytes(b"payload" * 1000)
    sha256 = hashlib.sha256(origin.read_bytes()).hexdigest()
    calls: list[tuple[str, int, int]] = []
    download(origin.as_uri(), target, sha256=sha256, progress=lambda *call: calls.append(call))
    assert target.read_bytes() == origin.read_bytes()
    assert calls[-1] == ("fetching file.bin", 7000, 7000)
    origin.unlink()
    download(origin.as_uri(), target, sha256=sha256)  # it is there already
    with pytest.raises(DataError, match=r"could not be fetched from file:.*put the file into") as caught:
        download(origin.as_uri(), tmp_path / "other.bin", sha256=sha256)
    one_sentence(caught.value)


def test_wrong_bytes_are_not_kept(tmp_path: Path) -> None:
    origin, target = tmp_path / "origin.bin", tmp_path / "cache" / "file.bin"
    origin.write_bytes(b"something else")
    with pytest.raises(DataError, match="gave other bytes than expected"):
        download(origin.as_uri(), target, sha256="0" * 64)
    assert list(target.parent.iterdir()) == []


def test_a_built_in_set_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = tmp_path / "remote"
    idx_set(remote)
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(remote.iterdir())}
    entry = Builtin(
        name="mnist",
        about="",
        folders=("mnist",),
        complete=BUILTINS["mnist"].complete,
        base_url=remote.as_uri() + "/",
        files=files,
    )
    monkeypatch.setitem(BUILTINS, "mnist", entry)
    assert len(open_data("mnist")) == 60
    for path in remote.iterdir():
        path.unlink()
    assert len(open_data("mnist")) == 60


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    remote.mkdir()
    with tarfile.open(remote / "set.tar.gz", "w:gz") as tar:
        content = np.zeros((10, 3073), np.uint8)
        content[:, 0] = np.arange(10)
        for name in ("data_batch_1.bin", "test_batch.bin"):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = content.nbytes
            tar.addfile(info, io.BytesIO(content.tobytes()))
    sha256 = hashlib.sha256((remote / "set.tar.gz").read_bytes()).hexdigest()
    entry = Builtin(
        name="x",
        about="",
        folders=("x",),
        complete=(("cifar-10-batches-bin/",),),
        base_url=remote.as_uri() + "/",
        files={"set.tar.gz": sha256},
    )
    folder = locate(entry)
    assert folder == cache_folder() / "x"
    assert [p.name for p in folder.iterdir()] == ["cifar-10-batches-bin"]
    assert len(list((folder / "cifar-10-batches-bin").iterdir())) == 2


def test_pinned_hashes_are_whole() -> None:
    for entry in BUILTINS.values():
        assert all(len(sha) == 64 and set(sha) <= set("0123456789abcdef") for sha in entry.files.values())


# ---- evaluation with a run's own classes ----


def test_labels_are_mapped_onto_the_runs_classes(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path, cat=3, dog=4)
    data = open_data(tmp_path, classes=("dog", "fish", "cat"))
    assert data.classes == ("dog", "fish", "cat")
    assert np.bincount(data.labels("all"), minlength=3).tolist() == [4, 0, 3]


def test_a_label_that_was_not_trained(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path, cat=3, bird=4)
    with pytest.raises(DataError, match=r"the label 'bird' \(4 images\) was not seen in training; the run knows 'cat'"):
        open_data(tmp_path, classes=("cat", "dog"))


def test_one_class_is_enough_to_evaluate(tmp_path: Path, class_folders: Folders) -> None:
    data = open_data(class_folders(tmp_path, cat=2), classes=("cat", "dog"))
    assert data.positions("all").tolist() == [0, 1]
    assert any("use the part called all" in note for note in data.notes)


def test_errors_have_the_documented_exit_codes() -> None:
    assert (DataError.exit_code, UsageError.exit_code) == (1, 2)
    assert issubclass(DataError, CorinthError)
