"""Recurrent networks as ONNX Runtime runs them: exported once, equal to torch's outputs for any batch and length."""

import re
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import corinth
from random_tensors import randomise

pytestmark = pytest.mark.parity
IN, H, CLASSES = 5, 6, 3
NAMES = corinth.list_models(family="recurrent", task="sequence-classification")
STACKED = ("gru", "bilstm")  # the others in one layer, which is exported in half the time
ONE_WAY = {"bilstm": "lstm", "bigru": "gru"}  # the same network but for its directions
CASES = [
    *((name, {"bidirectional": name in ONE_WAY}) for name in NAMES),
    *((name, {"bidirectional": True}) for name in NAMES if name not in (*ONE_WAY, *ONE_WAY.values())),
    ("gru", {"layer_norm": True}),
    ("gru", {"pool": "max"}),
    ("bilstm", {"pool": "none", "vocab_size": 9}),
]
SHAPES = [(1, 1), (1, 12), (12, 1), (2, 9), (3, 3), (5, 5), (6, 6), (4, 7), (24, 3)]  # (B, T)


def build(name: str, options: dict[str, Any]) -> nn.Module:
    layers = 2 if name in STACKED else 1
    sizes = {"input_size": IN, "hidden_size": H, "num_classes": CLASSES, "num_layers": layers}
    return randomise(corinth.create_model(name, **sizes | options)).eval()


def example(model: Any, batch: int, steps: int) -> tuple[Tensor, Tensor]:
    """Inputs of a network, and lengths, the first of them the whole."""
    lengths = torch.randint(1, steps + 1, (batch,))
    lengths[0] = steps
    vocabulary = model.cfg.vocab_size
    return torch.randint(vocabulary, (batch, steps)) if vocabulary else torch.randn(batch, steps, IN), lengths


def export(model: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
    batch, steps = torch.export.Dim("batch"), torch.export.Dim("steps")
    shapes = ({0: batch, 1: steps}, {0: batch})[: len(inputs)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about its own code
        program = torch.onnx.export(model, inputs, dynamic_shapes=shapes, dynamo=True, verbose=False)
    assert program is not None
    return program.model_proto.SerializeToString()


def check(runtimes: SimpleNamespace, model: nn.Module, file: bytes, given: int) -> None:
    options = runtimes.onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtimes.onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [place.name for place in session.get_inputs()]
    for shape in SHAPES:
        inputs = example(model, *shape)[:given]
        (found,) = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
        with torch.no_grad():
            expected = model(*inputs)
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_any_batch_and_length(name: str, options: dict[str, Any], runtimes: SimpleNamespace) -> None:
    torch.manual_seed(0)
    model = build(name, options)
    check(runtimes, model, export(model, example(model, 4, 7)), given=2)


@pytest.mark.parametrize(("batch", "steps"), [(3, 7), (6, 6)])
@pytest.mark.parametrize("name", ["gru", "lstm_peephole"])
def test_the_sizes_of_the_example_do_not_matter(name: str, batch: int, steps: int, runtimes: SimpleNamespace) -> None:
    """Also where they are the network's: as many sequences as gates, peepholes or hidden units."""
    torch.manual_seed(0)
    model = build(name, {"num_layers": 1})
    check(runtimes, model, export(model, example(model, batch, steps)[:1]), given=1)


def test_the_lines_of_the_documentation(
    runtimes: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "docs" / "recurrent.md"
    (block,) = re.findall(r"```py\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about its own code
        exec(compile(block, str(page), "exec"), names)
    with torch.no_grad():
        expected = names["model"](names["x"], names["lengths"])
    torch.testing.assert_close(torch.from_numpy(names["logits"]), expected, rtol=1e-5, atol=1e-5)
