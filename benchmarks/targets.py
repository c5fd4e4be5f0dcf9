"""What was to be reached, beside what one run reached."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.gateway_path import DOOR_DIRECT, DOOR_HOP, SERVE_DIRECT, SERVE_HOP, GatewayPath
from benchmarks.loading import Loading
from benchmarks.memory import Footprint
from benchmarks.overload import DEADLINE_SECONDS, Overload
from benchmarks.report import conditions, table
from benchmarks.report_parts import hop_shares, total_memory
from benchmarks.results import OUR_DIRECT_DOOR, OURS, Comparison, p50, rate
from benchmarks.workloads import (
    CNN_BINARY,
    CNN_UINT8_BINARY,
    TINY_GRPC,
    TINY_JSON,
    TINY_JSON_ALONE,
    Workload,
)

TIMES_PEER = {"MLServer": 1.6, "pytriton": 2.0, "LitServe": 4.0, "Ray Serve, default": 12.0}
GOODPUT_SHARE = 0.9
RECOVERY_SECONDS = 2.0
LOADING_SECONDS = 5.0
MEMORY_BYTES = 2e9
HOP_SHARE = 0.5
DOORS = (OURS, OUR_DIRECT_DOOR)


@dataclass(frozen=True)
class Target:
    """`reached` is of the shipped way, through Serve's door; `direct` of the direct door, where
    that was measured, too."""

    work: str
    wanted: str
    reached: str
    direct: str
    is_reached: bool
    is_reached_directly: bool = False

    @property
    def verdict(self) -> str:
        if self.is_reached:
            return "yes"
        return "direct door only" if self.is_reached_directly else "no"


def targets_part(targets: Sequence[Target]) -> str:
    rows = [(t.work, t.wanted, t.reached, t.direct, t.verdict) for t in targets]
    head = ("Work", "Must reach", "Serve's door", "Direct door", "Reached")
    opening = ["## What was to be reached", "", conditions(), "Medians of the passes.", ""]
    return "\n".join([*opening, *table(head, rows)])


def comparison_targets(result: Comparison) -> Iterator[Target]:
    for product, times in TIMES_PEER.items():
        yield from _against(result, TINY_JSON, product, times)
    yield from _latency(result)
    yield from _against(result, TINY_GRPC, "the best peer", 1.5)
    for workload in (CNN_BINARY, CNN_UINT8_BINARY):
        yield from _against(result, workload, "the best peer", 1.2)
        shares = [_median(result.shares_of_bare(workload, door)) for door in DOORS]
        if shares[0] is not None or shares[1] is not None:
            yield _two_doors(workload.title, "70 % of ONNX Runtime", shares, 0.7, "{:.0%}")


def gateway_target(result: GatewayPath) -> Target:
    serve = _median(hop_shares(result, SERVE_HOP, SERVE_DIRECT, 16))
    door = _median(hop_shares(result, DOOR_HOP, DOOR_DIRECT, 16))
    work = "gateway path, c=16"
    return _two_doors(work, "50 % of the direct path", [serve, door], HOP_SHARE, "{:.0%}")


def loading_targets(result: Loading) -> Iterator[Target]:
    for where, seconds in (("inline", result.inline), ("application", result.application)):
        median = statistics.median(seconds)
        work = f"100 MB model, load ({where})"
        yield Target(work, "under 5 s", f"{median:.1f} s", "", median < LOADING_SECONDS)


def overload_targets(result: Overload) -> Iterator[Target]:
    share = statistics.median(each.goodput / each.capacity for each in result.floods)
    work = "2x overload"
    wanted = f"goodput {GOODPUT_SHARE:.0%} of capacity"
    yield Target(work, wanted, f"{share:.0%}", "", share >= GOODPUT_SHARE)
    deadline = DEADLINE_SECONDS * 1e3
    p99 = statistics.median(each.p99 for each in result.floods)
    wanted = f"p99 of accepted under {deadline:.0f} ms"
    yield Target(work, wanted, f"{p99:.0f} ms", "", p99 < deadline)
    vain = sum(each.run_in_vain for each in result.floods)
    ran = sum(each.good + each.late for each in result.floods) + vain
    yield Target(work, "none run in vain", f"{vain} of {ran}", "", vain == 0)
    recovery = statistics.median(each.recovery for each in result.floods)
    yield Target(work, "recovery under 2 s", f"{recovery:.1f} s", "", recovery < RECOVERY_SECONDS)


def memory_target(footprints: Sequence[Footprint]) -> Target:
    size = total_memory(footprints)
    reached = f"{size / 1e9:.2f} GB"
    return Target("memory of the product, PSS", "under 2 GB", reached, "", size < MEMORY_BYTES)


def _against(
    result: Comparison, workload: Workload, product: str, times: float
) -> Iterator[Target]:
    peers = result.peers(workload.part)
    ways = peers.get(product, [name for each in peers.values() for name in each])
    if workload not in result.measured or (product in TIMES_PEER and product not in peers):
        return
    name = result.best(workload, ways) or ""
    ratios = [_median(result.ratios(workload, door, name, rate)) for door in DOORS]
    if ratios[0] is not None:
        wanted = f"{times:g}x {product}" + (f" ({name})" if product not in TIMES_PEER else "")
        yield _two_doors(workload.title, wanted, ratios, times, "{:.2f}x")


def _latency(result: Comparison) -> Iterator[Target]:
    workload = TINY_JSON_ALONE
    peers = [name for ways in result.peers("http").values() for name in ways]
    ratios = []
    for door in DOORS:
        each = [_median(result.ratios(workload, door, name, p50)) for name in peers]
        ratios.append(max((ratio for ratio in each if ratio is not None), default=None))
    if ratios[0] is not None:
        speeds = [None if ratio is None else 1 / ratio for ratio in ratios]
        wanted = "p50 at most 1/3 of the best peer's"
        shown = ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        reached = [speed is not None and speed >= 3.0 for speed in speeds]
        yield Target(workload.title, wanted, shown[0], shown[1], *reached)


def _two_doors(
    work: str, wanted: str, values: Sequence[float | None], least: float, form: str
) -> Target:
    shown = ["" if value is None else form.format(value) for value in values]
    reached = [value is not None and value >= least for value in values]
    return Target(work, wanted, shown[0], shown[1], *reached)


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
