"""Leaving nothing behind: Ray keeps a session's logs and sockets under its temporary directory."""

import subprocess
from pathlib import Path

import psutil
import ray

# Waits for a process that is not its child, then removes the directories it was given.
_SCRIPT = 'while kill -0 "$0" 2>/dev/null; do sleep 0.2; done; rm -rf -- "$@"'


def remove_session_after_end() -> None:
    """Once a cluster that `serve run` started is over, remove its session directory.

    A cluster started with `ray start` belongs to whoever started it, and so do its logs: nothing
    is removed then. The wait is a shell's, since it must outlive every process of the cluster.
    """
    raylet = psutil.Process().parent()
    driver = raylet.parent() if raylet is not None else None
    if raylet is None or driver is None or "run" not in driver.cmdline():
        return
    nodes: list[dict[str, str]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray has no types
    session = Path(nodes[0]["ObjectStoreSocketName"]).parents[1]
    subprocess.Popen(  # noqa: S603
        ["/bin/sh", "-c", _SCRIPT, str(raylet.pid), str(session)],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
