"""perf_analyzer, the load generator of the Triton project, as a client that is nobody's here.

It asks more of a server than the protocol's core: its configuration and its statistics.
"""

import csv
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

from benchmarks.environments import Environment, Unavailable, prepare
from benchmarks.load import LoadFailed, LoadResult

# The last version of the client's package that has the program for C libraries older than 2.38;
# the program is linked against the CUDA runtime, though it needs no GPU.
ENVIRONMENT = Environment(
    "perf-analyzer",
    ("3.11", "3.10", "3.12"),
    ("tritonclient[http]==2.48.0", "nvidia-cuda-runtime-cu12"),
    runs_models=False,
)
WINDOW_SECONDS = 1.0
MOST_WINDOWS = 4
STABILITY_PERCENT = 60
"""Windows that differ by less are taken for stable: on a shared machine few are alike."""


class PerfAnalyzer:
    """Found, installed and tried by `open`."""

    def __init__(self, program: Path, libraries: Path) -> None:
        self._program = program
        self._environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}

    @classmethod
    def open(cls) -> "PerfAnalyzer":
        """Raises Unavailable, and says what is missing."""
        python = prepare(ENVIRONMENT)
        library = next(python.parents[1].glob("lib/**/libcudart.so.12"), None)
        if library is None:
            raise Unavailable("perf_analyzer needs libcudart.so.12, which was not installed")
        found = cls(python.with_name("perf_analyzer"), library.parent)
        run = found._run("--version")
        if run.returncode != 0:
            hint = "; install the package libb64-0d" if "libb64" in run.stderr else ""
            raise Unavailable(f"perf_analyzer does not start: {run.stderr.strip()[-160:]}{hint}")
        return found

    def measure(
        self, protocol: Literal["http", "grpc"], address: str, model: str, connections: int
    ) -> LoadResult:
        """`address` is host:port. Raises LoadFailed with the reason that perf_analyzer gives."""
        with tempfile.TemporaryDirectory(prefix="manta-bench-") as directory:
            table = Path(directory, "table.csv")
            run = self._run(
                *("-m", model, "-i", protocol, "-u", address, "-f", str(table)),
                *("--concurrency-range", f"{connections}:{connections}"),
                *("--measurement-interval", f"{WINDOW_SECONDS * 1000:.0f}"),
                *("--max-trials", str(MOST_WINDOWS), "-s", str(STABILITY_PERCENT)),
            )
            if run.returncode != 0 or not table.exists():
                lines = (run.stderr or run.stdout).strip().splitlines()
                raise LoadFailed(f"perf_analyzer: {lines[-1] if lines else run.returncode}")
            return read_table(table.read_text())

    def _run(self, *options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self._program), *options],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


def read_table(text: str) -> LoadResult:
    """The last line of the table that `-f` writes; its latencies are in microseconds.

    perf_analyzer ends at the first failed request, so none has failed where there is a table.
    """
    rows = list(csv.DictReader(text.splitlines()))
    if not rows:
        raise LoadFailed("perf_analyzer measured nothing")
    row = rows[-1]
    p50, p90, p99 = (float(row[f"{name} latency"]) / 1e3 for name in ("p50", "p90", "p99"))
    return LoadResult(float(row["Inferences/Second"]), p50, p90, p99, 0)
