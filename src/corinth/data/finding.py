"""What kind of data lies under a name or at a path, and all of its samples."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corinth.data import binary, builtin
from corinth.data.boxes import is_box_data, open_boxes
from corinth.data.captions import have_captions, open_captions
from corinth.data.collect import Collected, Progress, collect_files
from corinth.data.decode import is_image_file
from corinth.data.folders import count_class_folders, open_folders
from corinth.data.masks import is_mask_folder, open_masks
from corinth.data.rows.reading import have_rows, open_rows
from corinth.data.sequences.audio import audio_files, collect_audio, is_audio_file
from corinth.data.sequences.clip_folders import LABELS_FILE, is_clip_folder, open_clip_folder
from corinth.data.sequences.clips import hold_clips, open_archives
from corinth.data.sequences.forecast_tables import ETTH, Ahead, open_forecast
from corinth.data.sequences.language import language_files, open_language
from corinth.data.sequences.parallel import (
    NUMBERED,
    aligned_files,
    open_aligned,
    open_pair_tables,
    pair_columns,
    read_tabbed,
    without_header,
)
from corinth.data.sequences.series import SERIES_SUFFIXES, open_series, series_files
from corinth.data.sequences.steps import STEP_COLUMNS, open_steps
from corinth.data.sequences.tagged import CONLL_SUFFIXES, open_tagged, tagged_files
from corinth.data.sequences.texts import count_texts, have_texts, open_text_folder, open_text_tables, parts_of
from corinth.data.sequences.transcripts import have_transcripts, open_transcripts
from corinth.data.tables import TABLE_SUFFIXES, Table, labelled_files, read_table
from corinth.data.unlabelled import check_labelled
from corinth.errors import UsageError

COLUMNS = ("path_column", "text_column", "label_column", "source_column", *STEP_COLUMNS)  # of `open_data`
OF_PAIRS = ("source_column", "target_column")


@dataclass(frozen=True)
class Sound:
    """How recordings are read, and what the data are for, as `open_data` has it."""

    transcript_units: str = "words"
    audio_rate: int | None = None
    task: str | None = None


def collect(
    spec: str,
    columns: dict[str, str | None],
    sound: Sound,
    max_corrupt: float,
    progress: Progress | None,
    ahead: Ahead | None = None,
) -> tuple[str, Collected]:
    """The name of the data and what is in them; with `ahead` a table with a row a step is to be forecast."""
    path = Path(spec).expanduser()
    asked = [name for name, column in columns.items() if column is not None]
    if (known := builtin.builtin(spec)) and known.name == "etth1":
        return known.name, _open_etth1(known, columns, ahead, progress)
    if ahead is not None:
        return _open_forecast(spec, columns, ahead)
    if known:
        if asked:
            raise UsageError(f"{known.name} is a built-in set; {asked[0]} belongs to a table")
        if known.name == "digits":
            found = binary.open_digits()
        else:
            folder = builtin.locate(known, progress=progress)
            found = _open_folder(folder, known.name, sound, max_corrupt, progress)
            found.notes.insert(0, f"{known.name} is read from {folder}")
        if path.exists():
            found.notes.insert(0, f"{spec} is the built-in set; write ./{spec} for the folder of that name")
        return known.name, found
    path = _located(spec)
    if is_clip_folder(path):
        if asked:
            raise UsageError(f"{path} is a folder of clips, whose labels are in {LABELS_FILE}; leave {asked[0]} out")
        return path.resolve().name, open_clip_folder(path, max_corrupt=max_corrupt, progress=progress)
    if not (path.is_dir() and _has_images(path)) and (found := _sequences(path, columns, max_corrupt)) is not None:
        return path.resolve().name.removesuffix(path.suffix if path.is_file() else ""), found
    if path.is_dir():
        if asked:
            raise UsageError(f"{path} is a folder; {asked[0]} belongs to a table")
        return path.resolve().name, _open_folder(path, path.resolve().name, sound, max_corrupt, progress)
    if files := language_files(path):
        if asked:
            raise UsageError(f"{path} is running text; {asked[0]} belongs to a table")
        return path.stem, open_language(files)
    if is_box_data(path):
        return path.stem, open_boxes(path, max_corrupt=max_corrupt, progress=progress)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return path.stem, _open_table(path, columns, sound, max_corrupt, progress)
    raise UsageError(
        f"{path} is a file of no known kind; data is a folder of class folders, a table ({', '.join(TABLE_SUFFIXES)}), "
        f"running text (.txt), time series ({', '.join(SERIES_SUFFIXES)}), tagged sentences "
        f"({', '.join(CONLL_SUFFIXES)}) or annotations of boxes (COCO's .json)"
    )


def _open_etth1(
    known: builtin.Builtin, columns: dict[str, str | None], ahead: Ahead | None, progress: Progress | None
) -> Collected:
    """The field's own split; its columns may be chosen, which the built-in sets of images have none of."""
    if ahead is None:
        raise UsageError(f"{known.name} is a series to forecast; say how many hours ahead, such as horizon 96")
    file = builtin.locate(known, progress=progress) / known.complete[0][0]
    found = open_forecast(read_table(file), columns, ahead, borders=ETTH)
    found.notes.insert(0, f"{known.name} is read from {file}: {', '.join(f'{n:,}' for n in ETTH)} hours are its parts")
    return found


def _open_forecast(spec: str, columns: dict[str, str | None], ahead: Ahead) -> tuple[str, Collected]:
    path = Path(spec).expanduser() if builtin.builtin(spec) else _located(spec)
    if not path.is_file() or path.suffix.lower() not in TABLE_SUFFIXES:
        raise UsageError(f"{spec} is no table ({', '.join(TABLE_SUFFIXES)}), which forecasting takes: a row is a step")
    return path.stem, open_forecast(read_table(path), columns, ahead)


def _has_images(folder: Path) -> bool:
    """Whether a folder is one of images, whatever else lies in it."""
    layouts = (binary.idx_files, binary.cifar_folder, is_mask_folder, is_box_data, count_class_folders)
    return any(layout(folder) for layout in layouts)


def _sequences(path: Path, columns: dict[str, str | None], max_corrupt: float) -> Collected | None:
    """Translations, the texts or rows of several tables, tagged sentences or time series at a path; None where there is
    none of them."""
    asked = [name for name, column in columns.items() if column is not None]
    if (found := _pairs(path, columns, max_corrupt)) is not None:
        return found
    files = series_files(path)
    if not files and columns["target_column"] is not None and not any(columns[name] for name in _OF_SEQUENCES):
        return _open_measured_rows(path, columns, max_corrupt)
    if not files and (steps := [name for name in STEP_COLUMNS if columns[name] is not None]):
        return _open_steps(path, columns, steps[0], max_corrupt)
    tables = [(read_table(table), part) for table, part in parts_of(path)]
    if tables and have_texts([table for table, _ in tables], columns["text_column"]):
        if columns["path_column"] is not None:
            raise UsageError(f"{path} holds tables of texts for each part; path_column belongs to one table of images")
        own = {name: columns[name] for name in ("text_column", "label_column")}
        return open_text_tables(tables, max_corrupt=max_corrupt, **own)
    if tables and columns["path_column"] is None and have_rows([table for table, _ in tables]):
        return open_rows(tables, label_column=columns["label_column"])
    if tagged := tagged_files(path):
        if wrong := [name for name in asked if name != "label_column"]:
            raise UsageError(f"{path} holds tagged sentences; {wrong[0]} belongs to a table")
        return open_tagged(tagged, label_column=columns["label_column"])
    if hold_clips(files):
        if asked:
            raise UsageError(f"{path} holds clips, whose labels are its array y; {asked[0]} belongs to a table")
        return open_archives(files, max_corrupt=max_corrupt)
    if files:
        if wrong := [name for name in asked if name != "target_column"]:
            raise UsageError(f"{path} holds time series; {wrong[0]} belongs to a table")
        return open_series(files, max_corrupt=max_corrupt, target=columns["target_column"])
    return None


def _pairs(path: Path, columns: dict[str, str | None], max_corrupt: float) -> Collected | None:
    """Aligned files, or tables with a text and its translation a row; None where there is none of them."""
    two = columns["source_column"], columns["target_column"]
    others = [name for name, column in columns.items() if column is not None and name not in OF_PAIRS]
    if files := aligned_files(path):
        if others:
            raise UsageError(f"{path} holds aligned files; {others[0]} belongs to a table")
        return open_aligned(path, files, two, max_corrupt=max_corrupt)
    if two[0] is None and others:  # a target_column alone may be a number's too
        return None
    inside = [path]
    if path.is_dir():  # beside folders, images or recordings a text is about them
        suffixes = TABLE_SUFFIXES if _holds_others(path) else (*TABLE_SUFFIXES, ".txt")
        inside = [file for file in path.iterdir() if file.suffix.lower() in suffixes and file.name[0] != "."]
    tables: list[tuple[Any, str | None]] = [(read_table(table), part) for table, part in parts_of(path)]
    if not tables and len(inside) == 1:
        (only,) = inside
        table = read_table(only) if only.suffix.lower() in TABLE_SUFFIXES else read_tabbed(only)
        tables = [] if table is None else [(table, None)]
    if not others and all(name is None or name.isdecimal() for name in two):
        headless = [(without_header(table), part) for table, part in tables]
        tables = [(bare or table, part) for (bare, _), (table, part) in zip(headless, tables)]
    asked = two if two[0] is not None else (None, None)
    if tables and all(_holds_pairs(table, asked) for table, _ in tables):
        if others:
            raise UsageError(f"{path} holds translations; {others[0]} is for other data")
        return open_pair_tables(tables, two, max_corrupt=max_corrupt)
    if two[0] is not None:
        raise UsageError(
            f"{path} holds no translations that could be read, so source_column says nothing; leave it out"
        )
    return None


def _holds_pairs(table: Table, columns: tuple[str | None, str | None]) -> bool:
    return list(table.columns) == NUMBERED or pair_columns(table, columns) is not None


def _open_steps(path: Path, columns: dict[str, str | None], asked: str, max_corrupt: float) -> Collected:
    """Time series of a table with a step a row, or of several that are the parts of one data set."""
    files = [(path, None)] if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES else parts_of(path)
    if not files:
        raise UsageError(f"{path} is no table; {asked} belongs to one with a step a row ({', '.join(TABLE_SUFFIXES)})")
    if other := [name for name in ("path_column", "text_column") if columns[name] is not None]:
        raise UsageError(f"{other[0]} and {asked} are two kinds of data; give one of them")
    return open_steps([(read_table(file), part) for file, part in files], columns, max_corrupt=max_corrupt)


_OF_SEQUENCES = [name for name in STEP_COLUMNS if name != "target_column"]


def _open_measured_rows(path: Path, columns: dict[str, str | None], max_corrupt: float) -> Collected:
    """Rows of a table, or of one for each part, with a number each."""
    files = [(path, None)] if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES else parts_of(path)
    if not files:
        raise UsageError(f"{path} is no table; target_column belongs to one ({', '.join(TABLE_SUFFIXES)})")
    if other := [name for name in ("path_column", "text_column") if columns[name] is not None]:
        raise UsageError(f"{other[0]} and target_column are two kinds of data; give one of them")
    tables = [(read_table(file), part) for file, part in files]
    own = {name: columns[name] for name in ("label_column", "target_column")}
    return open_rows(tables, max_corrupt=max_corrupt, **own)


def _located(spec: str) -> Path:
    """The path that a spec means: where it leads itself, or in one of the folders of named data."""
    path = Path(spec).expanduser()
    if path.exists() or series_files(path):
        return path
    for place in builtin.named_paths(spec):
        if place.exists() or series_files(place):
            return place
    raise builtin.unknown(spec)


def _open_table(
    path: Path, columns: dict[str, str | None], sound: Sound, max_corrupt: float, progress: Progress | None
) -> Collected:
    text, image, label = columns["text_column"], columns["path_column"], columns["label_column"]
    table = read_table(path)
    if have_transcripts(table, path_column=image, text_column=text, label_column=label):
        return open_transcripts(
            table,
            path_column=image,
            text_column=text,
            units=sound.transcript_units,
            max_corrupt=max_corrupt,
            audio_rate=sound.audio_rate,
            progress=progress,
        )
    if have_captions(table, columns, sound.task):
        return open_captions(table, columns, max_corrupt=max_corrupt, progress=progress)
    if text is not None and image is not None:
        raise UsageError(
            "text_column and path_column together are for recordings and their transcripts, or for pictures and their "
            "captions, which these are not; give one of them"
        )
    if image is None and have_texts([table], text):
        return open_text_tables([(table, None)], text_column=text, label_column=label, max_corrupt=max_corrupt)
    if image is None and have_rows([table]):
        return open_rows([(table, None)], label_column=label)
    files, notes = labelled_files(table, path_column=image, label_column=label)
    how: dict[str, Any] = {"where": str(path), "max_corrupt": max_corrupt, "progress": progress}
    is_sound = any(is_audio_file(file.path) for file in files)
    found = collect_audio(files, audio_rate=sound.audio_rate, **how) if is_sound else collect_files(files, **how)
    found.notes[:0] = notes
    return found


def _open_folder(path: Path, name: str, sound: Sound, max_corrupt: float, progress: Progress | None) -> Collected:
    if binary.idx_files(path):
        return binary.open_idx(path, name=name)
    if batches := binary.cifar_folder(path):
        return binary.open_cifar10(batches, name=name)
    if is_mask_folder(path):
        found = open_masks(path, max_corrupt=max_corrupt, progress=progress)
        if is_box_data(path):
            found.notes.append("there are boxes too; for these name the folder of the .xml files, or the .json file")
        return found
    if is_box_data(path):
        return open_boxes(path, max_corrupt=max_corrupt, progress=progress)
    tables = sorted(p for p in path.iterdir() if p.suffix.lower() in TABLE_SUFFIXES and not p.name.startswith("."))
    if tables and count_class_folders(path) < 2:  # at most a folder for all the images
        if len(tables) > 1:
            names = ", ".join(p.name for p in tables)
            raise UsageError(
                f"{path} holds several tables ({names}); name the one to use, with a split column if it has parts"
            )
        return _open_table(tables[0], dict.fromkeys(COLUMNS), sound, max_corrupt, progress)
    if not count_class_folders(path):
        recordings, texts = list(audio_files(path)), count_texts(path)
        if recordings and len(recordings) >= texts:
            how: dict[str, Any] = {"where": str(path), "max_corrupt": max_corrupt, "progress": progress}
            return collect_audio(recordings, audio_rate=sound.audio_rate, **how)
        if texts:
            return open_text_folder(path, max_corrupt=max_corrupt)
    check_labelled(path)
    if (files := language_files(path)) and not _holds_others(path):
        return open_language(files)
    return open_folders(path, max_corrupt=max_corrupt, progress=progress)


def _holds_others(folder: Path) -> bool:
    """Whether a folder with texts holds images or recordings, or folders: then the texts are beside the point."""
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return any(path.is_dir() or is_image_file(path) or is_audio_file(path) for path in inside)
