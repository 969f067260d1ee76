"""What is worth knowing about a data set before time is spent on it."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from corinth.data.collect import Progress, counted, plural
from corinth.data.dataset import DataSet
from corinth.data.images import ImageData
from corinth.data.measured import Measured
from corinth.data.preprocess import Preprocess
from corinth.data.rows.leaks import in_runs, leaking_columns
from corinth.data.rows.source import MeasuredRows, RowData
from corinth.data.sequences.forecast import ForecastSource
from corinth.data.sequences.leaks import leaks
from corinth.data.sequences.source import LENGTHS, MeasuredSource, SequenceData
from corinth.data.source import TargetSource
from corinth.data.splits import groups_of
from corinth.data.store import decode_all, free_memory, held_bytes
from corinth.errors import DataError

_SHOWN = 5  # examples of each kind that are kept


@dataclass(frozen=True)
class Finding:
    """One sentence. An error stops a training, a warning makes its result doubtful, a note only informs."""

    severity: Literal["error", "warning", "note"]
    text: str


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of images."""

    sizes: dict[str, tuple[int, int]]  # "min", "median", "max" -> (H, W), each side by itself
    channels: dict[int, int]  # 1 or 3 -> images
    verified: bool  # whether every image was decoded, or only its header read
    memory: int | None  # bytes that all parts take when they are held in memory; None: input size not known

    @property
    def checked(self) -> str:
        done = "every image was decoded" if self.verified else "headers of images were read, pixels not decoded"
        return f"files ({done})"

    def line(self) -> str:
        (low_h, low_w), (mid_h, mid_w), (high_h, high_w) = (self.sizes[k] for k in ("min", "median", "max"))
        kinds = ", ".join(f"{n} {'grey' if c == 1 else 'colour'}" for c, n in sorted(self.channels.items()))
        return f"height {low_h} to {high_h} (median {mid_h}), width {low_w} to {high_w} (median {mid_w}); {kinds}"

    def to_dict(self) -> dict[str, Any]:
        channels = {str(k): v for k, v in self.channels.items()}
        return asdict(self) | {"channels": channels, "sizes": {k: list(v) for k, v in self.sizes.items()}}


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Of sequences, all of which were read."""

    lengths: dict[str, int]  # "min", "median", "max"
    unit: str  # characters of texts, steps of time series, words of sentences
    channels: int | None  # of time series
    checked: str = "(all were read)"

    def line(self) -> str:
        of = "" if self.channels is None else f" of {counted(self.channels, 'channel')}"
        low, high = self.lengths["min"], self.lengths["max"]
        if low == high:
            return f"{counted(low, self.unit.removesuffix('s'))}{of}"
        return f"{low} to {high} {self.unit}{of} (median {self.lengths['median']})"

    def to_dict(self) -> dict[str, Any]:
        return {"lengths": self.lengths, "length_unit": self.unit} | (
            {} if self.channels is None else {"channels": self.channels}
        )


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Of rows, all of which were read."""

    numbers: int
    words: int
    empty: int  # cells
    checked: str = "(all were read)"

    def line(self) -> str:
        return f"{self.numbers} columns of numbers, {self.words} of words; {self.empty} cells are empty"

    def to_dict(self) -> dict[str, Any]:
        return {"columns_of_numbers": self.numbers, "columns_of_words": self.words, "empty_cells": self.empty}


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """The facts about a data set and what follows from them."""

    name: str
    spec: str
    fingerprint: str
    unit: str  # what a sample is called
    samples: int
    parts: dict[str, int]
    declared_splits: tuple[str, ...]
    classes: dict[str, dict[str, int]]  # class -> part -> samples of it, or with it in their masks or boxes
    imbalance: float  # samples of the largest class over those of the smallest, in the training part
    measures: "Sizes | Lengths | Columns"
    corrupt: tuple[tuple[str, str], ...]  # (path, reason)
    duplicates_within: dict[str, int]  # part -> samples that are a copy of another one of the same part
    duplicates_across: int  # sets of identical samples that lie in more than one part
    conflicting: int  # sets of identical samples with different labels
    examples: dict[str, list[list[str]]]  # "across" and "conflicting" -> names of some sets
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = asdict(self)
        values |= self.measures.to_dict()
        del values["measures"]
        values["corrupt"] = [{"path": path, "reason": reason} for path, reason in self.corrupt]
        values["declared_splits"] = list(self.declared_splits)
        values["findings"] = list(values["findings"])
        return values

    def refuse_errors(self) -> None:
        """Raise a `DataError` of what must not be trained on."""
        if errors := [finding.text for finding in self.findings if finding.severity == "error"]:
            raise DataError(f"{self.spec}: {'; '.join(errors)}")

    def lines(self) -> list[str]:
        """The report as text, the findings last and the worst of them first."""
        parts = ", ".join(f"{count} {name}" for name, count in self.parts.items())
        order = ("error", "warning", "note")
        classes = f", {len(self.classes)} classes" if self.classes else ""
        uneven = f"largest class over smallest: {self.imbalance:.1f}; " if self.classes else ""
        return [
            f"{self.name}: {self.samples} {plural(self.unit)} ({parts}){classes}",
            self.measures.line(),
            f"{uneven}{len(self.corrupt)} unusable {self.measures.checked}",
            *(f"{f.severity}: {f.text}" for f in sorted(self.findings, key=lambda f: order.index(f.severity))),
        ]


def preflight(
    data: DataSet,
    *,
    preprocess: Preprocess | None = None,
    verify: bool = False,
    progress: Progress | None = None,
) -> Preflight:
    """Count, measure and compare.

    With `preprocess` the report says what the network's input size means for images and for the memory.
    `verify` decodes every image instead of trusting its header.
    """
    source = data.source
    corrupt = list(data.corrupt)
    if verify and isinstance(data, ImageData):
        corrupt += _damaged(data, progress)
    classes: dict[str, dict[str, int]] = {name: {} for name in source.classes}
    has = source.amounts() > 0 if isinstance(source, TargetSource) else None
    for part, rows in data.splits.items():
        labels = np.bincount(source.labels[rows], minlength=len(classes)) if has is None else has[rows].sum(axis=0)
        for name, count in zip(source.classes, labels.tolist(), strict=True):
            classes[name][part] = count
    trained = [count["train"] for count in classes.values() if count["train"]]
    within, across, conflicting = _duplicates(data)
    facts = Preflight(
        name=data.name,
        spec=data.spec,
        fingerprint=data.fingerprint,
        unit=source.unit,
        samples=len(source),
        parts={name: len(positions) for name, positions in data.splits.items()},
        declared_splits=data.declared_splits,
        classes=classes,
        imbalance=max(trained) / min(trained) if trained else 1.0,
        measures=_measures(data, preprocess, verify),
        corrupt=tuple(corrupt),
        duplicates_within=within,
        duplicates_across=len(across),
        conflicting=len(conflicting),
        examples={
            "across": [[source.name(i) for i in group] for group in across[:_SHOWN]],
            "conflicting": [[source.name(i) for i in group] for group in conflicting[:_SHOWN]],
        },
        findings=(),
    )
    return replace(facts, findings=tuple(_findings(data, facts, preprocess)))


def _measures(data: DataSet, preprocess: Preprocess | None, verified: bool) -> Sizes | Lengths | Columns:
    source: Any = data.source
    if isinstance(data, RowData):
        return Columns(**data.facts(), empty=int(np.isnan(source.numbers).sum() + (source.words == "").sum()))
    if isinstance(data, SequenceData):
        lengths = source.lengths
        found = {"min": lengths.min(), "median": np.median(lengths), "max": lengths.max()}
        channels = data.facts().get("channels")
        return Lengths(
            lengths={name: int(value) for name, value in found.items()}, unit=LENGTHS[source.unit], channels=channels
        )
    assert isinstance(data, ImageData)
    sizes = source.sizes
    sides = {"min": sizes.min(0), "median": np.median(sizes, 0), "max": sizes.max(0)}
    return Sizes(
        sizes={name: (int(side[0]), int(side[1])) for name, side in sides.items()},
        channels=dict(Counter(source.channels.tolist())),
        verified=verified,
        memory=None if preprocess is None else held_bytes(data, preprocess, len(source)),
    )


def _damaged(data: ImageData, progress: Progress | None) -> list[tuple[str, str]]:
    """Decode everything, a stretch at a time, and keep one grey pixel of each."""
    tiny = Preprocess(size=(1, 1), channels=data.channels, mean=(0.0,) * data.channels, std=(1.0,) * data.channels)
    _, _, damaged = decode_all(data.source, data.positions("all"), tiny, progress=progress)
    return list(damaged.values())


def _duplicates(data: DataSet) -> tuple[dict[str, int], list[list[int]], list[list[int]]]:
    """Copies within each part; sets of identical samples across parts; sets with more than one label."""
    part = np.full(len(data), -1, dtype=np.int64)
    for number, positions in enumerate(data.splits.values()):
        part[positions] = number
    groups = data.source.duplicate_groups()
    counts = np.bincount(groups)
    sets: dict[int, list[int]] = defaultdict(list)
    for i in np.flatnonzero(counts[groups] > 1).tolist():
        sets[int(groups[i])].append(i)
    within = dict.fromkeys(data.splits, 0)
    names = list(data.splits)
    for members in sets.values():
        for number, count in Counter(part[members].tolist()).items():
            if number >= 0:
                within[names[number]] += count - 1
    across = [m for m in sets.values() if len(set(part[m].tolist()) - {-1}) > 1]
    said = data.source.targets if isinstance(data.source, Measured) else data.source.labels
    conflicting = [m for m in sets.values() if len(set(said[m].tolist())) > 1]
    return within, across, conflicting


def _torn(data: DataSet) -> list[str]:
    """The groups that are in several parts, which only parts that the data declare can do."""
    groups = groups_of(data.source)
    parts = [{groups[i] for i in rows} for rows in data.splits.values()] if groups else []
    counts = Counter(name for names in parts for name in names)
    return sorted(name for name, count in counts.items() if count > 1 and name)


def _findings(data: DataSet, facts: Preflight, preprocess: Preprocess | None) -> Iterable[Finding]:
    unit, several = facts.unit, plural(facts.unit)
    if facts.corrupt:
        path, reason = facts.corrupt[0]
        rest = f", and {len(facts.corrupt) - 1} more" if len(facts.corrupt) > 1 else ""
        total = len(data) + len(data.corrupt)
        too_many = len(facts.corrupt) > data.max_corrupt * total
        yield Finding("error" if too_many else "warning", f"cannot be used and is left out: {path} ({reason}){rest}")
    if facts.duplicates_across:
        first = " and ".join(facts.examples["across"][0][:2])
        yield Finding(
            "warning",
            f"{_count(facts.duplicates_across, f'{unit} lies', f'{several} lie')} in more than one part, "
            f"so scores on them are flattering: {first}",
        )
    if torn := _torn(data):
        said = ", ".join(torn[:_SHOWN]) + (", …" if len(torn) > _SHOWN else "")
        yield Finding(
            "warning",
            f"{_count(len(torn), 'group lies', 'groups lie')} in more than one of the parts that the data declare, "
            f"so scores on them are flattering: {said}",
        )
    if facts.conflicting:
        first = " and ".join(facts.examples["conflicting"][0][:2])
        said = "targets" if isinstance(data.source, Measured) else "labels"
        yield Finding(
            "warning",
            f"{_count(facts.conflicting, f'{unit} appears', f'{several} appear')} with different {said}: {first}",
        )
    if copies := sum(facts.duplicates_within.values()):
        said = _count(copies, f"{unit} is an exact copy", f"{several} are exact copies")
        yield Finding("note", f"{said} of another one of the same part")
    labelled = not isinstance(data.source, TargetSource)
    if labelled and facts.imbalance > 3:
        counts = {name: count["train"] for name, count in facts.classes.items() if count["train"]}
        large, small = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        yield Finding(
            "warning" if facts.imbalance > 10 else "note",
            f"classes are uneven: {counts[large]} training {several} of {large!r}, {counts[small]} of {small!r}; "
            "consider class_weights=balanced and look at the recall of each class",
        )
    if unseen := [name for name, count in facts.classes.items() if not count["train"] and any(count.values())]:
        said = ", ".join(map(repr, unseen[:_SHOWN])) + (", …" if len(unseen) > _SHOWN else "")
        yield Finding("warning", f"no training {unit} has {said}, and other parts do: it will not be learnt")
    if labelled and (rare := [name for name, count in facts.classes.items() if 0 < count["train"] < 10]):
        said = ", ".join(map(repr, rare[:_SHOWN])) + (", …" if len(rare) > _SHOWN else "")
        yield Finding(
            "warning", f"{_count(len(rare), 'class has', 'classes have')} fewer than 10 training {several}: {said}"
        )
    if facts.parts["train"] and not data.scorable("train"):
        yield Finding("error", f"the train part {nothing_in(data)}, so there is nothing to learn")
    for part in ("val", "test"):
        if not facts.parts[part]:
            yield Finding("warning", f"the {part} part is empty")
        elif not data.scorable(part):
            yield Finding("warning", f"the {part} part {nothing_in(data)}: no score can be computed on it")
        elif absent := [name for name, count in facts.classes.items() if count["train"] and not count[part]]:
            said = ", ".join(map(repr, absent[:_SHOWN])) + (", …" if len(absent) > _SHOWN else "")
            yield Finding("note", f"the {part} part has no {unit} of {said}")
    sizes = facts.measures
    if isinstance(sizes, Sizes) and len(sizes.channels) > 1:
        yield Finding(
            "note", f"{_count(sizes.channels[1], 'image is', 'images are')} grey, {sizes.channels[3]} in colour"
        )
    if preprocess is not None and isinstance(sizes, Sizes) and isinstance(data, ImageData):
        yield from _fit_findings(data, sizes, preprocess)
    if isinstance(data.source, Measured):
        yield from _target_findings(data, data.source)
    if isinstance(data.source, ForecastSource):
        yield from _forecast_findings(data, data.source)
    if isinstance(data, RowData):
        yield from _column_findings(data)
    yield from (Finding("note", text) for text in data.notes)


def _column_findings(data: RowData) -> Iterable[Finding]:
    train = data.positions("train")
    for name, words in zip(data.source.word_names, data.source.words[train].T):
        if len(train) > 1 and len(set(words)) == len(train):
            yield Finding(
                "warning",
                f"column {name!r} has another word in every training row, as names are: nothing can be learnt from it",
            )


def _forecast_findings(data: DataSet, source: ForecastSource) -> Iterable[Finding]:
    """What never changes, and what lies outside of all that training has seen, as behind a trend."""

    def of(part: str) -> np.ndarray:
        rows = source.touched(data.positions(part))
        return np.concatenate([values[there] for values, there in zip(source.series, rows, strict=True)])

    seen = of("train")
    if not len(seen):
        return
    low, high = seen.min(axis=0), seen.max(axis=0)
    for place, name in enumerate(source.channel_names):
        if low[place] == high[place]:
            yield Finding(
                "warning",
                f"channel {name!r} is {low[place]:g} all through the training part: nothing is learnt from it",
            )
    for part in ("val", "test"):
        values = of(part)
        outside = ((values < low) | (values > high)).mean(axis=0) if len(values) else np.zeros(len(low))
        for place, name in zip(source.targets, source.target_names):
            if outside[place] > 0.05:
                yield Finding(
                    "note",
                    f"{outside[place]:.0%} of the {part} steps of {name!r} lie outside of what training has seen "
                    f"({low[place]:.4g} to {high[place]:.4g}), as on a trend: relative last or window follows it",
                )


def _target_findings(data: DataSet, source: Measured) -> Iterable[Finding]:
    train = data.positions("train")
    if isinstance(source, MeasuredSource):
        yield from (Finding("warning", text) for text in leaks(source, train))
    if isinstance(source, MeasuredRows):
        yield from (Finding("warning", text) for text in (*leaking_columns(source, train), *in_runs(source)))
    trained = source.targets[train]
    if not len(trained):
        return
    low, high = float(trained.min()), float(trained.max())
    digits = 4 + max(0, math.ceil(math.log10(max(abs(low), abs(high)) / (high - low)))) if high > low else 4
    said = [f"{value:.{digits}g}" for value in (low, high, trained.mean())]
    yield Finding(
        "note", f"{source.target_name} of training {plural(source.unit)} is {said[0]} to {said[1]}, mean {said[2]}"
    )
    for part in ("val", "test"):
        targets = source.targets[data.positions(part)]
        if outside := int(((targets < low) | (targets > high)).sum()):
            yield Finding(
                "note",
                f"{outside} of {len(targets)} {part} {plural(source.unit)} lie outside of that: no such was trained on",
            )


def _fit_findings(data: ImageData, facts: Sizes, preprocess: Preprocess) -> Iterable[Finding]:
    height, width = preprocess.size
    sizes = data.source.sizes
    small = int(((sizes[:, 0] < height) | (sizes[:, 1] < width)).sum())
    if small and preprocess.fit != "pad":
        yield Finding(
            "warning" if small > len(sizes) / 2 and height >= 2 * facts.sizes["median"][0] else "note",
            f"{small} of {len(sizes)} images are smaller than the network's input of {height} x {width} "
            "and are enlarged, which adds cost and no detail",
        )
    if preprocess.channels == 1 and 3 in facts.channels:
        yield Finding("note", f"{facts.channels[3]} colour images are turned grey for a network with one channel")
    need, free = held_bytes(data, preprocess, len(sizes)), free_memory()
    held = "are held in memory" if need <= free // 2 else "are streamed by worker processes"
    yield Finding("note", f"the prepared images take {need / 1e6:,.0f} MB of {free / 1e6:,.0f} MB free and {held}")


def nothing_in(data: DataSet) -> str:
    """What a part that cannot be scored lacks."""
    lacking = {
        "object-detection": "has not one box",
        "sequence-tagging": "has no word with a tag",
        "frame-classification": "has no step with a label",
    }
    return lacking.get(data.task, "has no pixel with a class")


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"
