"""ONNX Runtime in a loop, without any server: what the machine can do with a model.

python -m benchmarks.bare --repository DIR --models NAME... [--seconds 1]

Prints one line of JSON: for each model the rate in items a second of every configuration. The load
generator does not run beside it, which flatters it.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import BenchmarkModel
from benchmarks.peers.session import open_session
from benchmarks.ray_config import PROJECT

BATCH_SIZES = (1, 2, 4, 8)
Rates = dict[str, dict[str, float]]


def bare_rates(models: Sequence[BenchmarkModel], seconds: float) -> Rates:
    """The rates, measured in a process of its own."""
    repository = str(models[0].file.parents[2])
    command = [sys.executable, "-m", "benchmarks.bare", "--repository", repository]
    options = ["--seconds", str(seconds), "--models", *(model.name for model in models)]
    samples = {model.name: [str(model.sample.dtype), *model.sample.shape] for model in models}
    text = subprocess.check_output(
        [*command, *options], input=json.dumps(samples), text=True, cwd=PROJECT
    )
    rates: Rates = json.loads(text)
    return rates


def _measure(file: Path, sample: Sequence[Any], seconds: float) -> dict[str, float]:
    dtype, *shape = sample
    cores = os.cpu_count() or 1
    rates: dict[str, float] = {}
    for threads, workers in sorted({(1, 1), (cores, 1), (1, cores)}):
        session = open_session(file, threads)
        name = session.get_inputs()[0].name
        for size in BATCH_SIZES:
            feed = {name: np.ones((size, *shape[1:]), dtype)}
            key = f"{workers} x {threads} threads, batch {size}"
            rates[key] = size * _runs_per_second(session, feed, workers, seconds)
    return rates


def _runs_per_second(session: Any, feed: Mapping[str, Any], workers: int, seconds: float) -> float:
    """`workers` loops at once on one session, which runs outside Python's lock."""
    session.run(None, feed)
    end = time.perf_counter() + seconds

    def loop(_: int) -> int:
        runs = 0
        while time.perf_counter() < end:
            session.run(None, feed)
            runs += 1
        return runs

    with ThreadPoolExecutor(workers) as pool:
        start = time.perf_counter()
        runs = sum(pool.map(loop, range(workers)))
    return runs / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    samples = json.load(sys.stdin)
    rates = {
        name: _measure(
            arguments.repository / name / "1" / "model.onnx", samples[name], arguments.seconds
        )
        for name in arguments.models
    }
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
