"""Files and folders: each kind is read, each kind of bad file gives one sentence, and nothing in a file is run."""

import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

from corinth import create_model, load_weights
from corinth.errors import WeightsError
from corinth.weights.reading import read_tensors


@pytest.fixture
def model():
    return create_model("lenet5")


@pytest.fixture
def state(model):
    return dict(model.state_dict())


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.th", "a.bin", "a.pth.tar", "a.safetensors"])
def test_every_suffix(tmp_path: Path, state, model, name: str) -> None:
    file = tmp_path / name
    (safetensors.torch.save_file if name.endswith("safetensors") else torch.save)(state, file)
    assert load_weights(model, file).exact
    assert load_weights(model, str(tmp_path)).exact  # the only one in its folder


def test_the_old_pickle_format(tmp_path: Path, state, model) -> None:
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert load_weights(model, tmp_path / "old.pth").exact


class Evil:
    """A pickle of this runs a command when it is read without care."""

    def __reduce__(self):
        return os.system, ("touch EXECUTED",)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, state, model, monkeypatch, new_format: bool) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({**state, "evil": Evil()}, "evil.pth", _use_new_zipfile_serialization=new_format)
    with pytest.raises(WeightsError, match=r"evil\.pth was refused: it holds '\w+\.system', and reading that could"):
        load_weights(model, "evil.pth")
    assert not Path("EXECUTED").exists()


def test_a_whole_pickled_model_is_refused(tmp_path: Path, model) -> None:
    torch.save(model, tmp_path / "model.pth")
    with pytest.raises(WeightsError, match=r"was refused: it holds 'corinth\..*LeNet5', .*save its state_dict\(\)"):
        load_weights(model, tmp_path / "model.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_program_is_refused(tmp_path: Path, model) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "program.pt")
    with pytest.raises(WeightsError, match="was refused: it is a TorchScript program"):
        load_weights(model, tmp_path / "program.pt")


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.999])
def test_a_truncated_file(tmp_path: Path, state, model, name: str, share: float) -> None:
    file = tmp_path / name
    (safetensors.torch.save_file if name.endswith("safetensors") else torch.save)(state, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    before = {key: tensor.clone() for key, tensor in state.items()}
    with pytest.raises(WeightsError, match=rf"{name} is damaged") as caught:
        load_weights(model, file)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_of_the_old_format(tmp_path: Path, state, model, share: float) -> None:
    file = tmp_path / "cut.pth"
    torch.save(state, file, _use_new_zipfile_serialization=False)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match=r"cut\.pth is damaged"):
        load_weights(model, file)


@pytest.mark.parametrize("name", ["empty.pth", "empty.safetensors"])
def test_a_file_of_zero_bytes(tmp_path: Path, model, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(WeightsError, match=rf"{name} is empty"):
        load_weights(model, tmp_path / name)


@pytest.mark.parametrize("name", ["text.pth", "text.safetensors"])
def test_a_file_of_something_else(tmp_path: Path, model, name: str) -> None:
    (tmp_path / name).write_text("these are not weights\n" * 20)
    with pytest.raises(WeightsError, match="is damaged"):
        load_weights(model, tmp_path / name)


def test_a_missing_path(tmp_path: Path, model) -> None:
    with pytest.raises(WeightsError, match=r"there is no weights file .*nowhere\.pth"):
        load_weights(model, tmp_path / "nowhere.pth")


def test_another_suffix(tmp_path: Path, model) -> None:
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"weights\.h5 is no weights file that can be read; \.safetensors, \.pth"):
        load_weights(model, tmp_path / "weights.h5")


def test_folders_without_weights_or_with_several(tmp_path: Path, state, model) -> None:
    with pytest.raises(WeightsError, match=r"has no weights file; one of \.safetensors"):
        load_weights(model, tmp_path)
    for name in ("a.pth", "b.pth"):
        torch.save(state, tmp_path / name)
    with pytest.raises(WeightsError, match=r"several weights files \(a\.pth, b\.pth\); name the one"):
        load_weights(model, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path, state, model) -> None:
    torch.save(state, tmp_path / "a.pth")
    (tmp_path / "a.pth").chmod(0)
    with pytest.raises(WeightsError, match=r"a\.pth cannot be read: Permission denied"):
        load_weights(model, tmp_path / "a.pth")


def test_tensors_on_an_accelerator_come_to_the_cpu(tmp_path: Path, state) -> None:
    torch.save(state, tmp_path / "a.pth")
    assert all(tensor.device.type == "cpu" for tensor in read_tensors(tmp_path / "a.pth").state.values())
