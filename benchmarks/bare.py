"""ONNX Runtime in a loop, without any server: what the machine can do with a model.

python -m benchmarks.bare --file MODEL --sample DTYPE SIZE... [--seconds 1]

Prints one line of JSON: for each configuration the rate in items a second and the milliseconds of
processor time of an item.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bodies import build_body
from benchmarks.models import BenchmarkModel
from benchmarks.peers.session import open_session
from benchmarks.ray_config import PROJECT
from benchmarks.sink import load_beside

BATCH_SIZES = (1, 2, 4)
WANTED_SHARE = 0.7
"""Of ONNX Runtime's own rate; the generator beside it sends as fast as if it were reached."""


@dataclass(frozen=True)
class BareRate:
    """`rate` in items a second, `processor` in milliseconds for each item."""

    configuration: str
    rate: float
    processor: float


@dataclass(frozen=True)
class Bare:
    """The best configuration alone, and the best beside a load generator that sends the model's
    requests, `generator_rate` a second, to a server that does nothing with them."""

    model: str
    index: int
    alone: BareRate
    beside: BareRate
    generator_rate: float


def expected_seconds(seconds: float) -> float:
    return 2 * (3 * len(BATCH_SIZES) * seconds + 4)


def measure_bare(model: BenchmarkModel, index: int, connections: int, seconds: float) -> Bare:
    alone = _best(model, seconds)
    body = build_body(model, "binary")
    with load_beside(body, WANTED_SHARE * alone.rate, connections) as loads:
        beside = _best(model, seconds)
    generator = sum(load.rate for load in loads) / max(1, len(loads))
    print(
        f"  {alone.rate:.0f} /s alone ({alone.configuration}), {beside.rate:.0f} /s beside"
        f" {generator:.0f} requests/s ({beside.configuration})",
        flush=True,
    )
    return Bare(model.name, index, alone, beside, generator)


def _best(model: BenchmarkModel, seconds: float) -> BareRate:
    """Measured in a process of its own."""
    sample = [model.sample.dtype.name, *map(str, model.sample.shape)]
    command = [sys.executable, "-m", "benchmarks.bare", "--seconds", str(seconds)]
    command += ["--file", str(model.file), "--sample", *sample]
    text = subprocess.check_output(command, text=True, cwd=PROJECT)
    return max((BareRate(*entry) for entry in json.loads(text)), key=lambda each: each.rate)


def _measure(file: Path, dtype: str, shape: list[int], seconds: float) -> list[BareRate]:
    cores = os.cpu_count() or 1
    rates = []
    for threads, workers in sorted({(1, 1), (cores, 1), (1, cores)}):
        session = open_session(file, threads)
        name = session.get_inputs()[0].name
        for size in BATCH_SIZES:
            feed = {name: np.ones((size, *shape[1:]), dtype)}
            rate, processor = _loop(session, feed, workers, seconds)
            key = f"{workers} x {threads} threads, batch {size}"
            rates.append(BareRate(key, size * rate, processor / size))
    return rates


def _loop(
    session: Any, feed: Mapping[str, Any], workers: int, seconds: float
) -> tuple[float, float]:
    """Runs a second and processor milliseconds of each, from `workers` loops at once on one
    session, which runs outside Python's lock."""
    session.run(None, feed)
    end = time.perf_counter() + seconds

    def loop(_: int) -> int:
        runs = 0
        while time.perf_counter() < end:
            session.run(None, feed)
            runs += 1
        return runs

    with ThreadPoolExecutor(workers) as pool:
        start, processor = time.perf_counter(), time.process_time()
        runs = sum(pool.map(loop, range(workers)))
    taken, used = time.perf_counter() - start, time.process_time() - processor
    return runs / taken, 1e3 * used / runs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--sample", nargs="+", required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    dtype, *sizes = arguments.sample
    rates = _measure(arguments.file, dtype, [int(size) for size in sizes], arguments.seconds)
    print(json.dumps([(each.configuration, each.rate, each.processor) for each in rates]))


if __name__ == "__main__":
    main()
