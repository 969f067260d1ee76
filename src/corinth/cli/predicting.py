"""`corinth predict`: what is in these images?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from corinth.cli.output import deliver, note, print_table, to_csv, to_json
from corinth.cli.parsing import parse
from corinth.errors import UsageError

if TYPE_CHECKING:
    from corinth.predictor import Prediction


@dataclass(frozen=True, kw_only=True)
class Options:
    """Classify images with a trained run. A file that cannot be read is reported and the others go on (exit code 3)."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder."""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES")]
    """Image files, and folders of them."""
    top: int = 5
    """How many classes to name."""
    format: Literal["table", "json", "csv"] = "table"
    output: Path | None = None
    """Write into this file."""
    batch_size: int = 64
    device: str = "auto"


def main(args: Sequence[str]) -> int:
    options = parse(Options, "predict", args)
    if not options.files:
        raise UsageError("corinth predict needs image files after the run")
    if options.top < 1:
        raise UsageError(f"--top {options.top} is not at least 1")
    if not options.run.exists():
        raise UsageError(f"there is no run {options.run}; `corinth train` prints the folder it leaves")
    from corinth.predictor import load_run

    predictor = load_run(options.run, device=options.device)
    found = predictor.predict(options.files, batch_size=options.batch_size, top=options.top)
    failed = [p for p in found if p.error is not None]
    if options.format == "json":
        deliver(to_json([p.to_dict() for p in found]), options.output)
    elif options.format == "csv":
        deliver(_csv(found, min(options.top, len(predictor.classes))), options.output)
    elif options.output is not None:
        raise UsageError("--output takes --format json or csv")
    else:
        columns = {"name": "left", "label": "left", "probability": "right", "then": "left"}
        print_table(columns, [_row(p) for p in found])
    for prediction in failed:
        note(f"corinth: {prediction.error}")
    if len(failed) == len(found):
        return 1
    return 3 if failed else 0


def _row(prediction: "Prediction") -> tuple[str, str, str, str]:
    if prediction.error is not None:
        return (prediction.name, "", "", "cannot be read")
    rest = ", ".join(f"{label} {p:.1%}" for label, p in prediction.top[1:])
    return (prediction.name, prediction.label or "", f"{prediction.probability:.1%}", rest)


def _csv(found: Sequence["Prediction"], top: int) -> str:
    columns = ["name", "label", "probability"]
    for rank in range(2, top + 1):
        columns += [f"label_{rank}", f"probability_{rank}"]
    rows = []
    for prediction in found:
        ranked = [cell for label, p in prediction.top for cell in (label, f"{p:.6f}")]
        rows.append([prediction.name, *ranked, *[""] * (2 * top - len(ranked)), prediction.error or ""])
    return to_csv([*columns, "error"], rows)
