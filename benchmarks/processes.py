"""Programs that a benchmark starts and must end with everything they started themselves."""

import os
import random
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

START_SECONDS = 120.0
STOP_SECONDS = 90.0
POLL_SECONDS = 0.1
_MARK = "MANTA_BENCH_RUN"


class StartFailed(Exception):
    """A program did not start; the text ends with the last lines it wrote."""


class Program:
    """A running program with all its descendants, found by a mark in their environment.

    A process group would not do: Ray gives its processes groups and parents of their own.
    """

    def __init__(self, popen: "subprocess.Popen[bytes]", mark: str, log: Path) -> None:
        self._popen = popen
        self._mark = mark
        self._log = log

    def processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if _marked(process, self._mark)]

    def wait_until(self, ready: Callable[[], bool], timeout_s: float = START_SECONDS) -> None:
        """Raises StartFailed if the program ends first, or is not ready in time."""
        end = time.monotonic() + timeout_s
        while not ready():
            if self._popen.poll() is not None:
                raise StartFailed(f"ended with {self._popen.returncode}: {self.last_lines()}")
            if time.monotonic() > end:
                raise StartFailed(f"not ready after {timeout_s:.0f} s: {self.last_lines()}")
            time.sleep(POLL_SECONDS)

    def last_lines(self, count: int = 8) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-count:])

    def stop(self) -> None:
        """Interrupt it and wait for every descendant; who is left then is killed."""
        if self._popen.poll() is None:
            os.kill(self._popen.pid, signal.SIGINT)
        end = time.monotonic() + STOP_SECONDS
        while self._popen.poll() is None and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        while self.processes() and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):  # it may end by itself meanwhile
                process.kill()
        self._popen.wait()


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], directory: Path
) -> Iterator[Program]:
    """Run `command` in `directory` as its own process group until the block is left."""
    mark = uuid.uuid4().hex
    with tempfile.NamedTemporaryFile(prefix="manta-bench-", suffix=".log") as log:
        popen = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, **environment, _MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        program = Program(popen, mark, Path(log.name))
        try:
            yield program
        finally:
            program.stop()


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on at this moment.

    They lie below those that the kernel gives to outgoing connections, one of which could take a
    port before the server that it was meant for is up.
    """
    found: list[int] = []
    for port in random.sample(range(18_000, 28_000), 1_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise StartFailed("no free port was found")


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(_MARK) == mark
    except (psutil.Error, OSError):
        return False
