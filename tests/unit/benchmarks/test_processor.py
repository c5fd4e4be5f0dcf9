import pytest

from benchmarks.processor import milliseconds_each, role


@pytest.mark.parametrize(
    ("name", "command", "expected"),
    [
        ("ray::ServeRepli", ["ray::ServeReplica:gateway:Gateway"], "server"),
        ("haproxy", ["/bin/haproxy", "-db"], "HAProxy"),
        ("ray::ServeContr", ["ray::ServeController.listen_for_change"], "rest of Ray"),
        ("raylet", ["/lib/ray/core/src/ray/raylet/raylet", "--x"], "rest of Ray"),
        ("serve", ["/bin/python3", "/bin/serve", "run", "c.yaml"], "rest of Ray"),
        ("mlserver", ["/bin/python", "/bin/mlserver", "start", "."], "server"),
        ("tritonserver", [], "server"),
    ],
)
def test_processes_are_told_apart_by_their_command(
    name: str, command: list[str], expected: str
) -> None:
    assert role(name, command) == expected


def test_time_is_shared_among_the_requests() -> None:
    spent = milliseconds_each({"server": 1.0, "idle": 2.0}, {"server": 3.0, "idle": 2.0}, 1000)
    assert spent == {"server": 2.0}
