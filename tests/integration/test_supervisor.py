"""However a run is ended, nothing of it is left. The server here is a stand-in that obeys nobody;
the product's own ends are in test_ends.py."""

import signal
import subprocess
import sys
import time
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

session = Path(sys.argv[1])
session.mkdir(parents=True)
(session.parent / "session_latest").symlink_to(session)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
sleeper = [sys.executable, "-c", "import time; time.sleep(600)", str(session)]
subprocess.Popen(sleeper, start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
print("started", flush=True)
if len(sys.argv) > 2:
    os._exit(int(sys.argv[2]))
time.sleep(600)
"""


class Run:
    def __init__(self, folder: Path, *status: str) -> None:
        self.session = folder / "ray" / "session_2026-01-01_00-00-00_000000_1"
        words = [sys.executable, "-c", STUBBORN, str(self.session), *status]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cluster.supervisor", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "started\n"
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def ended(self, within_s: float) -> tuple[int, list[str]]:
        """Its exit status and what it printed; everything it started must be gone."""
        text, _ = self.process.communicate(timeout=within_s)
        _, alive = psutil.wait_procs(self.family, timeout=1.0)
        assert alive == []
        assert not self.session.parent.exists()
        return self.process.returncode, text.splitlines()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    started = Run(tmp_path)
    time.sleep(0.5)  # the supervisor has seen where its server writes
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


def test_fault_117_a_second_signal_ends_it_at_once(run: Run) -> None:
    run.process.terminate()
    time.sleep(0.3)
    run.process.terminate()
    assert run.ended(within_s=5.0)[0] == 0


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
