import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cli.run
import deployments.checks.ports
from app.api.ports import Listener
from cli.main import cli as command
from cli.run import ENVIRONMENT, ON_LOOPBACK
from tests.paths import ROOT

NICENESS = "RAY_worker_niceness"
UNBUFFERED = "PYTHONUNBUFFERED"
SITE = str(ROOT / "serve_config.yaml")


class Started(Exception):
    """In place of the process that would take over from this one."""


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What would have been executed; no port is taken, and no Ray runs."""
    words: list[str] = []

    def execv(_program: str, arguments: list[str]) -> None:
        words.extend(arguments)
        raise Started

    monkeypatch.setattr("os.execv", execv)
    monkeypatch.setattr(cli.run, "CLUSTER_FILE", tmp_path / "none")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    take(monkeypatch)
    for name in (*ENVIRONMENT, *ON_LOOPBACK, UNBUFFERED, "PATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
        if name != "PATH":
            monkeypatch.delenv(name)
    return words


def take(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    def listeners(_host: str, port: int) -> list[Listener]:
        return [Listener(7, 1, "somebody")] if port in ports else []

    monkeypatch.setattr(cli.run, "listeners", listeners)
    monkeypatch.setattr(deployments.checks.ports, "listeners", listeners)


def test_it_becomes_the_supervisor_of_serve_run(words: list[str]) -> None:
    result = CliRunner().invoke(command, ["run", SITE])
    assert isinstance(result.exception, Started)
    assert words[:3] == [sys.executable, "-m", "cluster.supervisor"]
    assert words[3:] == [str(Path(sys.executable).with_name("serve")), "run", SITE]
    assert "4 applications" in result.output
    assert os.environ[NICENESS] == "0"
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert os.environ[UNBUFFERED] == "1"


def test_the_environment_goes_before_what_it_would_tell_ray(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NICENESS, "5")
    CliRunner().invoke(command, ["run", SITE])
    assert words
    assert os.environ[NICENESS] == "5"


@pytest.mark.parametrize("port", [8000, 8001, 8265])
def test_fault_122_a_taken_port_is_one_line_and_nothing_starts(
    words: list[str], monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    take(monkeypatch, port)
    result = CliRunner().invoke(command, ["run", SITE])
    assert result.exit_code == 1
    [line] = result.output.splitlines()
    assert f"port {port}" in line
    assert "is taken by somebody (PID 7)" in line
    assert words == []


def test_the_dashboard_of_a_ray_that_runs_already_is_rightly_there(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, 8265)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    CliRunner().invoke(command, ["run", SITE])
    assert words[3] == "--joining"
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ


def test_a_mistake_in_the_files_is_told_and_nothing_starts(
    words: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "serve_config.yaml"
    file.write_text("applications: [{import_path: 'deployments.gateway:build', args: {gprc: 1}}]")
    result = CliRunner().invoke(command, ["run", str(file)])
    assert result.exit_code == 1
    assert "gprc" in result.output
    assert words == []
