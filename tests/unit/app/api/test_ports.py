"""The system's tables are replaced by ones that say what the test needs."""

import os
from types import SimpleNamespace

import psutil
import pytest

from app.api.ports import check_not_taken, listeners
from app.errors import ConfigurationError

SIBLING, STRANGER = 101, 102
PROCESSES = {SIBLING: (os.getppid(), "replica"), STRANGER: (1, "stranger")}


class FakeProcess:
    def __init__(self, pid: int) -> None:
        if pid not in PROCESSES:
            raise psutil.NoSuchProcess(pid)
        self._parent, self._name = PROCESSES[pid]

    def ppid(self) -> int:
        return self._parent

    def name(self) -> str:
        return self._name


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What is connected on this machine: nothing, until the test adds it."""
    table: list[SimpleNamespace] = []
    monkeypatch.setattr(psutil, "net_connections", lambda _kind: table)
    monkeypatch.setattr(psutil, "Process", FakeProcess)
    return table


def listening(
    pid: int | None, ip: str = "127.0.0.1", port: int = 8002, status: str = psutil.CONN_LISTEN
) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, status=status, laddr=SimpleNamespace(ip=ip, port=port))


@pytest.mark.parametrize(
    ("host", "there", "taken"),
    [
        ("127.0.0.1", listening(STRANGER), True),
        ("localhost", listening(STRANGER), True),
        ("127.0.0.1", listening(STRANGER, "0.0.0.0"), True),
        ("127.0.0.1", listening(STRANGER, "::"), True),
        ("127.0.0.1", listening(STRANGER, "::ffff:127.0.0.1"), True),
        ("0.0.0.0", listening(STRANGER), True),
        ("127.0.0.1", listening(STRANGER, "192.0.2.1"), False),
        ("127.0.0.1", listening(STRANGER, port=8003), False),
        ("127.0.0.1", listening(STRANGER, status=psutil.CONN_ESTABLISHED), False),
        ("127.0.0.1", SimpleNamespace(pid=STRANGER, status=psutil.CONN_LISTEN, laddr=()), False),
    ],
)
def test_whose_connections_would_be_shared(
    system: list[SimpleNamespace], host: str, there: SimpleNamespace, taken: bool
) -> None:
    system.append(there)
    assert [listener.pid for listener in listeners(host, 8002)] == [STRANGER] * taken


@pytest.mark.parametrize(
    ("pid", "who"),
    [
        (STRANGER, r"stranger \(PID 102\)"),
        (None, "a process of another user"),
        (103, r"a process that has just ended \(PID 103\)"),
    ],
)
def test_fault_122_a_stranger_on_the_port_is_named(
    system: list[SimpleNamespace], pid: int | None, who: str
) -> None:
    system += [listening(SIBLING), listening(pid)]
    words = rf"direct: cannot listen on 127\.0\.0\.1:8002: the port is taken by {who}"
    with pytest.raises(ConfigurationError, match=words):
        check_not_taken("127.0.0.1", 8002, "direct")


def test_replicas_of_one_application_share_the_port(system: list[SimpleNamespace]) -> None:
    system += [listening(SIBLING), listening(os.getpid(), "0.0.0.0", 8003)]
    check_not_taken("127.0.0.1", 8002, "direct")
