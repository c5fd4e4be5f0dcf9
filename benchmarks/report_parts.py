"""The parts of RESULTS.md that are about Manta itself, and the one about overload."""

import statistics
from collections.abc import Callable, Sequence

from benchmarks.gateway_path import (
    CONNECTIONS,
    DOOR_DIRECT,
    DOOR_HOP,
    PATHS,
    SERVE_DIRECT,
    SERVE_HOP,
    GatewayPath,
)
from benchmarks.loading import MEGABYTES, Loading
from benchmarks.memory import Footprint
from benchmarks.overload import DEADLINE_SECONDS, MODEL, OVERLOAD, Flood, Overload
from benchmarks.report import conditions, spread, table


def gateway_part(result: GatewayPath, seconds: float) -> str:
    rows = []
    for path in PATHS:
        for connections in CONNECTIONS:
            loads = result.loads[path][connections]
            rates = spread([load.rate for load in loads], "{:.0f}")
            p50 = spread([load.p50 for load in loads], "{:.2f}")
            rows.append([path, str(connections), rates, p50, str(sum(x.failed for x in loads))])
    shares = [
        [title, str(connections), spread(hop_shares(result, hop, direct, connections), "{:.0%}")]
        for title, hop, direct in (
            ("Serve's door", SERVE_HOP, SERVE_DIRECT),
            ("direct doors", DOOR_HOP, DOOR_DIRECT),
        )
        for connections in CONNECTIONS
    ]
    return "\n".join(
        [
            "## The hop from the gateway to a model's own process",
            "",
            conditions(),
            f"`mlp`, JSON with wrk, gRPC with h2load, {seconds:g} s for each load, the paths in"
            " alternating order on one running product.",
            "",
            *table(("Rate with the hop, as a share of that without", "c", ""), shares),
            "",
            *table(("", "c", "requests/s", "p50, ms", "failed"), rows),
        ]
    )


def hop_shares(result: GatewayPath, hop: str, direct: str, connections: int) -> list[float]:
    pairs = zip(result.loads[hop][connections], result.loads[direct][connections], strict=True)
    return [through.rate / straight.rate for through, straight in pairs]


def loading_part(result: Loading) -> str:
    rows = [
        ["in the gateway's process", spread(result.inline, "{:.1f}")],
        ["in a Serve application made for it", spread(result.application, "{:.1f}")],
    ]
    return "\n".join(
        [
            f"## Loading a model of {MEGABYTES} MB",
            "",
            conditions(),
            "From the request to load it, through the repository API, until its first answer;"
            f" {len(result.inline)} times each.",
            "",
            *table(("", "s"), rows),
        ]
    )


def overload_part(results: Sequence[Overload], seconds: float) -> str:
    """One column for each server."""

    def row(title: str, of: Callable[[Flood], float], form: str) -> list[str]:
        return [title, *(spread([of(flood) for flood in each.floods], form) for each in results)]

    rows = [
        row("capacity, /s", lambda flood: flood.capacity, "{:.0f}"),
        row("offered, /s", lambda flood: flood.offered, "{:.0f}"),
        row("goodput, /s", lambda flood: flood.goodput, "{:.0f}"),
        row("goodput of capacity", lambda flood: flood.goodput / flood.capacity, "{:.0%}"),
        row("p99 of the accepted, ms", lambda flood: flood.p99, "{:.0f}"),
        row("good", lambda flood: flood.good, "{:.0f}"),
        row("accepted and late", lambda flood: flood.late, "{:.0f}"),
        row("refused (503, 504)", lambda flood: flood.refused, "{:.0f}"),
        row("failed", lambda flood: flood.failed, "{:.0f}"),
        row("run in vain (-1: not told)", lambda flood: flood.run_in_vain, "{:.0f}"),
        row("recovery, s", lambda flood: flood.recovery, "{:.1f}"),
        row("one core's share for sending", lambda flood: flood.generator, "{:.0%}"),
        row("sent late, p99, ms", lambda flood: flood.sent_late, "{:.0f}"),
    ]
    return "\n".join(
        [
            "## Overload",
            "",
            conditions(),
            f"`{MODEL}`, JSON, {DEADLINE_SECONDS * 1e3:.0f} ms deadline, open loop at {OVERLOAD:g}"
            f" times the capacity for {seconds:g} s, then half the capacity; the median of the"
            " rounds, and the lowest and highest. Capacity is what the same generator gets in a"
            " closed loop before and after. MLServer knows no deadlines: what it answers in time"
            " counts.",
            "",
            *table(("", *(each.server for each in results)), rows),
        ]
    )


def product_part(footprints: Sequence[Footprint]) -> str:
    """Start-up and memory of what `make run` starts."""
    total = [sum(size for _, size in each.processes) for each in footprints]
    last = footprints[-1]
    starts = [
        (model, spread([each.ready[model] for each in footprints], "{:.1f}"))
        for model in last.ready
    ]
    every = spread([max(each.ready.values()) for each in footprints], "{:.1f}")
    sizes = [(f"`{name}`", f"{size / 1e6:.0f}") for name, size in last.processes]
    return "\n".join(
        [
            "## The product as it ships",
            "",
            conditions(),
            f"`serve run serve_config.yaml`, {len(footprints)} starts, everything installed.",
            "",
            *table(
                ("From `serve run` to the first correct answer", "s"), [*starts, ("all", every)]
            ),
            "",
            *table(
                ("Process (last start)", "PSS, MB"),
                [*sizes, ("sum", spread([size / 1e6 for size in total], "{:.0f}"))],
            ),
        ]
    )


def total_memory(footprints: Sequence[Footprint]) -> float:
    """In bytes, the median of the starts."""
    return statistics.median(sum(size for _, size in each.processes) for each in footprints)
