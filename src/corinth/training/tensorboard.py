"""TensorBoard events in the run folder, on request."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corinth.errors import UsageError


class TensorBoardReporter:
    """Scalars by number of samples: losses as they come, and every row of metrics.jsonl."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError("tensorboard is not installed: pip install 'corinth[tensorboard]'") from error
        self._writer = SummaryWriter(str(folder))

    def start(self, info: Mapping[str, Any]) -> None:
        self._writer.add_text("run", "\n\n".join(f"{name}: {value}" for name, value in info.items()))

    def step(self, status: Mapping[str, Any]) -> None:
        self._add("step", status["samples"], {**status["losses"], "lr": status["lr"]})

    def evaluation(self, row: Mapping[str, Any]) -> None:
        self._add("evaluation", row["samples"], {k: v for k, v in row.items() if k.startswith(("train_", "val_"))})

    def message(self, text: str) -> None: ...

    def end(self, result: Mapping[str, Any]) -> None:
        self._writer.close()

    def _add(self, group: str, samples: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, samples)
