"""`corinth convert`: a checkpoint into Corinth's own form, or out into another library's, with a passport."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from corinth.cli.evaluating import stated_preprocess
from corinth.cli.fetching import prefetch
from corinth.cli.output import note, print_facts, to_json
from corinth.cli.parsing import assignments, class_names, parse


@dataclass(frozen=True, kw_only=True)
class Options:
    """Convert a checkpoint and prove that it stayed the same.

    Beside the output goes passport.json: where the tensors came from, under which names, and by how much the outputs on
    one fixed input differ from those of timm or torchvision, where they are installed, and after reading it again.
    """

    weights: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A file, a run folder, or an id such as timm:resnet50.a1_in1k or torchvision:ResNet50_Weights.DEFAULT."""
    arch: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ARCH")]
    """The architecture; `corinth list` shows them."""
    output: Path
    """A folder, or a .safetensors file (.pth too for torchvision and timm)."""
    to: Literal["corinth", "torchvision", "timm"] = "corinth"
    """Whose form to write."""
    layout: Literal["auto", "corinth", "torchvision", "timm", "plain", "pytorchcv"] = "auto"
    """Whose names the source uses."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FIELD=VALUE")] = ()
    """An option of the architecture that the weights were trained with, such as norm_eps=0.001; may be repeated."""
    classes: str | None = None
    """Class names in the order of the outputs, with commas between, or a file with one a line."""
    img_size: int | None = None
    """Side of the input."""
    mean: tuple[float, ...] = ()
    """Mean of each channel, of pixels in [0, 1]."""
    std: tuple[float, ...] = ()
    """Standard deviation of each channel."""
    fit: str | None = None
    """crop | squash | pad."""
    json: bool = False
    """The passport on stdout, as JSON."""


def main(args: Sequence[str]) -> int:
    options = parse(Options, "convert", args)
    from corinth.cli.showing import configured
    from corinth.weights.passport import convert, passport_of

    configured(options.arch, chosen := assignments(options.set))
    prefetch(options.weights)
    passport = convert(
        options.weights,
        options.arch,
        options.output,
        to=options.to,
        layout=options.layout,
        preprocess=stated_preprocess(options, options.arch, options.weights),
        classes=class_names(options.classes),
        options=chosen,
    )
    if options.json:
        print(to_json(passport.to_dict()))
        return 0
    for sentence in passport.notes:
        note(sentence)
    print_facts(
        {
            "source": f"{passport.title} ({passport.read_as}), sha256 {passport.sha256[:12]}…",
            "licence": passport.licence,
            "tensors": f"{len(passport.keys)}, {len(passport.reshaped)} reshaped, {len(passport.ignored)} left out",
            **{
                f"against {check.library} {check.version or ''}".strip(): str(check)
                for check in passport.libraries
                if check.library != "corinth"
            },
            "read again": f"outputs differ by at most {passport.read_again:g}",
            "out and in again": f"outputs differ by at most {passport.round_trip:g}",
            "passport": str(passport_of(options.output)),
        }
    )
    print(options.output)
    return 0
