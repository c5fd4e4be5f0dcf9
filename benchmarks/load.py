"""Closed-loop load with wrk: every connection sends its next request when it has its answer."""

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bodies import RequestBody

# wrk's own text rounds; the script prints what it counted as one line of JSON.
_SCRIPT = """\
local file = io.open("{body}", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
{headers}
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {{"requests": %d, "microseconds": %d, "failed": %d, "socket_errors": %d, '
    .. '"p50": %f, "p90": %f, "p99": %f}}\\n',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99)))
end
"""


class LoadFailed(Exception):
    """A load generator measured nothing; the text says why."""


@dataclass(frozen=True)
class LoadResult:
    """`rate` in good answers a second, latencies in milliseconds; `failed` requests had a status of
    400 and above, or no answer."""

    rate: float
    p50: float
    p90: float
    p99: float
    failed: int


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


def run_wrk(url: str, body: RequestBody, connections: int, seconds: float) -> LoadResult:
    """One thread, keep-alive, `connections` requests in flight.

    Raises LoadFailed.
    """
    with tempfile.TemporaryDirectory(prefix="manta-bench-") as directory:
        content = Path(directory, "body")
        content.write_bytes(body.content)
        headers = "\n".join(f'wrk.headers["{k}"] = "{v}"' for k, v in body.headers.items())
        script = Path(directory, "load.lua")
        script.write_text(_SCRIPT.format(body=content, headers=headers))
        duration = f"{max(1, round(seconds))}s"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{duration}", "--timeout", "10s"]
        run = subprocess.run(
            [*command, "-s", str(script), url], capture_output=True, text=True, check=False
        )
    for line in run.stdout.splitlines():
        if line.startswith("RESULT "):
            return _result(json.loads(line.removeprefix("RESULT ")))
    raise LoadFailed(f"wrk ended with {run.returncode}: {run.stderr or run.stdout}")


def _result(counted: dict[str, float]) -> LoadResult:
    return LoadResult(
        rate=(counted["requests"] - counted["failed"]) / counted["microseconds"] * 1e6,
        p50=counted["p50"] / 1e3,
        p90=counted["p90"] / 1e3,
        p99=counted["p99"] / 1e3,
        failed=int(counted["failed"] + counted["socket_errors"]),
    )
