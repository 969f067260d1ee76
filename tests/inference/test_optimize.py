"""`optimize` on every family, small: the outputs are the model's, the model stays as it was, the report is true."""

import copy
import dataclasses
import re
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._inductor import config as inductor

import corinth
from corinth.errors import UsageError
from corinth.inference import OptimizationReport, Optimized, measuring, optimize, optimizing
from corinth.inference.folding import fold_norms
from corinth.inference.graphs import capture, constant, is_conv
from corinth.inference.measuring import Measured, measure, measure_within
from corinth.inference.products import use_products
from corinth.inspect import memory
from corinth.inspect.devices import lacks_bfloat16
from corinth.inspect.memory import freed_memory_kept, keep_freed_memory
from corinth.layers.compiler import missing_compiler

TINY = {
    "cnn": 32,
    "lenet5": 32,
    "lenet5_1998": 32,
    "alexnet": 64,
    "nin_cifar10": 32,
    "vgg11_bn": 32,
    "googlenet_bn": 64,
    "bn_inception": 64,
    "inception_v3": 75,
    "inception_v4": 75,
    "resnet18": 32,
    "resnet20_cifar10": 32,
    "densenet121": 32,
    "mobilenetv1_100": 32,
    "mobilenetv2_035": 32,
    "mobilenetv3_small_050": 32,
    "tf_efficientnet_b0": 33,
    "mixnet_s": 64,
}


def randomised(model: nn.Module) -> nn.Module:
    """Norms that are not trivial: with initial ones a forgotten shift goes unnoticed."""
    generator = torch.Generator().manual_seed(0)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith("running_mean"):
            value.normal_(0, 0.2, generator=generator)
    return model


def network(name: str, **options: object) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = randomised(corinth.create_model(name, num_classes=5, **options)).eval()
    chans = model.cfg.in_chans
    return model, torch.randn(2, chans, TINY[name], TINY[name], generator=torch.Generator().manual_seed(1))


def quick(model: nn.Module, images: Tensor, **options: object) -> Optimized:
    quickest = {"compile": False, "runtimes": False, "seconds": 0.001, "keep_memory": False}
    return optimize(model, images, **{**quickest, **options})  # ty: ignore[invalid-argument-type]


def always_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every step whose outputs are right, so that the test does not hang on the machine's load."""

    def measured(before: Callable[[], object], after: Callable[[], object], **options: object) -> Measured:
        before(), after()
        return Measured(2.0, 1.0, 2.0, 2.0, 5)

    monkeypatch.setattr(optimizing, "measure", measured)
    monkeypatch.setattr("corinth.inference.merging.measure", measured)


@pytest.mark.parametrize("name", TINY)
def test_every_step_keeps_the_outputs_and_the_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    always_faster(monkeypatch)
    model, images = network(name)
    before = copy.deepcopy(model.state_dict())
    fast = quick(model, images)
    assert all(step.kept for step in fast.report.steps), fast.report
    with torch.no_grad():
        for batch in (images, images[:1], torch.cat([images, images[:1]])):
            expected = model(batch)
            torch.testing.assert_close(fast(batch), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    after = model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert all(value.requires_grad for value in model.parameters())


def test_freed_memory_is_kept_where_that_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    with freed_memory_kept() as can:
        if not can:
            pytest.skip("this C library cannot keep freed memory")
    model, images = network("mobilenetv3_small_050")
    for gain, kept in ((0.9, False), (2.0, True)):
        times = Measured(2.0, 2.0 / gain, gain, gain, 5)
        monkeypatch.setattr(optimizing, "measure_within", lambda *_, times=times, **__: times)
        try:
            fast = quick(model, images, keep_memory=True)
            step = fast.report.steps[-1]
            assert (step.name, step.kept, memory.freed_memory_is_kept()) == ("freed memory kept", kept, kept)
            assert fast.report.form != step.name
        finally:
            keep_freed_memory(False)
    assert quick(model, images).report.steps[-1].name != "freed memory kept"
    with freed_memory_kept():
        step = quick(model, images, keep_memory=True).report.steps[-1]
    assert (step.kept, step.reason) == (True, "it was before")


def test_a_call_is_timed_outside_and_inside_of_a_context() -> None:
    places: list[bool] = []
    inside = []

    @contextmanager
    def place() -> Generator[None]:
        inside.append(True)
        yield
        inside.pop()

    found = measure_within(lambda: places.append(bool(inside)), place, seconds=0.001)
    assert found.rounds >= 5
    assert places.count(True) == places.count(False) == 5 * found.rounds


def test_forms_with_threads_of_their_own_are_timed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: calls.append("pause"))
    monkeypatch.setattr(measuring, "_milliseconds", lambda call: call() or 1.0)
    measure(lambda: calls.append("before"), lambda: calls.append("after"), seconds=0.001, apart=True)
    one = ["pause", *["before"] * 4, "pause", *["after"] * 4]
    assert calls[:2] == ["before", "after"]
    assert calls[2:] == one * (len(calls[2:]) // len(one))
    assert len(calls) > 5 * len(one)
    calls.clear()
    monkeypatch.setattr(measuring, "_milliseconds", lambda call: call() or 1000.0)
    measure(lambda: calls.append("before"), lambda: calls.append("after"), seconds=0.001, apart=True)
    assert calls[2:8] == ["pause", "before", "before", "pause", "after", "after"]


def test_without_openvino_the_report_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    model, images = network("lenet5")
    fast = quick(model, images, runtimes=True)
    (step,) = [step for step in fast.report.steps if "OpenVINO" in step.name]
    assert (step.kept, step.reason) == (False, "not installed: pip install 'corinth[openvino]'")
    torch.testing.assert_close(fast(images), model(images).detach())
    assert not any("OpenVINO" in step.name for step in quick(model, images).report.steps)


def test_an_openvino_that_is_damaged_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "openvino.py").write_text("raise ImportError('libtbb.so.12: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    step = quick(*network("lenet5"), runtimes=True).report.steps[-1]
    assert step.reason == "it cannot be imported: libtbb.so.12: cannot open shared object file"


@pytest.mark.parametrize(
    ("name", "norms"), [("resnet18", "20 of 20"), ("mixnet_s", "49 of 49"), ("densenet121", "59 of 121")]
)
def test_norms_are_folded_wherever_they_follow_a_convolution(name: str, norms: str) -> None:
    fast = quick(*network(name))
    assert any(step.name == f"{norms} batch norms folded" for step in fast.report.steps), fast.report


def test_mixed_kernels_merge_into_one(monkeypatch: pytest.MonkeyPatch) -> None:
    always_faster(monkeypatch)
    fast = quick(*network("mixnet_s"))
    assert "mixed depthwise kernels merged in 13 of 13 layers" in [step.name for step in fast.report.steps]


@pytest.mark.parametrize("images", [1, 100])
@pytest.mark.parametrize(
    "name", ["densenet121", "inception_v3", "mobilenetv2_035", "mobilenetv3_small_050", "mixnet_s"]
)
def test_products_are_the_same_as_1x1_convolutions(name: str, images: int) -> None:
    model, batch = network(name)
    graph = capture(model.requires_grad_(False), batch)
    fold_norms(graph)
    expected = graph(batch)
    assert use_products(graph, images) > 10
    kernels = [constant(graph, node.args[1]).shape[2:] for node in graph.graph.nodes if is_conv(node)]
    assert name in ("mixnet_s", "inception_v3") or (1, 1) not in kernels
    torch.testing.assert_close(graph(batch), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_a_gain_within_the_noise_is_none() -> None:
    def call() -> None:
        sum(range(1000))

    same = measure(call, call, seconds=0.05)
    assert same.least <= same.gain
    assert measure(lambda: [call() for _ in range(20)], call, seconds=0.05).least > 1


def test_a_step_that_is_not_faster_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizing, "measure", lambda before, after, **options: Measured(1.0, 1.1, 0.9, 0.9, 5))
    fast = quick(*network("resnet18"))
    assert [step.kept for step in fast.report.steps] == [False, False]
    assert {step.reason for step in fast.report.steps} == {"not faster"}
    assert fast.report.gain == 1
    assert fast.report.form == "the model as it is"
    assert fast.report.difference == 0


def test_a_step_that_leaves_the_tolerance_is_dropped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    always_faster(monkeypatch)
    model, images = network("resnet18")
    fast = quick(model, images, precision="bf16", tolerance=1e-5)
    (step,) = [step for step in fast.report.steps if step.name == "bf16"]
    if step.difference is None:
        pytest.skip(step.reason)
    assert not step.kept
    assert "of the largest, more than 1e-05" in step.reason
    assert fast.report.precision == "fp32"


def test_bf16_states_its_tolerance_and_the_agreement_of_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    always_faster(monkeypatch)
    if (reason := lacks_bfloat16(torch.device("cpu"))) is not None:
        pytest.skip(reason)
    model, images = network("resnet18")
    report = quick(model, images, precision="bf16").report
    assert report.precision == "bf16"
    assert 1e-4 < report.difference <= report.tolerance == 5e-2
    assert report.agreement == 1


def test_bf16_without_instructions_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizing, "lacks_bfloat16", lambda device: f"the {device} is old")
    fast = quick(*network("lenet5"), precision="bf16")
    assert fast.report.steps[-1].reason == "the cpu is old"


def test_the_report_says_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    always_faster(monkeypatch)
    report = quick(*network("resnet18"), threads=1).report
    assert isinstance(report, OptimizationReport)
    assert report.shape == (2, 3, 32, 32)
    assert report.threads == 1
    assert report.tolerance == 1e-4
    assert report.machine.endswith(f"torch {torch.__version__}")
    text = str(report)
    assert "2 images of 3x32x32, fp32, 1 thread" in text
    assert "channels_last" in text
    assert "kept: faster" in text
    assert "2.00 times as fast" in text
    assert report.form == report.steps[-1].name
    assert report.to_dict()["steps"][0]["name"] == "channels_last"
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.gain = 3.0  # ty: ignore[invalid-assignment]


def test_without_a_compiler_the_rest_works() -> None:
    model, images = network("lenet5")
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        fast = quick(model, images, compile=True)
    (step,) = [step for step in fast.report.steps if step.name == "compiled"]
    assert not step.kept
    assert step.reason.startswith("not available: no C++ compiler was found on this machine (install g++")
    torch.testing.assert_close(fast(images), model(images).detach())


def test_a_model_that_cannot_be_traced_still_runs() -> None:
    class Stubborn(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)) if x.sum().item() > -1e9 else x.sum((2, 3))

    images = torch.randn(2, 3, 8, 8)
    fast = quick(Stubborn(), images)
    (step,) = [step for step in fast.report.steps if step.name == "graph"]
    assert step.reason.startswith("torch.export cannot trace this model: ")
    torch.testing.assert_close(fast(images), images.mean((2, 3)))


@pytest.mark.slow
@pytest.mark.skipif(missing_compiler() is not None, reason="needs a C++ compiler")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_for_the_example_and_for_any_other_batch(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    always_faster(monkeypatch)
    model, images = network("mobilenetv3_small_050")
    settings = inductor.freezing
    fast = quick(model, images, precision=precision, compile=True)
    assert {step.name for step in fast.report.steps if step.kept} >= {"channels_last", "compiled"}
    limit = 1e-4 if precision == "fp32" else 5e-2
    with torch.no_grad():
        for batch in (images, images[:1], torch.cat([images, images[:1]])):
            expected = model(batch)
            assert (fast(batch) - expected).abs().max() <= limit * expected.abs().max()
    assert fast._any_batch is not None
    assert fast._any_batch.run is not fast._any_batch.graph
    assert inductor.freezing == settings


@pytest.mark.slow
@pytest.mark.skipif(missing_compiler() is not None, reason="needs a C++ compiler")
def test_another_batch_that_cannot_be_compiled_is_said_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    always_faster(monkeypatch)
    model, images = network("lenet5")
    fast = quick(model, images, compile=True)

    def fails(*args: Any, **options: Any) -> Any:
        raise RuntimeError("out of registers")

    monkeypatch.setattr("corinth.inference.optimizing.compile_graph", fails)
    more = torch.cat([images, images])
    with pytest.warns(UserWarning, match=r"run without compilation, slower: the compiler failed \(out of registers\)"):
        found = fast(more)
    with torch.no_grad():
        torch.testing.assert_close(found, model(more))
    assert torch.equal(fast(more), found)  # said once


def test_for_inference_only() -> None:
    model, images = network("lenet5")
    fast = quick(model, images)
    assert fast.eval() is fast
    assert not fast.training
    with pytest.raises(UsageError, match="for inference only; train the model"):
        fast.train()
    with pytest.raises(UsageError, match="has no gradients; train the model"):
        fast.requires_grad_()
    with pytest.raises(UsageError, match="the images require one; detach them"):
        fast(images.requires_grad_())
    assert not fast(images.detach()).requires_grad


def test_images_that_do_not_fit() -> None:
    fast = quick(*network("lenet5"))
    with pytest.raises(UsageError, match=r"shape \(2, 1, 30, 30\) do not fit .* made for \(any, 1x32x32\)"):
        fast(torch.zeros(2, 1, 30, 30))
    with pytest.raises(UsageError, match="do not fit"):
        fast(torch.zeros(0, 1, 32, 32))
    with pytest.raises(UsageError, match=r"torch.float64 on cpu; this optimized model takes float32"):
        fast(torch.zeros(2, 1, 32, 32, dtype=torch.float64))


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (torch.zeros(1, 32, 32), r"has the shape \(1, 32, 32\); it must be images \(B, C, H, W\)"),
        (torch.zeros(0, 1, 32, 32), "at least 1"),
        ("cat.jpg", "the example is str; it must be a tensor"),
        (torch.zeros(1, 3, 32, 32), r"the model cannot run images of \(1, 3, 32, 32\): "),
        (torch.zeros(1, 1, 32, 32, dtype=torch.uint8), "the example is uint8; it must be float32"),
        (torch.zeros(1, 1, 32, 32, device="meta"), "are on cpu and meta; optimize works on the cpu"),
        (torch.full((1, 1, 32, 32), float("nan")), "own outputs for the example are not finite"),
    ],
)
def test_examples_that_cannot_be_used(example: Tensor, message: str) -> None:
    model, _ = network("lenet5")
    with pytest.raises(UsageError, match=message):
        quick(model, example)


def test_models_in_other_precisions() -> None:
    model, images = network("lenet5")
    with pytest.raises(UsageError, match=r"the model is float64; it must be float32, and precision='bf16' asks for"):
        quick(model.double(), images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp16"}, "precision 'fp16' is none of fp32, bf16"),
        ({"tolerance": 0.0}, "tolerance 0.0 is not between 0 and 1"),
        ({"tolerance": "a"}, "tolerance 'a' is not between 0 and 1"),
        ({"seconds": 0.0}, "seconds 0.0 is not more than 0"),
        ({"seconds": "1"}, "seconds '1' is not more than 0"),
        ({"threads": 0}, "threads 0 is not a whole number above 0"),
        ({"threads": "2"}, "threads '2' is not a whole number above 0"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        quick(*network("lenet5"), **options)


def test_a_name_is_no_model() -> None:
    with pytest.raises(UsageError, match="the model is str; it must be a network"):
        quick("resnet18", torch.zeros(1, 3, 32, 32))  # ty: ignore[invalid-argument-type]


def untraceable(model: nn.Module, images: Tensor) -> None:
    raise RuntimeError("not to be traced")


def test_labels_of_maps_are_compared_pixel_by_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    always_faster(monkeypatch)
    monkeypatch.setattr(optimizing, "capture", untraceable)

    class Swapped(nn.Module):
        """Scores of two classes in 8 x 8 pixels; in `channels_last` those of one pixel are the other way round."""

        def forward(self, x: Tensor) -> Tensor:
            other = x.clone()
            other[:, :, 0, 0] = x.flip(1)[:, :, 0, 0]
            return torch.where(torch.tensor(x.is_contiguous()), x, other)

    scores = torch.randn(2, 2, 8, 8)
    scores[:, :, 0, 0] = torch.tensor([0.1, 0.2])
    report = quick(Swapped(), scores, tolerance=0.99).report
    assert report.form == "channels_last"
    assert report.agreement == pytest.approx(63 / 64)


class Empty(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :0]


@pytest.mark.parametrize(("model", "shape"), [(nn.Flatten(0), "(16,)"), (Empty(), "(1, 1, 0, 4)")])
def test_a_model_without_classes(model: nn.Module, shape: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"answers with the shape {shape}; optimize works with (B, C, ...)")):
        quick(model, torch.zeros(1, 1, 4, 4))


def test_numbers_of_numpy() -> None:
    fast = quick(*network("lenet5"), seconds=np.float32(0.01), threads=np.int64(1))
    assert fast.report.threads == 1


def test_a_model_with_several_outputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(UsageError, match="answers with tuple; optimize works with one tensor"):
        quick(Two(), torch.zeros(1, 1, 4, 4))
