"""The board as values, files and a terminal table, from fabricated runs."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from fabricate import board, image_data
from rich.console import Console

from corinth.compare import jobs
from corinth.compare.board import make_board
from corinth.compare.leaderboard import Leaderboard, leaderboard_table
from corinth.compare.plan import make_plan
from corinth.tasks.kinds import KINDS, Kind

ACCURACIES = {"cnn": 0.9, "lenet5": 0.9, "bad=lenet5": 0.3, "vgg11": 0.5}
FAILURES = {("vgg11", seed): "images of 12 x 12 are too small" for seed in range(3)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    return board(tmp_path_factory.mktemp("board"), image_data(samples=1200), ACCURACIES, failures=FAILURES)


def shown(made: Leaderboard, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(leaderboard_table(made))
    return console.file.getvalue()


def test_order_ranks_and_ties(made: Leaderboard) -> None:
    assert [row.label for row in made.rows[2:]] == ["bad", "vgg11"]
    leader, second, bad, failed = made.rows
    assert {leader.label, second.label} == {"cnn", "lenet5"}
    assert (leader.rank, second.rank, bad.rank, failed.rank) == (1, 1, 3, None)
    assert (second.tie, bad.tie) == (True, False)
    assert bad.to_leader.mean < -0.4
    assert bad.to_leader.high < 0
    assert len(made.differences) == 3
    score = f"{100 * leader.score_test:.1f} %"
    assert made.headline == f"{leader.label} leads with {score}, but {second.label} cannot be told apart from it."


def test_scores_agree_with_the_saved_answers(made: Leaderboard) -> None:
    for row in made.rows[:3]:
        assert row.score_test == pytest.approx(np.mean(list(row.scores.values())))
        assert row.score_test_low < row.score_test < row.score_test_high


def test_exit_codes(made: Leaderboard, tmp_path: Path) -> None:
    assert made.exit_code == 3
    fine = board(tmp_path / "fine", image_data(), {"cnn": 0.9})
    assert fine.exit_code == 0
    none = board(tmp_path / "none", image_data(), {"cnn": 0.9}, seeds=1, failures={("cnn", 0): "out of memory"})
    assert none.exit_code == 1
    assert "nothing to compare" in none.headline


def test_csv_has_the_fields_words(made: Leaderboard) -> None:
    rows = list(csv.DictReader((made.path / "leaderboard.csv").read_text().splitlines()))
    assert {"rank", "model", "score_test", "score_val", "fit_time", "pred_time", "params", "macs"} <= set(rows[0])
    assert [row["model"] for row in rows] == [row.label for row in made.rows]
    assert float(rows[0]["score_test"]) == made.rows[0].score_test
    assert rows[3]["score_test"] == ""
    assert rows[3]["failure"] == "images of 12 x 12 are too small"


def test_json_is_whole(made: Leaderboard) -> None:
    found = json.loads((made.path / "leaderboard.json").read_text())
    assert found["rows"][0]["scores"].keys() == {"0", "1", "2"}
    assert found["rows"][2]["to_leader"]["p_adjusted"] < 0.05
    assert found["rows"][3]["failures"] == {str(k): "images of 12 x 12 are too small" for k in range(3)}
    assert len(found["differences"]) == 3
    assert found["data"]["splits"] == {"test": 300, "val": 300, "train": 600}
    assert "crossed random effects" in " ".join(found["method"])
    assert found["machine"]["threads"] == [1]


@pytest.mark.parametrize("width", [80, 120])
def test_table(made: Leaderboard, width: int) -> None:
    text = shown(made, width)
    assert "failed" in text
    assert "images of 12 x 12" in text
    assert "95 % interval" in text
    assert "tie" in text
    assert "1 thread" in text
    assert all(len(line) <= width for line in text.splitlines())


def test_names_are_not_markup(tmp_path: Path) -> None:
    made = board(tmp_path / "board", image_data(), {"cnn": 0.9}, seeds=1, failures={("cnn", 0): "[red]no[/red] [/x]"})
    assert "[red]no[/red] [/x]" in shown(made)


def test_some_seeds_missing(tmp_path: Path) -> None:
    made = board(tmp_path / "board", image_data(), {"cnn": 0.9, "lenet5": 0.5}, failures={("lenet5", 1): "loss is nan"})
    row = made.rows[1]
    assert list(row.scores) == [0, 2]
    assert row.to_leader.seeds == 2
    assert row.reason == "seed 1: loss is nan"
    assert made.exit_code == 3
    assert "lenet5 *" in shown(made)


def test_one_seed_says_what_it_cannot(tmp_path: Path) -> None:
    made = board(tmp_path / "board", image_data(), {"cnn": 0.9}, seeds=1)
    assert "One seed" in shown(made)
    assert "more than one seed" in " ".join(made.method)


def test_control_at_chance_and_with_a_leak(tmp_path: Path) -> None:
    data = image_data(samples=1200)
    fine = board(tmp_path / "fine", data, {"cnn": 0.0, "lenet5": 0.0}, control="shuffled-labels")
    assert all(row.at_chance for row in fine.rows)
    assert fine.headline.startswith("Control passed")
    leak = board(tmp_path / "leak", data, {"cnn": 0.0, "lenet5": 0.6}, control="shuffled-labels")
    assert leak.headline.startswith("Control failed: with shuffled labels lenet5")


def test_without_a_common_seed_nobody_is_beaten(tmp_path: Path) -> None:
    failures = {("cnn", 1): "x", ("lenet5", 0): "x"}
    made = board(tmp_path / "board", image_data(), {"cnn": 0.9, "lenet5": 0.5}, seeds=2, failures=failures)
    assert made.rows[1].to_leader is None
    assert made.rows[1].tie
    assert made.headline.startswith("A tie")
    assert "no common seed" in shown(made)
    assert "One seed" in shown(made)


def test_errors_are_ranked_from_the_lowest_and_shown_as_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a regression: the scores of samples are errors in the target's unit."""
    data = image_data(samples=1200)
    before = board(tmp_path, data, {"cnn": 0.9, "lenet5": 0.9, "nin_cifar10": 0.9})
    errors = {"cnn": 2.0, "lenet5": 0.5, "nin_cifar10": 2.02}
    for label, size in errors.items():
        for seed in range(3):
            run = jobs.run_folder(tmp_path, label, seed)
            rng = np.random.default_rng([seed, 7])
            score = size * rng.exponential(size=300)
            np.savez(run / jobs.PREDICTIONS, index=data.splits["test"], score=score)
            result = json.loads((run / jobs.RESULT).read_text())
            values = {"score_test": score.mean(), "metric": np.sqrt(np.square(score).mean()), "score_val": size}
            (run / jobs.RESULT).write_text(json.dumps(result | values))
    kind = Kind("image-classification", "rmse", "RMSE", "absolute error", share=False, lower_is_better=True)
    monkeypatch.setitem(KINDS, kind.name, kind)
    plan = make_plan(data, list(errors), budget="12ep", seeds=3, control=None, recipes=None, overrides={"threads": 1})
    made = make_board(plan, data, tmp_path, failures={}, costs={}, interrupted=False)
    assert [row.label for row in made.rows] == ["lenet5", "cnn", "nin_cifar10"]
    assert [row.rank for row in made.rows] == [1, 2, 2]
    assert made.rows[1].to_leader.mean > 1
    assert made.rows[1].test.high > 2  # not cut at 100 %
    assert made.headline.startswith("lenet5 wins with 0.")
    assert "absolute error" in made.headline
    assert "below cnn" in made.headline
    table = shown(made)
    assert "%" not in table.replace("95 %", "")
    assert "lower is better" in table
    assert "RMSE" in table
    assert not any("0 and 100 %" in text for text in made.method)
    assert before.headline.startswith("A tie")
