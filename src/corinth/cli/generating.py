"""`corinth generate`: what a trained language model writes, or a network for texts of a label."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from corinth.cli.output import deliver, to_json
from corinth.cli.parsing import parse
from corinth.errors import UsageError

if TYPE_CHECKING:
    from corinth.predictor import LabelWriter, LanguageModel


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write text with a trained language model, or texts of a label. The same seed writes the same text."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder."""
    prompt: str = ""
    """What the text begins with; without one, the beginning of a line."""
    label: str | None = None
    """Of a network for texts of a label: which one."""
    length: int | None = None
    """Tokens to write behind the prompt, 500 if left out; characters, of a model of characters. Of a text of a label
    the most tokens, as many as the longest training text has if left out."""
    temperature: float = 1.0
    """0: always the likeliest token; 1: by the network's probabilities; more: more daring."""
    top_k: int | None = None
    """Draw among so many likeliest tokens."""
    top_p: float | None = None
    """Draw among the likeliest tokens that together have this probability."""
    seed: int = 0
    samples: Annotated[int, tyro.conf.arg(aliases=("--count",))] = 1
    """How many texts."""
    format: Literal["text", "json"] = "text"
    output: Path | None = None
    """Write into this file."""
    device: str = "auto"


def main(args: Sequence[str]) -> int:
    options = parse(Options, "generate", args)
    if not options.run.exists():
        raise UsageError(f"there is no run {options.run}; `corinth train` prints the folder it leaves")
    if options.seed < 0:
        raise UsageError(f"--seed {options.seed} is not a whole number from 0")
    from corinth.predictor import LabelWriter, LanguageModel, load_run

    predictor = load_run(options.run, device=options.device)
    if isinstance(predictor, LabelWriter):
        return _of_label(predictor, options)
    if not isinstance(predictor, LanguageModel):
        raise UsageError(
            f"{options.run} does {predictor.task}, and corinth generate is for language models and texts of a label; "
            "corinth predict says what it makes of samples"
        )
    if options.label is not None:
        raise UsageError(f"--label is for texts of a label, and {options.run} is a language model; use --prompt TEXT")
    how: dict[str, Any] = {name: getattr(options, name) for name in ("temperature", "top_k", "top_p", "seed")}
    how["length"] = 500 if options.length is None else options.length
    if options.format == "text" and options.output is None and sys.stdout.isatty():
        _live(predictor, options, how)
        return 0
    found = predictor.generate(options.prompt, samples=options.samples, **how)
    if options.format == "json":
        deliver(to_json([generation.to_dict() for generation in found]), options.output)
    else:
        texts = (f"{_title(options, i)}{g.prompt}{g.text}" for i, g in enumerate(found))
        deliver("\n".join(texts), options.output)
    return 0


def _of_label(predictor: "LabelWriter", options: Options) -> int:
    """A text a line."""
    if options.prompt:
        raise UsageError(
            f"--prompt is for language models, and {options.run} writes texts of a label; use --label NAME"
        )
    if options.label is None:
        raise UsageError(f"{options.run} writes texts of a label: say --label, one of {', '.join(predictor.classes)}")
    if options.samples < 1:
        raise UsageError(f"--count {options.samples} is not at least 1")
    how: dict[str, Any] = {name: getattr(options, name) for name in ("length", "temperature", "top_k", "top_p", "seed")}
    found = predictor.generate(options.label, count=options.samples, **how)
    if options.format == "json":
        deliver(to_json([text.to_dict() for text in found]), options.output)
    else:
        deliver("\n".join(" ".join(text.text.splitlines()) for text in found), options.output)
    return 0


def _live(predictor: "LanguageModel", options: Options, how: dict[str, Any]) -> None:
    """Each token as it is made."""
    if options.samples < 1:
        raise UsageError(f"--samples {options.samples} is not at least 1")
    for sample in range(options.samples):
        pieces = predictor.stream(options.prompt, sample=sample, **how)
        sys.stdout.write(f"{_title(options, sample)}{options.prompt}")
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")


def _title(options: Options, sample: int) -> str:
    return f"--- sample {sample + 1} ---\n" if options.samples > 1 else ""
