"""Inference of Corinth's networks against torchvision's and timm's: same weights, same input, outputs compared first.

    python benchmarks/inference.py [--models resnet50 ...] [--batch 1 8] [--rounds 15]

Each peer is timed in both memory layouts and its better one counts. Below the ratio stands what batch-norm
folding and `torch.compile` add to Corinth's own form. Results are merged into benchmarks/results/inference.json.
"""

import argparse
import copy
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import corinth
from common import Timing, import_peers, machine, side_by_side

NETWORKS = ("resnet50", "vgg16_bn", "alexnet")
RESULTS = Path(__file__).parent / "results" / "inference.json"


def randomise(model: nn.Module) -> None:
    """Every tensor random, running statistics included: default ones would hide a swapped pair.

    Outputs stay of the order of one, so that their absolute difference means something.
    """
    generator = torch.Generator().manual_seed(0)
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            continue
        if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.ndim == 1:
            value.normal_(0, 0.1, generator=generator)
        else:
            value.normal_(0, value[0].numel() ** -0.5, generator=generator)


def peers_of(name: str) -> dict[str, nn.Module]:
    import timm
    import torchvision

    found = {"torchvision": getattr(torchvision.models, name)(weights=None)}
    if timm.is_model(name):
        found["timm"] = timm.create_model(name)
    return found


def fold_batch_norm(model: nn.Module, x: Tensor) -> nn.Module:
    """A copy in which every batch norm that directly follows a convolution is part of it."""
    model = copy.deepcopy(model).eval()
    made_by: dict[int, str] = {}
    kept: list[Tensor] = []  # alive, so that an id names one tensor only
    pairs: list[tuple[str, str]] = []

    def conv_ran(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            kept.append(output)
            made_by[id(output)] = name

        return hook

    def norm_runs(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor]) -> None:
            if id(inputs[0]) in made_by:
                pairs.append((made_by[id(inputs[0])], name))

        return hook

    hooks = [m.register_forward_hook(conv_ran(n)) for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    hooks += [
        m.register_forward_pre_hook(norm_runs(n)) for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    for conv, norm in pairs:
        model.set_submodule(conv, fuse_conv_bn_eval(model.get_submodule(conv), model.get_submodule(norm)))
        model.set_submodule(norm, nn.Identity())
    return model


def call(model: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    def run() -> object:
        with torch.inference_mode():
            return model(x)

    return run


def bench(name: str, batch: int, rounds: int) -> dict[str, Any]:
    """Print one network's table; gives milliseconds of each form, and the ratio best peer / best eager form of ours."""
    ours = corinth.create_model(name).eval()
    randomise(ours)
    x = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    layouts = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
    forms: dict[str, tuple[nn.Module, Tensor]] = {}
    with torch.inference_mode():
        expected = ours(x)
    for source, peer in peers_of(name).items():
        peer.load_state_dict(corinth.dump_weights(ours, source=source))
        forms |= _in_layouts(source, peer.eval(), x, layouts)
    forms |= _in_layouts("corinth", ours, x, layouts)
    folded = fold_batch_norm(ours, x[:1])
    forms |= _in_layouts("corinth, batch norm folded", folded, x, layouts)
    for layout in layouts:
        model, image = forms[f"corinth, batch norm folded, {layout}"]
        forms[f"corinth, folded and compiled, {layout}"] = (torch.compile(model), image)

    for form, (model, image) in forms.items():
        with torch.inference_mode():
            worst = (model(image) - expected).abs().max().item() / expected.abs().max().item()
        if worst > 1e-5:
            sys.exit(f"{name}, {form}: outputs differ by {worst:.1e} of the largest; nothing was timed")

    times = side_by_side({form: call(*pair) for form, pair in forms.items()}, rounds=rounds)
    print(f"\n{name}, batch {batch}, {rounds} rounds; median [quartiles]")
    for form, timing in times.items():
        print(f"  {form:42} {timing}")
    ratio = _best(times, peers=True) / _best(times, peers=False)
    print(f"  best peer / best eager Corinth: {ratio:.3f}")
    ms = {form: [round(1e3 * t, 3) for t in (time.median, time.low, time.high)] for form, time in times.items()}
    return {"machine": machine(), "rounds": rounds, "ratio": round(ratio, 4), "ms": ms}


def _in_layouts(label: str, model: nn.Module, x: Tensor, layouts: dict[str, torch.memory_format]) -> dict:
    return {
        f"{label}, {layout}": (copy.deepcopy(model).to(memory_format=fmt), x.to(memory_format=fmt))
        for layout, fmt in layouts.items()
    }


def _best(times: dict[str, Timing], *, peers: bool) -> float:
    eager = [f"corinth, {layout}" for layout in ("NCHW", "channels_last")]
    names = [n for n in times if not n.startswith("corinth")] if peers else eager
    return min(times[n].median for n in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    import_peers()
    print(machine())
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    ratios = []
    for name in args.models:
        for batch in args.batch:
            found = results[f"{name}, batch {batch}"] = bench(name, batch, args.rounds)
            ratios.append(found["ratio"])
            RESULTS.write_text(json.dumps({key: results[key] for key in sorted(results)}, indent=1) + "\n")
    print(f"\ngeometric mean of the ratios: {statistics.geometric_mean(ratios):.3f} (above 1: Corinth is faster)")


if __name__ == "__main__":
    main()
