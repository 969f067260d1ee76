"""Translations: aligned files and tables, their direction, their tokenizers, and what is wrong with them."""

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corinth.data import Loader, SequenceData, SequenceStore, open_data
from corinth.data.preflight import preflight
from corinth.data.preparation import preparation_from_dict
from corinth.data.sequences.batch import NO_TAG
from corinth.data.sequences.pair_encoding import PairEncoding
from corinth.data.sequences.pairs import PairSource
from corinth.errors import DataError, UsageError
from pair_sets import pair_rows, write_aligned

ROWS = pair_rows()
CHINESE = [("I am here.", "我在这里。"), ("He is there.", "他在那里。"), ("I see him.", "我看见他。")]


def encoded(data: Any, **options: Any) -> PairEncoding:
    usual: dict[str, Any] = {"tokenizer": "bpe", "vocab_size": 200, "lowercase": False, "max_len": None}
    return PairEncoding.trained(data.source, data.positions("train"), **{**usual, "share_vocab": False, **options})


def pairs_of(data: Any) -> list[tuple[str, str]]:
    assert isinstance(data, SequenceData)
    assert isinstance(data.source, PairSource)
    return list(zip(data.source.texts, data.source.translations))


@pytest.mark.parametrize("packed", [False, True])
def test_aligned_files_with_their_parts(tmp_path: Path, packed: bool) -> None:
    write_aligned(tmp_path / "set_en_de", ROWS, packed=packed)
    write_aligned(tmp_path / "set_en_de", ROWS[:7], stem="val", packed=packed)
    folder = write_aligned(tmp_path / "set_en_de", ROWS[:5], stem="test_2016", packed=packed)
    (folder / "README.md").write_text("about")
    data = open_data(folder)
    assert data.task == "translation"
    assert pairs_of(data) == [*ROWS[:5], *ROWS, *ROWS[:7]]
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 60, "val": 7, "test": 5}
    assert data.source.direction == ("en", "de")
    assert "translates en to de" in data.notes[0]
    assert data.source.name(5) == f"train.en{'.gz' if packed else ''}, line 1"
    assert data.classes == ()
    assert data.scorable("val")


def test_the_direction_can_be_chosen(tmp_path: Path) -> None:
    folder = write_aligned(tmp_path / "pairs", ROWS)
    turned = open_data(folder, source_column="de")
    assert pairs_of(turned) == [(b, a) for a, b in ROWS]
    assert turned.fingerprint != open_data(folder).fingerprint
    assert pairs_of(open_data(folder, target_column="en")) == pairs_of(turned)
    assert open_data(write_aligned(tmp_path / "de2en", ROWS)).source.direction == ("de", "en")
    with pytest.raises(UsageError, match="source_column 'fr' is not there; the files are in de, en"):
        open_data(folder, source_column="fr")
    with pytest.raises(UsageError, match="source_column and target_column are both 'en'"):
        open_data(folder, source_column="en", target_column="en")
    with pytest.raises(UsageError, match="holds aligned files; text_column belongs to a table"):
        open_data(folder, text_column="en")


def test_of_three_languages_two_must_be_chosen(tmp_path: Path) -> None:
    folder = write_aligned(tmp_path / "pairs", ROWS)
    write_aligned(folder, [(b, a) for a, b in ROWS], languages=("fr", "en"))
    with pytest.raises(UsageError, match="has files in de, en, fr; choose two with source_column and target_column"):
        open_data(folder)
    assert open_data(folder, source_column="fr", target_column="en").source.direction == ("fr", "en")


def test_unequal_files_are_refused(tmp_path: Path) -> None:
    folder = write_aligned(tmp_path / "pairs", ROWS)
    with open(folder / "train.de", "a", encoding="utf-8") as file:
        file.write("noch einer\n")
    with pytest.raises(DataError, match=r"train\.en has 60 lines and train\.de has 61; aligned files have"):
        open_data(folder)


def test_bytes_that_are_no_text_are_refused_with_their_place(tmp_path: Path) -> None:
    folder = write_aligned(tmp_path / "pairs", ROWS)
    content = (folder / "train.de").read_bytes()
    (folder / "train.de").write_bytes(content[:10] + b"\xff" + content[10:])
    with pytest.raises(DataError, match=r"train\.de: byte 10 \(0xff\) is not UTF-8"):
        open_data(folder)
    os.remove(folder / "train.de")
    (folder / "train.de.gz").write_bytes(gzip.compress(content[:3] + b"\xfe"))
    with pytest.raises(DataError, match=r"train\.de\.gz: byte 3 \(0xfe\) is not UTF-8"):
        open_data(folder)
    (folder / "train.de.gz").write_bytes(gzip.compress(content)[:40])
    with pytest.raises(DataError, match=r"train\.de\.gz is no whole gzip file"):
        open_data(folder)


def test_empty_lines_are_left_out_and_said(tmp_path: Path) -> None:
    rows = [*ROWS, ("nothing", " "), *ROWS]
    data = open_data(write_aligned(tmp_path / "pairs", rows))
    assert len(data) == 120
    assert data.corrupt == (("train.en, line 61", "the target is empty"),)
    assert "1 pairs cannot be used and are left out" in data.notes
    with pytest.raises(DataError, match="20 of 80 pairs cannot be used"):
        open_data(write_aligned(tmp_path / "worse", [*ROWS, *[("", "nichts")] * 20]))


def test_a_part_must_be_there_in_both_languages(tmp_path: Path) -> None:
    folder = write_aligned(tmp_path / "pairs", ROWS)
    write_aligned(folder, ROWS, stem="test", languages=("en", "fr"))
    with pytest.raises(DataError, match="test is there in en, fr and not in de"):
        open_data(folder, source_column="en", target_column="de")


def test_files_that_say_no_part_or_the_same_one(tmp_path: Path) -> None:
    folder = write_aligned(tmp_path / "pairs", ROWS, stem="news")
    assert len(open_data(folder)) == 60
    write_aligned(folder, ROWS, stem="talks")
    with pytest.raises(UsageError, match="holds news, talks, and none says which part it is"):
        open_data(folder)
    write_aligned(tmp_path / "twice", ROWS, stem="dev")
    with pytest.raises(UsageError, match="dev and val are both the val part"):
        open_data(write_aligned(tmp_path / "twice", ROWS, stem="val"))
    write_aligned(tmp_path / "mixed", ROWS)
    with pytest.raises(UsageError, match="the name other says no part"):
        open_data(write_aligned(tmp_path / "mixed", ROWS, stem="other"))


def write(path: Path, rows: list[tuple[str, ...]], separator: str = "\t") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(separator.join(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("header", [("source", "target"), ("src", "translation"), ("en", "de"), ("English", "German")])
def test_tables_whose_header_says_it(tmp_path: Path, header: tuple[str, str]) -> None:
    data = open_data(write(tmp_path / "pairs.csv", [header, *ROWS], ","))
    assert pairs_of(data) == ROWS
    assert data.source.direction == header


def test_columns_by_name_or_number(tmp_path: Path) -> None:
    table = write(tmp_path / "pairs.tsv", [("ours", "theirs", "note"), *((a, b, "x") for a, b in ROWS)])
    turned = open_data(table, source_column="theirs", target_column="1")
    assert pairs_of(turned) == [(b, a) for a, b in ROWS]
    with pytest.raises(UsageError, match=r"source_column 'them' is not there; the columns are ours, theirs, note, or "):
        open_data(table, source_column="them", target_column="ours")
    with pytest.raises(UsageError, match="has the columns ours, theirs, note; name the other one with target_column"):
        open_data(table, source_column="ours")


def test_tables_of_parts_and_a_column_of_parts(tmp_path: Path) -> None:
    for part, rows in (("train", ROWS), ("dev", ROWS[:6]), ("test", ROWS[:4])):
        write(tmp_path / "set" / f"{part}.tsv", [("source", "target"), *rows])
    data = open_data(tmp_path / "set")
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 60, "val": 6, "test": 4}
    marked = [(*row, ("train", "val", "test")[i % 3]) for i, row in enumerate(ROWS)]
    data = open_data(write(tmp_path / "one.csv", [("source", "target", "split"), *marked], ","))
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 20, "val": 20, "test": 20}


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.txt"])
def test_a_file_of_two_columns_without_a_header(tmp_path: Path, name: str) -> None:
    rows = [(f"{a} {i}", f"{b} {i}") for i, (a, b) in enumerate(ROWS)]
    data = open_data(write(tmp_path / name, rows))
    assert pairs_of(data) == rows
    assert data.source.name(2).endswith("line 3")
    assert pairs_of(open_data(tmp_path / name, source_column="2")) == [(b, a) for a, b in rows]


def test_a_folder_with_one_file_of_anki_s_layout(tmp_path: Path) -> None:
    rows = [(f"{a} {i}", f"{b} {i}", "CC-BY 2.0") for i, (a, b) in enumerate(ROWS)]
    write(tmp_path / "anki" / "deu.txt", rows)
    assert pairs_of(open_data(tmp_path / "anki")) == [(a, b) for a, b, _ in rows]


def test_labels_are_no_translations(tmp_path: Path) -> None:
    rows = [(a, "good" if i % 2 else "bad") for i, (a, _) in enumerate(ROWS)]
    assert open_data(write(tmp_path / "labels.tsv", rows)).task == "sequence-classification"
    with pytest.raises(UsageError, match="source_column"):
        open_data("digits", source_column="a")


def test_texts_and_labels_between_tabs_are_no_translations(tmp_path: Path) -> None:
    for name, line in (("labels.txt", "the film is good {}\t1\n"), ("numbers.txt", "{}\tvalue {}\n")):
        content = "".join(line.format(i, i) for i in range(100))
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert open_data(tmp_path / name).task == "language-modeling"


def test_a_text_beside_folders_is_about_them(tmp_path: Path) -> None:
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
        for i in range(4):
            (tmp_path / name / f"{i}.txt").write_text(f"a {name} film, number {i}", encoding="utf-8")
    (tmp_path / "README.txt").write_bytes("Grüße\tan alle\n".encode("latin-1"))
    assert open_data(tmp_path).task == "sequence-classification"


def test_classes_and_numbers_are_no_translations(tmp_path: Path) -> None:
    """Whatever their columns are called."""
    rows = [("web" if i % 2 else "shop", str(i), "yes" if i % 3 else "no") for i in range(40)]
    assert open_data(write(tmp_path / "rows.csv", [("source", "age", "target"), *rows], ",")).task != "translation"
    numbers = [(str(i), str(i % 2)) for i in range(40)]
    assert open_data(write(tmp_path / "numbers.csv", [("x", "class"), *numbers], ",")).task != "translation"


def test_parquet(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame(ROWS, columns=["source", "target"]).to_parquet(tmp_path / "pairs.parquet")
    assert pairs_of(open_data(tmp_path / "pairs.parquet")) == ROWS


def test_the_same_source_is_in_one_part_only(tmp_path: Path) -> None:
    rows = [(a, f"{b} {i}") for i, (a, b) in enumerate(pair_rows(200))]
    data = open_data(write_aligned(tmp_path / "pairs", rows))
    parts = [{data.source.texts[i] for i in data.positions(part)} for part in ("train", "val", "test")]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    found = preflight(data)
    assert found.duplicates_across == 0
    assert "classes" not in found.lines()[0]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece", "word", "char"])
@pytest.mark.parametrize("share", [False, True])
def test_tokens_become_the_text_again(tmp_path: Path, kind: str, share: bool) -> None:
    data = open_data(write_aligned(tmp_path / "pairs", ROWS))
    encoding = encoded(data, tokenizer=kind, share_vocab=share)
    rows = encoding.targets(data.source.translations)
    assert encoding.decoded([row.tolist() for row in rows]) == list(data.source.translations)
    assert all(row[-1] == encoding.end and encoding.end not in row[:-1] for row in rows)
    assert max(int(row.max()) for row in rows) < encoding.target_vocab_size
    assert max(int(row.max()) for row in encoding(data.source.texts)) < encoding.source_vocab_size
    assert (encoding.tokenizer == encoding.target_tokenizer) == share
    again = preparation_from_dict(encoding.to_dict())
    assert again == encoding


def test_tokenizers_are_of_the_training_part_alone(tmp_path: Path) -> None:
    write_aligned(tmp_path / "pairs", ROWS)
    data = open_data(write_aligned(tmp_path / "pairs", [("xylophone", "Xylophon")], stem="test"), val_share=0)
    encoding = encoded(data, tokenizer="word")
    assert encoding.decoded([encoding.targets(["Xylophon Hund"])[0].tolist()]) == ["Hund"]


def test_punctuation_is_no_part_of_a_piece(tmp_path: Path) -> None:
    encoding = encoded(open_data(write_aligned(tmp_path / "pairs", ROWS)))
    assert encoding.pieces("one dog runs.") == ["▁one", "▁dog", "▁runs", ".", "end"]


@pytest.mark.parametrize("kind", ["bpe", "word", "char"])
def test_chinese_has_no_blanks_between_words(tmp_path: Path, kind: str) -> None:
    data = open_data(
        write_aligned(tmp_path / "pairs", CHINESE * 20, languages=("en", "zh")), val_share=0, test_share=0.3
    )
    encoding = encoded(data, tokenizer=kind)
    (row,) = encoding.targets(["我在那里。"])
    assert encoding.decoded([row.tolist()]) == ["我在那里。"]
    assert len(row) > 2


def test_long_sentences_are_cut_and_counted(tmp_path: Path) -> None:
    data = open_data(write_aligned(tmp_path / "pairs", [*ROWS, ("one dog " * 30 + "runs.", "läuft.")]))
    encoding = encoded(data, max_len=8)
    assert encoding.count_cut(data) == 1
    assert max(len(row) for row in encoding(data.source.texts)) == 8
    assert all(row[-1] == encoding.source_vocab_size - 1 for row in encoding(data.source.texts))


def test_batches_have_similar_lengths_and_targets_are_padded(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [(" ".join(["dog"] * n), " ".join(["Hund"] * m)) for n, m in rng.integers(1, 30, (64, 2))]
    data = open_data(write_aligned(tmp_path / "pairs", rows), val_share=0, test_share=0)
    encoding = encoded(data, tokenizer="word")
    loader = Loader(SequenceStore(data, "train", encoding), 8, shuffle=True)
    seen, spreads = [], []
    for batch in loader:
        seen += batch.index.tolist()
        lengths = (batch.targets != NO_TAG).sum(1)
        both = batch.inputs.lengths + lengths
        spreads.append(int(both.max() - both.min()))
        for row, length, position in zip(batch.targets, lengths, batch.index.tolist()):
            assert torch.equal(row[:length], encoding.targets([data.source.translations[position]])[0])
            assert (row[length:] == NO_TAG).all()
    assert sorted(seen) == list(range(64))
    assert np.mean(spreads) < 10, "sentences of all lengths are in one batch"


@pytest.mark.data
@pytest.mark.parametrize(("name", "sizes"), [("multi30k_en_de", (29000, 1014, 1000)), ("tatoeba_en_zh", None)])
def test_the_real_sets(name: str, sizes: tuple[int, ...] | None, corinth_data: Path) -> None:
    data = open_data(corinth_data / name)
    assert data.task == "translation"
    if sizes is not None:
        assert tuple(len(data.positions(part)) for part in ("train", "val", "test")) == sizes
    else:
        assert len(data) == 21116
