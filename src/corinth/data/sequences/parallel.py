"""Reading translations: aligned files with a sentence a line, and tables with a pair a row."""

import gzip
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from corinth.data.collect import SPLIT_WORDS, Collected
from corinth.data.sequences.files import decoded, read_text
from corinth.data.sequences.pairs import Pair, collected
from corinth.data.sequences.texts import TEXT_COLUMNS
from corinth.data.tables import LABEL_COLUMNS, PATH_COLUMNS, Table, split_column, split_of
from corinth.errors import DataError, UsageError

SOURCE_COLUMNS = ("source", "src", "source_text", "source_sentence", "source_language")
TARGET_COLUMNS = ("target", "tgt", "translation", "target_text", "target_sentence", "target_language")
LANGUAGES = {  # names of columns that are languages
    *("en", "de", "fr", "es", "it", "nl", "pt", "ru", "zh", "ja", "ko", "ar", "cs", "pl", "ro", "tr", "vi", "fi", "sv"),
    *("english", "german", "french", "spanish", "italian", "dutch", "portuguese", "russian", "chinese", "japanese"),
    *("korean", "arabic", "czech", "polish", "romanian", "turkish", "vietnamese", "finnish", "swedish"),
}
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([_-][A-Za-z]{2,4})?")
_NO_LANGUAGE = {
    "txt",
    "csv",
    "tsv",
    "md",
    "gz",
    "pq",
    "ts",
    "npz",
    "npy",
    "png",
    "jpg",
    "bmp",
    "wav",
    "ogg",
    "bio",
    "iob",
}
_PART = re.compile(rf"(?<![a-z])({'|'.join(sorted(SPLIT_WORDS, key=len, reverse=True))})(?![a-z])")
NUMBERED = ["1", "2"]  # columns without names
MANY = 0.5  # share of a column, from which it is what that much of it is
Columns = tuple[str | None, str | None]  # source and target, as a person names them

Aligned = Mapping[str, Mapping[str, Path]]  # a file's name without its language -> language -> file


def aligned_files(folder: Path) -> Aligned:
    """Files that are alike but for the language at the end of their names: train.en and train.de, or train.en.gz."""
    if not folder.is_dir():
        return {}
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()):
        stem, _, language = file.name.removesuffix(".gz").rpartition(".")
        if stem and not stem.startswith(".") and is_language(language) and file.is_file():
            found.setdefault(stem, {})[language] = file
    return {stem: files for stem, files in found.items() if len(files) > 1}


def is_language(word: str) -> bool:
    """Whether the end of a file's name is a language, such as en, zh or pt_BR."""
    return _LANGUAGE.fullmatch(word) is not None and word.lower() not in _NO_LANGUAGE


def open_aligned(folder: Path, files: Aligned, columns: Columns, *, max_corrupt: float) -> Collected:
    """All pairs of lines; a file's name may say the part that it is."""
    direction = _direction(folder, files, columns)
    named = {stem: found[1] for stem in files if (found := _PART.search(stem.lower())) is not None}
    parts = {stem: SPLIT_WORDS[word] for stem, word in named.items()}
    if parts and (other := [stem for stem in files if stem not in parts]):
        raise UsageError(f"{folder}: the name {other[0]} says no part, and others' do; name it so, or take it away")
    for place, (stem, part) in enumerate(parts.items()):
        if (twin := next((name for name, its in list(parts.items())[:place] if its == part), None)) is not None:
            raise UsageError(f"{folder}: {twin} and {stem} are both the {part} part; keep one of them")
    if not parts and len(files) > 1:
        raise UsageError(f"{folder} holds {', '.join(files)}, and none says which part it is; call one of them train")
    pairs: list[Pair] = []
    for stem, languages in files.items():
        for language in direction:
            if language not in languages:
                raise DataError(f"{folder}: {stem} is there in {', '.join(languages)} and not in {language}")
        ours, theirs = (languages[language] for language in direction)
        sources, targets = read_lines(ours), read_lines(theirs)
        if len(sources) != len(targets):
            raise DataError(
                f"{folder}: {ours.name} has {len(sources):,} lines and {theirs.name} has {len(targets):,}; aligned "
                "files have the translation of a line on the line of the same number"
            )
        rows = enumerate(zip(sources, targets), start=1)
        pairs += [Pair(a.strip(), b.strip(), f"{ours.name}, line {i}", parts.get(stem)) for i, (a, b) in rows]
    notes = [f"translates {direction[0]} to {direction[1]}, from aligned files {', '.join(files)}"]
    if columns == (None, None):
        notes[0] += f"; --source-column {direction[1]} turns it round"
    return collected(pairs, direction, notes, str(folder), max_corrupt)


def _direction(folder: Path, files: Aligned, columns: Columns) -> tuple[str, str]:
    """Source and target: as asked for, or in the order in which the folder's name has them, or English first."""
    there = sorted({language for languages in files.values() for language in languages})
    for what, asked in zip(("source", "target"), columns):
        if asked is not None and asked not in there:
            raise UsageError(f"{folder}: {what}_column {asked!r} is not there; the files are in {', '.join(there)}")
    if columns[0] is not None and columns[0] == columns[1]:
        raise UsageError(f"source_column and target_column are both {columns[0]!r}; a translation has two sides")
    if len(there) > 2 and None in columns:
        raise UsageError(f"{folder} has files in {', '.join(there)}; choose two with source_column and target_column")
    words = re.split(r"[^a-z]+|(?<=[a-z]{2})2(?=[a-z]{2})", folder.resolve().name.lower())
    order = sorted(there, key=lambda name: (words.index(name) if name in words else len(words), name != "en", name))
    source, target = columns
    source = source or next(language for language in order if language != target)
    return source, target or next(language for language in order if language != source)


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, which may be packed with gzip."""
    text = _unpacked(path) if path.suffix.lower() == ".gz" else read_text(path)
    return text.removesuffix("\n").split("\n") if text else []


def _unpacked(path: Path) -> str:
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is no whole gzip file ({error}); copy it again") from error
    return decoded(content, path)


def pair_columns(table: Table, columns: Columns) -> tuple[str, str] | None:
    """The columns with texts and with their translations; None where a table has no such two."""
    names = list(table.columns)
    if columns != (None, None):
        return _asked(table, columns)
    found = [next((n for word in usual for n in names if n.strip().lower() == word), None) for usual in _USUAL]
    languages = [name for name in names if name.strip().lower() in LANGUAGES]
    source, target = languages if None in found and len(languages) == 2 else found
    if source is None or target is None or not all(are_texts(table.columns[name]) for name in (source, target)):
        return None
    return source, target


_USUAL = (SOURCE_COLUMNS, TARGET_COLUMNS)


def _asked(table: Table, columns: Columns) -> tuple[str, str]:
    """Columns by name, or by number from 1; of two columns the one that is not named."""
    names = list(table.columns)
    chosen: list[str | None] = []
    for what, asked in zip(("source", "target"), columns):
        if asked is not None and asked not in names:
            if not asked.isdecimal() or not 1 <= int(asked) <= len(names):
                raise UsageError(
                    f"{table.path}: {what}_column {asked!r} is not there; the columns are {', '.join(names)}, or "
                    f"their numbers from 1 to {len(names)}"
                )
            asked = names[int(asked) - 1]
        chosen.append(asked)
    rest = [name for name in names if name not in chosen]
    if None in chosen and len(names) != 2:
        missing = "source_column" if chosen[0] is None else "target_column"
        raise UsageError(f"{table.path} has the columns {', '.join(names)}; name the other one with {missing}")
    source, target = (rest[0] if name is None else name for name in chosen)
    if source == target:
        raise UsageError(f"{table.path}: source_column and target_column are both {source!r}")
    return source, target


def without_header(table: Table) -> Table | None:
    """A table of two columns of texts that has no header, with numbers for its columns; None of any other."""
    names = list(table.columns)
    known = {*TEXT_COLUMNS, *LABEL_COLUMNS, *PATH_COLUMNS, *SOURCE_COLUMNS, *TARGET_COLUMNS, *LANGUAGES}
    if len(names) != 2 or names == NUMBERED or any(name.strip().lower() in known for name in names) or not table.lines:
        return None
    (first, sources), (second, targets) = table.columns.items()
    if not sources or not are_texts(sources) or not are_texts(targets):
        return None
    return Table(table.path, {"1": [first, *sources], "2": [second, *targets]}, table.lines, has_header=False)


def are_texts(cells: Sequence[str]) -> bool:
    """Whether most cells have a letter in them and are different, as those of numbers and of classes are not."""
    least = MANY * len(cells)
    return len(set(cells)) >= least and sum(any(map(str.isalpha, cell)) for cell in cells) >= least


def read_tabbed(path: Path) -> Table | None:
    """A text file whose lines all have a tab between two texts (Tatoeba's and Anki's layout), what follows a second
    tab left out; None of any other, such as one of texts and labels."""
    if path.suffix.lower() != ".txt" or not path.is_file():
        return None
    rows = [(n, line.split("\t")) for n, line in enumerate(read_text(path).split("\n"), start=1) if line.strip()]
    if not rows or any(len(cells) < 2 for _, cells in rows):
        return None
    columns = {name: [cells[i].strip() for _, cells in rows] for i, name in enumerate(NUMBERED)}
    if not all(map(are_texts, columns.values())):
        return None
    return Table(path, columns, [number for number, _ in rows])


def open_pair_tables(tables: Sequence[tuple[Table, str | None]], columns: Columns, *, max_corrupt: float) -> Collected:
    """Tables with a pair a row, and the part that each is, None where a column called `split` may say it."""
    pairs: list[Pair] = []
    notes: list[str] = []
    direction = ("source", "target")
    for table, part in tables:
        found = pair_columns(table, columns) or (NUMBERED[0], NUMBERED[1])
        if found[0] not in table.columns:
            raise DataError(f"{table.path}: has the columns {', '.join(table.columns)}, and other parts have others")
        direction = found
        split_in = split_column(table, found) if part is None else None
        headless = "there is no header: " if list(table.columns) == NUMBERED else ""
        notes.append(
            f"{headless}texts are read from column {found[0]!r} and translations from {found[1]!r} of {table.path.name}"
        )
        for row, (source, target) in enumerate(zip(*(table.columns[name] for name in found))):
            place = table.place(row)
            split = part if split_in is None else split_of(table.columns[split_in][row], place, split_in)
            pairs.append(Pair(source, target, place, split))
    where = str(tables[0][0].path.parent if len(tables) > 1 else tables[0][0].path)
    return collected(pairs, direction, notes, where, max_corrupt)
