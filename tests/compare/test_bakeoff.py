"""Real comparisons on the handwritten digits, with planted truths."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import corinth.compare
from corinth.compare import Leaderboard, jobs
from corinth.compare.board import check_aligned
from corinth.compare.leaderboard import Cost
from corinth.data import ArraySource, open_data
from corinth.errors import CorinthError, DataError, UsageError
from corinth.inspect import Latency, latency
from corinth.predictor import Classifier
from corinth.training import SilentReporter

RECIPES = {"crippled": {"lr": 1e-7}, "small": {"img_size": 20}, "wild": {"lr": 1e25}}
MODELS = ["lenet5", "again=lenet5", "crippled=lenet5", "small=alexnet", "wild=lenet5"]


def compare(output: Path, models: Any = MODELS, **options: Any) -> Leaderboard:
    options = {"budget": "2ep", "seeds": 3, "overrides": {"threads": 1}, "latency": False, "report": False} | options
    if "recipes" not in options:
        options["recipes"] = {label: r for label, r in RECIPES.items() if any(m.startswith(label) for m in models)}
    return corinth.compare.compare("digits", models, output=output, **options)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    return compare(tmp_path_factory.mktemp("compare") / "board", latency=True, latency_batch=8, report=True)


def row(board: Leaderboard, label: str):
    return next(row for row in board.rows if row.label == label)


def test_one_architecture_under_two_names_is_a_tie(board: Leaderboard) -> None:
    first, second = row(board, "lenet5"), row(board, "again")
    assert first.scores == second.scores
    difference = next(d for d in board.differences if {d.first, d.second} == {"lenet5", "again"})
    assert difference.p_adjusted == 1.0
    assert second.tie or first.tie
    assert first.rank == second.rank == 1


def test_a_crippled_copy_is_worse(board: Leaderboard) -> None:
    crippled = row(board, "crippled")
    assert crippled.rank == 3
    assert not crippled.tie
    assert crippled.to_leader.high < 0


def test_what_cannot_run_is_a_row_with_its_reason(board: Leaderboard) -> None:
    assert [failed.label for failed in board.rows[-2:]] == ["small", "wild"]
    small, wild = board.rows[-2:]
    assert small.score_test is None
    assert wild.score_test is None
    assert "img_size 20 is too small for alexnet" in small.reason
    assert "loss" in wild.reason
    assert board.exit_code == 3


def test_costs_are_measured_with_the_threads_of_the_recipe(board: Leaderboard) -> None:
    cost = row(board, "lenet5").cost
    assert (cost.params, cost.batch, cost.threads) == (61706, 8, 1)
    assert 0 < cost.latency_ms < cost.latency_batch_ms
    assert cost.macs > 100_000
    assert row(board, "lenet5").fit_time > 0
    assert row(board, "lenet5").samples_seen == 2 * board.data["splits"]["train"]


def test_the_test_part_is_scored_once_a_run_and_kept(board: Leaderboard) -> None:
    data = open_data("digits")
    for seed, score in row(board, "lenet5").scores.items():
        with np.load(board.path / "lenet5" / f"seed{seed}" / "test_predictions.npz") as saved:
            assert saved["index"].tolist() == data.positions("test").tolist()
            assert saved["target"].tolist() == data.labels("test").tolist()
            assert saved["probs"].shape == (len(saved["index"]), 10)
            assert (saved["probs"].argmax(axis=1) == saved["target"]).mean() == pytest.approx(score)


def test_files_are_written(board: Leaderboard) -> None:
    assert board.report == board.path / "report.html"
    assert {"compare.json", "leaderboard.csv", "leaderboard.json", "report.html"} <= {
        p.name for p in board.path.iterdir()
    }


def test_a_finished_comparison_is_not_run_again(board: Leaderboard, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_training(*args: Any, **options: Any) -> None:
        raise CorinthError("trained again")

    monkeypatch.setattr(jobs, "train", no_training)
    again = compare(board.path, latency=True, latency_batch=8)
    assert [r.scores for r in again.rows] == [r.scores for r in board.rows]
    assert row(again, "lenet5").cost == row(board, "lenet5").cost
    assert row(again, "wild").reason == "trained again"  # what failed is tried again


class StopAt(SilentReporter):
    """Presses Ctrl-C at the first evaluation of the `number`-th run."""

    def __init__(self, number: int) -> None:
        self.left = number

    def start(self, info: Mapping[str, Any]) -> None:
        self.left -= 1

    def evaluation(self, row: Mapping[str, Any]) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


def test_interrupted_and_resumed_is_the_same_board(board: Leaderboard, tmp_path: Path) -> None:
    output, models = tmp_path / "board", MODELS[:2]
    stopped = compare(output, models, seeds=2, reporter=StopAt(2))
    assert stopped.interrupted
    assert stopped.exit_code == 130
    assert {r.label: list(r.scores) for r in stopped.rows} == {"lenet5": [0], "again": []}
    assert "Interrupted after 1 of 4 runs" in stopped.notes[0]
    assert json.loads((output / "leaderboard.json").read_text())["interrupted"]
    assert (output / "again" / "seed0" / "last").exists()
    stopped = compare(output, models, seeds=2, reporter=StopAt(3))  # the second run goes on, the next two begin
    assert {r.label: list(r.scores) for r in stopped.rows} == {"lenet5": [0, 1], "again": [0]}
    resumed = compare(output, models, seeds=2)
    assert not resumed.interrupted
    for label in ("lenet5", "again"):
        assert row(resumed, label).scores == {seed: row(board, label).scores[seed] for seed in (0, 1)}


def test_stopped_in_the_last_evaluation_no_other_run_begins(tmp_path: Path) -> None:
    stopped = compare(tmp_path / "board", MODELS[:2], seeds=1, budget="1ep", reporter=StopAt(1))
    assert stopped.interrupted
    assert {r.label: list(r.scores) for r in stopped.rows} == {"lenet5": [0], "again": []}


def test_the_preflights_warnings_are_said_and_on_the_board(tmp_path: Path) -> None:
    data = open_data("digits")
    images = data.source.images.copy()
    images[data.splits["test"][0]] = images[data.splits["train"][0]]  # the same picture in two parts
    leaky = dataclasses.replace(data, source=ArraySource(images, data.source.labels, data.classes, "leaky"))
    said: list[str] = []

    class Listener(SilentReporter):
        def message(self, text: str) -> None:
            said.append(text)

    made = corinth.compare.compare(
        leaky,
        ["lenet5"],
        budget="1e2samples",
        seeds=1,
        output=tmp_path / "board",
        overrides={"threads": 1},
        latency=False,
        report=False,
        reporter=Listener(),
    )
    assert any(text.startswith("warning: ") and "part" in text for text in said)
    assert any(note.startswith("warning: ") for note in made.data["notes"])
    with pytest.raises(UsageError, match="open already, so split_seed does nothing"):
        corinth.compare.compare(leaky, ["lenet5"], output=tmp_path / "other", overrides={"split_seed": 3})


def test_a_stop_that_was_asked_is_not_forgotten_when_the_save_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StopAtOnce(SilentReporter):
        def start(self, info: Mapping[str, Any]) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    def full(*args: Any, **options: Any) -> None:
        raise CorinthError("could not save it: the disk is full")

    monkeypatch.setattr("corinth.training.checkpoint.write_state", full)
    found = compare(tmp_path / "board", MODELS[:2], seeds=1, reporter=StopAtOnce())
    assert found.interrupted
    assert found.rows[0].reason == "could not save it: the disk is full"
    assert not (tmp_path / "board" / "again").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_the_last_run_is_scored_finishes_it_and_measures_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    evaluate = Classifier.evaluate

    def stopping(self: Classifier, *args: Any, **options: Any) -> Any:
        os.kill(os.getpid(), number)
        return evaluate(self, *args, **options)

    monkeypatch.setattr(Classifier, "evaluate", stopping)
    found = compare(tmp_path / "board", ["lenet5"], seeds=1, budget="1e2samples", latency=True)
    assert (found.exit_code, len(found.rows[0].scores), found.rows[0].cost) == (130, 1, None)
    monkeypatch.undo()
    again = compare(tmp_path / "board", ["lenet5"], seeds=1, budget="1e2samples", latency=True)
    assert (again.exit_code, again.rows[0].scores) == (0, found.rows[0].scores)
    assert again.rows[0].cost.latency_ms > 0


def test_a_second_stop_between_runs_still_leaves_a_board(tmp_path: Path) -> None:
    class Impatient(SilentReporter):
        def message(self, text: str) -> None:
            if "seed 1" in text:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)

    found = compare(tmp_path / "board", ["lenet5"], seeds=2, budget="1e2samples", reporter=Impatient())
    assert found.interrupted
    assert list(found.rows[0].scores) == [0]
    assert (tmp_path / "board" / "leaderboard.csv").exists()


def test_a_finished_comparison_needs_its_weights_no_more(tmp_path: Path) -> None:
    source = compare(tmp_path / "source", ["lenet5"], seeds=1, budget="1e2samples").path / "lenet5" / "seed0"
    options = {"seeds": 1, "budget": "1e2samples", "overrides": {"threads": 1, "weights": str(source)}}
    found = compare(tmp_path / "board", ["lenet5"], **options)
    shutil.rmtree(source)
    assert compare(tmp_path / "board", ["lenet5"], **options).rows == found.rows


def test_scoring_keeps_to_the_threads_of_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    evaluate = Classifier.evaluate

    def watched(self: Classifier, *args: Any, **options: Any) -> Any:
        seen.append(torch.get_num_threads())
        return evaluate(self, *args, **options)

    monkeypatch.setattr(Classifier, "evaluate", watched)
    before = torch.get_num_threads()
    compare(tmp_path / "board", ["lenet5"], seeds=1, budget="1e2samples", overrides={"threads": before + 1})
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


def test_a_cost_that_cannot_be_measured_does_not_cost_the_board(board: Leaderboard, tmp_path: Path) -> None:
    output = shutil.copytree(board.path, tmp_path / "board")
    (output / "lenet5" / jobs.COST).write_text("{}")  # measured again
    (output / "again" / jobs.COST).unlink()
    (output / "again" / "seed0" / "model.safetensors").unlink()
    found = compare(output, latency=True, latency_batch=8)
    assert [row.scores for row in found.rows] == [row.scores for row in board.rows]
    costs = {row.label: row.cost for row in found.rows}
    assert costs["lenet5"].latency_ms > 0
    assert costs["again"] is None
    assert any(note.startswith("again: its cost could not be measured: ") for note in found.notes)


def test_a_latency_batch_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="latency_batch 0 is not valid"):
        compare(tmp_path / "x", ["lenet5"], latency_batch=0)


def test_a_run_killed_before_its_first_save_starts_anew(board: Leaderboard, tmp_path: Path) -> None:
    left = tmp_path / "board" / "lenet5" / "seed0"
    compare(tmp_path / "board", ["lenet5"], seeds=1, budget="1ep", reporter=StopAt(1))
    for path in sorted(left.rglob("*"), reverse=True):
        if path.is_file() and path.name != "recipe.yaml":
            path.unlink()
    assert list(row(compare(tmp_path / "board", ["lenet5"], seeds=1, budget="1ep"), "lenet5").scores) == [0]


def test_another_plan_or_other_data_is_refused(board: Leaderboard) -> None:
    with pytest.raises(UsageError, match="budget: 2ep there, 3ep now"):
        compare(board.path, budget="3ep")
    with pytest.raises(UsageError, match="the data or its splits have changed"):
        compare(board.path, overrides={"threads": 1, "split_seed": 7})


def test_unknown_data_and_models_come_before_any_training(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean lenet5"):
        compare(tmp_path / "x", ["lenet"])
    with pytest.raises(CorinthError):
        corinth.compare.compare("no/such/folder", ["lenet5"], output=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_no_test_part_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="digits has no test part"):
        compare(tmp_path / "x", ["lenet5"], overrides={"test_share": 0.0})


def test_a_latency_that_cannot_be_measured_does_not_cost_the_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(most: int) -> Callable[..., Latency]:
        def timed(model: nn.Module, shape: Sequence[int], batch: int, threads: int | None) -> Latency:
            if batch > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return latency(model, shape, batch, threads)

        return timed

    def again(most: int, batch: int = 4) -> tuple[Cost, Leaderboard]:
        monkeypatch.setattr(jobs, "latency", refusing(most))
        found = compare(tmp_path / "board", ["lenet5"], seeds=1, budget="1ep", latency=True, latency_batch=batch)
        assert found.exit_code == 0
        return found.rows[0].cost, found

    cost, found = again(most=0)
    assert (cost.params, cost.latency_ms) == (61706, None)
    assert "lenet5: the latency of a single image was not measured: out of memory" in found.notes[-1]
    cost, found = again(most=1)  # what is missing is tried again
    assert cost.latency_ms is not None
    assert cost.latency_batch_ms is None
    assert "the latency of a batch of 4 was not measured" in found.notes[-1]
    cost, found = again(most=4)
    assert cost.batch == 4
    assert cost.latency_batch_ms > 0
    assert not found.notes
    assert again(most=0)[0] == cost  # measured once
    assert again(most=8, batch=8)[0].batch == 8  # another batch is another measurement


def test_shuffled_labels_score_at_chance(tmp_path: Path) -> None:
    found = compare(tmp_path / "control", ["lenet5"], seeds=1, control="shuffled-labels")
    assert found.rows[0].at_chance
    assert found.rows[0].score_test < 0.4
    assert found.rows[0].chance == pytest.approx(0.1, abs=0.02)
    assert found.headline.startswith("Control passed")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)\nmore"),
            "RuntimeError: mat1 and mat2 shapes",
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "out of memory; a smaller batch_size"),
        (MemoryError(), "out of memory; a smaller batch_size"),
        (DataError("3 files are corrupt"), "3 files are corrupt"),
    ],
)
def test_failures_become_one_sentence(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(jobs, "train", failing)
    found = compare(tmp_path / "board", ["lenet5"], seeds=1)
    assert found.rows[0].reason.startswith(said)
    assert "\n" not in found.rows[0].reason
    assert found.exit_code == 1


LIMITED = """
import resource, sys
from pathlib import Path
import corinth.compare
from corinth.inspect import latency  # torch, before the limit

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 1200 * 2**20, resource.RLIM_INFINITY))
options = {"budget": "1e2samples", "seeds": 1, "overrides": {"threads": 1}, "latency": False, "report": False}
sys.exit(corinth.compare.compare("digits", ["vgg11", "lenet5"], output=sys.argv[1], **options).exit_code)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux says how much is used")
def test_a_network_that_really_runs_out_of_memory_is_a_row_and_the_others_finish(tmp_path: Path) -> None:
    """VGG-11 with its gradients and AdamW's averages is 2.1 GB, and the process may take 1.2."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / "board"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    rows = json.loads((tmp_path / "board" / "leaderboard.json").read_text())["rows"]
    assert [(row["label"], row["score_test"] is None) for row in rows] == [("lenet5", False), ("vgg11", True)]
    assert rows[1]["reason"].startswith("vgg11 ran out of memory with batch_size 128; use a smaller batch_size")


def test_a_programming_error_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "run", lambda *args: {}["missing"])
    with pytest.raises(KeyError):
        compare(tmp_path / "board", ["lenet5"], seeds=1)


def test_runs_that_answered_other_samples_are_not_paired(board: Leaderboard) -> None:
    answers = jobs.answers(board.path, "lenet5", 0)
    fewer = jobs.Answers(answers.index[1:], answers.score[1:], answers.target[1:], answers.probs[1:])
    with pytest.raises(CorinthError, match="other was scored on other test samples"):
        check_aligned({"one": [answers], "other": [fewer]})


def test_damaged_results_name_the_file(board: Leaderboard, tmp_path: Path) -> None:
    folder = tmp_path / "lenet5" / "seed0"
    folder.mkdir(parents=True)
    (folder / "test_predictions.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(CorinthError, match=r"test_predictions\.npz cannot be read"):
        jobs.answers(tmp_path, "lenet5", 0)


def test_the_package_can_be_called() -> None:
    import corinth

    with pytest.raises(UsageError, match="no model to compare"):
        corinth.compare("digits", [])
