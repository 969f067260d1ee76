"""Files that are either the old or the new."""

from pathlib import Path

import pytest

from corinth.errors import CorinthError
from corinth.files import replacing, sweep


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """As in two containers whose processes have the same number."""
    path = tmp_path / "file"
    with replacing(path) as one:
        one.write_text("first")
        with replacing(path) as two:
            two.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    def write_half(into: Path) -> None:
        into.write_text("half")
        raise ValueError("stop")

    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ValueError, match="stop"), replacing(path) as temporary:
        write_half(temporary)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CorinthError, match=r"could not save .*below: "), replacing(tmp_path / "file" / "below"):
        pass


def test_what_was_left_by_writers_that_were_killed_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "file"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        left = temporary.with_name(temporary.name.replace(temporary.name.split(".")[-2], "5f0c"))
        left.write_text("half")
    sweep(tmp_path)
    assert list(path.parent.iterdir()) == [path]
