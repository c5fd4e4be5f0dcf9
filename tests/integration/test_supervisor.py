"""However a run is ended, nothing of it is left. The server here is a stand-in that obeys nobody;
the product's own ends are in test_ends.py."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.paths import ROOT

pytestmark = pytest.mark.integration

STUBBORN = """
import os, signal, subprocess, sys, time
from pathlib import Path

kept = Path(os.environ["RAY_TMPDIR"], "ray", "session")
kept.mkdir(parents=True)
(kept.parent / "session_latest").symlink_to(kept)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
subprocess.Popen(sleeper, start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
print("started in", os.environ["MANTA_RUN_DIRECTORY"], flush=True)
if sys.argv[1:] == ["replica"]:  # as Linux shows the process of one (PR_SET_NAME)
    import ctypes
    ctypes.CDLL(None).prctl(15, b"ray::ServeRepli", 0, 0, 0)
elif sys.argv[1:]:
    os._exit(int(sys.argv[1]))
time.sleep(600)
"""


class Run:
    def __init__(self, folder: Path, *how: str) -> None:
        words = [sys.executable, "-c", STUBBORN, *how]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cluster.supervisor", *words],
            cwd=ROOT,
            env={**os.environ, "RAY_TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        started, _, directory = self.process.stdout.readline().strip().rpartition(" in ")
        assert started == "started"
        self.directory = Path(directory)
        assert self.directory.parent == folder
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def ended(self, within_s: float) -> tuple[int, list[str]]:
        """Its exit status and what it printed; everything it started must be gone."""
        text, _ = self.process.communicate(timeout=within_s)
        _, alive = psutil.wait_procs(self.family, timeout=1.0)
        assert alive == []
        assert not self.directory.exists()
        return self.process.returncode, text.splitlines()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    started = Run(tmp_path)
    assert len(started.family) == 3
    yield started
    started.process.kill()
    for process in started.family:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_fault_158_a_signal_ends_all_of_it_with_one_line(run: Run, number: signal.Signals) -> None:
    run.process.send_signal(number)
    status, lines = run.ended(within_s=10.0)
    assert status == 0
    assert len(lines) == 1
    assert number.name in lines[0]


def test_fault_158_as_does_one_to_every_process_at_once(run: Run) -> None:
    for process in (*run.family, psutil.Process(run.process.pid)):
        process.terminate()
    status, lines = run.ended(within_s=10.0)
    assert (status, len(lines)) == (0, 1)


def test_fault_117_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """The first one waits for a replica."""
    started = Run(tmp_path, "replica")
    started.process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        started.process.wait(1.0)
    started.process.terminate()
    assert started.ended(within_s=5.0)[0] == 0


def test_fault_158_what_a_killed_server_leaves_is_ended(run: Run) -> None:
    run.family[0].kill()
    status, lines = run.ended(within_s=5.0)
    assert status == 128 + signal.SIGKILL
    assert "SIGKILL" in lines[-1]


def test_a_server_that_fails_has_its_status_passed_on(tmp_path: Path) -> None:
    failed = Run(tmp_path, "3")
    text, _ = failed.process.communicate(timeout=5.0)
    assert failed.process.returncode == 3
    assert "exit status 3" in text
    _, alive = psutil.wait_procs(failed.family, timeout=1.0)
    assert alive == []
