"""Twice the load that a server can carry, each request with a deadline."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import httpx
import psutil

from benchmarks.bodies import build_body
from benchmarks.models import BenchmarkModel
from benchmarks.open_loop import Answer, run_closed_loop, run_open_loop
from benchmarks.peer_servers import mlserver
from benchmarks.ray_config import product_config
from benchmarks.ray_servers import ray_server
from benchmarks.serving import Models, RunningServer

MODEL = "cnn-small"
DEADLINE_SECONDS = 0.1
CAPACITY_CONNECTIONS = 4
OVERLOAD = 2.0
AFTERWARDS = 0.5
AFTERWARDS_SECONDS = 3.0
CAPACITY_SECONDS = 3.0
WARM_UP_SECONDS = 2.0
REFUSED = (503, 504)
START_SECONDS = 30.0


@dataclass(frozen=True)
class Flood:
    """One round. Rates in requests a second, times in milliseconds. `late` are good answers after
    the deadline; `run_in_vain` were run for callers who got no good answer, -1 where it does
    not tell. `recovery` is from the end of the overload to the last request after it that was not
    answered well and in time, in seconds. `generator` is the share of one core that sending took,
    and `sent_late` the p99 of how late it was: far from nothing, the round tells of the generator.
    """

    capacity: float
    offered: float
    goodput: float
    p99: float
    good: int
    late: int
    refused: int
    failed: int
    recovery: float
    run_in_vain: int = -1
    generator: float = 0.0
    sent_late: float = 0.0


@dataclass(frozen=True)
class Overload:
    """The rounds of one server."""

    server: str
    floods: tuple[Flood, ...]


@dataclass(frozen=True)
class Subject:
    """Without `has_deadlines`, what is answered in time counts by the client's clock alone."""

    name: str
    title: str
    start: Callable[[Models], AbstractContextManager[RunningServer]]
    has_deadlines: bool


SUBJECTS = (
    Subject(
        "manta",
        "Manta, model as its own application",
        partial(
            ray_server,
            configure=partial(product_config, own_application=True, timeout_s=DEADLINE_SECONDS),
        ),
        has_deadlines=True,
    ),
    Subject("mlserver", "MLServer", partial(mlserver, batch_size=0), has_deadlines=False),
)


def expected_seconds(rounds: int, seconds: float) -> float:
    each = 2 * CAPACITY_SECONDS + seconds + AFTERWARDS_SECONDS
    return START_SECONDS + WARM_UP_SECONDS + rounds * each


def measure_overload(
    subject: Subject, models: Mapping[str, BenchmarkModel], rounds: int, seconds: float
) -> Overload:
    """In each round twice the capacity for `seconds`, then half of it.

    Capacity is measured before and after, in a closed loop small enough to stay within the
    deadline, by the same generator: every request costs the cores the same as under overload.
    Raises StartFailed, Unavailable.
    """
    model = models[MODEL]
    with subject.start({MODEL: model}) as running:
        asyncio.run(_capacity(running, model, WARM_UP_SECONDS))
        floods = []
        for _ in range(rounds):
            floods.append(_flood(running, model, seconds, tells_runs=subject.has_deadlines))
            share = floods[-1].goodput / floods[-1].capacity
            print(f"  goodput {share:.0%} of {floods[-1].capacity:.0f} /s", flush=True)
    return Overload(subject.name, tuple(floods))


def _flood(
    running: RunningServer, model: BenchmarkModel, seconds: float, *, tells_runs: bool
) -> Flood:
    url, body = running.infer_url(MODEL), build_body(model, "json")
    before = asyncio.run(_capacity(running, model, CAPACITY_SECONDS))
    phases = ((OVERLOAD * before, seconds), (AFTERWARDS * before, AFTERWARDS_SECONDS))
    ran = _rows_run(running) if tells_runs else 0
    start, own = time.monotonic(), sum(psutil.Process().cpu_times()[:2])
    answers = asyncio.run(run_open_loop(url, body, phases))
    share = (sum(psutil.Process().cpu_times()[:2]) - own) / (time.monotonic() - start)
    good = sum(answer.status == 200 for answer in answers)
    in_vain = _rows_run(running) - ran - good if tells_runs else -1
    after = asyncio.run(_capacity(running, model, CAPACITY_SECONDS))
    return judge(answers, (before + after) / 2, seconds, in_vain, share)


async def _capacity(running: RunningServer, model: BenchmarkModel, seconds: float) -> float:
    url, body = running.infer_url(MODEL), build_body(model, "json")
    return await run_closed_loop(url, body, CAPACITY_CONNECTIONS, seconds)


def judge(
    answers: Sequence[Answer],
    capacity: float,
    seconds: float,
    run_in_vain: int = -1,
    generator: float = 0.0,
) -> Flood:
    during = [answer for answer in answers if answer.due < seconds]
    delays = sorted(answer.sent_late for answer in during)
    accepted = sorted(answer.latency for answer in during if answer.status == 200)
    good = sum(_well(answer) for answer in during)
    refused = sum(answer.status in REFUSED for answer in during)
    bad_afterwards = [a.due - seconds for a in answers if a.due >= seconds and not _well(a)]
    return Flood(
        capacity=capacity,
        offered=len(during) / seconds,
        goodput=good / seconds,
        p99=1e3 * accepted[int(0.99 * len(accepted))] if accepted else float("inf"),
        good=good,
        late=len(accepted) - good,
        refused=refused,
        failed=len(during) - len(accepted) - refused,
        recovery=max(bad_afterwards, default=0.0),
        run_in_vain=run_in_vain,
        generator=generator,
        sent_late=1e3 * delays[int(0.99 * len(delays))],
    )


def _rows_run(server: RunningServer) -> int:
    answer = httpx.get(f"{server.url}/v2/models/{MODEL}/stats", timeout=10).json()
    return int(answer["model_stats"][0]["inference_count"])


def _well(answer: Answer) -> bool:
    return answer.status == 200 and answer.latency <= DEADLINE_SECONDS
