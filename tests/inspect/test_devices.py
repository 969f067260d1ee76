"""Which device a name means, and where bfloat16 is said to be slow."""

import platform
from contextlib import nullcontext

import pytest
import torch

from corinth.errors import UsageError
from corinth.inspect.devices import choose_device, lacks_bfloat16
from corinth.layers import onednn

CPU = torch.device("cpu")


def test_names_of_devices() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(UsageError, match=r"device 'tpu' is not valid; it must be auto, cpu, cuda"):
        choose_device("tpu")
    with pytest.raises(UsageError, match=r"device 'cuda:64' is not here"):
        choose_device("cuda:64")


@pytest.mark.parametrize(
    ("machine", "routines", "instructions", "said"),
    [
        ("x86_64", True, True, None),
        ("x86_64", True, False, "this processor has no bfloat16 instructions (AVX512-BF16)"),
        ("x86_64", False, False, "this processor has no bfloat16 instructions (AVX512-BF16)"),
        ("aarch64", True, False, None),
        ("aarch64", False, False, "this processor has no bfloat16 instructions"),
    ],
)
def test_processors_with_and_without_bfloat16(
    machine: str, routines: bool, instructions: bool, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(onednn, "knows_bfloat16", lambda: routines)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions)
    assert lacks_bfloat16(CPU) == said


def test_bfloat16_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert lacks_bfloat16(CPU) == "this torch comes without oneDNN, which computes in bfloat16"


@pytest.mark.parametrize(("known", "said"), [(True, None), (False, "this GPU has no bfloat16 arithmetic")])
def test_bfloat16_of_graphics_cards(known: bool, said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: known or including_emulation)
    assert lacks_bfloat16(torch.device("cuda")) == said
    assert lacks_bfloat16(torch.device("mps")) is None
