"""The same requests to every server, one server at a time, in several passes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal
from urllib.parse import urlsplit

import grpc
import psutil

from benchmarks.bodies import build_body
from benchmarks.environments import Unavailable
from benchmarks.grpc_calls import ask, build_call
from benchmarks.h2load import has_h2load, run_h2load
from benchmarks.load import LoadFailed, LoadResult, run_wrk
from benchmarks.models import BenchmarkModel
from benchmarks.perf_analyzer import PerfAnalyzer
from benchmarks.processes import StartFailed
from benchmarks.processor import milliseconds_each, processor_seconds
from benchmarks.servers import Server
from benchmarks.serving import RunningServer, wrong_answer
from benchmarks.workloads import Workload

WARM_UP_SECONDS = 1.0
NEUTRAL_SECONDS = 6.0
"""About what perf_analyzer takes until its windows are alike."""


@dataclass(frozen=True)
class Measured:
    """`sent_as` is the form of the tensors. `processor` has the milliseconds that each answered
    request took of the processors, by who took them."""

    workload: str
    sent_as: str
    load: LoadResult
    processor: Mapping[str, float]


@dataclass(frozen=True)
class Turn:
    """What one server did in one pass.

    `background` is the percentage of the machine's processors that others used before the server
    was started. `missing` says why a workload was not measured, `skipped` why none was.
    """

    server: str
    index: int
    background: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    measured: tuple[Measured, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    skipped: str = ""


def workloads_of(server: Server, workloads: Sequence[Workload], index: int) -> list[Workload]:
    """What a server is asked in a pass: perf_analyzer, which takes its time, asks in the first."""
    return [
        workload
        for workload in workloads
        if (server.has_grpc or not workload.is_grpc)
        and (server.is_neutral_ground and index == 0 if workload.part == "neutral" else True)
    ]


def expected_seconds(server: Server, workloads: Sequence[Workload], seconds: float) -> float:
    loads = [
        NEUTRAL_SECONDS if workload.part == "neutral" else WARM_UP_SECONDS + seconds
        for workload in workloads
    ]
    return server.start_seconds + sum(loads)


def take_turn(
    server: Server,
    index: int,
    workloads: Sequence[Workload],
    models: Mapping[str, BenchmarkModel],
    seconds: float,
) -> Turn:
    """Start the server, send it every workload, end it."""
    used = {workload.model: models[workload.model] for workload in workloads}
    background = psutil.cpu_percent(interval=1.0)
    measured: list[Measured] = []
    missing: dict[str, str] = {}
    try:
        with server.start(used) as running:
            for workload in workloads:
                try:
                    one = _measure(server, running, workload, used[workload.model], seconds)
                except (LoadFailed, Unavailable, grpc.RpcError, ValueError) as error:
                    missing[workload.title] = f"{type(error).__name__}: {error}"[:300]
                    print(f"  {workload.title}: not measured: {error}", flush=True)
                    continue
                measured.append(one)
                print(f"  {workload.title} ({one.sent_as}): {_said(one.load)}", flush=True)
            versions = running.versions
    except (Unavailable, StartFailed) as error:
        print(f"  skipped: {error}", flush=True)
        return Turn(server.name, index, background, skipped=str(error))
    return Turn(server.name, index, background, versions, tuple(measured), missing)


def _said(load: LoadResult) -> str:
    return f"{load.rate:.0f} /s, p50 {load.p50:.2f} ms, {load.failed} failed"


def _measure(
    server: Server,
    running: RunningServer,
    workload: Workload,
    model: BenchmarkModel,
    seconds: float,
) -> Measured:
    if workload.client == "wrk":
        encoding = server.binary if workload.binary else None
        if encoding is not None and wrong_answer(running, model, encoding) is not None:
            encoding = None
        body = build_body(model, encoding or "json")
        url = running.infer_url(model.name)
        run_wrk(url, body, workload.connections, WARM_UP_SECONDS)
        before = processor_seconds(running.program)
        load = run_wrk(url, body, workload.connections, seconds)
        sent_as = encoding or "json"
    elif workload.client == "h2load":
        if not has_h2load():
            raise Unavailable("the load generator h2load is missing: install nghttp2-client")
        message, length = build_call(model), ask(running.grpc, model)
        run_h2load(running.grpc, message, length, workload.connections, WARM_UP_SECONDS)
        before = processor_seconds(running.program)
        load = run_h2load(running.grpc, message, length, workload.connections, seconds)
        sent_as = "raw"
    else:
        protocol: Literal["grpc", "http"] = "grpc" if workload.is_grpc else "http"
        address = running.grpc if workload.is_grpc else urlsplit(running.url).netloc
        before = processor_seconds(running.program)
        load = _perf_analyzer().measure(protocol, address, model.name, workload.connections)
        sent_as = "binary"
    after = processor_seconds(running.program)
    requests = max(1.0, load.rate * seconds)
    return Measured(workload.title, sent_as, load, milliseconds_each(before, after, requests))


@cache
def _perf_analyzer() -> PerfAnalyzer:
    return PerfAnalyzer.open()
