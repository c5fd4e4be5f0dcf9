"""The parts of RESULTS.md that are about Manta itself, and the one about overload."""

import statistics
from collections.abc import Sequence

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
from benchmarks.overload import DEADLINE_SECONDS, MODEL, OVERLOAD, Overload
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
    rows = [
        ("capacity", *(f"{each.capacity:.0f} /s" for each in results)),
        ("offered", *(f"{each.offered:.0f} /s" for each in results)),
        (
            "goodput",
            *(f"{each.goodput:.0f} /s, {each.goodput / each.capacity:.0%}" for each in results),
        ),
        ("p99 of the accepted", *(f"{each.p99:.0f} ms" for each in results)),
        ("good", *(str(each.good) for each in results)),
        ("accepted and late", *(str(each.late) for each in results)),
        ("refused (503, 504)", *(str(each.refused) for each in results)),
        ("failed", *(str(each.failed) for each in results)),
        ("run without a good answer", *(_known(each.run_in_vain) for each in results)),
        ("recovery", *(f"{each.recovery:.1f} s" for each in results)),
        ("one core's share for sending", *(f"{each.generator:.0%}" for each in results)),
    ]
    return "\n".join(
        [
            "## Overload",
            "",
            conditions(),
            f"`{MODEL}`, JSON, {DEADLINE_SECONDS * 1e3:.0f} ms deadline, open loop at {OVERLOAD:g}"
            f" times the capacity for {seconds:g} s, then half the capacity. Capacity is what the"
            " same generator gets in a closed loop. MLServer knows no deadlines: what it answers in"
            " time counts.",
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


def _known(count: int) -> str:
    return "-" if count < 0 else str(count)
