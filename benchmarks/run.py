"""Measure this machine and write benchmarks/RESULTS.md.

python -m benchmarks.run [--only PART,...] [--servers NAME,...] [--quick] [--resume]
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import bare, comparison, gateway_path, loading, memory, overload, targets
from benchmarks.bare import Bare
from benchmarks.comparison import Turn
from benchmarks.environments import cache_directory
from benchmarks.gateway_path import GatewayPath
from benchmarks.load import has_wrk
from benchmarks.loading import Loading
from benchmarks.memory import Footprint
from benchmarks.models import BenchmarkModel, build_repository
from benchmarks.overload import SUBJECTS, Overload
from benchmarks.plan import Journal, Unit, work_through
from benchmarks.report import ORDER, write_results
from benchmarks.report_comparison import comparison_part
from benchmarks.report_parts import gateway_part, loading_part, overload_part, product_part
from benchmarks.results import Comparison
from benchmarks.servers import SERVERS
from benchmarks.workloads import CNN_BINARY, CNN_UINT8_BINARY, PARTS, WORKLOADS

OVERLOAD_SECONDS = 10.0
FOOTPRINT_SECONDS = 50.0
BARE_SECONDS = 0.4


@dataclass(frozen=True)
class Options:
    """`parts` and `servers` are what to measure, `seconds` the length of each closed loop."""

    parts: tuple[str, ...]
    servers: tuple[str, ...]
    passes: int
    seconds: float


def units_of(
    options: Options, models: dict[str, BenchmarkModel], directory: Path
) -> Iterator[Unit[Any]]:
    """Everything that these options ask for, in the order in which it is measured."""
    seconds, passes = options.seconds, options.passes
    workloads = [each for each in WORKLOADS if each.part in options.parts]
    servers = [each for each in SERVERS if each.name in options.servers]
    for index in range(passes):
        if "http" in options.parts:
            for workload in (CNN_BINARY, CNN_UINT8_BINARY):
                measure = partial(
                    bare.measure_bare,
                    *(models[workload.model], index, workload.connections, BARE_SECONDS),
                )
                expected = bare.expected_seconds(BARE_SECONDS)
                key = f"pass {index + 1} of {passes}: ONNX Runtime, {workload.model}"
                yield Unit(key, expected, Bare, measure)
        for server in servers if index % 2 == 0 else reversed(servers):
            asked = comparison.workloads_of(server, workloads, index)
            if asked:
                turn = partial(comparison.take_turn, server, index, asked, models, seconds)
                expected = comparison.expected_seconds(server, asked, seconds)
                yield Unit(f"pass {index + 1} of {passes}: {server.name}", expected, Turn, turn)
    if "gateway" in options.parts:
        path = partial(gateway_path.measure_gateway_path, models, passes, seconds)
        expected = gateway_path.expected_seconds(passes, seconds)
        yield Unit("gateway path", expected, GatewayPath, path)
    if "loading" in options.parts:
        load = partial(loading.measure_loading, models, directory, passes)
        yield Unit("loading", loading.expected_seconds(passes), Loading, load)
    if "overload" in options.parts:
        for subject in SUBJECTS:
            flood = partial(overload.measure_overload, subject, models, passes, OVERLOAD_SECONDS)
            expected = overload.expected_seconds(passes, OVERLOAD_SECONDS)
            yield Unit(f"overload of {subject.name}", expected, Overload, flood)
    if "product" in options.parts:
        for index in range(min(2, passes)):
            key = f"start {index + 1} of the product"
            yield Unit(key, FOOTPRINT_SECONDS, Footprint, memory.measure_footprint)


def parts_of(options: Options, results: list[object]) -> dict[str, str]:
    """What is written: a part for each that was measured, and what was to be reached."""

    def all_of(kind: type[Any]) -> list[Any]:
        return [each for each in results if isinstance(each, kind)]

    parts: dict[str, str] = {}
    reached: list[targets.Target] = []
    if turns := all_of(Turn):
        compared = Comparison.of(turns, all_of(Bare))
        for part in PARTS:
            if compared.workloads(part):
                parts[part] = comparison_part(compared, part, options.seconds)
        reached += targets.comparison_targets(compared)
    if overloads := all_of(Overload):
        parts["overload"] = overload_part(overloads, OVERLOAD_SECONDS)
        reached += targets.overload_targets(overloads[0])
    for loaded in all_of(Loading):
        parts["loading"] = loading_part(loaded)
        reached += targets.loading_targets(loaded)
    if footprints := all_of(Footprint):
        parts["product"] = product_part(footprints)
        reached.append(targets.memory_target(footprints))
    for path in all_of(GatewayPath):
        parts["gateway"] = gateway_part(path, options.seconds)
        reached.append(targets.gateway_target(path))
    return {"targets": targets.targets_part(reached), **parts}


def main() -> None:
    # What is started here is ended by an interrupt, which it would ignore if this run did: a shell
    # has what runs in its background ignore them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # So that a run which is told to end ends what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended; --resume goes on from here"))
    arguments = _arguments()
    if not has_wrk():
        raise SystemExit("the load generator wrk is missing: install the package `wrk`")
    options = Options(
        tuple(arguments.only),
        tuple(arguments.servers),
        arguments.passes or (1 if arguments.quick else 3),
        arguments.seconds or (1.0 if arguments.quick else 3.0),
    )
    journal = Journal(cache_directory() / "progress.jsonl", repr(options), resume=arguments.resume)
    with _workplace() as (models, directory):
        units = list(units_of(options, models, directory))
        failed: list[str] = []
        try:
            failed = work_through(units, journal)
        finally:
            results = [journal.read(unit) for unit in units if unit in journal]
            if results:
                write_results(parts_of(options, results))
    if failed:
        raise SystemExit(f"not measured: {', '.join(failed)}; --resume tries again")


@contextmanager
def _workplace() -> Iterator[tuple[dict[str, BenchmarkModel], Path]]:
    with tempfile.TemporaryDirectory(prefix="manta-bench-") as directory:
        yield build_repository(Path(directory, "models")), Path(directory)


def _arguments() -> argparse.Namespace:
    names = [server.name for server in SERVERS]
    measured = [part for part in ORDER if part != "targets"]
    parser = argparse.ArgumentParser(description="Measure Manta beside other servers.")
    parser.add_argument("--only", type=_among(measured), default=measured, help="parts")
    parser.add_argument("--servers", type=_among(names), default=names)
    parser.add_argument("--quick", action="store_true", help="one short pass, to see it work")
    parser.add_argument("--resume", action="store_true", help="go on where such a run ended")
    parser.add_argument("--passes", type=int, help="how often each server takes its turn (3)")
    parser.add_argument("--seconds", type=float, help="length of each load (3)")
    return parser.parse_args()


def _among(known: list[str]) -> Any:
    """A reader of names with commas between them."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return read


if __name__ == "__main__":
    main()
