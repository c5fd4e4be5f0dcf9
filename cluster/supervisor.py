"""Starts a server in the foreground and sees to it that nothing of it is left when it ends.

    python -m cluster.supervisor serve run serve_config.yaml

`serve run` ends well on SIGINT only: on SIGTERM it aborts, a signal to the whole process group
reaches its processes in any order, and what outlives it keeps ports. Here all of them run in a
session of their own, so that signals meant for the group arrive at this process alone; it asks for
an orderly end, and ends what is left by then. Processes whose parents died become its children
(PR_SET_CHILD_SUBREAPER, prctl(2)), so none is missed. Should it be killed itself, the kernel tells
the server (PR_SET_PDEATHSIG).

Only the standard library and psutil are imported: this process stays for as long as the server.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

GRACE_SECONDS = 8.0
"""For an orderly end. Replicas have 5 s for what they are answering: see app/api/http."""

_FORCED_SECONDS = 4.0
_WATCH_SECONDS = 0.2
_TICK_SECONDS = 0.1
_REPLICA = "ray::ServeRepli"
"""The name of a replica's process, which Linux cuts at 15 characters."""

_SESSION = re.compile(r"/[^=:]*/session_\d[\d_-]*")

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Supervisor:
    """One run of `command`."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._asked_at: float | None = None
        self._forced = False
        self._session: Path | None = None

    def run(self) -> int:
        """The exit status: 0 where a signal ended it, else the server's own."""
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        for number in _ENDING:
            signal.signal(number, self._ask)
        server = subprocess.Popen(  # noqa: S603 - the command is the caller's
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread runs yet
        )
        copying = threading.Thread(target=self._copy, args=(server.stdout,), daemon=True)
        copying.start()
        self._wait(server)
        _end_all(self._session)
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
            if self._session is None:
                self._session = session_of(_living())
        with contextlib.suppress(ProcessLookupError):
            server.send_signal(signal.SIGINT)
        while server.poll() is None and not self._forced and self._is_answering():
            time.sleep(_TICK_SECONDS)

    def _is_answering(self) -> bool:
        """Whether a replica is left, within the time that they have. What Serve and Ray do after
        their last replica has ended takes five seconds and is of no use to anybody. Replicas of a
        cluster that ran before are not among our processes: then it is for the server to say.
        """
        asked_at = time.monotonic() if self._asked_at is None else self._asked_at
        if time.monotonic() - asked_at > GRACE_SECONDS:
            return False
        return self._session is None or any(_is_replica(each) for each in _living())

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self._asked_at is not None:
            self._forced = True
            return
        self._asked_at = time.monotonic()
        name = signal.Signals(number).name
        _say(f"Manta ends on {name}; what is being answered may finish. Once more ends it at once.")

    def _copy(self, output: IO[bytes] | None) -> None:
        """Pass on what the server prints, until it was asked to end: what its processes say then
        is about one another."""
        for line in output or ():
            if self._asked_at is None:
                _write(line)


def session_of(processes: Sequence[psutil.Process]) -> Path | None:
    """The directory in which Ray keeps what this run writes; None before it has started."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            for argument in process.cmdline():
                if found := _SESSION.search(argument):
                    return Path(found[0])
    return None


def _is_replica(process: psutil.Process) -> bool:
    try:
        return process.name().startswith(_REPLICA)
    except psutil.Error:
        return False


def _end_all(session: Path | None) -> None:
    """Kill every process that is left, and remove what they kept on disk."""
    folders = {session}
    give_up = time.monotonic() + _FORCED_SECONDS
    while (left := _living()) and time.monotonic() < give_up:
        folders |= _listener_directories(left)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(_TICK_SECONDS)
    _reap()
    for folder in folders:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    if session is not None:
        _remove_links(session.parent)


def _living() -> list[psutil.Process]:
    """Descendants that still run."""
    living = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
    return living


def _reap() -> None:
    """Not every machine has a first process that does it: containers often have none."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _listener_directories(processes: Sequence[psutil.Process]) -> set[Path]:
    """Where Ray's dashboard listens for the processes it forks: it cannot tidy up when killed."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections(kind="unix"):
                folder = Path(str(connection.laddr)).parent if connection.laddr else Path()
                if folder.name.startswith("pymp-"):
                    found.add(folder)
    return found


def _remove_links(folder: Path) -> None:
    """Links to the session, and the folder itself where nothing else is in it."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.is_symlink() and not path.exists():
                path.unlink()
        folder.rmdir()


def _end_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _say(text: str) -> None:
    _write(f"{text}\n".encode())


def _write(data: bytes) -> None:
    """A terminal that was closed takes nothing more; the server does not depend on it."""
    with contextlib.suppress(OSError):
        os.write(sys.__stdout__.fileno() if sys.__stdout__ else 1, data)


if __name__ == "__main__":
    sys.exit(Supervisor(sys.argv[1:]).run())
