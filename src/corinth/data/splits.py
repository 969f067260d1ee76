"""Train, validation and test parts: stratified, a pure function of the data's names and the seed."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np

from corinth.data.collect import plural
from corinth.data.source import Source, TargetSource, number_groups
from corinth.errors import DataError, UsageError


def make_splits(
    source: Source,
    declared: dict[str, np.ndarray],
    *,
    seed: int,
    val_share: float,
    test_share: float,
    where: str,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Keep the declared parts and carve the missing ones out of what may be trained on.

    With nothing declared, `val_share` and `test_share` are shares of all; otherwise a missing part is its share of
    the declared training part. Every class gives at least one sample to each part. Samples that are the same stay
    together; where groups do that and one has several classes, classes play no part. Within a class the order is that
    of a hash of seed and name, so new ones do not reshuffle old ones.
    """
    for name, share in (("val_share", val_share), ("test_share", test_share)):
        if not 0 <= share < 1:
            raise UsageError(f"{name} {share} is not in [0, 1)")
    if val_share + test_share >= 1:
        raise UsageError(f"val_share {val_share} and test_share {test_share} leave nothing to train on")
    splits = dict(declared)
    several = plural(source.unit)
    pool = declared.get("train", np.empty(0, dtype=np.int64)) if declared else np.arange(len(source))
    shares = {
        name: share
        for name, share in (("test", test_share), ("val", val_share))
        if share > 0 and name not in declared and len(pool)
    }
    if shares:
        carved = _carve(source, pool, shares, seed, where)
        splits |= carved
    splits.setdefault("train", pool)
    empty = np.empty(0, dtype=np.int64)
    splits = {name: np.sort(splits.get(name, empty)) for name in ("train", "val", "test")}
    notes = []
    groups = groups_of(source)
    if shares and groups:
        held = ", ".join(f"{name}: {', '.join(_present(groups, splits[name])[:5])}" for name in shares)
        notes.append(f"split here by group, split seed {seed}: {held}; the rest is for training")
    elif shares:
        said = ", ".join(f"{share:.0%} {name}" for name, share in shares.items())
        of = "the declared training part" if declared else f"all {several}"
        by_class = "" if isinstance(source, TargetSource) else "stratified, "
        notes.append(
            f"split here: {said} of {of}, {by_class}split seed {seed}; {several} with identical bytes stay together"
        )
    return splits, notes


def groups_of(source: Source) -> tuple[str, ...]:
    """Of each sample what must stay in one part with it; none where each may go by itself."""
    return getattr(source, "groups", ())


def hold_out(
    source: Source, declared: Mapping[str, np.ndarray], wanted: Mapping[str, str | None], where: str
) -> dict[str, np.ndarray]:
    """The parts that groups are kept for: `wanted` maps "val" and "test" to names with commas between, or nothing."""
    asked = {
        part: [name.strip() for name in names.split(",") if name.strip()] for part, names in wanted.items() if names
    }
    if not asked:
        return dict(declared)
    groups = groups_of(source)
    there = _present(groups, np.arange(len(groups)))
    for part, names in asked.items():
        option = f"{part}_groups {', '.join(names)}"
        if not groups:
            raise UsageError(f"{where}: {option} needs groups; name their column with split_group")
        if declared:
            raise UsageError(
                f"{where}: {option} and the parts that the data declare say the same thing; use one of them"
            )
        if unknown := [name for name in names if name not in there]:
            raise UsageError(f"{where}: {part}_groups {unknown[0]!r} is no group; there are {', '.join(there)}")
    if both := set(asked.get("val", ())) & set(asked.get("test", ())):
        raise UsageError(f"{where}: {min(both)!r} is in val_groups and in test_groups; it can be in one part")
    part_of = {name: part for part, names in asked.items() for name in names}
    parts = np.array([part_of.get(group, "train") for group in groups], dtype=object)
    if not (parts == "train").any():
        raise UsageError(f"{where}: every group is held out ({', '.join(there)}); leave some to train on")
    return {part: np.flatnonzero(parts == part) for part in ("train", *asked)}


def _present(groups: Sequence[str], rows: np.ndarray) -> list[str]:
    return sorted({groups[i] for i in rows})


def _carve(source: Source, pool: np.ndarray, shares: dict[str, float], seed: int, where: str) -> dict[str, np.ndarray]:
    names = groups_of(source)
    unit = "group" if names else source.unit
    keys = [names[i] if names else source.key(int(i)) for i in pool]
    order = np.array([_rank(seed, key) for key in keys], dtype=np.uint64)
    groups = number_groups(key.encode() for key in keys) if names else source.duplicate_groups()[pool]
    labels = _of_first(groups, source.labels[pool])
    mixed = bool(names) and bool((labels != source.labels[pool]).any())
    labels = np.zeros_like(labels) if mixed else labels
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*shares, "train")}
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        bundles = _bundles(groups[members], order[members])
        if len(bundles) <= len(shares):
            there = "there is" if len(bundles) == 1 else "there are"
            has = there if mixed or isinstance(source, TargetSource) else f"class {source.classes[label]!r} has"
            raise DataError(
                f"{where}: {has} {len(bundles)} different {unit if len(bundles) == 1 else plural(unit)}, and "
                f"{len(shares) + 1} are needed to give {', '.join(parts)} one each; add {plural(unit)}, or declare the "
                "splits"
            )
        start = 0
        for position, (name, share) in enumerate(shares.items()):
            wanted, taken = max(1, int(share * len(members) + 0.5)), 0
            reserve = len(shares) - position  # one bundle for each part still to come
            while taken < wanted and start < len(bundles) - reserve:
                parts[name].append(pool[members[bundles[start]]])
                taken += len(bundles[start])
                start += 1
        parts["train"].extend(pool[members[bundle]] for bundle in bundles[start:])
    return {name: np.concatenate(chunks) for name, chunks in parts.items()}


def _bundles(groups: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """Members that must stay together, the bundles in the order of their first members."""
    bundles: dict[int, list[int]] = {}
    for member in np.argsort(order, kind="stable"):
        bundles.setdefault(int(groups[member]), []).append(int(member))
    return [np.array(bundle) for bundle in bundles.values()]


def _of_first(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each label, or that of the first sample that is the same, so that conflicting copies stay together."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return labels[first[inverse]]


def _rank(seed: int, key: str) -> int:
    return int.from_bytes(blake2b(f"{seed}\0{key}".encode(), digest_size=8).digest(), "big")


def check_classes(source: Source, splits: dict[str, np.ndarray], where: str, least: int = 2) -> None:
    """At least so many classes, and none in validation or test that training never sees."""
    names: Sequence[str] = source.classes
    trained = set(np.unique(source.labels[splits["train"]]).tolist())
    for part in ("val", "test"):
        if unseen := sorted(set(np.unique(source.labels[splits[part]]).tolist()) - trained):
            said = ", ".join(repr(names[i]) for i in unseen[:5])
            raise DataError(
                f"{where}: the {part} part has {plural(source.unit)} of {said} and the "
                "training part has none; every class must be trained on"
            )
    if len(trained) < least:
        have = f"only one class, {names[next(iter(trained))]!r}" if trained else f"no training {plural(source.unit)}"
        raise DataError(f"{where}: has {have}; at least two classes are needed to tell apart")
