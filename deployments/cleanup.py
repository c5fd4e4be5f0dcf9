"""Leaving nothing behind: Ray and HAProxy keep their files when they end."""

import os
import subprocess
from pathlib import Path

import psutil
import ray

RUN_DIRECTORY = "MANTA_RUN_DIRECTORY"
"""Set by cluster/supervisor.py, which removes the directory itself unless it is killed."""

HAPROXY_DIRECTORY = Path("/tmp/haproxy-serve")  # noqa: S108 - Serve's own choice

# In the background, so that it is nobody's child when Ray ends the children of its workers: waits
# for a process, removes the directories it was given, and of the first two also the folder above,
# with the links into them, when nothing else is in it.
_SCRIPT = """(
    while kill -0 "$0" 2>/dev/null; do sleep 1; done
    sleep 1
    rm -rf -- "$@"
    find "${1%/*}" -maxdepth 1 -xtype l -delete
    rmdir "${1%/*}" "${2%/*}"
) &"""


def remove_session_after_end() -> None:
    """Once a cluster that `serve run` started is over, remove what it kept on disk.

    A cluster started with `ray start` belongs to whoever started it, and so do its logs: nothing
    is removed then. The wait is a shell's, since it must outlive every process of the cluster.
    """
    raylet = psutil.Process().parent()
    driver = raylet.parent() if raylet is not None else None
    if raylet is None or driver is None or "run" not in driver.cmdline():
        return
    nodes: list[dict[str, str]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray has no types
    session = Path(nodes[0]["ObjectStoreSocketName"]).parents[1]
    proxy = HAPROXY_DIRECTORY / ray.get_runtime_context().get_node_id()
    left = [str(path) for path in (session, proxy, *_listener_directories(driver))]
    left += [os.environ[RUN_DIRECTORY]] if RUN_DIRECTORY in os.environ else []
    subprocess.run(  # noqa: S603 - the paths are Ray's and Serve's own
        ["/bin/sh", "-c", _SCRIPT, str(raylet.pid), *left],
        start_new_session=True,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _listener_directories(driver: psutil.Process) -> set[Path]:
    """Where Ray's dashboard listens for the processes it forks: it is killed and cannot tidy up."""
    sockets = (
        Path(str(connection.laddr))
        for process in driver.children(recursive=True)
        for connection in process.net_connections(kind="unix")
        if connection.laddr
    )
    return {socket.parent for socket in sockets if socket.parent.name.startswith("pymp-")}
