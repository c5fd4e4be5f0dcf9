import pytest

from benchmarks.open_loop import Answer
from benchmarks.overload import judge


def test_answers_are_counted_by_what_became_of_them() -> None:
    answers = [
        Answer(due=0.0, latency=0.05, status=200),
        Answer(due=0.5, latency=0.15, status=200),
        Answer(due=1.0, latency=0.10, status=503),
        Answer(due=1.5, latency=0.10, status=504),
        Answer(due=1.8, latency=0.01, status=500),
        Answer(due=1.9, latency=9.99, status=0, sent_late=0.02),
    ]
    result = judge(answers, capacity=1.0, seconds=2.0)
    assert (result.good, result.late, result.refused, result.failed) == (1, 1, 2, 2)
    assert result.goodput == 0.5
    assert result.p99 == pytest.approx(150)
    assert result.sent_late == pytest.approx(20)
    assert result.recovery == 0


def test_recovery_lasts_until_the_last_request_that_was_not_answered_well() -> None:
    answers = [
        Answer(due=2.0, latency=0.01, status=200),
        Answer(due=2.5, latency=0.01, status=503),
        Answer(due=3.0, latency=0.20, status=200),
        Answer(due=3.5, latency=0.01, status=200),
    ]
    assert judge([Answer(0.0, 0.01, 200), *answers], capacity=1.0, seconds=2.0).recovery == 1.0
