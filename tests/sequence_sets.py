"""Small made-up texts and time series, and files of them."""

from pathlib import Path

import numpy as np

GOOD = ("a lovely film", "great fun", "i like it a lot", "warm and witty", "a joy")
BAD = ("a dull mess", "boring", "i hate every minute of it", "cold and stupid", "a chore to watch")


def text_rows(each: int = 20, seed: int = 0) -> list[tuple[str, str]]:
    """Texts whose words say their label, no two alike."""
    rng = np.random.default_rng(seed)
    rows = []
    for label, phrases in (("good", GOOD), ("bad", BAD)):
        for number in range(each):
            picked = rng.choice(phrases, size=rng.integers(1, 4))
            rows.append((f"{' , '.join(picked)} no {number}", label))
    return rows


def write_table(path: Path, rows: list[tuple[str, str]], header: str | None = "text\tlabel") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{text}\t{label}" for text, label in rows]
    path.write_text("\n".join([*([] if header is None else [header]), *lines]) + "\n", encoding="utf-8")
    return path


def waves(each: int = 20, seed: int = 0, channels: int = 2) -> tuple[list[np.ndarray], list[str]]:
    """Slow and fast sine waves of 12 to 30 steps, float32 (T, C)."""
    rng = np.random.default_rng(seed)
    series, labels = [], []
    for label, speed in (("slow", 0.2), ("fast", 1.3)):
        for _ in range(each):
            steps = np.arange(rng.integers(12, 31))[:, None] * speed + rng.uniform(0, 6, channels)
            series.append((3 + 5 * np.sin(steps) + rng.normal(0, 0.1, steps.shape)).astype(np.float32))
            labels.append(label)
    return series, labels


def write_ts(path: Path, series: list[np.ndarray], labels: list[str]) -> Path:
    """The `.ts` format of the UCR / UEA archive."""
    head = [
        "# made up",
        "@problemName waves",
        "@timeStamps false",
        "@missing false",
        "@classLabel true slow fast",
        "@data",
    ]
    cases = [
        ":".join([*(",".join(f"{v:.5f}" for v in channel) for channel in values.T), label])
        for values, label in zip(series, labels, strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*head, *cases]) + "\n", encoding="utf-8")
    return path


def cells(names: str = "ABCD", each: int = 8, seed: int = 0) -> dict[tuple[str, int], tuple[np.ndarray, float]]:
    """Of each cell and cycle a curve of 6 to 9 steps, float32 (T, 2), and the number in it: its slope."""
    rng = np.random.default_rng(seed)
    found = {}
    for name in names:
        for cycle in range(1, each + 1):
            slope = float(rng.uniform(1, 3))
            steps = np.arange(rng.integers(6, 10))
            values = np.stack([slope * steps / 8, rng.normal(0, 1, len(steps))], axis=1)
            found[name, cycle] = (values.astype(np.float32), slope)
    return found


def write_steps(path: Path, curves: dict[tuple[str, int], tuple[np.ndarray, float]]) -> Path:
    """A table with a step a row."""
    lines = ["cell,cycle,seconds,volts,noise,capacity"]
    for (cell, cycle), (values, target) in curves.items():
        lines += [f"{cell},{cycle},{10 * i},{v:.6f},{n:.6f},{target:.6f}" for i, (v, n) in enumerate(values)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


STEPS = {  # how such a table is opened
    "group_column": "cell,cycle",
    "target_column": "capacity",
    "time_column": "seconds",
    "split_group": "cell",
}
