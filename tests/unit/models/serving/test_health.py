"""When a model is out of order, and when it only seems so."""

from collections.abc import Callable

import pytest

from app.errors import InvalidInput
from models.serving.health import Health


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def works() -> None:
    pass


def breaks() -> None:
    raise OSError("the device is gone")


def watch(probe: Callable[[], object] | None, time: Time | None = None) -> Health:
    return Health(probe, max_run_seconds=60.0, monotonic=time or Time())


def fail(health: Health, *texts: str) -> None:
    for text in texts:
        health.run_starts()
        health.run_failed(RuntimeError(text))


def test_fault_030_three_equal_failures_and_a_failing_probe() -> None:
    health = watch(breaks)
    fail(health, "gone", "gone")
    assert health.fault == ""
    fail(health, "gone")
    assert health.fault == "every run fails, the probe too: OSError"


@pytest.mark.parametrize("texts", [("a", "b", "c"), ("a", "a", "b", "a", "a")])
def test_different_failures_are_the_requests_own(texts: tuple[str, ...]) -> None:
    health = watch(breaks)
    fail(health, *texts)
    assert health.fault == ""


def test_a_model_that_answers_the_probe_is_fine_whatever_it_is_asked() -> None:
    health = watch(works)
    fail(health, *["poison"] * 10)
    assert health.fault == ""


def test_a_run_that_works_forgets_the_failures() -> None:
    health = watch(breaks)
    fail(health, "gone", "gone")
    health.run_starts()
    health.run_worked()
    fail(health, "gone", "gone")
    assert health.fault == ""


def test_fault_034_requests_cannot_break_what_never_worked() -> None:
    health = watch(None)
    fail(health, *["poison"] * 50)
    assert health.fault == ""


def test_fault_030_what_has_worked_once_is_a_probe() -> None:
    health = watch(None)
    fail(health, "gone", "gone", "gone")
    health.probe = breaks
    fail(health, "gone")
    assert health.fault == "every run fails, the probe too: OSError"


def test_fault_034_requests_that_are_wrong_in_themselves_do_not_count() -> None:
    for health in (watch(None), watch(breaks)):
        for _ in range(10):
            health.run_starts()
            health.run_failed(InvalidInput("bytes that are no text"))
        assert health.fault == ""


def test_fault_032_a_run_that_is_too_long() -> None:
    time = Time()
    health = watch(works, time)
    health.run_starts()
    time.now = 60.0
    assert health.fault == ""
    time.now = 60.1
    assert health.fault == "a run has taken more than 60 s"
    health.run_worked()
    assert health.fault == ""
