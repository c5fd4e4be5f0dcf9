import pytest

from app.batching.cost_curve import FORGET_AFTER_RUNS, TRIALS, CostCurve


def learn(curve: CostCurve, seconds_per_run: dict[int, float]) -> None:
    for rows, seconds in seconds_per_run.items():
        for _ in range(TRIALS):
            curve.record(rows, seconds)


def test_a_run_whose_cost_is_flat_takes_everything_that_waits() -> None:
    curve = CostCurve()
    learn(curve, {1: 0.001, 2: 0.001, 4: 0.001, 8: 0.001, 16: 0.0011})
    assert curve.best_rows(16) == 16
    assert curve.best_rows(5) == 5


def test_a_run_whose_cost_grows_faster_than_its_rows_takes_one() -> None:
    curve = CostCurve()
    learn(curve, {1: 0.0020, 2: 0.0042, 4: 0.0090})
    assert curve.best_rows(32) == 1


def test_larger_sizes_are_tried_while_they_pay_and_no_further() -> None:
    curve = CostCurve()
    tried = []
    for _ in range(40):
        rows = curve.best_rows(64)
        tried.append(rows)
        curve.record(rows, 0.001 if rows <= 8 else 0.001 * rows)
    assert sorted(set(tried)) == [1, 2, 4, 8, 16]
    assert tried[-1] == 8


def test_one_slow_trial_does_not_condemn_a_size() -> None:
    curve = CostCurve()
    learn(curve, {1: 0.001, 2: 0.001})
    for seconds in (0.9, 0.001, 0.001):
        curve.record(4, seconds)
    assert curve.best_rows(4) == 4


def test_a_size_not_used_for_long_is_forgotten_and_tried_again() -> None:
    curve = CostCurve()
    learn(curve, {1: 0.001, 2: 0.010})
    assert curve.best_rows(2) == 1
    for _ in range(2 * FORGET_AFTER_RUNS):
        curve.record(1, 0.001)
    assert curve.best_rows(2) == 2


def test_estimates_between_and_beyond_the_measured_sizes() -> None:
    curve = CostCurve()
    assert curve.estimate(3) == 0.0
    learn(curve, {2: 0.010, 4: 0.030})
    assert curve.estimate(3) == pytest.approx(0.020)
    assert curve.estimate(8) == pytest.approx(0.060)
    assert curve.estimate(1) == pytest.approx(0.005)
    assert curve.least() == 0.010
