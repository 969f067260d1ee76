"""Tables of pictures with captions: which tables these are, what is left out, the store, the tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from caption_sets import write_captioned, write_labelled
from corinth.data import ImageData, Loader, SequenceData, open_data
from corinth.data.caption_encoding import CaptionEncoding, CaptionStore
from corinth.data.opening import TASKS
from corinth.data.preflight import preflight
from corinth.data.preparation import preparation_from_dict
from corinth.data.preprocess import Preprocess
from corinth.data.sequences.batch import NO_TAG
from corinth.data.sequences.label_encoding import LabelEncoding, LabelStore
from corinth.data.sequences.wording import Wording
from corinth.errors import DataError, UsageError
from corinth.tasks.kinds import KINDS

IMAGES = Preprocess(size=(12, 12), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)


def opened(table: Path, **options: Any) -> Any:
    found = open_data(table, **options)
    assert isinstance(found, ImageData)
    assert found.task == "captioning"
    return found


def words_of(data: Any) -> Wording:
    captions = data.source.captions_at(data.positions("train"))
    return Wording.trained(captions, tokenizer="word", vocab_size=100, lowercase=True, max_len=None)


def test_rows_of_one_picture_are_its_captions_and_stay_in_one_part(tmp_path: Path) -> None:
    data = opened(write_captioned(tmp_path))
    assert len(data) == 60
    assert all(len(captions) == 2 for captions in data.source.captions)
    assert sum(map(len, data.splits.values())) == 60
    assert not set(data.splits["train"]) & set(data.splits["test"])
    assert "60 pictures have 120 captions; those of a picture stay in one part" in data.notes
    checked = preflight(data)
    assert checked.ok
    assert checked.unit == "picture"


@pytest.mark.parametrize(
    ("header", "options"),
    [
        (("path", "description"), {}),
        (("file_name", "caption"), {}),
        (("image", "text"), {"task": "captioning"}),
        (("image", "text"), {"text_column": "text"}),
        (("picture", "what"), {"path_column": "picture", "text_column": "what"}),
    ],
)
def test_columns_are_found_by_their_names_or_named(
    tmp_path: Path, header: tuple[str, str], options: dict[str, str]
) -> None:
    data = opened(write_captioned(tmp_path, 20, header=header), **options)
    assert data.source.captions[0][0].startswith("A ")
    again = opened(tmp_path / "captions.tsv", **data.opened_with)
    assert again.fingerprint == data.fingerprint


def test_a_folder_with_one_table_is_the_table(tmp_path: Path) -> None:
    table = write_captioned(tmp_path / "set", 20)
    assert opened(table.parent).fingerprint == opened(table).fingerprint


def test_images_with_labels_are_for_classification_unless_captions_are_asked_for(tmp_path: Path) -> None:
    table = write_captioned(tmp_path, 40, several=False)
    lines = table.read_text().splitlines()
    table.write_text("\n".join([f"{lines[0]}\tlabel", *(f"{line}\t{'ab'[i % 2]}" for i, line in enumerate(lines[1:]))]))
    assert open_data(table).task == "image-classification"
    assert opened(table, task="captioning").source.captions[0]


def test_a_split_column_is_kept_and_a_picture_in_two_parts_refused(tmp_path: Path) -> None:
    table = write_captioned(tmp_path, 20)
    lines = table.read_text().splitlines()
    parts = ["train"] * 24 + ["val"] * 8 + ["test"] * 8
    table.write_text("\n".join([f"{lines[0]}\tsplit", *(f"{a}\t{b}" for a, b in zip(lines[1:], parts))]) + "\n")
    data = opened(table)
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 12, "val": 4, "test": 4}
    parts[23] = "test"
    table.write_text("\n".join([f"{lines[0]}\tsplit", *(f"{a}\t{b}" for a, b in zip(lines[1:], parts))]) + "\n")
    with pytest.raises(
        DataError, match=r"line 25: pictures/011.png is in the test part here and in the train part above"
    ):
        open_data(table)


def test_an_empty_caption_is_left_out_and_a_picture_without_any_is_counted(tmp_path: Path) -> None:
    table = write_captioned(tmp_path, 40)
    lines = table.read_text().splitlines()
    lines[2] = f"{lines[2].split(chr(9))[0]}\t"
    table.write_text("\n".join(lines) + "\n")
    data = opened(table)
    assert len(data.source.captions[0]) == 1
    assert not data.corrupt
    assert "1 of 80 captions are empty and are left out" in data.notes
    lines[1] = lines[2]
    table.write_text("\n".join(lines) + "\n")
    data = opened(table)
    assert len(data) == 39
    assert [reason for _, reason in data.corrupt] == ["the caption is empty"]
    with pytest.raises(DataError, match=r"1 of 40 pictures cannot be used .*000.png: the caption is empty"):
        open_data(table, max_corrupt=0.0)


def test_pictures_that_cannot_be_read_are_left_out_up_to_a_share(tmp_path: Path) -> None:
    table = write_captioned(tmp_path, 40)
    (tmp_path / "pictures" / "003.png").write_bytes(b"no picture")
    data = opened(table)
    assert len(data) == 39
    assert any("003.png" in text for text in (finding.text for finding in preflight(data).findings))
    for number in range(4, 8):
        (tmp_path / "pictures" / f"{number:03}.png").unlink()
    with pytest.raises(DataError, match=r"5 of 40 .* cannot be used"):
        open_data(table)


@pytest.mark.parametrize(
    ("content", "options", "error", "said"),
    [
        ("image\tcaption\na.png\tx\n", {"text_column": "words"}, UsageError, "text_column 'words' is not there"),
        (
            "image\tcaption\na.png\tx\n",
            {"path_column": "picture", "text_column": "caption"},
            UsageError,
            "'picture' is not th",
        ),
        ("image\tcaption\na.png\tx\n\tx\n", {}, DataError, "line 3: column 'image' is empty"),
        (
            "image\tnote\na.png\tx\n",
            {"task": "captioning"},
            DataError,
            "none of the columns image, note looks like the text",
        ),
        ("image\tcaption\n", {"task": "captioning"}, DataError, "it needs a path and a caption for each picture"),
    ],
)
def test_bad_tables_are_refused(
    tmp_path: Path, content: str, options: dict[str, str], error: type[Exception], said: str
) -> None:
    table = tmp_path / "t.tsv"
    table.write_text(content)
    with pytest.raises(error, match=said):
        open_data(table, **options)


def test_the_store_gives_every_caption_and_together_all_of_a_picture(tmp_path: Path) -> None:
    data = opened(write_captioned(tmp_path, 30))
    encoding = CaptionEncoding(images=IMAGES, words=words_of(data))
    alone = CaptionStore.made(data, "train", encoding, together=False)
    together = CaptionStore.made(data, "train", encoding, together=True)
    pictures = len(data.positions("train"))
    assert (len(alone), len(together)) == (2 * pictures, pictures)
    assert len(alone.pictures.images) == pictures, "a picture is held once"
    seen: dict[int, set[str]] = {}
    for batch in Loader(alone, 7, shuffle=True, seed=3):
        assert batch.targets.shape[1] == 1
        for position, picture, rows in zip(batch.index.tolist(), batch.inputs, batch.targets.tolist()):
            expected = IMAGES.normalise(IMAGES(data.source.image(position))[None])[0]
            torch.testing.assert_close(picture, expected)
            text = encoding.words.decoded([[token for token in rows[0] if token != NO_TAG]])[0]
            seen.setdefault(position, set()).add(text)
    wanted = {int(i): {caption.lower() for caption in data.source.captions[i]} for i in data.positions("train")}
    missed = [i for i in seen if seen[i] != wanted[i]]
    assert not missed
    (batch,) = Loader(together, 100)
    assert batch.targets.shape[:2] == (pictures, 2)


@pytest.mark.parametrize("limit", [None, 0])
def test_a_picture_damaged_inside_is_dropped_with_its_captions(tmp_path: Path, limit: int | None) -> None:
    """Held in memory, and streamed."""
    from corinth.data.store import make_store

    data = opened(write_captioned(tmp_path, 30), max_corrupt=0.2)
    bad = int(data.positions("train")[2])
    path = Path(data.source.paths[bad])
    path.write_bytes(path.read_bytes()[:120])
    encoding = CaptionEncoding(images=IMAGES, words=words_of(data))
    plain = ImageData(**{**vars(data), "source": data.source.pictures()})
    pictures = make_store(plain, "train", IMAGES, memory_limit=limit, num_workers=0)
    store = CaptionStore(data, pictures, encoding, together=False)
    seen = [(i, rows) for batch in Loader(store, 8) for i, rows in zip(batch.index.tolist(), batch.targets.tolist())]
    assert len(seen) == 2 * (len(data.positions("train")) - 1)
    assert bad not in {i for i, _ in seen}
    for position, rows in seen:
        text = encoding.words.decoded([[token for token in rows[0] if token != NO_TAG]])[0]
        assert text in {caption.lower() for caption in data.source.captions[position]}
    assert [name for name, _ in store.dropped] == [str(path)]


def test_pictures_of_fewer_captions_are_filled_up(tmp_path: Path) -> None:
    table = write_captioned(tmp_path, 30)
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    data = opened(table)
    encoding = CaptionEncoding(images=IMAGES, words=words_of(data))
    (batch,) = Loader(CaptionStore.made(data, "all", encoding, together=True), 100)
    has = (batch.targets[:, :, 0] != NO_TAG).sum(1)
    np.testing.assert_array_equal(has, [len(captions) for captions in data.source.captions])


def test_what_is_saved_comes_back_and_other_keys_are_refused() -> None:
    words = Wording.trained(["a b c", "a b"], tokenizer="word", vocab_size=10, lowercase=True, max_len=3)
    for encoding in (CaptionEncoding(images=IMAGES, words=words), LabelEncoding(words=words, num_labels=2)):
        values = encoding.to_dict()
        assert preparation_from_dict(values) == encoding
        with pytest.raises(UsageError, match="check extra"):
            preparation_from_dict({**values, "extra": 1})
        with pytest.raises(UsageError, match="check lowercase"):
            preparation_from_dict({**values, "words": {**words.to_dict(), "lowercase": True}})


def test_tokens_of_texts() -> None:
    words = Wording.trained(["a b. c", "a b. d"], tokenizer="word", vocab_size=10, lowercase=True, max_len=4)
    assert (words.begin, words.end) == (words.vocab_size - 2, words.vocab_size - 1)
    (row,) = words.targets(["A b."])
    assert row.tolist()[-1] == words.end
    assert words.decoded([row.tolist()]) == ["a b."]
    (cut,) = words.targets(["a b a b a b"])
    assert len(cut) == 4, "the end is one of max_len tokens"
    assert words.count_cut(["a b a", "a b a b"]) == 1
    assert words.count_unknown(words.targets(["a zebra c"])) == 2
    assert words.begin in words.silent
    assert words.end not in words.silent


def test_texts_with_labels_are_for_writing_where_that_is_asked_for(tmp_path: Path) -> None:
    table = write_labelled(tmp_path / "t.tsv")
    assert open_data(table).task == "sequence-classification"
    data = open_data(table, task="text-from-label")
    assert isinstance(data, SequenceData)
    assert data.task == "text-from-label"
    assert open_data(table, **data.opened_with).task == "text-from-label"
    source: Any = data.source
    words = Wording.trained(source.texts, tokenizer="word", vocab_size=50, lowercase=True, max_len=None)
    store = LabelStore(data, "train", LabelEncoding(words=words, num_labels=2))
    for batch in Loader(store, 16, shuffle=True):
        for position, label, row in zip(batch.index.tolist(), batch.inputs.tolist(), batch.targets.tolist()):
            assert label == source.labels[position]
            assert words.decoded([[token for token in row if token != NO_TAG]]) == [source.texts[position]]
    for wrong, hint in (("text_from_label", "did you mean text-from-label"), ("bogus", "there are image-class")):
        with pytest.raises(UsageError, match=f"the task '{wrong}' is not known; {hint}"):
            open_data(table, task=wrong)
    with pytest.raises(UsageError, match="is data for captioning, and data for text-from-label are needed"):
        open_data(write_captioned(tmp_path / "pictures", 20), task="text-from-label")


def test_every_kind_of_task_can_be_asked_for() -> None:
    assert {*TASKS} == {*KINDS}


def test_columns_and_paths_that_are_not_those_of_pictures_are_named(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("image,caption\n1,a box\n2,a bar\n")
    for task in (None, "captioning"):
        with pytest.raises(DataError, match="column 'image' has no path of an image, but '1' and such"):
            open_data(table, task=task)
    with pytest.raises(UsageError, match="path_column 'imge' is not there; the columns are image, caption"):
        open_data(table, path_column="imge", text_column="caption")
    table.write_text("a,caption\n1,a box\n2,a bar\n")
    with pytest.raises(DataError, match="none of the columns a, caption looks like the path"):
        open_data(table, task="captioning")


def test_texts_of_one_label_can_be_written(tmp_path: Path) -> None:
    table = tmp_path / "t.tsv"
    table.write_text("text\tlabel\n" + "".join(f"the dog {n}\tplants\n" for n in range(30)))
    assert open_data(table, task="text-from-label").num_classes == 1
    with pytest.raises(DataError, match="at least two classes"):
        open_data(table)
