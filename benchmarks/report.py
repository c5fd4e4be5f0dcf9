"""Writes benchmarks/RESULTS.md: what was measured, under which conditions, as ratios first."""

import os
import platform
import re
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.comparison import Comparison, Workload, best_server
from benchmarks.memory import Footprint
from benchmarks.overload import DEADLINE_SECONDS, MODEL, OVERLOAD, Overload
from benchmarks.servers import SERVERS

RESULTS = Path(__file__).with_name("RESULTS.md")
NOTES = Path(__file__).with_name("NOTES.md")
OURS = "manta"
PACKAGES = ("ray", "onnxruntime", "numpy", "uvicorn", "uvloop")

_INTRODUCTION = """\
# Benchmark results

Written by `make bench`; text of our own is in NOTES.md. Each part says when and on what it was
measured; a part that a run leaves out stays as it was. On a machine that does other work the
absolute numbers are worth little: read the ratios, which compare servers that took turns in one
run.
"""
_PART = re.compile(r"<!-- part: (\w+) -->\n(.*?)(?=<!-- part: |<!-- notes -->|\Z)", re.DOTALL)
_ORDER = ("comparison", "overload", "product")


def write_results(parts: Mapping[str, str]) -> None:
    """Replace these parts of RESULTS.md and keep the others."""
    kept: dict[str, str] = dict(_PART.findall(RESULTS.read_text())) if RESULTS.exists() else {}
    current = {**kept, **parts}
    text = f"{_INTRODUCTION}\n"
    text += "".join(
        f"<!-- part: {name} -->\n{current[name].strip()}\n\n" for name in _ORDER if name in current
    )
    if NOTES.exists():
        text += f"<!-- notes -->\n{NOTES.read_text().strip()}\n"
    RESULTS.write_text(text.rstrip() + "\n")


def conditions() -> str:
    """The machine, the versions and the state of the sources, as one paragraph."""
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"{now}, sources {_revision()}. {os.cpu_count()} cores of {_processor()},"
        f" {memory:.0f} GiB, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}, {versions}."
    )


def comparison_part(result: Comparison, passes: int, seconds: float) -> str:
    """Ratios of ours to each product, then what they were made from."""
    products: dict[str, list[str]] = {}
    for server in SERVERS:
        if any(server.name in by_server for by_server in result.loads.values()):
            products.setdefault(server.product, []).append(server.name)
    background = statistics.median(result.background or [0.0])
    lines = [
        "## Beside other servers, over HTTP",
        "",
        conditions(),
        f"wrk, one thread, keep-alive, c connections, {seconds:g} s for each load after 1 s of"
        f" warm-up, {passes} passes in alternating order, one server running at a time, one worker"
        f" each, the same ONNX files and session options. Where a product was measured in several"
        f" ways, the best of them for each row counts. Before each start other programs took"
        f" {background:.0f} % of the machine (median; at most {max(result.background):.0f} %).",
        "",
        "Manta's rate divided by the other's (more is better): the median of the passes, and the"
        " lowest and highest.",
        "",
        *_ratio_table(result, products, by_rate=True),
        "",
        "Manta's p50 latency divided by the other's (less is better).",
        "",
        *_ratio_table(result, products, by_rate=False),
        "",
        "What the ratios were made from; on a shared machine these numbers are noisy.",
        "",
        *_absolute_table(result, products),
        "",
        *(f"- {name}: {_named(versions)}" for name, versions in result.versions.items()),
        *(f"- {name} was skipped: {reason}" for name, reason in result.skipped.items()),
    ]
    return "\n".join(lines)


def overload_part(result: Overload, seconds: float) -> str:
    return "\n".join(
        [
            "## Overload",
            "",
            conditions(),
            f"`{MODEL}` as its own application, JSON, {DEADLINE_SECONDS * 1e3:.0f} ms deadline,"
            f" open loop at {OVERLOAD:g} times the capacity of a closed loop for {seconds:g} s,"
            " then half the capacity. The generator, in Python, takes its share of the cores.",
            "",
            *_table(
                ("", ""),
                [
                    ("capacity", f"{result.capacity:.0f} /s"),
                    ("offered", f"{result.offered:.0f} /s"),
                    (
                        "goodput",
                        f"{result.goodput:.0f} /s, {result.goodput / result.capacity:.0%} of"
                        " capacity",
                    ),
                    ("p99 of the accepted", f"{result.p99:.0f} ms"),
                    (
                        "good, late, refused (503, 504), failed",
                        f"{result.good}, {result.late}, {result.refused}, {result.failed}",
                    ),
                    ("recovery", f"{result.recovery:.1f} s"),
                ],
            ),
        ]
    )


def product_part(footprints: Sequence[Footprint]) -> str:
    """Start-up and memory of what `serve run serve_config.yaml` starts."""
    total = [sum(size for _, size in each.processes) for each in footprints]
    last = footprints[-1]
    starts = [
        (model, _spread([each.ready[model] for each in footprints], "{:.1f}"))
        for model in last.ready
    ]
    every = _spread([max(each.ready.values()) for each in footprints], "{:.1f}")
    sizes = [(f"`{name}`", f"{size / 1e6:.0f}") for name, size in last.processes]
    return "\n".join(
        [
            "## The product as it ships",
            "",
            conditions(),
            f"`serve run serve_config.yaml`, {len(footprints)} starts, everything installed.",
            "",
            *_table(
                ("From `serve run` to the first correct answer", "s"), [*starts, ("all", every)]
            ),
            "",
            *_table(
                ("Process (last start)", "PSS, MB"),
                [*sizes, ("sum", _spread([size / 1e6 for size in total], "{:.0f}"))],
            ),
        ]
    )


def _ratio_table(
    result: Comparison, products: Mapping[str, Sequence[str]], *, by_rate: bool
) -> list[str]:
    others = [product for product, names in products.items() if OURS not in names]
    rows = []
    for workload, by_server in result.loads.items():
        if OURS not in by_server:
            continue
        ours = by_server[OURS]
        cells = [workload.title]
        for product in others:
            name = best_server(result, workload, products[product])
            theirs = by_server[name] if name is not None else {}
            if by_rate:
                ratios = [ours[i].rate / theirs[i].rate for i in ours if _answered(theirs, i)]
            else:
                ratios = [ours[i].p50 / theirs[i].p50 for i in ours if _answered(theirs, i)]
            cells.append(_spread(ratios, "{:.2f}") if ratios else "-")
        if by_rate:
            bare = result.bare[workload.model]
            alone = [load.rate / bare[index] for index, load in ours.items()]
            cells.append(_spread(alone, "{:.2f}"))
        rows.append(cells)
    return _table(("", *others, *(["ONNX Runtime alone"] if by_rate else [])), rows)


def _absolute_table(result: Comparison, products: Mapping[str, Sequence[str]]) -> list[str]:
    rows = []
    for workload, by_server in result.loads.items():
        measured = [name for names in products.values() for name in names if name in by_server]
        rows += [[workload.title, name, *_absolute(result, workload, name)] for name in measured]
        bare = _spread(result.bare[workload.model], "{:.0f}")
        best = result.bare_best[workload.model]
        rows.append([workload.title, f"ONNX Runtime alone ({best})", "", bare, "", "", ""])
    return _table(("", "server", "sent as", "requests/s", "p50, ms", "p99, ms", "failed"), rows)


def _absolute(result: Comparison, workload: Workload, name: str) -> list[str]:
    loads = list(result.loads[workload][name].values())
    return [
        result.encodings[workload, name],
        _spread([load.rate for load in loads], "{:.0f}"),
        _spread([load.p50 for load in loads], "{:.2f}"),
        _spread([load.p99 for load in loads], "{:.1f}"),
        str(sum(load.failed for load in loads)),
    ]


def _answered(loads: Mapping[int, object], index: int) -> bool:
    return index in loads and getattr(loads[index], "rate", 0) > 0


def _spread(values: Sequence[float], form: str) -> str:
    """The median, and the range where there is one."""
    median = form.format(statistics.median(values))
    if len(values) == 1:
        return median
    return f"{median} ({form.format(min(values))} - {form.format(max(values))})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    line = "| {} |".format
    rule = line(" | ".join(["---", *["---:"] * (len(head) - 1)]))
    return [line(" | ".join(head)), rule, *(line(" | ".join(row)) for row in rows)]


def _named(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _revision() -> str:
    """The commit, marked where files differ from it; unknown outside a checkout."""
    command = ["git", "describe", "--always", "--dirty"]
    directory = Path(__file__).parent
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)
    return run.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
