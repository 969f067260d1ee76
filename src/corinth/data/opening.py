"""From a name or a path to an open data set: what it is, its labels, its splits."""

import difflib
import numbers
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corinth.data.collect import Progress, check_names, plural
from corinth.data.dataset import fingerprint, relabelled
from corinth.data.finding import COLUMNS, Sound, collect
from corinth.data.images import ImageData
from corinth.data.masks import MaskSource
from corinth.data.rows.source import RowData, RowSource
from corinth.data.sequences.clips import ClipSource
from corinth.data.sequences.forecast import ForecastSource, check_varies, in_time
from corinth.data.sequences.forecast_tables import checked_ahead
from corinth.data.sequences.label_encoding import FROM_LABEL
from corinth.data.sequences.labelled import FRAMES, StepLabels
from corinth.data.sequences.language import PassageSource, in_order
from corinth.data.sequences.pairs import PairSource
from corinth.data.sequences.source import (
    MeasuredSource,
    SequenceData,
    Series,
    SeriesSource,
    SteppedSource,
    TextSource,
)
from corinth.data.sequences.tagged import TaggedSource
from corinth.data.source import TargetSource
from corinth.data.splits import check_classes, hold_out, make_splits
from corinth.errors import DataError, UsageError

# of `open_data` and of a recipe
GROUPS = ("val_groups", "test_groups")
AHEAD = ("horizon", "window", "season", "missing")
OPTIONS = ("task", "split_seed", "val_share", "test_share", *COLUMNS, *GROUPS, "transcript_units", *AHEAD)
TASKS = (
    *("image-classification", "semantic-segmentation", "object-detection", "captioning"),
    *("tabular-classification", "tabular-regression"),
    *("sequence-classification", "sequence-regression", "sequence-tagging", "frame-classification"),
    *("text-from-label", "language-modeling", "translation", "transcription", "forecasting"),
)
_NONE = np.empty(0, dtype=np.int64)


def open_data(
    spec: str | Path,
    *,
    split_seed: int = 0,
    val_share: float = 0.1,
    test_share: float = 0.2,
    path_column: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    source_column: str | None = None,
    group_column: str | None = None,
    target_column: str | None = None,
    time_column: str | None = None,
    channel_columns: str | None = None,
    split_group: str | None = None,
    val_groups: str | None = None,
    test_groups: str | None = None,
    transcript_units: str = "words",
    horizon: int | None = None,
    window: int | None = None,
    season: int | None = None,
    missing: str = "refuse",
    audio_rate: int | None = None,
    max_corrupt: float = 0.05,
    classes: Sequence[str] | None = None,
    task: str | None = None,
    progress: Progress | None = None,
) -> ImageData | RowData | SequenceData:
    """Open a built-in set by name; images, texts or recordings in class folders; images with masks or boxes; a CSV, TSV
    or Parquet table of files' paths, of texts or of rows to classify; time series in `.ts` files, a NumPy archive, or a
    table with a step a row; tagged sentences; pairs of sentences in aligned files or a table; or running text.

    A table with both paths of recordings and their transcripts is for transcription; `transcript_units`, "words" or
    "characters", says what its labels are.

    A table with paths of images and a column of captions is for captioning; several rows of one picture are several
    captions of it. Texts with labels are for classification, with `task` "text-from-label" for writing them.

    A table with a step a row has `group_column`: the columns, with commas between, that say which sequence a row
    belongs to. The number to predict is in `target_column` (a class in `label_column`), the inputs are
    `channel_columns` (by default all other numbers), `time_column` orders the steps. Sequences with the same
    `split_group`, such as a person, stay in one part; `val_groups` and `test_groups` name those that are kept for it.

    With `horizon` a table with a row a step is to be forecast: so many steps, of the `target_column` (by default all
    `channel_columns`, and these all columns of numbers), from the `window` before them (by default twice as many).
    `time_column` has the times, `group_column` says which series a row belongs to, `season` after how many steps it
    comes round again, and with `missing="fill"` missing values are the last ones before them.

    A name is looked for among the built-in sets, then as a path, then in $CORINTH_DATA and the cache. With
    `classes` (evaluation: the run's own class names) labels are mapped onto them and a label that is not among
    them is a `DataError`; then a single class or an empty training part is no error. With `task` data for another one
    are a `UsageError`. Recordings are brought to `audio_rate`, samples a second, by default that of most of them.
    `progress(what, done, total)` is called while headers are read and files are fetched.
    """
    spec = str(spec)
    if task is not None and task not in TASKS:
        near = difflib.get_close_matches(str(task), TASKS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(TASKS)}"
        raise UsageError(f"the task {task!r} is not known; {hint}")
    split_seed = int(_of_kind(numbers.Integral, "split_seed", split_seed, "a whole number"))
    val_share = float(_of_kind(numbers.Real, "val_share", val_share, "a number"))
    test_share = float(_of_kind(numbers.Real, "test_share", test_share, "a number"))
    columns = {
        "path_column": path_column,
        "text_column": text_column,
        "label_column": label_column,
        "source_column": source_column,
        "group_column": group_column,
        "target_column": target_column,
        "time_column": time_column,
        "channel_columns": channel_columns,
        "split_group": split_group,
    }
    columns = {option: _words(value) for option, value in columns.items()}
    val_groups, test_groups = _words(val_groups), _words(test_groups)
    ahead = checked_ahead(task, horizon=horizon, window=window, season=season, missing=missing)
    name, found = collect(spec, columns, Sound(transcript_units, audio_rate, task), max_corrupt, progress, ahead)
    source, notes = found.source, list(found.notes)
    if not len(source):
        raise DataError(f"{spec}: there are no {plural(source.unit)}")
    if task == FRAMES and isinstance(source, SeriesSource) and not isinstance(source, MeasuredSource):
        source, found.task = SteppedSource.of(source), FRAMES
        notes.append("every step has the label of its series")
    if task == FROM_LABEL and isinstance(source, TextSource):
        found.task = task
    if task not in (None, found.task):
        raise UsageError(f"{spec} is data for {found.task}, and data for {task} are needed")
    if classes is not None:
        source = _onto(source, tuple(classes), spec)
    if isinstance(source, ForecastSource) and (val_groups or test_groups):
        option = "val_groups" if val_groups else "test_groups"
        raise UsageError(f"{option} is not for forecasting, whose parts are in time; leave it out")
    found.declared = hold_out(source, found.declared, {"val": val_groups, "test": test_groups}, spec)
    if found.declared and "train" not in found.declared and classes is None:
        have = ", ".join(found.declared)
        raise DataError(f"{spec}: declares the parts {have} and no training part; add one called train")
    try:
        shares: dict[str, Any] = {"val_share": val_share, "test_share": test_share, "where": spec}
        if isinstance(source, PassageSource):
            splits, said = in_order(source, found.declared, **shares)
        elif isinstance(source, ForecastSource):
            splits, said = in_time(source, **shares)
        else:
            splits, said = make_splits(source, found.declared, seed=split_seed, **shares)
    except DataError as error:
        if classes is None:
            raise
        splits = {name: found.declared.get(name, _NONE) for name in ("train", "val", "test")}
        said = [f"not split here, use the part called all ({error})"]
    notes += said
    if classes is None and not isinstance(source, TargetSource):
        check_classes(source, splits, spec, least=1 if found.task == FROM_LABEL else 2)
    if classes is None and isinstance(source, StepLabels):
        source.check_trained(splits["train"], spec)
    if classes is None and isinstance(source, ForecastSource):
        check_varies(source, splits["train"], spec)
    if classes is None and isinstance(source, MaskSource):
        source.check_classes(spec)
    if found.corrupt:
        what = "files" if source.unit == "image" else plural(source.unit)
        notes.append(f"{len(found.corrupt)} {what} cannot be used and are left out")
    common: dict[str, Any] = {
        "name": name,
        "spec": spec,
        "source": source,
        "splits": splits,
        "declared_splits": tuple(found.declared),
        "notes": tuple(notes),
        "fingerprint": fingerprint(source, splits),
        "corrupt": tuple(found.corrupt),
        "max_corrupt": max_corrupt,
        "opened_with": {
            "task": task,
            "split_seed": split_seed,
            "val_share": val_share,
            "test_share": test_share,
            **columns,
            "val_groups": val_groups,
            "test_groups": test_groups,
            "transcript_units": transcript_units,
            "horizon": horizon,
            "window": window,
            "season": season,
            "missing": missing,
        },
        "task": found.task,
    }
    if isinstance(
        source, TextSource | Series | ClipSource | TaggedSource | PassageSource | PairSource | ForecastSource
    ):
        return SequenceData(**common)
    if isinstance(source, RowSource):
        return RowData(**common)
    sizes = source.sizes
    middle = (int(np.median(sizes[:, 0])), int(np.median(sizes[:, 1])))
    return ImageData(**common, native_size=middle, channels=int(source.channels.max()))


def _words(value: Any) -> str | None:
    """Names with commas between, as a person may give them: a list, or a name that is a number."""
    if value is None or isinstance(value, str):
        return value
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _of_kind(kind: type, name: str, value: Any, valid: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, kind):
        raise UsageError(f"{name} {value!r} is not valid; it must be {valid}")
    return value


def refuse_options(names: Iterable[str]) -> None:
    """For callers that were given open data: an option of `open_data` beside them would do nothing."""
    if late := [name for name in names if name in OPTIONS]:
        raise UsageError(f"the data are open already, so {late[0]} does nothing; give it to open_data")


def _onto(source: Any, classes: tuple[str, ...], spec: str) -> Any:
    """Labels as positions in the run's own class names."""
    check_names(classes, "the run's classes")
    if isinstance(source, TargetSource):
        return source.onto(classes, spec)
    index = {name: i for i, name in enumerate(classes)}
    counts = np.bincount(source.labels, minlength=len(source.classes))
    unseen = [(name, int(n)) for name, n in zip(source.classes, counts, strict=True) if n and name not in index]
    if unseen:
        said = ", ".join(f"{name!r} ({n} {plural(source.unit)})" for name, n in unseen[:5]) + (
            ", …" if len(unseen) > 5 else ""
        )
        known = ", ".join(map(repr, classes[:5])) + (", …" if len(classes) > 5 else "")
        raise DataError(f"{spec}: the label {said} was not seen in training; the run knows {known}")
    table = np.array([index.get(name, -1) for name in source.classes], dtype=np.int64)
    return relabelled(source, table[source.labels], classes)
