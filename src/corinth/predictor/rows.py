"""Classification of rows of tables for its user: rows in, named classes out."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corinth.data.rows.encoding import RowEncoding
from corinth.data.rows.source import RowData
from corinth.data.rows.store import RowStore
from corinth.data.tables import read_table
from corinth.errors import DataError, UsageError
from corinth.predictor.classes import Prediction, ranked, score
from corinth.predictor.evaluation import Evaluation
from corinth.predictor.predictor import Predictor

Row = Mapping[str, Any]


class RowClassifier(Predictor):
    task = "tabular-classification"
    preprocess: RowEncoding

    def predict(
        self, rows: Row | str | Path | Iterable[Row | str | Path], *, batch_size: int = 64, top: int = 5
    ) -> list[Prediction]:
        """The `top` likeliest classes of each row: mappings of columns to values, or paths of tables.

        An empty cell (None in a mapping) is what it was in training. A row that cannot be used becomes a Prediction
        with `error`; the others are not affected.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size} is not at least 1")
        given: Any = [rows] if isinstance(rows, str | Path | Mapping) else rows
        found: list[Prediction | None] = []
        ready: list[tuple[int, str, Tensor]] = []
        for name, row in _listed(given):
            try:
                if isinstance(row, Exception):
                    raise row
                ready.append((len(found), name, self.preprocess.of_rows([row])[0]))
                found.append(None)
            except (DataError, UsageError) as error:
                reason = str(error)
                found.append(Prediction(name, error=reason if reason.startswith(name) else f"{name}: {reason}"))
        for start in range(0, len(ready), batch_size):
            places, names, inputs = zip(*ready[start : start + batch_size], strict=True)
            probs = self.probabilities(torch.stack(inputs))
            for place, answer in zip(places, ranked(names, probs, self.classes, top), strict=True):
                found[place] = answer
        return [answer for answer in found if answer is not None]

    @torch.inference_mode()
    def probabilities(self, inputs: Tensor) -> Tensor:
        """Encoded rows (B, F) to class probabilities (B, K) on the CPU."""
        return self.model(inputs.to(self.device)).float().softmax(dim=1).cpu()

    def evaluate(
        self, data: RowData, split: str = "test", *, batch_size: int = 512, keep_probs: bool = True
    ) -> Evaluation:
        """Score one part of `data`, or all of it (`split="all"`), with this network's own encoding.

        Classes are matched by name; a label this network never learnt is a `DataError`.
        """
        if not isinstance(data, RowData):
            raise UsageError(f"{data.name} holds no rows of a table, which this {self.arch} was trained on")
        self.preprocess.check_columns(data)
        return score(
            data,
            split,
            lambda: RowStore(data, split, self.preprocess),
            self.model,
            arch=self.arch,
            classes=self.classes,
            batch_size=batch_size,
            keep_probs=keep_probs,
            device=self.device,
        )


def _listed(given: Iterable[Row | str | Path]) -> Iterator[tuple[str, Row | Exception]]:
    """Rows by a name for people; why a table could not be read."""
    for number, item in enumerate(given):
        if isinstance(item, Mapping):
            yield f"row {number}", item
            continue
        if not isinstance(item, str | Path):
            raise UsageError(f"a row is a mapping of columns to values, or a table's path, not {type(item).__name__}")
        path = Path(item)
        try:
            table = read_table(path)
        except OSError as error:
            yield str(path), DataError(f"{path} cannot be read ({error.strerror})")
            continue
        except (DataError, UsageError) as error:
            yield str(path), error
            continue
        count = len(next(iter(table.columns.values())))
        for row in range(count):
            yield table.place(row), {name: cells[row] for name, cells in table.columns.items()}
