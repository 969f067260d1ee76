"""Corinth against timm or torchvision, ONNX Runtime and OpenVINO: the same weights, outputs compared before any timing.

    python benchmarks/optimized.py [--models resnet50 ...] [--batch 1 32] [--train-batch 32] [--parts eager ...]
                                   [--seconds 6] [--threads 2] [--again] [--output FILE]

Five parts of each row: `eager` (inference, ours and the peer's, both in NCHW and in channels_last), `train`
(forward, cross-entropy, backward), `compiled` and `compiled train` (the same two under torch.compile, in
`channels_last` alone, in which the compiler lays out convolutions on a processor whatever they are given), `optimised`
(`corinth.optimize` in fp32 and bf16 against ONNX Runtime in fp32 and OpenVINO in fp32 and bf16, which is left out where
the processor has none; which form it chose stands beside its times, as it may choose OpenVINO itself). Compared are the
outputs, and of a training step its loss.
The forms of a part take turns, round after round, for about `--seconds`: 3 rounds of all, each in an order of its own,
then more of those that may be the fastest of their side. The ratio of a row is the median of those of its rounds;
optimised forms run in blocks instead. Each part of each row is merged into benchmarks/results/optimized.json, or
`--output`, when it is done, and not measured again without `--again`: an interrupted benchmark goes on. At the end
stand the geometric means and whether the bars hold. "Without OpenVINO" is the time of the chosen form times what the
optimizer itself measured that running in OpenVINO gained.
"""

import argparse
import copy
import gc
import json
import math
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

import corinth
from common import Timing, import_peers, import_runtimes, in_blocks, inference, machine, side_by_side, summary, training
from corinth.inference.forms import Precision
from corinth.inference.runtime import PRECISIONS
from corinth.inspect.devices import lacks_bfloat16
from corinth.registry import configure


@dataclass(frozen=True)
class Peer:
    """Whose implementation, by what name there, with the options that make the two the same."""

    source: Literal["timm", "torchvision", "pytorchcv"]
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    ours: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        if self.source == "timm":
            import timm

            return timm.create_model(self.name, **self.options)
        if self.source == "pytorchcv":
            from pytorchcv.model_provider import get_model

            return get_model(self.name, **self.options)
        import torchvision

        return getattr(torchvision.models, self.name)(weights=None, **self.options)


TIMM = (
    *("resnet18", "resnet50", "inception_v3", "inception_v4", "inception_resnet_v2", "densenet121"),
    *("mobilenetv1_100", "mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv3_large_100"),
    *("efficientnet_b0", "tf_efficientnet_b0", "mixnet_s", "tf_mixnet_s", "mixnet_m", "mixnet_l"),
)
PEERS = {
    "alexnet": Peer("torchvision", "alexnet"),
    "vgg16_bn": Peer("torchvision", "vgg16_bn"),
    "nin_cifar10": Peer("pytorchcv", "nin_cifar10", ours={"pool_padding": 1}),
    "googlenet_bn": Peer("torchvision", "googlenet", {"aux_logits": False, "init_weights": False}),
    "resnet20_cifar10": Peer("pytorchcv", "resnet20_cifar10", ours={"shortcut": "B"}),
    "bn_inception": Peer("pytorchcv", "bninception", ours={"conv_bias": True}),
    **{name: Peer("timm", name) for name in TIMM},
}
PARTS = ("eager", "train", "compiled", "compiled train", "optimised")
TRAINING = ("train", "compiled train")
RESULTS = Path(__file__).parent / "results" / "optimized.json"
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
TOLERANCE = 1e-4  # of the largest output
TRAINING_TOLERANCE = 1e-3  # of the loss: norms of the batch's own statistics enlarge rounding, layer after layer
BF16_TOLERANCE = 0.1
CLOSE = 1.25  # times the time of its side's fastest form, up to which a form may be the fastest itself
SUFFIX: dict[Precision, str] = {"fp32": "", "bf16": ", bf16"}
Forms = dict[str, Callable[[], Tensor]]


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    """Ours and the peer's with the same weights: our own initial ones, and running variances that are not 1."""
    torch.manual_seed(0)
    peer = PEERS.get(name, Peer("timm", name))
    still = {option: 0.0 for option in ("drop_rate", "drop_path_rate") if hasattr(configure(name), option)}
    ours = corinth.create_model(name, **still, **peer.ours)
    for key, value in ours.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    theirs = peer.build()
    theirs.load_state_dict(corinth.dump_weights(ours, source=peer.source))
    for module in theirs.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return ours, theirs


def in_layouts(label: str, model: nn.Module, x: Tensor, make: Callable, layouts: tuple[str, ...]) -> Forms:
    forms = {}
    for layout in layouts:
        twin = copy.deepcopy(model).to(memory_format=LAYOUTS[layout])  # ty: ignore[no-matching-overload]
        forms[f"{label}, {layout}"] = make(twin, x.contiguous(memory_format=LAYOUTS[layout]))
    return forms


def compiled(make: Callable[..., Callable[[], Tensor]]) -> Callable[..., Callable[[], Tensor]]:
    def run(model: nn.Module, x: Tensor) -> Callable[[], Tensor]:
        model.compile(dynamic=False)
        return make(model, x)

    return run


def precisions() -> list[Precision]:
    """What is measured: bf16 only where the processor has it."""
    return ["fp32"] if lacks_bfloat16(torch.device("cpu")) else ["fp32", "bf16"]


def runtimes(model: nn.Module, x: Tensor, threads: int) -> Forms:
    """ONNX Runtime and OpenVINO, on the model as torch exports it."""
    import onnxruntime
    import openvino

    forms: Forms = {}
    array = x.numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.onnx"
        torch.onnx.export(model.eval(), (x,), path, dynamo=True, external_data=False, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: array}
        forms["ONNX Runtime"] = lambda: torch.from_numpy(session.run(None, feed)[0])
        for precision in precisions():
            settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": PRECISIONS[precision]}
            request = openvino.Core().compile_model(path, "CPU", {**settings, "PERFORMANCE_HINT": "LATENCY"})
            request = request.create_infer_request()
            label = f"OpenVINO{SUFFIX[precision]}"
            forms[label] = lambda request=request: torch.from_numpy(request.infer([array])[0].copy())
    return forms


def forms_of(part: str, name: str, x: Tensor, threads: int) -> tuple[Forms, dict]:
    """The forms to time, ours and the others', and what else to keep."""
    ours, theirs = pair(name)
    ours.train(part in TRAINING)
    theirs.train(part in TRAINING)
    if part == "optimised":
        fast = {precision: corinth.optimize(ours, x, seconds=1, precision=precision) for precision in precisions()}
        forms = {f"corinth, optimised{SUFFIX[precision]}": inference(form, x) for precision, form in fast.items()}
        reports = {precision: form.report.to_dict() for precision, form in fast.items()}
        chosen = {precision: form.report.form for precision, form in fast.items()}
        return forms | runtimes(ours, x, threads), {"chosen": chosen, "reports": reports}
    make = training if part in TRAINING else inference
    alone = part.startswith("compiled")
    make, layouts = (compiled(make), ("channels_last",)) if alone else (make, tuple(LAYOUTS))
    return in_layouts("peer", theirs, x, make, layouts) | in_layouts("corinth", ours, x, make, layouts), {}


def bench(part: str, name: str, batch: int, seconds: float, threads: int) -> dict:
    """Time one part of one row."""
    x = torch.randn(batch, *corinth.card(name).input_size, generator=torch.Generator().manual_seed(1))
    forms, extra = forms_of(part, name, x, threads)
    answers = {label: call() for label, call in forms.items()}
    expected = next(iter(answers.values())) if part != "optimised" else answers["ONNX Runtime"]
    usual = TRAINING_TOLERANCE if part in TRAINING else TOLERANCE
    for label, answer in answers.items():
        worst = ((answer - expected).abs().max() / expected.abs().max()).item()
        if worst > (BF16_TOLERANCE if "bf16" in label else usual):
            sys.exit(f"{name}, {part}, {label}: outputs differ by {worst:.1e} of the largest; nothing was timed")
    if part == "optimised":
        for label in [label for label in answers if "bf16" in label]:
            same = (answers[label].argmax(1) == expected.argmax(1)).float().mean().item()
            extra.setdefault("agreement", {})[label] = same
    times = in_blocks(forms, seconds=seconds) if part == "optimised" else rounds_for(forms, seconds)
    if part != "optimised":
        extra["ratio"], extra["rounds"] = ratio_of(times), max(len(found.runs) for found in times.values())
    ms = {label: in_milliseconds(times[label]) for label in forms}
    return {"ms": ms, "machine": machine(), **extra}


def rounds_for(forms: Forms, seconds: float) -> dict[str, Timing]:
    """Three rounds of all forms, then as many more as `seconds` allow of those that may be the fastest of their side:
    then these count alone. All have run before."""
    start = time.perf_counter()
    for call in forms.values():
        call()
    one = time.perf_counter() - start
    found = side_by_side(forms, rounds=3, warmup=2 if one < seconds else 0)
    close = {
        label: call
        for label, call in forms.items()
        if found[label].median < CLOSE * found[fastest(found, label.split(",")[0])].median
    }
    rounds = min(100, int(seconds / sum(found[label].median for label in close)))
    if rounds > 3:
        found |= side_by_side(close, rounds=rounds, warmup=1)
    return found


def fastest(times: Mapping[str, Timing], side: str) -> str:
    return min((label for label in times if label.startswith(side)), key=lambda label: times[label].median)


def ratio_of(times: Mapping[str, Timing]) -> list[float]:
    """How many times as fast Corinth's fastest form is as the peer's, in the same rounds: median and quartiles."""
    rounds = max(len(found.runs) for found in times.values())
    close = {label: found for label, found in times.items() if len(found.runs) == rounds}
    theirs, own = (close[fastest(close, side)].runs for side in ("peer", "corinth"))
    found = summary([a / b for a, b in zip(theirs, own, strict=True)])
    return [round(value, 3) for value in (found.median, found.low, found.high)]


def in_milliseconds(found: Timing) -> list[float]:
    return [round(1e3 * t, 3) for t in (found.median, found.low, found.high)]


def ratios(rows: dict[str, dict]) -> dict[str, dict[str, float]]:
    """For each question and row, how many times as fast as the best other form Corinth is."""
    found: dict[str, dict[str, float]] = {}
    for key, row in rows.items():
        part = key.split(", ")[1]
        ms = {label: times[0] for label, times in row["ms"].items()}
        if part == "optimised":
            others = min(ms["ONNX Runtime"], ms["OpenVINO"])
            for precision, report in row["reports"].items():
                label, own = f"optimised {precision}", ms[f"corinth, optimised{SUFFIX[precision]}"]
                found.setdefault(label, {})[key] = others / own
                found.setdefault(f"{label} without OpenVINO", {})[key] = others / (own * gain_of_runtime(report))
            if "OpenVINO, bf16" in ms:
                theirs = ms["OpenVINO, bf16"] / ms["corinth, optimised, bf16"]
                found.setdefault("optimised bf16 over OpenVINO's bf16", {})[key] = theirs
        else:
            best = {side: min(ms[label] for label in ms if label.startswith(side)) for side in ("peer", "corinth")}
            found.setdefault(part, {})[key] = row.get("ratio", [best["peer"] / best["corinth"]])[0]
            if "peer, NCHW" in ms:
                found.setdefault(f"{part}, in channels_last", {})[key] = best["peer"] / ms["corinth, channels_last"]
                found.setdefault(f"{part}, peer in NCHW", {})[key] = ms["peer, NCHW"] / best["corinth"]
    return found


def gain_of_runtime(report: dict) -> float:
    """How many times as fast the chosen form is as torch's best, by what the optimizer itself measured."""
    kept = [step["gain"] for step in report["steps"] if step["kept"] and step["name"].startswith("run in OpenVINO")]
    return math.prod(kept)


def bars(found: dict[str, dict[str, float]]) -> list[str]:
    """Each question's geometric mean and lowest row, and which bars hold."""
    lines = []
    for question, values in found.items():
        low = min(values, key=values.__getitem__)
        lines.append(f"{question:38} geometric mean {mean(values):.3f}, lowest {values[low]:.3f} ({low})")
    both = {**found.get("eager", {}), **{f"{k} train": v for k, v in found.get("train", {}).items()}}
    mix = {key: value for key, value in both.items() if "mixnet" in key}
    checks = [
        ("eager and training step: every one at least 0.97", both and min(both.values()) >= 0.97),
        ("eager and training step: geometric mean at least 1.05", both and mean(both) >= 1.05),
        ("MixNets: every one at least 1.3", mix and min(mix.values()) >= 1.3),
        ("optimised fp32: geometric mean at least 0.95", mean(found.get("optimised fp32", {})) >= 0.95),
        ("optimised bf16: geometric mean at least 1.5", mean(found.get("optimised bf16", {})) >= 1.5),
    ]
    return lines + [f"{'holds' if held else 'DOES NOT HOLD'}: {what}" for what, held in checks]


def chosen_forms(rows: dict[str, dict]) -> list[str]:
    """How many rows each form of `corinth.optimize` was the fastest for, in each precision."""
    chosen = [(precision, form) for row in rows.values() for precision, form in row.get("chosen", {}).items()]
    return [f"{precision}: {form} in {count} rows" for (precision, form), count in sorted(Counter(chosen).items())]


def mean(values: dict[str, float]) -> float:
    return math.exp(sum(map(math.log, values.values())) / len(values)) if values else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(PEERS))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 32])
    parser.add_argument("--train-batch", type=int, nargs="*", default=[32])
    parser.add_argument("--seconds", type=float, default=6.0, help="of one part of one row, less warming up")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="measure what is in the results already")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    import_peers()
    if "optimised" in args.parts:
        import_runtimes()
    warnings.filterwarnings("ignore")  # the exporters'
    rows = json.loads(args.output.read_text()) if args.output.exists() else {}
    for name in args.models:
        for part in args.parts:
            for batch in args.train_batch if part in TRAINING else args.batch:
                key = f"{name}, {part}, batch {batch}"
                if key in rows and not args.again:
                    continue
                rows[key] = bench(part, name, batch, args.seconds, args.threads)
                times = {label: times[0] for label, times in rows[key]["ms"].items()}
                print(key, times, rows[key].get("chosen", ""), flush=True)
                args.output.write_text(json.dumps({key: rows[key] for key in sorted(rows)}, indent=1) + "\n")
                torch.compiler.reset()
                gc.collect()
    print("\n".join(chosen_forms(rows) + bars(ratios(rows))))


if __name__ == "__main__":
    main()
