"""Twice the load that the server can carry, each request with a deadline."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from benchmarks.bodies import build_body
from benchmarks.load import run_wrk
from benchmarks.models import BenchmarkModel
from benchmarks.open_loop import Answer, run_open_loop
from benchmarks.servers import RunningServer, product_server

MODEL = "cnn-small"
DEADLINE_SECONDS = 0.1
CAPACITY_CONNECTIONS = 4
OVERLOAD = 2.0
AFTERWARDS = 0.5
REFUSED = (503, 504)


@dataclass(frozen=True)
class Overload:
    """Rates in requests a second, times in milliseconds; `late` are good answers after the
    deadline; `recovery` is from the end of the overload to the last request after it that was not
    answered well and in time, in seconds."""

    capacity: float
    offered: float
    goodput: float
    p99: float
    good: int
    late: int
    refused: int
    failed: int
    recovery: float


def measure_overload(models: Mapping[str, BenchmarkModel], seconds: float) -> Overload:
    """Capacity first, in a closed loop small enough to stay within the deadline; then twice that
    for `seconds`; then half of it."""
    model = models[MODEL]
    server: AbstractContextManager[RunningServer] = product_server(
        {MODEL: model}, timeout_s=DEADLINE_SECONDS
    )
    with server as running:
        url, body = running.infer_url(MODEL), build_body(model, "json")
        run_wrk(url, body, CAPACITY_CONNECTIONS, 2)
        capacity = run_wrk(url, body, CAPACITY_CONNECTIONS, seconds).rate
        offered = OVERLOAD * capacity
        phases = ((offered, seconds), (AFTERWARDS * capacity, 4.0))
        answers = asyncio.run(run_open_loop(url, body, phases))
    return judge(answers, capacity, offered, seconds)


def judge(answers: Sequence[Answer], capacity: float, offered: float, seconds: float) -> Overload:
    during = [answer for answer in answers if answer.due < seconds]
    accepted = sorted(answer.latency for answer in during if answer.status == 200)
    good = sum(_well(answer) for answer in during)
    refused = sum(answer.status in REFUSED for answer in during)
    bad_afterwards = [a.due - seconds for a in answers if a.due >= seconds and not _well(a)]
    return Overload(
        capacity=capacity,
        offered=offered,
        goodput=good / seconds,
        p99=1e3 * accepted[int(0.99 * len(accepted))] if accepted else float("nan"),
        good=good,
        late=len(accepted) - good,
        refused=refused,
        failed=len(during) - len(accepted) - refused,
        recovery=max(bad_afterwards, default=0.0),
    )


def _well(answer: Answer) -> bool:
    return answer.status == 200 and answer.latency <= DEADLINE_SECONDS
