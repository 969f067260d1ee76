"""`corinth predict`: what is in these images, what are these rows, texts or time series?"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from corinth.cli.drawings import Drawings
from corinth.cli.output import Cell, deliver, note, print_table, to_csv, to_json
from corinth.cli.parsing import parse
from corinth.errors import UsageError

if TYPE_CHECKING:
    from corinth.predictor import Answer, DensePredictor, Prediction
    from corinth.predictor.transcription import Transcript


@dataclass(frozen=True, kw_only=True)
class Options:
    """Classify, caption, segment or find objects in images with a trained run; classify rows of tables, texts or
    time series; translate; transcribe recordings; forecast series.

    A file that cannot be read is reported and the others go on (exit code 3).
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder."""
    files: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES")]
    """Image files, and folders of them. Tables, each row one to classify. Texts or sentences themselves, .txt files
    (of one text, or of a sentence a line where words are tagged or sentences translated), tables with a text a row.
    Time series in .csv files with a step a row, in .ts and .npz files; recordings, and folders of them. Clips: folders
    of frames, and .npz files. Tables of series to be gone on with."""
    top: int = 5
    """Classification: how many classes to name."""
    beam: int | None = None
    """Captioning, translation and transcription: how many beginnings are kept as a text is written; 5, 5 and 16 if left
    out, 1 is greedy."""
    text_column: str | None = None
    """Of tables with texts, where they are."""
    draw: Path | None = None
    """Segmentation and detection: draw masks or boxes on the images, into this folder."""
    format: Literal["table", "json", "csv"] = "table"
    output: Path | None = None
    """Write into this file."""
    batch_size: int = 64
    device: str = "auto"


def main(args: Sequence[str]) -> int:
    options = parse(Options, "predict", args)
    if not options.files:
        raise UsageError("corinth predict needs files, or texts, after the run")
    if options.top < 1:
        raise UsageError(f"--top {options.top} is not at least 1")
    if not options.run.exists():
        raise UsageError(f"there is no run {options.run}; `corinth train` prints the folder it leaves")
    from corinth.predictor import DensePredictor, load_run

    predictor: Any = load_run(options.run, device=options.device)
    if predictor.task == "language-modeling":
        raise UsageError(
            f"{options.run} is a language model, which writes: use corinth generate {options.run} --prompt TEXT"
        )
    if predictor.task == "text-from-label":
        raise UsageError(
            f"{options.run} writes texts of a label: use corinth generate {options.run} --label NAME; it knows "
            f"{', '.join(predictor.classes)}"
        )
    _refuse_of_others(options, predictor)
    if isinstance(predictor, DensePredictor):
        return _dense(predictor, options)
    told = _TOLD.get(predictor.task, _classified)(predictor, options)
    _show(options, told.found, told.csv, told.columns, told.rows)
    return _exit_code(told.found)


def _refuse_of_others(options: Options, predictor: Any) -> None:
    """What is for networks of other tasks would be ignored."""
    task = predictor.task
    if options.text_column is not None and not (task == "sequence-classification" and predictor.is_text):
        raise UsageError(f"--text-column is for tables of texts; {options.run} was not trained on texts")
    if options.draw is not None and task not in ("semantic-segmentation", "object-detection"):
        raise UsageError(f"--draw is for segmentation and detection; {options.run} does {task}")
    if options.beam is not None and task not in ("captioning", "translation", "transcription"):
        raise UsageError(f"--beam is for translation, transcription and captioning; {options.run} does {task}")


@dataclass(frozen=True)
class _Told:
    """Predictions, and how they are shown: as CSV, or by columns (name, how they are aligned) and rows."""

    found: "Sequence[Answer]"
    csv: str
    columns: dict[str, str]
    rows: Sequence[Sequence[Cell]]


def _translated(predictor: Any, options: Options) -> _Told:
    beam = {} if options.beam is None else {"beam": options.beam}
    found = predictor.predict([_given(word) for word in options.files], batch_size=options.batch_size, **beam)
    rows = [(p.source or p.name, "cannot be translated" if p.error is not None else p.translation) for p in found]
    return _Told(found, _dense_csv(found), {"source": "left", "translation": "left"}, rows)


def _captioned(predictor: Any, options: Options) -> _Told:
    beam = {} if options.beam is None else {"beam": options.beam}
    found = predictor.predict(list(map(Path, options.files)), batch_size=options.batch_size, **beam)
    rows = [
        (p.name, "cannot be read", "") if p.error is not None else (p.name, p.caption, f"{p.log_probability:.2f}")
        for p in found
    ]
    columns = {"name": "left", "caption": "left", "log-probability": "right"}
    return _Told(found, _dense_csv(found), columns, rows)


def _tagged(predictor: Any, options: Options) -> _Told:
    found = predictor.predict([_given(word) for word in options.files], batch_size=options.batch_size)
    rows = [(p.name, "cannot be tagged" if p.error is not None else p.summary) for p in found]
    return _Told(found, _dense_csv(found), {"name": "left", "tags": "left"}, rows)


def _framed(predictor: Any, options: Options) -> _Told:
    found = predictor.predict(list(map(Path, options.files)), batch_size=options.batch_size)
    rows = [(p.name, "cannot be used" if p.error is not None else p.summary) for p in found]
    return _Told(found, _dense_csv(found), {"name": "left", "frames": "left"}, rows)


def _transcribed(predictor: Any, options: Options) -> _Told:
    beam = {} if options.beam is None else {"beam": options.beam}
    found = predictor.predict(list(map(Path, options.files)), batch_size=options.batch_size, **beam)
    columns = {"name": "left", "transcript": "left", "probability": "right"}
    return _Told(found, _transcripts_csv(found), columns, [_heard(p) for p in found])


def _measured(predictor: Any, options: Options) -> _Told:
    from corinth.report.formats import number

    found = predictor.predict(list(map(Path, options.files)), batch_size=options.batch_size)
    cells = [[p.name, p.value, p.error or ""] for p in found]
    rows = [(p.name, "cannot be used" if p.value is None else number(p.value)) for p in found]
    columns = {"name": "left", predictor.target_name: "right"}
    return _Told(found, to_csv(["name", "value", "error"], cells), columns, rows)


def _forecast(predictor: Any, options: Options) -> _Told:
    """A row a step, as the table has it; which file it goes on with, and in CSV what failed, only where there are
    several series, or none that can be gone on with."""
    from corinth.report.formats import number

    found = predictor.predict(list(map(Path, options.files)), batch_size=options.batch_size)
    made = [p for p in found if p.error is None]
    columns = list((made or found)[0].columns)
    named = len(found) > 1 or not made
    lines: list[list[Any]] = []
    rows: list[list[Cell]] = []
    for p in found:
        if p.error is not None:
            group = p.group or {}
            lines.append([p.name, *(group.get(column, "") for column in columns), p.error])
            rows.append([p.name, *group.values(), "cannot be used", *[""] * (len(columns) - len(group) - 1)])
            continue
        for row in p.rows():
            shown = [number(cell, 6) if isinstance(cell, float) else cell for cell in row.values()]
            lines.append([p.name, *row.values(), ""] if named else [*row.values()])
            rows.append([p.name, *shown] if named else shown)
    head = ["name", *columns] if named else columns
    aligned = {name: "right" if name in predictor.preprocess.target_names else "left" for name in head}
    return _Told(found, to_csv([*head, "error"] if named else head, lines), aligned, rows)


def _classified(predictor: Any, options: Options) -> _Told:
    """Images, rows, texts or time series."""
    given: Sequence[Any] = options.files
    how: dict[str, Any] = {"batch_size": options.batch_size, "top": options.top}
    if predictor.task == "sequence-classification":
        given = [_given(word) for word in options.files] if predictor.is_text else list(map(Path, options.files))
        how["text_column"] = options.text_column
    found = predictor.predict(given, **how)
    columns = {"name": "left", "label": "left", "probability": "right", "then": "left"}
    csv = _csv(found, min(options.top, len(predictor.classes)))
    return _Told(found, csv, columns, [_row(p) for p in found])


_TOLD: dict[str, Callable[[Any, Options], _Told]] = {  # the others are classified
    "forecasting": _forecast,
    "captioning": _captioned,
    "sequence-regression": _measured,
    "tabular-regression": _measured,
    "frame-classification": _framed,
    "sequence-tagging": _tagged,
    "transcription": _transcribed,
    "translation": _translated,
}


def _given(word: str) -> str | Path:
    """A text itself, or the path of a file of texts."""
    from corinth.data.sequences.tagged import CONLL_SUFFIXES
    from corinth.data.tables import TABLE_SUFFIXES

    is_path = os.sep in word and not any(map(str.isspace, word))
    if is_path or word.lower().endswith((".txt", *TABLE_SUFFIXES, *CONLL_SUFFIXES)):
        return Path(word)
    return Path(word) if os.path.exists(word) else word  # which says no, too, of a name that is too long


@dataclass(frozen=True)
class _Said:
    """What is told of a prediction, without its mask: those of many large images would not fit the memory."""

    name: str
    error: str | None
    columns: tuple[str, ...]
    summary: str
    lines: list[dict[str, Any]]
    values: dict[str, Any]

    def rows(self) -> list[dict[str, Any]]:
        return self.lines

    def to_dict(self) -> dict[str, Any]:
        return self.values


def _dense(predictor: "DensePredictor", options: Options) -> int:
    from corinth.predictor.predictor import listed

    if options.batch_size < 1:
        raise UsageError(f"--batch-size {options.batch_size} is not at least 1")
    names = [name for name, _ in listed(options.files)]
    drawings = None if options.draw is None else Drawings(options.draw, names, options.files)
    found: list[_Said] = []
    for start in range(0, len(names), options.batch_size):
        for p in predictor.predict(names[start : start + options.batch_size], batch_size=options.batch_size):
            found.append(_Said(p.name, p.error, p.columns, p.summary, p.rows(), p.to_dict()))
            if drawings is not None and p.error is None:
                drawings.add(predictor, p)
    if drawings is not None:
        note(f"drew {drawings.count} images into {drawings.folder}")
    rows = [(p.name, "cannot be read" if p.error is not None else p.summary) for p in found]
    _show(options, found, _dense_csv(found), {"name": "left", "found": "left"}, rows)
    return _exit_code(found)


def _show(
    options: Options, found: "Sequence[Answer]", csv: str, columns: dict[str, str], rows: Sequence[Sequence[Cell]]
) -> None:
    if options.format == "json":
        deliver(to_json([p.to_dict() for p in found]), options.output)
    elif options.format == "csv":
        deliver(csv, options.output)
    elif options.output is not None:
        raise UsageError("--output takes --format json or csv")
    else:
        print_table(columns, rows)
    for prediction in found:
        if prediction.error is not None:
            note(f"corinth: {prediction.error}")


def _exit_code(found: "Sequence[Answer]") -> int:
    failed = sum(prediction.error is not None for prediction in found)
    return 1 if failed == len(found) else 3 if failed else 0


def _row(prediction: "Prediction") -> tuple[str, str, str, str]:
    if prediction.error is not None:
        return (prediction.name, "", "", "cannot be read")
    rest = ", ".join(f"{label} {p:.1%}" for label, p in prediction.top[1:])
    return (prediction.name, prediction.label or "", f"{prediction.probability:.1%}", rest)


def _heard(transcript: "Transcript") -> tuple[str, str, str]:
    if transcript.error is not None:
        return (transcript.name, "cannot be read", "")
    return (transcript.name, transcript.text or "(nothing)", f"{transcript.probability:.1%}")


def _transcripts_csv(found: "Sequence[Transcript]") -> str:
    columns = ["name", "transcript", "probability", "error"]
    cells = [["" if p.probability is None else f"{p.probability:.6f}", p.error or ""] for p in found]
    return to_csv(columns, [[p.name, p.text or "", *rest] for p, rest in zip(found, cells)])


def _csv(found: "Sequence[Prediction]", top: int) -> str:
    columns = ["name", "label", "probability"]
    for rank in range(2, top + 1):
        columns += [f"label_{rank}", f"probability_{rank}"]
    rows = []
    for prediction in found:
        ranked = [cell for label, p in prediction.top for cell in (label, f"{p:.6f}")]
        rows.append([prediction.name, *ranked, *[""] * (2 * top - len(ranked)), prediction.error or ""])
    return to_csv([*columns, "error"], rows)


def _dense_csv(found: "Sequence[Any]") -> str:
    """One line a class, a box, a word or a frame; of a sample in which nothing was found, or that failed, one line."""
    lines: list[dict[str, Any]] = []
    for prediction in found:
        rows = prediction.rows() if prediction.error is None else []
        lines += [{"name": prediction.name, **row, "error": prediction.error or ""} for row in rows or [{}]]
    columns = ["name", *(found[0].columns if found else ()), "error"]
    return to_csv(columns, [[line.get(column, "") for column in columns] for line in lines])
