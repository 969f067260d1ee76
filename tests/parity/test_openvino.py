"""`optimize` in OpenVINO: the outputs are the model's, in every batch size, and stay what they were."""

import copy
import importlib
import sys
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import corinth
from corinth.inference import OptimizationReport, Optimized, Step, optimize, optimizing
from corinth.inference.measuring import Measured
from random_tensors import randomise

pytestmark = pytest.mark.parity
TINY = {"lenet5": 32, "resnet20_cifar10": 32, "mixnet_s": 64}


@pytest.fixture(autouse=True)
def _always_faster(openvino: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every form whose outputs are right, so that no test hangs on the machine's load."""

    def measured(before: Callable[[], object], after: Callable[[], object], **options: object) -> Measured:
        before(), after()
        return Measured(2.0, 1.0, 2.0, 2.0, 5)

    monkeypatch.setattr(optimizing, "measure", measured)


def network(name: str) -> tuple[nn.Module, Tensor]:
    model = randomise(corinth.create_model(name, num_classes=5), norm_scale=0.5).eval()
    size = (2, model.cfg.in_chans, TINY[name], TINY[name])
    return model, torch.randn(size, generator=torch.Generator().manual_seed(1))


def quick(model: nn.Module, images: Tensor, **options: object) -> Optimized:
    quickest = {"compile": False, "seconds": 0.001, "keep_memory": False}
    return optimize(model, images, **{**quickest, **options})  # ty: ignore[invalid-argument-type]


def last(report: OptimizationReport) -> Step:
    (*_, step) = report.steps
    return step


@pytest.mark.parametrize("name", TINY)
def test_the_outputs_are_the_models(name: str) -> None:
    model, images = network(name)
    fast = quick(model, images)
    version = sys.modules["openvino"].__version__.partition("-")[0]
    assert (last(fast.report).name, last(fast.report).kept) == (f"run in OpenVINO {version}", True)
    assert f"run in OpenVINO {version} " in str(fast.report)
    assert fast.report.precision == "fp32"
    with torch.no_grad():
        for batch in (images, images[:1], torch.cat([images, images[:1]]), images.transpose(2, 3)):
            expected = model(batch)
            torch.testing.assert_close(fast(batch), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_network_of_maps_without_a_word_of_its_operators(caplog: pytest.LogCaptureFixture) -> None:
    model = randomise(corinth.create_model("semantic_fpn_resnet18", num_classes=3), norm_scale=0.5).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    fast = quick(model, images)
    assert last(fast.report).kept
    assert last(fast.report).name.startswith("run in OpenVINO")
    assert [record.getMessage() for record in caplog.records if record.name == "root"] == []
    with torch.no_grad():
        expected = model(images)
    torch.testing.assert_close(fast(images), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_batch_of_another_size_runs_in_openvino_too() -> None:
    model, images = network("resnet20_cifar10")
    fast = quick(model, images[:1])
    found = fast(images)
    assert type(fast._any_batch.run) is type(fast._form.run)  # ty: ignore[unresolved-attribute]
    torch.testing.assert_close(found, model(images).detach(), rtol=1e-4, atol=1e-4)


def test_in_bf16_where_the_processor_has_it() -> None:
    model, images = network("resnet20_cifar10")
    report = quick(model, images, precision="bf16").report
    fp32, bf16 = report.steps[-2:]
    assert bf16.name == f"{fp32.name}, bf16"
    if "BF16" not in sys.modules["openvino"].Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert bf16.reason == "it has no bfloat16 on this processor"
    else:
        assert report.precision == "bf16"
        assert fp32.difference < 1e-4 < report.difference <= report.tolerance == 5e-2  # ty: ignore[unsupported-operator]


def test_outputs_off_are_dropped() -> None:
    model, images = network("resnet20_cifar10")
    step = last(quick(model, images, tolerance=1e-12).report)
    assert not step.kept
    assert step.reason.endswith("of the largest, more than 1e-12")


def test_answers_and_images_are_their_owners() -> None:
    """Neither does a later call change an earlier answer, nor a change of the images after the call."""
    model, images = network("lenet5")
    fast = quick(model, images)
    given = images.clone()
    first = fast(given)
    kept = first.clone()
    other = fast(torch.zeros_like(images))
    given.fill_(7.0)
    assert torch.equal(first, kept)
    assert not torch.equal(first, other)
    assert torch.equal(fast(images), kept)
    assert torch.equal(copy.deepcopy(fast)(images), kept)


def test_threads_may_call_at_once() -> None:
    model, images = network("resnet20_cifar10")
    fast = quick(model, images)
    batches = [images + n for n in range(8)]
    expected = [fast(batch) for batch in batches]
    found: list[list[Tensor]] = [[] for _ in batches]

    def call(n: int) -> None:
        found[n] = [fast(batches[n]) for _ in range(20)]

    threads = [threading.Thread(target=call, args=(n,)) for n in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(answers) == 20 for answers in found)
    assert all(torch.equal(answer, want) for answers, want in zip(found, expected) for answer in answers)


def test_an_operator_that_openvino_lacks_is_named() -> None:
    class Bessel(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.bessel_j1(x).mean((2, 3))

    images = torch.randn(2, 3, 8, 8)
    fast = quick(Bessel(), images)
    assert last(fast.report).reason == (
        "it cannot take in this network: No conversion rule found for operations: aten.special_bessel_j1.default"
    )
    torch.testing.assert_close(fast(images), Bessel()(images))


def test_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO's own conversion tells Intel of its use, where `openvino_telemetry` is installed."""
    library = importlib.import_module("openvino.tools.ovc.telemetry_utils").tm
    asked: list[object] = []

    class Listening(library.Telemetry):
        def __init__(self, *args: object, **options: object) -> None:
            asked.append(self)

    monkeypatch.setattr(library, "Telemetry", Listening)
    assert last(quick(*network("lenet5")).report).kept
    assert not asked


def test_it_may_be_left_out() -> None:
    assert not any("OpenVINO" in step.name for step in quick(*network("lenet5"), runtimes=False).report.steps)
