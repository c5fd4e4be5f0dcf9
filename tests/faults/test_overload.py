"""Twice the load that a model can take, for seconds, over both doors.

The model sleeps, so what it can do does not hang on how busy the machine is that runs the test.
"""

import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.faults.acts import Ask, Told, over_grpc, over_http
from tests.faults.server import InferencePlane

pytestmark = pytest.mark.integration

RUN_SECONDS = 0.1
DEADLINE_US = 300_000
"""Row 59: what is accepted takes three times as long as a run at most."""
LOAD = 2.0
SECONDS = 12.0
CALLERS = 64
GOODPUT = 0.8
"""Of capacity: row 59."""


class Timed:
    """What a caller was told, and after how many seconds."""

    def __init__(self, told: Told, seconds: float) -> None:
        self.told = told
        self.seconds = seconds


def timed(ask: Ask, plane: InferencePlane) -> Timed:
    started = time.monotonic()
    told = ask(plane, "acting", f"sleep {RUN_SECONDS}", DEADLINE_US)
    return Timed(told, time.monotonic() - started)


def open_loop(ask: Ask, plane: InferencePlane) -> list[Timed]:
    """Requests at their times, however long the earlier ones take."""
    count = round(LOAD / RUN_SECONDS * SECONDS)
    begun: list[Future[Timed]] = []
    with ThreadPoolExecutor(CALLERS) as callers:
        started = time.monotonic()
        for index in range(count):
            due = started + index * RUN_SECONDS / LOAD
            time.sleep(max(0.0, due - time.monotonic()))
            begun.append(callers.submit(timed, ask, plane))
    return [each.result() for each in begun]


@pytest.mark.parametrize("ask", [over_http, over_grpc])
def test_fault_059_twice_the_load(plane: InferencePlane, ask: Ask) -> None:
    for _ in range(20):
        assert timed(ask, plane).told.status == 200  # the cost of a run is known from here on
    answers = open_loop(ask, plane)
    statuses = Counter(each.told.status for each in answers)
    assert set(statuses) <= {200, 503, 504}
    assert statuses.total() == round(LOAD / RUN_SECONDS * SECONDS)
    assert statuses[200] >= GOODPUT * SECONDS / RUN_SECONDS
    assert statuses[503] + statuses[504] > 0, "it was no overload"
    accepted = sorted(each.seconds for each in answers if each.told.status == 200)
    assert accepted[int(len(accepted) * 0.99)] < DEADLINE_US / 1e6
    assert timed(ask, plane).told.status == 200, "it has recovered at once"
    plane.well()
