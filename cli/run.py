"""`manta run`: checks a site's files and ports, then starts `serve run` under a supervisor."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from app.api.ports import listeners
from app.config.report import Report
from app.errors import ConfigurationError
from cli.report import show
from deployments.checks.serve_config import load_serve_config
from deployments.checks.validate import validate_file

DASHBOARD = ("127.0.0.1", 8265)
"""Where Ray puts its dashboard; were it taken, `serve status` would speak to somebody else."""

CLUSTER_FILE = Path("/tmp/ray/ray_current_cluster")  # noqa: S108 - Ray's own choice

ENVIRONMENT = {
    "RAY_DEDUP_LOGS": "0",  # two equal lines of two processes are two lines
    "RAY_worker_niceness": "0",  # Ray would start what serves behind everything else
    "PYTHONUNBUFFERED": "1",  # what goes to a file or a journal is there at once
    # An idle box should be idle. What is lost: the metrics of Ray's own parts in its dashboard and
    # its list of single tasks. Resources, which nobody else uses, are told once a second.
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_metrics_report_interval_ms": "60000",
    "METRICS_RECORD_INTERVAL_S": "60",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_raylet_report_resources_period_milliseconds": "1000",
    "RAY_gcs_pull_resource_loads_period_milliseconds": "5000",
}
"""What Ray is told beside serve_config.yaml, where the environment does not say otherwise. What it
brings is in benchmarks/RESULTS.md, "At rest"."""

ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Makes a Ray of its own, one machine's, use the loopback address: else the ports of its workers
are open to the network. The name is Ray's, which does this by default on other systems."""


def problems_of(file: Path) -> Report:
    """Mistakes in the files, and ports that are taken already."""
    report = validate_file(file, ports=True)
    return Report((*report.problems, *_dashboard_taken()), report.missing, (), report.warnings)


def start(file: Path, console: Console) -> NoReturn:
    """This process becomes the supervisor of the server, or exits with 1 and says why not."""
    report = problems_of(file)
    show(report, console)
    if not report.good:
        sys.exit(1)
    count = len(load_serve_config(file).applications)
    console.print(f"Starting Ray and {count} applications; this takes about 20 seconds ...")
    sys.stdout.flush()
    joining = _joins_a_cluster()
    told = ENVIRONMENT if joining else ENVIRONMENT | ON_LOOPBACK
    for name, value in told.items():
        os.environ.setdefault(name, value)
    programs = Path(sys.executable).parent
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"
    serve = [*(["--joining"] if joining else []), str(programs / "serve"), "run", str(file)]
    # What has been imported for the checks is not kept in memory for as long as the server runs.
    os.execv(sys.executable, [sys.executable, "-m", "cluster.supervisor", *serve])  # noqa: S606


def _joins_a_cluster() -> bool:
    """Whether `serve run` would use a Ray that runs already instead of starting its own."""
    return "RAY_ADDRESS" in os.environ or CLUSTER_FILE.exists()


def _dashboard_taken() -> Iterator[ConfigurationError]:
    if _joins_a_cluster():
        return  # its dashboard is rightly there
    host, port = DASHBOARD
    for listener in listeners(host, port):
        yield ConfigurationError(f"port {port}, of Ray's dashboard, is taken by {listener}")
