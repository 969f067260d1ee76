import pytest

from corinth.errors import UsageError
from corinth.training import Budget, parse_budget


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("20ep", Budget(20, "ep")),
        ("60s", Budget(60, "s")),
        ("2e6samples", Budget(2e6, "samples")),
        ("1e15flops", Budget(1e15, "flops")),
        (" 0.5 EP ", Budget(0.5, "ep")),
    ],
)
def test_reads_budgets(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget
    assert parse_budget(str(budget)) == budget


@pytest.mark.parametrize("text", ["20", "ep", "20 epochs", "-3ep", "0s", "1.2.3s", "infs", "20steps", ""])
def test_a_budget_that_is_not_understood_is_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match=r"^budget .*(not understood|not a positive).*such as 20ep or 60s$"):
        parse_budget(text)


def test_every_budget_becomes_samples_but_time() -> None:
    assert parse_budget("2.5ep").samples(1000, 1) == 2500
    assert parse_budget("2e3samples").samples(1000, 1) == 2000
    # three forward passes of two operations a multiply-add
    assert parse_budget("6e9flops").samples(1000, 1_000_000) == 1000
    assert parse_budget("60s").samples(1000, 1) is None


def test_the_smallest_budget_buys_a_sample() -> None:
    assert parse_budget("1flops").samples(1000, 10**9) == 1
