"""Starts a server in the foreground and sees to it that nothing of it is left when it ends.

    python -m cluster.supervisor serve run serve_config.yaml
    python -m cluster.supervisor --joining serve run serve_config.yaml

`serve run` ends well on SIGINT only: on SIGTERM it aborts, a signal to the whole process group
reaches its processes in any order, and what outlives it keeps ports. Here all of them run in a
session of their own, so that signals meant for the group arrive at this process alone; it asks for
an orderly end, and kills what is left by then. Processes whose parents died become its children
(PR_SET_CHILD_SUBREAPER, prctl(2)), so none is missed. What they keep on disk while they run is in a
directory that is removed with them. Should it be killed itself, the kernel tells the server
(PR_SET_PDEATHSIG), and a process of the gateway's removes the directory (deployments/cleanup.py).

With `--joining`, the server uses a Ray that runs already: replicas and files are that one's.

Only the standard library and psutil are imported: this process stays for as long as the server.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

GRACE_SECONDS = 8.0
"""For an orderly end. Replicas have 5 s for what they are answering: see app/api/http."""

RUN_DIRECTORY = "MANTA_RUN_DIRECTORY"
"""The variable that tells the processes of a run where they keep what ends with it; read by
deployments/cleanup.py, which must not know the machine's own."""

_KILL_SECONDS = 4.0
_WATCH_SECONDS = 0.2
_TICK_SECONDS = 0.1
_HELD_SECONDS = 0.05
_PIECE_BYTES = 65536
_REPLICA = "ray::ServeRepli"
"""The name of a replica's process, which Linux cuts at 15 characters."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Supervisor:
    """One run of `command`."""

    def __init__(self, command: Sequence[str], *, joining: bool) -> None:
        self._command = command
        self._joining = joining
        self._asked_at: float | None = None
        self._forced = False

    def run(self) -> int:
        """The exit status: 0 where a signal ended it, else the server's own."""
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        for number in _ENDING:
            signal.signal(number, self._ask)
        if self._joining:
            return self._run({})
        directory = Path(tempfile.mkdtemp(prefix="manta-", dir=os.environ.get("RAY_TMPDIR")))
        try:
            return self._run(kept_in(directory))
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            for number in _ENDING:  # Python gives up its own handlers before it exits
                signal.signal(number, signal.SIG_IGN)

    def _run(self, environment: Mapping[str, str]) -> int:
        server = subprocess.Popen(  # noqa: S603 - the command is the caller's
            self._command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread runs yet
        )
        copying = threading.Thread(target=self._copy, args=(server.stdout,), daemon=True)
        copying.start()
        self._wait(server)
        _kill_all()
        if self._asked_at is not None:
            return 0
        copying.join(timeout=1.0)
        status = server.returncode
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        _say(f"Manta has ended by itself ({how}); nothing of it is left running.")
        return 128 - status if status < 0 else status or 1

    def _wait(self, server: subprocess.Popen[bytes]) -> None:
        """Until it has ended, or was asked to and has nothing more to finish."""
        while server.poll() is None and self._asked_at is None:
            time.sleep(_WATCH_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            server.send_signal(signal.SIGINT)
        while server.poll() is None and not self._forced and self._is_answering():
            time.sleep(_TICK_SECONDS)

    def _is_answering(self) -> bool:
        """Whether a replica is left, within the time that they have. What Serve and Ray do after
        their last replica has ended takes five seconds and is of no use to anybody. Of a Ray that
        ran before only the server knows.
        """
        asked_at = time.monotonic() if self._asked_at is None else self._asked_at
        if time.monotonic() - asked_at > GRACE_SECONDS:
            return False
        return self._joining or any(_is_replica(each) for each in _living())

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self._asked_at is not None:
            self._forced = True
            return
        self._asked_at = time.monotonic()
        name = signal.Signals(number).name
        _say(f"Manta ends on {name}; what is being answered may finish. Once more ends it at once.")

    def _copy(self, output: IO[bytes] | None) -> None:
        """Pass on what the server prints, until it was asked to end: what its processes say then
        is about one another. A signal to all of them at once may make one speak before this
        process has taken notice, so everything is held back for a moment."""
        while output is not None and (data := os.read(output.fileno(), _PIECE_BYTES)):
            time.sleep(_HELD_SECONDS)
            if self._asked_at is None:
                _write(data)


def kept_in(directory: Path) -> dict[str, str]:
    """The variables that make Ray, Serve's HAProxy and temporary files stay below `directory`."""
    haproxy = directory / "haproxy"
    return {
        RUN_DIRECTORY: str(directory),
        "RAY_TMPDIR": str(directory),
        "TMPDIR": str(directory),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
    }


def _is_replica(process: psutil.Process) -> bool:
    try:
        return process.name().startswith(_REPLICA)
    except psutil.Error:
        return False


def _kill_all() -> None:
    """Again and again, since a process may start another before its turn comes."""
    give_up = time.monotonic() + _KILL_SECONDS
    while (left := _living()) and time.monotonic() < give_up:
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(_TICK_SECONDS)
    # Not every machine has a first process that reaps: containers often have none.
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _living() -> list[psutil.Process]:
    """Descendants that still run."""
    living = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
    return living


def _end_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _say(text: str) -> None:
    _write(f"{text}\n".encode())


def _write(data: bytes) -> None:
    """A terminal that was closed takes nothing more; the server does not depend on it."""
    with contextlib.suppress(OSError):
        os.write(1, data)


def main(words: Sequence[str]) -> int:
    joining = words[:1] == ["--joining"]
    return Supervisor(words[1:] if joining else words, joining=joining).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
