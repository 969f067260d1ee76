"""Train, validation and test parts: stratified, a pure function of the data's names and the seed."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from corinth.data.collect import plural
from corinth.data.source import Source, TargetSource
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
    together. Within a class the order is that of a hash of seed and name, so new ones do not reshuffle old ones.
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
    if shares:
        said = ", ".join(f"{share:.0%} {name}" for name, share in shares.items())
        of = "the declared training part" if declared else f"all {several}"
        by_class = "" if isinstance(source, TargetSource) else "stratified, "
        notes.append(
            f"split here: {said} of {of}, {by_class}split seed {seed}; {several} with identical bytes stay together"
        )
    return splits, notes


def _carve(source: Source, pool: np.ndarray, shares: dict[str, float], seed: int, where: str) -> dict[str, np.ndarray]:
    several = plural(source.unit)
    order = np.array([_rank(seed, source.key(int(i))) for i in pool], dtype=np.uint64)
    groups = source.duplicate_groups()[pool]
    labels = _of_first(groups, source.labels[pool])
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*shares, "train")}
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        bundles = _bundles(groups[members], order[members])
        if len(bundles) <= len(shares):
            there = "there is" if len(bundles) == 1 else "there are"
            has = there if isinstance(source, TargetSource) else f"class {source.classes[label]!r} has"
            raise DataError(
                f"{where}: {has} {len(bundles)} different {source.unit if len(bundles) == 1 else several}, and "
                f"{len(shares) + 1} are needed to give {', '.join(parts)} one each; add {several}, or declare the "
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


def check_classes(source: Source, splits: dict[str, np.ndarray], where: str) -> None:
    """At least two classes, and none in validation or test that training never sees."""
    names: Sequence[str] = source.classes
    trained = set(np.unique(source.labels[splits["train"]]).tolist())
    for part in ("val", "test"):
        if unseen := sorted(set(np.unique(source.labels[splits[part]]).tolist()) - trained):
            said = ", ".join(repr(names[i]) for i in unseen[:5])
            raise DataError(
                f"{where}: the {part} part has {plural(source.unit)} of {said} and the "
                "training part has none; every class must be trained on"
            )
    if len(trained) < 2:
        have = f"only one class, {names[next(iter(trained))]!r}" if trained else f"no training {plural(source.unit)}"
        raise DataError(f"{where}: has {have}; at least two classes are needed to tell apart")
