"""Running text: files and their parts, tokens of which nothing is lost, windows for training and validation."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from corinth.data import SequenceData, TextEncoding, open_data
from corinth.data.preparation import preparation_from_dict
from corinth.data.sequences.language import PASSAGE, PassageSource
from corinth.data.sequences.language_encoding import LanguageEncoding, part_of
from corinth.data.sequences.tokenizing import KINDS, Kind
from corinth.data.sequences.windows import WARM_UP, ScoredWindows, TrainingWindows
from corinth.errors import DataError, UsageError
from running_text import made_up, write

STRANGE = "Älter\r\n\r\n\tein  Blank, 世界 — ##x ##\n\n\u2028e\u0301 \U0001f600!\n"


def opened(path: Path, **how: float) -> SequenceData:
    found = open_data(path, **how)
    assert isinstance(found, SequenceData)
    return found


def encoded(data: SequenceData, unit: Kind = "char", **how: object) -> LanguageEncoding:
    usual = {"vocab_size": 200, "lowercase": False, "max_len": 32}
    return LanguageEncoding.trained(data, unit=unit, **(usual | how))


# ---- files ----


def test_a_text_is_split_in_order(tmp_path: Path) -> None:
    text = made_up()
    data = opened(write(tmp_path / "a.txt", text), val_share=0.1, test_share=0.2)
    assert data.task == "language-modeling"
    assert isinstance(data.source, PassageSource)
    parts = ["".join(part_of(data, part, lowercase=False)) for part in ("train", "val", "test")]
    assert "".join(parts) == text
    assert [len(part) // PASSAGE for part in parts] == [13, 2, 3]
    assert len(parts[2]) == pytest.approx(0.2 * len(text), abs=PASSAGE)
    assert data.notes[0] == f"running text, to learn what comes next, is read from a.txt ({len(text):,} characters)"
    assert data.notes[1] == "split here, in order and nothing shuffled: from the end of the text 20% test, 10% val"
    assert data.source.name(1) == "a.txt, character 257"


def test_the_fingerprint_is_that_of_text_and_parts(tmp_path: Path) -> None:
    first = opened(write(tmp_path / "a.txt")).fingerprint
    assert opened(write(tmp_path / "elsewhere" / "b.txt")).fingerprint == first
    assert opened(tmp_path / "a.txt", val_share=0.3).fingerprint != first
    assert opened(write(tmp_path / "a.txt", made_up(seed=1))).fingerprint != first


def test_parts_by_the_names_of_files(tmp_path: Path) -> None:
    texts = {"wiki.train.txt": made_up(60), "wiki.valid.txt": "A bird.\n" * 9, "wiki.test.txt": "Kim\n"}
    for name, text in texts.items():
        write(tmp_path / name, text)
    (tmp_path / "README").write_text("about")
    data = opened(tmp_path)
    assert data.declared_splits == ("train", "val", "test")
    for part, text in zip(("train", "val", "test"), texts.values()):
        assert "".join(part_of(data, part, lowercase=False)) == text


def test_without_a_training_file_the_validation_text_is_trained_on(tmp_path: Path) -> None:
    write(tmp_path / "valid.txt", made_up(200))
    write(tmp_path / "test.txt", made_up(30, seed=1))
    data = opened(tmp_path)
    assert set(data.declared_splits) == {"train", "test"}
    assert "there is no training part: what is called validation part is trained on in its place" in data.notes
    assert "".join(part_of(data, "test", lowercase=False)) == made_up(30, seed=1)
    assert "split here, in order and nothing shuffled: from the end of the training text 10% val" in data.notes


def test_files_without_parts_are_one_text(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", made_up(100, seed=1))
    write(tmp_path / "a.txt", made_up(100))
    data = opened(tmp_path)
    assert "".join(part_of(data, "all", lowercase=False)) == made_up(100) + made_up(100, seed=1)


def test_folders_of_classes_are_what_they_were(tmp_path: Path) -> None:
    for label in ("good", "bad"):
        for number in range(8):
            write(tmp_path / label / f"{number}.txt", f"{label} {number}")
    assert opened(tmp_path).task == "sequence-classification"
    write(tmp_path / "notes.txt", "about")
    assert opened(tmp_path).task == "sequence-classification"


def test_texts_beside_images_are_no_data(tmp_path: Path) -> None:
    write(tmp_path / "notes.txt", made_up())
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises((DataError, UsageError)):
        open_data(tmp_path)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.txt": b""}, r"a\.txt is empty; a language model needs text to learn from"),
        ({"a.txt": b"good\xff"}, r"a\.txt: byte 4 \(0xff\) is not UTF-8"),
        ({"a.txt": b"short"}, r"has 5 characters, too few to be split .*; 768 are the least"),
        ({"a_train.txt": b"x", "other.txt": b"y"}, r"the name of other\.txt says no part, and others' do"),
        ({"a_val.txt": b"x", "dev.txt": b"y"}, r"a_val\.txt and dev\.txt are both the val part"),
    ],
)
def test_what_cannot_be_read(files: dict[str, bytes], said: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises((DataError, UsageError), match=said):
        open_data(tmp_path)


def test_columns_and_shares_that_do_not_fit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt")
    with pytest.raises(UsageError, match="is running text; text_column belongs to a table"):
        open_data(path, text_column="text")
    with pytest.raises(UsageError, match=r"val_share 0.5 and test_share 0.5 leave nothing to train on"):
        open_data(path, val_share=0.5, test_share=0.5)


def test_real_texts_by_name(corinth_data: Path) -> None:
    data = opened(Path("tinyshakespeare"), val_share=0.05, test_share=0.1)
    assert data.source.lengths.sum() == 1_115_394
    assert data.source.lengths[data.positions("test")].sum() == pytest.approx(111_539, abs=PASSAGE)
    assert encoded(data).vocab_size == 65 + 2
    wiki = opened(Path("wikitext2_valid_test"))
    assert set(wiki.declared_splits) == {"train", "test"}
    assert (corinth_data / "wikitext2_valid_test" / "test.txt").read_text(encoding="utf-8") == "".join(
        part_of(wiki, "test", lowercase=False)
    )


# ---- tokens ----


@pytest.mark.parametrize("unit", KINDS)
@pytest.mark.parametrize("text", [made_up(80), STRANGE * 60], ids=["plain", "strange"])
def test_tokens_are_the_whole_text(unit: Kind, text: str, tmp_path: Path) -> None:
    data = opened(write(tmp_path / "a.txt", text))
    encoding = encoded(data, unit, vocab_size=300)
    ids, widths = encoding.tokens(text)
    assert widths.sum() == len(text)
    known = "".join(encoding.pieces[i] if i != encoding.unknown else "?" * w for i, w in zip(ids, widths))
    if unit == "char" or encoding.unknown not in ids:
        assert encoding.decode(ids) == text
    else:
        assert len(known) == len(text)
        assert [a for a, b in zip(known, text) if a != b] == ["?"] * sum(a != b for a, b in zip(known, text))
    assert encoding.vocab_size <= 300


@pytest.mark.parametrize("unit", KINDS)
def test_an_encoding_is_saved_and_read(unit: Kind, tmp_path: Path) -> None:
    encoding = encoded(opened(write(tmp_path / "a.txt")), unit)
    again = preparation_from_dict(json.loads(json.dumps(encoding.to_dict())))
    assert again == encoding
    assert again.shape == (32,)
    assert not isinstance(again, TextEncoding)


def test_characters_are_those_of_the_training_part_and_capitals_stay(tmp_path: Path) -> None:
    text = made_up()[:-1] + "§"
    data = opened(write(tmp_path / "a.txt", text))
    encoding = encoded(data)
    assert set(encoding.pieces[2:]) == set(made_up())
    assert encoding.tokens("§A")[0].tolist() == [encoding.unknown, encoding.pieces.index("A")]
    with pytest.raises(UsageError, match="the network has never seen 'ß', '§'; write the text without"):
        encoding.check("Aß§§")
    small = encoded(data, lowercase=True)
    assert small.decode(small.check("The OWL")) == "the owl"


def test_long_texts_are_encoded_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = made_up()
    encoding = encoded(opened(write(tmp_path / "a.txt", text)), "bpe")
    whole = encoding.tokens(text)
    monkeypatch.setattr("corinth.data.sequences.language_encoding.AT_ONCE", 100)
    pieces = encoding.tokens(text)
    assert encoding.decode(pieces[0]) == text
    assert np.array_equal(pieces[0], whole[0])  # a line's end is a token of its own
    assert encoding.tokens("x" * 250)[1].sum() == 250  # no line's end where one could be cut


# ---- windows ----


def test_windows_go_on_where_the_last_ended(tmp_path: Path) -> None:
    data = opened(write(tmp_path / "a.txt"))
    windows = TrainingWindows(data, encoded(data), batch_size=4)
    tokens = windows.tokens
    order = windows.arrange(torch.randperm(len(windows)), 4)
    batches = list(windows.stream(order.split(4)))
    assert sum(len(rows) for rows, _, _ in batches) == len(windows) == 4 * ((len(tokens) - 1) // (4 * 32))
    read = torch.cat([inputs.values for _, inputs, _ in batches], dim=1)  # (streams, all steps)
    said = torch.cat([targets for _, _, targets in batches], dim=1)
    assert torch.equal(read[:, 1:], said[:, :-1])
    ring = torch.cat((tokens, tokens)).roll(-windows.cut)
    assert torch.equal(read.flatten(), ring[: read.numel()])
    assert torch.equal(said.flatten(), ring[1 : read.numel() + 1])
    assert [inputs.fresh.tolist() for _, inputs, _ in batches[:2]] == [[True] * 4, [False] * 4]
    assert all(inputs.streams.tolist() == [0, 1, 2, 3] for _, inputs, _ in batches)
    assert all(inputs.chars.tolist() == [32] * 4 for _, inputs, _ in batches)


def test_every_epoch_cuts_the_text_elsewhere_and_none_depends_on_another(tmp_path: Path) -> None:
    data = opened(write(tmp_path / "a.txt"))
    windows, again = (TrainingWindows(data, encoded(data), batch_size=4) for _ in range(2))
    orders = [torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed)) for seed in range(6)]
    cuts = []
    for order in orders:
        windows.arrange(order, 4)
        cuts.append(windows.cut)
    again.arrange(orders[-1], 4)
    assert again.cut == windows.cut
    assert len(set(cuts)) > 3


@pytest.mark.parametrize(("batch_size", "max_len"), [(64, 32), (4, 4000), (1, 1)])
def test_short_texts_make_fewer_windows(batch_size: int, max_len: int, tmp_path: Path) -> None:
    data = opened(write(tmp_path / "a.txt", made_up(60)))
    windows = TrainingWindows(data, encoded(data, max_len=max_len), batch_size)
    assert len(windows) % windows.streams == 0
    assert windows.streams <= batch_size
    assert windows.window * len(windows) <= len(windows.tokens) - 1 < windows.window * (len(windows) + windows.streams)


@pytest.mark.parametrize("sentences", [10, 2000])
def test_every_token_but_the_first_is_scored_once(sentences: int, tmp_path: Path) -> None:
    write(tmp_path / "train.txt", made_up(100))
    data = opened(write(tmp_path / "test.txt", made_up(sentences)).parent)
    windows = ScoredWindows(data, "test", encoded(data, "word"))
    tokens, widths = encoded(data, "word").tokens(made_up(sentences))
    assert windows.streams == max(1, min(64, (len(tokens) - 1) // (4 * WARM_UP)))
    scored: list[list[int]] = [[] for _ in range(windows.streams)]
    chars = 0
    for _, inputs, targets in windows.stream(torch.arange(len(windows)).split(windows.streams)):
        chars += int(inputs.chars.sum())
        for stream, wanted in enumerate(targets):
            scored[stream] += wanted[wanted >= 0].tolist()
    assert [token for row in scored for token in row] == tokens[1:].tolist()
    assert chars == widths[1:].sum()


def test_a_part_of_one_token_cannot_be_scored(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", made_up(100))
    data = opened(write(tmp_path / "test.txt", "A").parent)
    with pytest.raises(DataError, match=r"the test part of .* has 1 tokens; to predict one takes another before"):
        ScoredWindows(data, "test", encoded(data))
