"""Closed-loop load over gRPC with h2load: HTTP/2 in C, which leaves the cores to the server.

h2load knows nothing of gRPC and takes an error, which has the status 200 and no message, for an
answer. So answers are counted by their bytes: all right ones have the same length.
"""

import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.grpc_calls import FRAME_HEADER_BYTES, PATH, framed
from benchmarks.load import LoadFailed, LoadResult

_DONE = re.compile(r"^requests: .*, (\d+) done, (\d+) succeeded,", re.MULTILINE)
_DATA = re.compile(r"\((\d+)\) data$", re.MULTILINE)
_FINISHED = re.compile(r"^finished in ([\d.]+)(us|ms|s),", re.MULTILINE)
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def has_h2load() -> bool:
    return shutil.which("h2load") is not None


def run_h2load(
    address: str, message: bytes, reply_bytes: int, connections: int, seconds: float
) -> LoadResult:
    """One thread, `connections` connections with one call in flight on each.

    `reply_bytes` is the length of the message in a right answer. Raises LoadFailed.
    """
    with tempfile.TemporaryDirectory(prefix="manta-bench-") as directory:
        body, log = Path(directory, "body"), Path(directory, "log")
        body.write_bytes(framed(message))
        command = [
            *("h2load", "-t1", f"-c{connections}", "-m1", f"-D{max(1, round(seconds))}"),
            *("-d", str(body), f"--log-file={log}"),
            *("-H", "content-type: application/grpc", "-H", "te: trailers"),
            f"http://{address}{PATH}",
        ]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = log.read_text().splitlines() if log.exists() else []
    if run.returncode != 0:
        raise LoadFailed(f"h2load ended with {run.returncode}: {run.stderr or run.stdout}")
    return read_result(run.stdout, lines, reply_bytes)


def read_result(output: str, log: Iterable[str], reply_bytes: int) -> LoadResult:
    """From what h2load prints, and its log: start, status and microseconds of each request.

    Raises LoadFailed if nothing was answered.
    """
    done, data, finished = _DONE.search(output), _DATA.search(output), _FINISHED.search(output)
    latencies = sorted(float(line.split("\t")[2]) / 1e3 for line in log)
    if done is None or data is None or finished is None or len(latencies) < 2:
        raise LoadFailed(f"h2load got no answers: {output[-300:]}")
    requests = int(done[1])
    good = min(requests, round(int(data[1]) / (reply_bytes + FRAME_HEADER_BYTES)))
    seconds = float(finished[1]) * _SECONDS[finished[2]]
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return LoadResult(good / seconds, cuts[49], cuts[89], cuts[98], requests - good)
