"""`train` on the handwritten digits: the run folder, resume, interruption, and what goes wrong."""

import errno
import json
import math
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from corinth.data import ImageData, open_data
from corinth.errors import CorinthError, DataError, TrainingError, UsageError
from corinth.training import Recipe, Run, SilentReporter, job, train
from corinth.training.job import open_and_check
from corinth.training.processes import Processes
from corinth.training.run import new_folder
from corinth.weights import load_model

SMALL: dict[str, Any] = {
    "arch": "cnn",
    "options": {"channels": (8, 16)},
    "img_size": 8,
    "budget": "2ep",
    "batch_size": 256,
    "optimizer": "adamw",
    "lr": 0.01,
    "augmentation": {"crop_padding": 0.125},
    "device": "cpu",
    "threads": 1,
}
CLOCKED = ("seconds", "samples_per_second")


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return open_data("digits")


class Remembering(SilentReporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)


class Interrupting(SilentReporter):
    """Sends the process a signal after the first evaluation, as a person who presses Ctrl-C."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        self.number = number

    def evaluation(self, row: Mapping[str, Any]) -> None:
        if row["epoch"] == 1:
            os.kill(os.getpid(), self.number)


def results(rows: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in CLOCKED} for row in rows]


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def state(run: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(run / "last/state.safetensors", framework="pt") as file:
        values = json.loads(file.metadata()["values"])
    return load_file(run / "last/state.safetensors"), values


def equal(a: Path, b: Path) -> bool:
    """The best weights, the last ones and everything the optimizer and the generators remember."""
    for name in ("model.safetensors", "last/state.safetensors"):
        first, second = load_file(a / name), load_file(b / name)
        if first.keys() != second.keys() or not all(torch.equal(first[key], second[key]) for key in first):
            return False
    return True


def test_a_run_has_all_that_the_design_asks_of_it(digits: ImageData, tmp_path: Path) -> None:
    run = train(data=digits, output=str(tmp_path / "run"), **SMALL)
    assert (run.reason, run.interrupted) == ("budget", False)
    assert {path.name for path in run.path.iterdir()} >= {
        "recipe.yaml",
        "model.safetensors",
        "config.json",
        "last",
        "metrics.jsonl",
    }
    assert [row["epoch"] for row in run.metrics] == [1.0, 2.0]
    wanted = {
        "epoch",
        "step",
        "samples",
        "seconds",
        "lr",
        "train_loss",
        "train_top1",
        "val_loss",
        "val_top1",
        "val_top5",
    }
    assert wanted | {"samples_per_second"} <= run.metrics[0].keys()
    assert run.metrics[-1]["val_top1"] > 0.3
    assert run.best == max(run.metrics, key=lambda row: (row["val_top1"], -row["val_loss"]))
    assert lines(run.path) == list(run.metrics)
    assert Run.open(run.path) == run

    written = yaml.safe_load((run.path / "recipe.yaml").read_text())
    assert Recipe.from_yaml(run.path / "recipe.yaml") == run.recipe
    assert written["made_with"].keys() >= {"corinth", "torch", "python", "threads", "machine", "device"}
    assert written["data"]["fingerprint"] == digits.fingerprint
    model, config = load_model(run.path)
    assert config.classes == digits.classes
    assert config.preprocess.size == (8, 8)
    assert sum(p.numel() for p in model.parameters()) > 0
    modes = {stat.S_IMODE(path.stat().st_mode) for path in run.path.rglob("*") if path.is_file()}
    assert len(modes) == 1  # no file is less readable than another


def test_the_same_recipe_gives_the_same_weights(digits: ImageData, tmp_path: Path) -> None:
    a = train(data=digits, output=str(tmp_path / "a"), **SMALL)
    torch.manual_seed(77)
    b = train(a.recipe, data=digits, output=str(tmp_path / "b"))
    assert equal(a.path, b.path)
    c = train(data=digits, output=str(tmp_path / "c"), **SMALL | {"seed": 1})
    assert not equal(a.path, c.path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_saved_and_goes_on_exactly(digits: ImageData, tmp_path: Path, number: int) -> None:
    fields = SMALL | {"ema": 0.9, "clip_norm": 1.0, "budget": "3ep"}
    whole = train(data=digits, output=str(tmp_path / "whole"), **fields)
    before = signal.getsignal(number)
    cut = train(data=digits, output=str(tmp_path / "cut"), reporter=Interrupting(number), **fields)
    assert signal.getsignal(number) is before
    assert cut.interrupted
    assert Run.open(cut.path).interrupted
    assert len(lines(cut.path)) == 1
    again = train(data=digits, resume=cut.path)
    assert again.reason == "budget"
    assert equal(whole.path, again.path)
    assert results(lines(whole.path)) == results(lines(again.path)) == results(again.metrics)


def test_lines_after_the_resume_state_are_written_once(digits: ImageData, tmp_path: Path) -> None:
    """Killed between the line of an evaluation and the state: the line comes again, with the same numbers."""
    cut = train(data=digits, output=str(tmp_path / "cut"), reporter=Interrupting(), **SMALL)
    row = lines(cut.path)[0]
    with open(cut.path / "metrics.jsonl", "a") as file:
        file.write(json.dumps(row | {"epoch": 2.0, "val_top1": 0.123}) + '\n{"epoch": 3.0, "val_')
    again = train(data=digits, resume=cut.path)
    assert [row["epoch"] for row in lines(again.path)] == [1.0, 2.0]
    assert 0.123 not in [row["val_top1"] for row in lines(again.path)]


def test_a_finished_run_can_go_on_with_a_larger_budget(digits: ImageData, tmp_path: Path) -> None:
    run = train(data=digits, output=str(tmp_path / "run"), **SMALL)
    same = train(data=digits, resume=run.path)
    assert results(same.metrics) == results(run.metrics)
    more = train(data=digits, resume=run.path, budget="3ep")
    assert [row["epoch"] for row in more.metrics] == [1.0, 2.0, 3.0]
    assert more.recipe.budget == "3ep"
    assert [row.get("ended") for row in lines(run.path)] == [None, None, "budget"]


def test_a_resumed_run_keeps_its_recipe_and_its_data(digits: ImageData, tmp_path: Path) -> None:
    run = train(data=digits, output=str(tmp_path / "run"), **SMALL)
    with pytest.raises(UsageError, match=r"cannot change batch_size, lr; it can change budget"):
        train(data=digits, resume=run.path, lr=1.0, batch_size=4)
    with pytest.raises(UsageError, match="not both"):
        train(run.recipe, data=digits, resume=run.path)
    with pytest.raises(DataError, match=r"is not what the run .* began with"):
        train(data=digits.with_shuffled_labels(0), resume=run.path)
    with pytest.raises(UsageError, match=r"is no run folder: it has no recipe\.yaml"):
        train(data=digits, resume=tmp_path)
    (run.path / "last/state.safetensors").write_bytes(b"cut short")
    with pytest.raises(TrainingError, match=r"resume state .* cannot be read"):
        train(data=digits, resume=run.path)


KILLED = """
import sys
from corinth.training import train
train(data="digits", output=sys.argv[1], save_every=1e-6, **{fields!r})
"""


def test_a_killed_process_goes_on_bit_for_bit(digits: ImageData, tmp_path: Path) -> None:
    """SIGKILL in the middle of an epoch, which no handler sees."""
    fields = SMALL | {"batch_size": 64, "budget": "4ep", "ema": 0.9}
    whole = train(data=digits, output=str(tmp_path / "whole"), **fields)
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", KILLED.format(fields=fields), str(killed)])
    file = killed / "last/state.safetensors"
    while process.poll() is None and not (file.exists() and state(killed)[1]["step"] >= 25):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    values = state(killed)[1]
    assert 25 <= values["step"] < whole.metrics[-1]["step"]  # an epoch has 20 steps
    assert Run.open(killed).interrupted
    left = killed / "last/.state.safetensors.1.tmp"
    left.write_bytes(b"half")
    again = train(data="digits", resume=killed)
    assert not list(killed.rglob("*.tmp"))
    assert equal(whole.path, again.path)
    assert results(lines(whole.path)) == results(lines(again.path))


def test_an_output_that_is_taken(digits: ImageData, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(UsageError, match=r"exists and is not empty; choose another output, or go on with resume="):
        train(data=digits, output=str(tmp_path), **SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "do not touch"


def test_runs_without_an_output_get_names_of_their_own(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fields = SMALL | {"budget": "8samples", "batch_size": 8}
    first, second = (train(data=digits, **fields).path for _ in range(2))
    assert first.parent.name == "runs"
    assert first.name.endswith("-cnn-digits")
    assert second.name == f"{first.name}-2"


def test_a_full_disk_is_one_sentence_and_loses_nothing(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up after the first evaluation."""
    write = Path.write_bytes
    written: list[Path] = []

    def full(path: Path, data: bytes) -> int:
        written.append(path)
        if len([p for p in written if "state" in p.name]) > 2:
            write(path, data[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CorinthError, match=r"could not save .*state\.safetensors: the disk is full") as error:
        train(data=digits, output=str(tmp_path / "run"), **SMALL)
    assert error.value.exit_code == 1
    monkeypatch.undo()
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert load_model(tmp_path / "run")
    again = train(data=digits, resume=tmp_path / "run")
    whole = train(data=digits, output=str(tmp_path / "whole"), **SMALL)
    assert equal(whole.path, again.path)


FULL = """
mount -t tmpfs -o size=$1 tmpfs disk || exit 77
$2 -m corinth train --recipe whole/recipe.yaml --output disk/run --quiet; echo code $?
ls -A disk/run/last disk/run
mount -o remount,size=64m disk
$2 -m corinth train --resume disk/run --quiet || exit 1
cp -r disk/run resumed
"""


@pytest.mark.parametrize(("size", "file"), [("200k", "metrics.jsonl"), ("450k", "last/state.safetensors")])
def test_a_file_system_that_is_really_full(digits: ImageData, tmp_path: Path, size: str, file: str) -> None:
    """A small one of its own, which the test may mount where the system has user namespaces."""
    whole = train(data=digits, output=str(tmp_path / "whole"), **SMALL)
    (tmp_path / "disk").mkdir()
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", FULL, "sh", size, sys.executable]
    try:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("this system lets nobody mount a file system of their own")
    assert done.returncode == 0, done.stderr
    assert "code 1\n" in done.stdout
    assert ".tmp" not in done.stdout
    said = f"corinth: could not save disk/run/{file}: the disk is full; what was there before is untouched"
    assert said in done.stderr
    assert equal(whole.path, tmp_path / "resumed")


def test_a_folder_that_cannot_be_written_to_is_known_before_the_first_step(digits: ImageData, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CorinthError, match="could not save"):
        train(data=digits, output=str(tmp_path / "file/run"), **SMALL)


def test_weights_that_explode_stop_the_training_and_keep_the_last_good_state(digits: ImageData, tmp_path: Path) -> None:
    fields = SMALL | {"optimizer": "sgd", "lr": 1e12, "schedule": "constant", "budget": "5ep", "batch_size": 32}
    with pytest.raises(
        TrainingError, match=r"(loss|validation loss) is (nan|inf) (in|after) step \d+: training stopped"
    ):
        train(data=digits, output=str(tmp_path / "run"), **fields)
    assert all(torch.isfinite(t).all() for t in state(tmp_path / "run")[0].values() if t.is_floating_point())


@pytest.mark.parametrize(
    "raised",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried to"),
        MemoryError(),
    ],
)
def test_out_of_memory_suggests_what_helps(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    from corinth.tasks import ImageClassification

    def hungry(*_: Any) -> None:
        raise raised

    monkeypatch.setattr(ImageClassification, "losses", hungry)
    with pytest.raises(TrainingError, match=r"cnn ran out of memory with batch_size 256; .*accumulate 2"):
        train(data=digits, output=str(tmp_path / "run"), **SMALL)


def test_other_runtime_errors_are_not_hidden(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from corinth.tasks import ImageClassification

    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(ImageClassification, "losses", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        train(data=digits, output=str(tmp_path / "run"), **SMALL)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"optimizer": "adamv"}, "optimizer 'adamv' is not valid; did you mean adam"),
        ({"options": {"chanels": 3}}, "cnn has no option 'chanels'; did you mean channels?"),
        ({"device": "cuda:9"}, "device 'cuda:9' is not here"),
        ({"device": "gpu"}, "device 'gpu' is not valid"),
        ({"arch": "resnet18", "options": {}, "img_size": 4, "fit": "squash"}, "resnet18"),
        ({"weights": "nowhere.safetensors"}, "nowhere.safetensors"),
    ],
)
def test_wrong_options_are_one_sentence(digits: ImageData, tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(CorinthError, match=r"\S") as error:
        train(data=digits, output=str(tmp_path / "run"), **SMALL | fields)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_the_preflight_knows_the_input_of_the_network(tmp_path: Path) -> None:
    listening = Remembering()
    data = open_and_check(Recipe(arch="resnet20_cifar10", data="digits", img_size=16), listening)
    assert "warning: 1797 of 1797 images are smaller than the network's input of 16 x 16" in "\n".join(listening.texts)
    assert any("MB free and are held in memory" in text for text in listening.texts)
    assert len(data) == 1797


def test_patience_needs_a_validation_part(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="early_stopping needs a validation part and digits has none"):
        train(data="digits", val_share=0, early_stopping=3, output=str(tmp_path / "run"), **SMALL)


def test_fewer_images_than_a_batch_still_anneal_from_the_peak(digits: ImageData, tmp_path: Path) -> None:
    few = replace(digits, splits=digits.splits | {"train": digits.splits["train"][:30]})
    fields = SMALL | {"budget": "4ep", "batch_size": 512, "lr": 0.01, "schedule": "cosine", "warmup": 0.0}
    run = train(data=few, output=str(tmp_path / "run"), **fields)
    middles = [(1 + math.cos(math.pi * (epoch + 0.5) / 4)) / 2 for epoch in range(4)]
    assert [row["lr"] for row in run.metrics] == pytest.approx([0.01 * middle for middle in middles])


def test_a_last_step_of_one_sample(digits: ImageData, tmp_path: Path) -> None:
    """At 32 pixels resnet18 ends in maps of one pixel, which batch norm cannot take from a single sample."""
    few = replace(digits, splits=digits.splits | {"train": digits.splits["train"][:9]})
    fields = {"budget": "1ep", "batch_size": 4, "img_size": 32, "threads": 1}
    run = train(data=few, arch="resnet18", output=str(tmp_path / "run"), **fields)
    assert run.metrics[-1]["step"] == 2


def test_trainings_that_start_together_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = Recipe(arch="cnn", data="digits")
    first, second = (new_folder(recipe, "digits", Processes("cpu")) for _ in range(2))  # nothing written yet
    assert second.name == f"{first.name}-2"
    Path("runs").rename("moved")
    Path("runs").touch()
    with pytest.raises(UsageError, match="cannot be made"):
        new_folder(recipe, "digits", Processes("cpu"))


def test_open_data_are_not_split_again(digits: ImageData) -> None:
    with pytest.raises(UsageError, match="the data are open already, so val_share does nothing; give it to open_data"):
        train(data=digits, **SMALL, val_share=0.3)


def test_nothing_to_train() -> None:
    with pytest.raises(UsageError, match="nothing to train: give a recipe, or arch and data"):
        train(arch="lenet5")


def test_mixed_labels_class_weights_smoothing_and_accumulation_together(digits: ImageData, tmp_path: Path) -> None:
    fields = SMALL | {
        "augmentation": {"mixup": 0.2, "cutmix": 1.0, "flip": True},
        "class_weights": "balanced",
        "label_smoothing": 0.1,
        "accumulate": 2,
        "precision": "bf16",
        "early_stopping": 3,
    }
    run = train(data=digits, output=str(tmp_path / "run"), **fields)
    assert run.metrics[-1]["val_top1"] > 0.2


@pytest.mark.parametrize(("precision", "there", "said"), [("bf16", False, 1), ("bf16", True, 0), ("fp32", False, 0)])
def test_bf16_without_instructions_for_it_is_said(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, there: bool, said: int
) -> None:
    monkeypatch.setattr(job, "lacks_bfloat16", lambda device: None if there else f"the {device} is old")
    reporter = Remembering()
    train(
        data=digits,
        output=str(tmp_path / "run"),
        reporter=reporter,
        **SMALL | {"budget": "1ep", "precision": precision},
    )
    warning = "warning: the cpu is old, so precision bf16 is several times slower here than fp32"
    assert reporter.texts.count(warning) == said


def test_accumulation_changes_nothing_without_batch_norm(digits: ImageData, tmp_path: Path) -> None:
    fields = SMALL | {"arch": "lenet5", "options": {}, "img_size": 16, "budget": "1ep", "optimizer": "sgd", "lr": 0.05}
    once = train(data=digits, output=str(tmp_path / "once"), **fields)
    parts = train(data=digits, output=str(tmp_path / "parts"), accumulate=4, **fields)
    a, b = load_file(once.path / "model.safetensors"), load_file(parts.path / "model.safetensors")
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-5)


def test_from_the_weights_of_a_run_with_its_preprocessing(digits: ImageData, tmp_path: Path) -> None:
    first = train(data=digits, output=str(tmp_path / "first"), **SMALL)
    tuned = train(
        data=digits, output=str(tmp_path / "tuned"), **SMALL | {"weights": str(first.path), "lr": 1e-4, "budget": "1ep"}
    )
    assert tuned.metrics[0]["train_loss"] < first.metrics[0]["train_loss"]
    assert load_model(first.path)[1].preprocess == load_model(tuned.path)[1].preprocess


def test_a_budget_of_operations_counts_forward_and_backward(digits: ImageData, tmp_path: Path) -> None:
    from corinth.inspect import count_macs

    run = train(data=digits, output=str(tmp_path / "a"), **SMALL | {"budget": "512samples"})
    macs = count_macs(load_model(run.path)[0], (1, 8, 8))
    again = train(data=digits, output=str(tmp_path / "b"), **SMALL | {"budget": f"{6 * macs * 512}flops"})
    assert again.metrics[-1]["samples"] == 512
    assert equal(run.path, again.path)


def test_compile_says_when_there_is_no_compiler(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"compile needs a C\+\+ compiler and none is on the PATH"):
        train(data=digits, output=str(tmp_path / "run"), **SMALL | {"compile": True})


def test_tensorboard_on_request(digits: ImageData, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    run = train(data=digits, output=str(tmp_path / "run"), tensorboard=True, **SMALL)
    assert list((run.path / "tensorboard").glob("events*"))


def test_tensorboard_that_is_not_installed(digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"tensorboard is not installed: pip install 'corinth\[tensorboard\]'"):
        train(data=digits, output=str(tmp_path / "run"), tensorboard=True, **SMALL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch.compile's own imports
def test_a_compiled_network_trains_to_the_same_weights(digits: ImageData, tmp_path: Path) -> None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("no C++ compiler on the PATH: compile cannot be tried")
    plain = train(data=digits, output=str(tmp_path / "plain"), **SMALL)
    fast = train(data=digits, output=str(tmp_path / "fast"), **SMALL | {"compile": True})
    a, b = load_file(plain.path / "model.safetensors"), load_file(fast.path / "model.safetensors")
    assert a.keys() == b.keys()
    assert fast.metrics[-1]["val_loss"] == pytest.approx(plain.metrics[-1]["val_loss"], rel=0.05)
    again = train(data=digits, resume=fast.path, budget="3ep")
    assert again.metrics[-1]["epoch"] == 3
