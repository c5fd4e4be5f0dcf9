"""The same requests to every server, one server at a time, in several passes."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psutil

from benchmarks.bare import bare_rates
from benchmarks.bodies import Encoding, build_body
from benchmarks.environments import Unavailable
from benchmarks.load import LoadResult, run_wrk
from benchmarks.models import BenchmarkModel
from benchmarks.processes import StartFailed
from benchmarks.servers import RunningServer, Server, wrong_answer

WARM_UP_SECONDS = 1.0


@dataclass(frozen=True)
class Workload:
    """Requests for one model; `binary` sends bytes where the server takes them, else JSON."""

    model: str
    binary: bool
    connections: int

    @property
    def title(self) -> str:
        form = "binary" if self.binary else "JSON"
        return f"{self.model}, {form}, c={self.connections}"


WORKLOADS = (
    Workload("mlp", binary=False, connections=1),
    Workload("mlp", binary=False, connections=16),
    Workload("digits", binary=False, connections=1),
    Workload("digits", binary=False, connections=16),
    Workload("cnn", binary=False, connections=8),
    Workload("cnn", binary=True, connections=8),
    Workload("cnn-uint8", binary=True, connections=8),
)


@dataclass
class Comparison:
    """What was measured: `loads[workload][server]` and `bare[model]` have one entry a pass.

    `background` are the percentages of the machine's processors that others used before each
    server was started.
    """

    loads: dict[Workload, dict[str, dict[int, LoadResult]]] = field(default_factory=dict)
    bare: dict[str, list[float]] = field(default_factory=dict)
    bare_best: dict[str, str] = field(default_factory=dict)
    encodings: dict[tuple[Workload, str], Encoding] = field(default_factory=dict)
    versions: dict[str, Mapping[str, str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    background: list[float] = field(default_factory=list)


def compare(
    servers: Sequence[Server],
    workloads: Sequence[Workload],
    models: Mapping[str, BenchmarkModel],
    passes: int,
    seconds: float,
) -> Comparison:
    """Every pass starts every server once, in the opposite order of the pass before, so that
    noise from outside hits all of them alike. A server that does not start is left out."""
    used = {workload.model: models[workload.model] for workload in workloads}
    result = Comparison(loads={workload: {} for workload in workloads})
    for index in range(passes):
        _add_bare(result, list(used.values()), seconds)
        for server in servers if index % 2 == 0 else reversed(servers):
            if server.name in result.skipped:
                continue
            result.background.append(psutil.cpu_percent(interval=1.0))
            print(f"pass {index + 1} of {passes}: {server.name} ...", flush=True)
            try:
                with server.start(used) as running:
                    result.versions[server.name] = running.versions
                    _load_all(result, index, server, running, used, seconds)
            except (Unavailable, StartFailed) as error:
                result.skipped[server.name] = str(error)
                print(f"  skipped: {error}", flush=True)
    return result


def _load_all(
    result: Comparison,
    index: int,
    server: Server,
    running: RunningServer,
    models: Mapping[str, BenchmarkModel],
    seconds: float,
) -> None:
    for workload, by_server in result.loads.items():
        model = models[workload.model]
        encoding = _encoding(server, running, workload, model)
        result.encodings[workload, server.name] = encoding
        url, body = running.infer_url(model.name), build_body(model, encoding)
        run_wrk(url, body, workload.connections, WARM_UP_SECONDS)
        load = run_wrk(url, body, workload.connections, seconds)
        by_server.setdefault(server.name, {})[index] = load
        print(
            f"  {workload.title} ({encoding}): {load.rate:.0f} /s, p50 {load.p50:.2f} ms,"
            f" {load.failed} failed",
            flush=True,
        )


def _encoding(
    server: Server, running: RunningServer, workload: Workload, model: BenchmarkModel
) -> Encoding:
    if not workload.binary or server.binary is None:
        return "json"
    return "json" if wrong_answer(running, model, server.binary) else server.binary


def _add_bare(result: Comparison, models: Sequence[BenchmarkModel], seconds: float) -> None:
    print("ONNX Runtime alone ...", flush=True)
    for name, rates in bare_rates(models, max(0.3, seconds / 10)).items():
        best = max(rates, key=lambda key: rates[key])
        result.bare.setdefault(name, []).append(rates[best])
        result.bare_best[name] = best


def best_server(result: Comparison, workload: Workload, names: Sequence[str]) -> str | None:
    """Of several ways to run one product the one with the highest median rate."""
    by_server = result.loads[workload]
    measured = [name for name in names if name in by_server]

    def median_rate(name: str) -> float:
        return statistics.median(load.rate for load in by_server[name].values())

    return max(measured, key=median_rate, default=None)
