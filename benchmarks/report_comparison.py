"""The parts of RESULTS.md in which servers stand side by side."""

import os
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.comparison import Measured
from benchmarks.processor import GENERATOR
from benchmarks.report import conditions, spread, table
from benchmarks.results import OUR_DIRECT_DOOR, OURS, Comparison, p50, rate
from benchmarks.workloads import Part, Workload

_TITLES: dict[Part, str] = {
    "http": "Beside other servers, over HTTP",
    "grpc": "Beside other servers, over gRPC",
    "neutral": "With perf_analyzer, the Triton project's own load generator",
}
_LOADS: dict[Part, str] = {
    "http": "wrk, one thread, keep-alive, c connections",
    "grpc": "h2load, one thread, c connections with one call in flight on each, tensors as raw"
    " bytes, answers counted by their bytes",
    "neutral": "perf_analyzer 2.48, c requests in flight, tensors as bytes, until its windows are"
    " alike",
}
_ROLES = ("server", "HAProxy", "rest of Ray", GENERATOR)


def comparison_part(result: Comparison, part: Part, seconds: float) -> str:
    """Ratios of ours to each product, then what they were made from."""
    length = "" if part == "neutral" else f", {seconds:g} s for each load after 1 s of warm-up"
    passes = 1 if part == "neutral" else result.passes
    lines = [
        f"## {_TITLES[part]}",
        "",
        conditions(),
        f"{_LOADS[part]}{length}, {passes} passes in alternating order, one server running at a"
        " time, one worker each, the same ONNX files and session options. Where a product was"
        " measured in several ways, the best of them for each row counts. Before each start other"
        f" programs took {statistics.median(result.background):.0f} % of the machine (median; at"
        f" most {max(result.background):.0f} %).",
        "",
        "Manta's rate divided by the other's (more is better): the median of the passes, and the"
        " lowest and highest.",
        "",
        *_ratio_table(result, part, by_rate=True),
        "",
        "Manta's p50 latency divided by the other's (less is better).",
        "",
        *_ratio_table(result, part, by_rate=False),
        "",
        "What the ratios were made from; on a shared machine these numbers are noisy.",
        "",
        *_absolute_table(result, part),
        "",
        *(_bare_lines(result) if part == "http" else []),
        *_processor_lines(result, part),
        *(f"- {name}: {_named(versions)}" for name, versions in result.versions.items()),
        *(f"- not measured, {name}: {reason}" for name, reason in result.missing.items()),
    ]
    return "\n".join(lines)


def _ratio_table(result: Comparison, part: Part, *, by_rate: bool) -> list[str]:
    others = {name: ways for name, ways in result.products(part).items() if OURS not in ways}
    rows = []
    for workload in result.workloads(part):
        cells = [workload.title]
        for ways in others.values():
            name = result.best(workload, ways)
            ratios = result.ratios(workload, OURS, name or "", rate if by_rate else p50)
            cells.append(spread(ratios, "{:.2f}"))
        rows.append(cells)
    return table(("", *others), rows)


def _absolute_table(result: Comparison, part: Part) -> list[str]:
    rows = []
    for workload in result.workloads(part):
        for ways in result.products(part).values():
            for name in ways:
                if name in result.measured[workload]:
                    passes = list(result.measured[workload][name].values())
                    rows.append([workload.title, name, *_absolute(passes)])
    return table(("", "server", "sent as", "requests/s", "p50, ms", "p99, ms", "failed"), rows)


def _absolute(passes: Sequence[Measured]) -> list[str]:
    loads = [each.load for each in passes]
    return [
        passes[0].sent_as,
        spread([load.rate for load in loads], "{:.0f}"),
        spread([load.p50 for load in loads], "{:.2f}"),
        spread([load.p99 for load in loads], "{:.1f}"),
        str(sum(load.failed for load in loads)),
    ]


def _bare_lines(result: Comparison) -> list[str]:
    """ONNX Runtime without a server, and how much of that each way to ask Manta reaches."""
    if not result.bare:
        return []
    rows = []
    for model, passes in result.bare.items():
        alone = spread([each.alone.rate for each in passes.values()], "{:.0f}")
        beside = spread([each.beside.rate for each in passes.values()], "{:.0f}")
        last = list(passes.values())[-1]
        rows.append([model, f"alone ({last.alone.configuration})", alone])
        asked = f"beside wrk at {last.generator_rate:.0f}/s ({last.beside.configuration})"
        rows.append([model, asked, beside])
        for workload in result.workloads("http"):
            if workload.model == model and workload.binary:
                for name in (OURS, OUR_DIRECT_DOOR):
                    shares = result.shares_of_bare(workload, name)
                    rows.append([model, f"{name}, share of the second", spread(shares, "{:.0%}")])
    return [
        "ONNX Runtime in a loop, the best of several thread counts and batch sizes: alone, and"
        " beside wrk that sends the same requests to a server which only reads them and answers at"
        " 70 % of that rate.",
        "",
        *table(("", "", "items/s"), rows),
        "",
    ]


def _processor_lines(result: Comparison, part: Part) -> list[str]:
    rows = []
    for workload in result.workloads(part):
        for name, passes in result.measured[workload].items():
            rows.append([workload.title, name, *_processor(workload, passes, result)])
    return [
        "Where the processors' time went: milliseconds for each answered request (median). What is"
        " left is idle or other programs'; `model` is what a run takes in the bare loop.",
        "",
        *table(("", "server", "model", *_ROLES, "left"), rows),
        "",
    ]


def _processor(workload: Workload, passes: Mapping[int, Measured], result: Comparison) -> list[str]:
    spent = [
        statistics.median(each.processor.get(role, 0.0) for each in passes.values())
        for role in _ROLES
    ]
    answered = statistics.median(each.load.rate for each in passes.values())
    whole = 1e3 * (os.cpu_count() or 1) / answered if answered else 0.0
    bare = [each.alone.processor for each in result.bare.get(workload.model, {}).values()]
    left = max(0.0, whole - sum(spent))
    return [spread(bare, "{:.2f}"), *(f"{each:.2f}" for each in [*spent, left])]


def _named(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())
