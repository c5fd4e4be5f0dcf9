from dataclasses import replace

from benchmarks.bare import Bare, BareRate
from benchmarks.comparison import Measured, Turn, workloads_of
from benchmarks.gateway_path import CONNECTIONS, DOOR_DIRECT, DOOR_HOP, PATHS, GatewayPath
from benchmarks.load import LoadResult
from benchmarks.memory import Footprint
from benchmarks.overload import Flood, Overload
from benchmarks.report_comparison import comparison_part
from benchmarks.report_parts import gateway_part, overload_part
from benchmarks.results import Comparison
from benchmarks.servers import SERVERS
from benchmarks.targets import (
    Target,
    comparison_targets,
    gateway_target,
    memory_target,
    overload_targets,
    targets_part,
)
from benchmarks.workloads import CNN_BINARY, TINY_GRPC, TINY_JSON, TINY_JSON_ALONE, WORKLOADS


def load(rate: float, p50: float = 1.0) -> LoadResult:
    return LoadResult(rate, p50, p50, p50, 0)


def turn(server: str, index: int, **rates: LoadResult) -> Turn:
    titles = {"json": TINY_JSON, "alone": TINY_JSON_ALONE, "grpc": TINY_GRPC, "cnn": CNN_BINARY}
    measured = tuple(
        Measured(titles[name].title, "json", each, {"server": 0.5}) for name, each in rates.items()
    )
    return Turn(server, index, 10.0, {"python": "3"}, measured)


def found(turns: list[Turn], *bare: Bare) -> dict[tuple[str, str], Target]:
    targets = comparison_targets(Comparison.of(turns, bare))
    return {(target.work, target.wanted): target for target in targets}


def test_ratios_are_of_passes_and_doors_are_told_apart() -> None:
    turns = [
        turn("manta", 0, json=load(160)),
        turn("manta-direct", 0, json=load(500)),
        turn("mlserver", 0, json=load(100)),
        turn("manta", 1, json=load(100)),
        turn("manta-direct", 1, json=load(600)),
        turn("mlserver", 1, json=load(100)),
        turn("mlserver-batching", 0, json=load(10)),
    ]
    target = found(turns)[TINY_JSON.title, "1.6x MLServer"]
    assert (target.reached, target.direct, target.verdict) == ("1.30x", "5.50x", "direct door only")


def test_the_best_way_of_a_peer_counts() -> None:
    turns = [
        turn("manta", 0, json=load(200)),
        turn("mlserver", 0, json=load(100)),
        turn("mlserver-batching", 0, json=load(160)),
    ]
    target = found(turns)[TINY_JSON.title, "1.6x MLServer"]
    assert (target.reached, target.verdict) == ("1.25x", "no")


def test_over_grpc_the_best_peer_is_the_fastest() -> None:
    turns = [
        turn("manta", 0, grpc=load(300)),
        turn("mlserver", 0, grpc=load(100)),
        turn("pytriton", 0, grpc=load(150)),
    ]
    target = found(turns)[TINY_GRPC.title, "1.5x the best peer (pytriton)"]
    assert (target.reached, target.verdict) == ("2.00x", "yes")


def test_latency_is_held_against_the_fastest_answering_peer() -> None:
    turns = [
        turn("manta", 0, alone=load(1, p50=0.5)),
        turn("manta-direct", 0, alone=load(1, p50=0.15)),
        turn("mlserver", 0, alone=load(1, p50=0.6)),
        turn("pytriton", 0, alone=load(1, p50=6.0)),
    ]
    target = found(turns)[TINY_JSON_ALONE.title, "p50 at most 1/3 of the best peer's"]
    assert (target.reached, target.direct) == ("0.83", "0.25")
    assert target.verdict == "direct door only"


def test_a_share_of_onnx_runtime_is_of_its_rate_beside_a_load_generator() -> None:
    bare = Bare("cnn", 0, BareRate("a", 400, 5.0), BareRate("b", 200, 6.0), 280)
    turns = [turn("manta", 0, cnn=load(150)), turn("mlserver", 0, cnn=load(100))]
    targets = found(turns, bare)
    assert targets[CNN_BINARY.title, "70 % of ONNX Runtime"].reached == "75%"
    assert targets[CNN_BINARY.title, "70 % of ONNX Runtime"].verdict == "yes"
    part = comparison_part(Comparison.of(turns, [bare]), "http", 3.0)
    assert "| cnn | manta, share of the second | 75% |" in part
    assert "5.00" in part, "what a run takes of the processors"


def test_what_was_not_measured_is_not_judged() -> None:
    assert found([turn("manta", 0, json=load(100))]) == {}
    reason = Turn("pytriton", 0, skipped="needs Python 3.12")
    part = comparison_part(Comparison.of([turn("manta", 0, json=load(1)), reason]), "http", 3.0)
    assert "- not measured, pytriton: needs Python 3.12" in part


def test_servers_are_asked_what_they_speak() -> None:
    by_name = {server.name: server for server in SERVERS}
    of_litserve = workloads_of(by_name["litserve"], WORKLOADS, 0)
    assert {workload.client for workload in of_litserve} == {"wrk"}
    clients = {workload.client for workload in workloads_of(by_name["manta"], WORKLOADS, 1)}
    assert clients == {"wrk", "h2load"}, "perf_analyzer asks in the first pass only"
    assert len(workloads_of(by_name["manta"], WORKLOADS, 0)) == len(WORKLOADS)


def test_the_hop_is_held_against_the_same_door_without_it() -> None:
    rates = dict.fromkeys(PATHS, 100.0) | {DOOR_HOP: 60.0, DOOR_DIRECT: 200.0}
    loads = {path: {c: (load(rates[path]),) for c in CONNECTIONS} for path in PATHS}
    target = gateway_target(GatewayPath(loads))
    assert (target.reached, target.direct, target.verdict) == ("100%", "30%", "yes")
    assert "| direct doors | 16 | 30% |" in gateway_part(GatewayPath(loads), 3.0)


def test_overload_has_four_things_to_reach() -> None:
    flood = Flood(100, 200, 89, 99.0, 890, 0, 1000, 0, 0.1, run_in_vain=1)
    ours = Overload("manta", (flood, flood, replace(flood, goodput=20, p99=500.0, recovery=9.0)))
    targets = list(overload_targets(ours))
    assert [target.verdict for target in targets] == ["no", "yes", "no", "yes"]
    assert [target.reached for target in targets] == ["89%", "99 ms", "3 of 2673", "0.1 s"]
    theirs = Overload("mlserver", (Flood(50, 100, 5, 900.0, 50, 9, 0, 1, 3.0),))
    part = overload_part([ours, theirs], 10.0)
    assert "| goodput of capacity | 89% (20% - 89%) | 10% |" in part


def test_memory_is_the_sum_of_the_processes() -> None:
    footprints = [Footprint({}, (("a", 1_500_000_000), ("b", 600_000_000)))]
    target = memory_target(footprints)
    assert (target.reached, target.verdict) == ("2.10 GB", "no")
    assert "| memory of the product, PSS | under 2 GB | 2.10 GB |  | no |" in targets_part([target])
