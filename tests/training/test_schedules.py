import pytest

from corinth.training.schedules import SCHEDULES, factor


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.2])
def test_factors_stay_between_zero_and_one(schedule: str, warmup: float) -> None:
    factors = [factor(schedule, i / 100, warmup=warmup) for i in range(101)]
    assert min(factors) >= 0
    assert max(factors) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_annealing_ends_at_the_final_share(schedule: str) -> None:
    assert factor(schedule, 1.0) == pytest.approx(0.0, abs=1e-12)
    assert factor(schedule, 1.0, final=0.05) == pytest.approx(0.05)
    assert factor(schedule, 1.7, final=0.05) == pytest.approx(0.05)


def test_cosine_is_half_way_in_the_middle() -> None:
    assert factor("cosine", 0.5) == pytest.approx(0.5)
    assert factor("cosine", 0.6, warmup=0.2) == pytest.approx(0.5)


def test_warm_up_rises_linearly() -> None:
    assert [factor("constant", p, warmup=0.4) for p in (0.0, 0.1, 0.4, 0.9)] == pytest.approx([0, 0.25, 1, 1])


def test_one_cycle_starts_at_a_25th_and_peaks_after_its_warm_up() -> None:
    assert factor("onecycle", 0.0) == pytest.approx(1 / 25)
    assert factor("onecycle", 0.3) == pytest.approx(1.0)
    assert factor("onecycle", 0.1, warmup=0.1) == pytest.approx(1.0)


def test_step_multiplies_at_each_share() -> None:
    shares = {"step_at": (0.5, 0.75), "step_gamma": 0.1}
    assert [factor("step", p, **shares) for p in (0.49, 0.5, 0.75, 1.0)] == pytest.approx([1, 0.1, 0.01, 0.01])


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="schedule 'cos' is none of cosine"):
        factor("cos", 0.5)
