"""`make install`: which Python it takes, and that it needs no network where there are wheels."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

pytestmark = pytest.mark.integration

SUPPORTED_SECONDS = 600


def make(
    folder: Path, *words: str, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, "make", "--no-print-directory", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SUPPORTED_SECONDS,
        check=False,
    )


def pretend_python(path: Path, version: str) -> Path:
    """What `python3` looks like to make where it is another version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}"\nexit 1\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout, without an environment."""
    folder = tmp_path / "checkout"
    left_out = shutil.ignore_patterns(".*", "var", "tests", "docs", "benchmarks", "wheels")
    shutil.copytree(ROOT, folder, ignore=left_out)
    return folder


def test_a_python_that_is_too_old_is_told_first(project: Path) -> None:
    old = pretend_python(project / "old" / "python3", "3.8.10")
    made = make(project, "run", f"PYTHON={old}")
    assert made.returncode != 0
    assert "Manta needs Python 3.10 to 3.13" in made.stdout
    assert "is: Python 3.8.10. Name another: make run PYTHON=" in made.stdout
    assert not (project / ".venv").exists()


def test_an_environment_of_such_a_python_does_not_stay(project: Path) -> None:
    pretend_python(project / ".venv" / "bin" / "python", "3.8.10")
    old = pretend_python(project / "old" / "python3", "3.9.1")
    made = make(project, "install", f"PYTHON={old}")
    assert "Removing .venv" in made.stdout
    assert not (project / ".venv").exists()


def test_an_environment_whose_python_is_gone_does_not_stay(project: Path) -> None:
    """As after an upgrade of the system; that it was finished once says nothing."""
    programs = project / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to("/nowhere/python3")
    (project / ".venv" / "run.stamp").touch()
    old = pretend_python(project / "old" / "python3", "3.9.1")
    made = make(project, "install", f"PYTHON={old}")
    assert made.returncode != 0
    assert "Removing .venv" in made.stdout
    assert "is: Python 3.9.1. Name another: make install PYTHON=" in made.stdout
    assert not (project / ".venv").exists()


def test_wheels_are_not_fetched_for_a_python_that_is_too_new(project: Path) -> None:
    new = pretend_python(project / "new" / "python3", "3.14.0")
    made = make(project, "wheels", "WHEELS=wheels", f"PYTHON={new}")
    assert made.returncode != 0
    assert "is: Python 3.14.0. Name another: make wheels PYTHON=" in made.stdout
    assert not (project / "wheels").exists()


def test_wheels_are_all_that_an_install_without_a_network_needs(project: Path) -> None:
    apart = ("unshare", "--net", "--map-root-user")
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("may not make a network namespace")
    python = f"PYTHON={sys.executable}"
    fetched = make(project, "wheels", "WHEELS=wheels", python)
    assert fetched.returncode == 0, fetched.stderr
    installed = make(project, "install", "WHEELS=wheels", python, before=apart)
    assert installed.returncode == 0, installed.stderr
    manta = project / ".venv" / "bin" / "manta"
    checked = subprocess.run([str(manta), "validate"], cwd=project, capture_output=True, check=True)
    assert b"text-recognise" in checked.stdout
