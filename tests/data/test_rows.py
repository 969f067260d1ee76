"""Rows of tables: what is a number, what a word, what says nothing, and what a network gets of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from corinth.data import open_data
from corinth.data.preflight import preflight
from corinth.data.preparation import preparation_from_dict
from corinth.data.rows.encoding import RowEncoding
from corinth.data.rows.source import RowData
from corinth.data.rows.store import RowStore
from corinth.errors import DataError, UsageError

HEADER = "id,age,height,colour,name,class\n"


def table(folder: Path, rows: int = 40, name: str = "people.csv") -> Path:
    """Age decides the class; a height is missing in every tenth row, a colour in every twentieth."""
    lines = [
        f"{i},{20 + i % 30},{'' if i % 10 == 3 else 1.5 + i / 100},{'' if i % 20 == 7 else ('red', 'blue')[i % 2]},"
        f"person {i},{'old' if i % 30 > 14 else 'young'}\n"
        for i in range(rows)
    ]
    path = folder / name
    path.write_text(HEADER + "".join(lines))
    return path


@pytest.fixture
def people(tmp_path: Path) -> RowData:
    found = open_data(table(tmp_path, rows=120))
    assert isinstance(found, RowData)
    return found


def test_columns_are_sorted_out(people: RowData) -> None:
    assert people.task == "tabular-classification"
    assert people.classes == ("old", "young")
    assert (people.source.number_names, people.source.word_names) == (("age", "height"), ("colour",))
    said = " ".join(people.notes)
    assert "column 'id' numbers the rows and is left out" in said
    assert "column 'name' has 120 different words, as names are, and is left out" in said
    assert "12 cells of numbers are empty" in said
    assert people.source.row(3) == {"age": 23.0, "colour": "blue"}
    assert people.source.name(3) == "people.csv, line 5"
    assert people.describe() == "2 columns of numbers and 1 column of words"


def test_the_encoding_is_of_the_training_part(people: RowData) -> None:
    encoding = RowEncoding.measured(people)
    rows = people.positions("train")
    x = RowStore(people, "train", encoding).inputs
    assert x.shape == (len(rows), 5) == (len(rows), encoding.num_inputs)  # age, height, height is empty, blue, red
    ages, heights = people.source.numbers[rows].T
    np.testing.assert_allclose(x[:, 0], (ages - ages.mean()) / ages.std(), rtol=1e-5)
    there = ~np.isnan(heights)
    scaled = (heights - np.nanmean(heights)) / np.nanstd(heights)
    np.testing.assert_allclose(x[there, 1], scaled[there], rtol=1e-5)
    assert (x[~there, 1] == 0).all()
    assert (x[:, 2].numpy() == ~there).all()
    words = people.source.words[rows, 0]
    assert (x[:, 3].numpy() == (words == "blue")).all()
    assert (x[:, 4].numpy() == (words == "red")).all()
    assert encoding.known == (("blue", "red"),)


def test_the_encoding_is_the_same_after_a_detour_through_json(people: RowData) -> None:
    encoding = RowEncoding.measured(people)
    again = preparation_from_dict(json.loads(json.dumps(encoding.to_dict())))
    assert again == encoding
    with pytest.raises(UsageError, match="an encoding of rows has gaps"):
        preparation_from_dict({"kind": "rows", "numbers": []})


def test_rows_that_a_person_gives_are_read_alike(people: RowData) -> None:
    encoding = RowEncoding.measured(people)
    given = [{"age": 23, "height": None, "colour": "blue", "more": 1}, {"age": "30", "height": "1.6", "colour": "pink"}]
    x = encoding.of_rows(given)
    assert torch.equal(x[0], encoding.encode(people.source, np.array([3]))[0])
    assert x[1, 3:].tolist() == [0, 0]  # a word that training had not
    with pytest.raises(DataError, match="there is no column 'height'; the network needs age, height, colour"):
        encoding.of_rows([{"age": 1, "colour": "red"}])
    with pytest.raises(DataError, match="column 'age' is 'old', and the network needs a number there"):
        encoding.of_rows([{"age": "old", "height": 1, "colour": "red"}])


def test_a_constant_column_is_only_centred(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,label\n" + "".join(f"5.1,{i},{'xy'[i % 2]}\n" for i in range(20)))
    data = open_data(path)
    x = RowStore(data, "train", RowEncoding.measured(data)).inputs
    assert (x[:, 0].abs() < 1e-12).all()


def test_tables_that_are_parts(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        table(tmp_path, rows=40, name=f"{name}.csv")
    data = open_data(tmp_path)
    assert data.declared_splits == ("train", "val", "test")
    assert [len(data.positions(part)) for part in ("train", "val", "test")] == [40, 40, 40]
    (tmp_path / "test.csv").write_text("id,age,class\n1,2,old\n")
    with pytest.raises(DataError, match=r"test\.csv: has no column 'height', which train\.csv has"):
        open_data(tmp_path)


def test_a_split_column_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "a,label,split\n" + "".join(f"{i},{'xy'[i % 2]},{('train', 'test')[i % 4 // 2]}\n" for i in range(40))
    )
    data = open_data(path, val_share=0.0)
    assert len(data.positions("test")) == 20
    assert data.source.number_names == ("a",)


def test_rows_stay_in_their_parts_when_others_come(tmp_path: Path) -> None:
    before = open_data(table(tmp_path, rows=60))
    parts = {before.source.key(i): part for part in before.splits for i in before.positions(part)}
    lines = (tmp_path / "people.csv").read_text().splitlines(keepends=True)
    path = tmp_path / "more.csv"
    path.write_text(lines[0] + "900,77,1.9,red,nobody,old\n" + "".join(lines[1:]))
    after = open_data(path)
    moved = sum(parts.get(after.source.key(i), part) != part for part in after.splits for i in after.positions(part))
    assert moved <= 3  # a share more may be needed; nothing is shuffled anew


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "none of the columns a, b looks like the label .* say which by group_column"),
        ("a,label\n", "the table has no rows below its header"),
        ("a,label\n1,x\n2,\n", r"t\.csv, line 3: column 'label' is empty; every row needs a label"),
        ("a,label\n1,x\ninf,y\n", r"t\.csv, line 3: column 'a' is infinite"),
        (
            "a,label\n" + "".join(f"n{i},{'xy'[i % 2]}\n" for i in range(300)),
            "no column but 'label' can be learnt from",
        ),
        ("a,label\n" + "".join(f"{i},{i / 7}\n" for i in range(50)), "column 'label' has 50 different values"),
        (
            "a,label\n" + "".join(f"{'oops' if i == 9 else i},{'xy'[i % 2]}\n" for i in range(300)),
            r"t\.csv, line 11: column 'a' has numbers, and here 'oops'; correct it",
        ),
    ],
)
def test_bad_tables_say_what_and_where(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises((DataError, UsageError), match=message):
        open_data(path)


def test_preflight(people: RowData) -> None:
    lines = preflight(people).lines()
    assert lines[0].startswith("people: 120 rows (")
    assert "2 columns of numbers, 1 of words; 18 cells are empty" in lines[1]
    assert preflight(people).to_dict()["columns_of_numbers"] == 2


def test_words_that_are_names_are_said(tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    path.write_text("photo,place,label\n" + "".join(f"img{i},{'ab'[i % 3 > 0]},{i % 2}\n" for i in range(30)))
    said = [finding.text for finding in preflight(open_data(path)).findings if finding.severity == "warning"]
    assert "column 'photo' has another word in every training row, as names are: nothing can be learnt from it" in said
    assert not any("'place'" in text for text in said)


def test_other_columns_are_refused(people: RowData, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("age,class\n" + "".join(f"{i},{('old', 'young')[i % 2]}\n" for i in range(30)))
    encoding = RowEncoding.measured(people)
    with pytest.raises(
        DataError, match="other has no column 'height'; the network was trained on 'age', 'height', 'colour'"
    ):
        encoding.check_data(open_data(path))


def test_columns_in_another_order_and_more_of_them_are_read_alike(people: RowData, tmp_path: Path) -> None:
    encoding, source = RowEncoding.measured(people), people.source
    names = (*reversed(source.word_names), "more", *reversed(source.number_names), "class")
    lines = []
    for i in range(len(source)):
        row = source.row(i) | {"more": str(i % 7), "class": source.classes[source.labels[i]]}
        lines.append(",".join(str(row.get(name, "")) for name in names))
    path = tmp_path / "other.csv"
    path.write_text("\n".join([",".join(names), *lines]) + "\n")
    other = open_data(path)
    assert isinstance(other, RowData)
    encoding.check_data(other)
    rows = np.arange(len(source))
    assert torch.equal(encoding.encode(other.source, rows), encoding.encode(source, rows))


def test_words_where_numbers_were_are_refused(people: RowData, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    encoding = RowEncoding.measured(people)
    cells = [f"{','.join('abcdefg'[i % 7] for _ in (*encoding.numbers, *encoding.words))},{i % 2}\n" for i in range(30)]
    path.write_text(",".join((*encoding.numbers, *encoding.words, "class")) + "\n" + "".join(cells))
    with pytest.raises(
        DataError, match=r"other\.csv, line 2: column 'age' is 'a', and the network was trained on numbers there"
    ):
        encoding.check_data(open_data(path))


def test_what_a_column_holds_was_settled_in_training(people: RowData, tmp_path: Path) -> None:
    """Whatever it looks like elsewhere: heights that are all empty, colours that are numbers."""
    path = tmp_path / "other.csv"
    path.write_text(
        "age,height,colour,class\n" + "".join(f"{20 + i},,{i % 3},{('old', 'young')[i % 2]}\n" for i in range(30))
    )
    other = open_data(path)
    assert isinstance(other, RowData)
    assert (other.source.number_names, other.source.word_names) == (("age", "colour"), ())
    encoding = RowEncoding.measured(people)
    encoding.check_data(other)
    given = [{"age": 20 + i, "height": None, "colour": str(i % 3)} for i in range(30)]
    assert torch.equal(encoding.encode(other.source, np.arange(30)), encoding.of_rows(given))
