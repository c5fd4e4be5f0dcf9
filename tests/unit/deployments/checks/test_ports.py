import pytest

from app.api.ports import Listener
from deployments.checks import ports
from deployments.checks.validate import validate_file
from tests.unit.deployments.site import Site

DOORS = "streams: [flow]\n      direct: {port: 8002}\n      grpc: {host: '::1', port: 8001}"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The addresses that were looked at; somebody listens on port 8001, whatever the address."""
    seen: list[tuple[str, int]] = []

    def listeners(host: str, port: int) -> list[Listener]:
        seen.append((host, port))
        return [Listener(7, 1, "stranger")] if port == 8001 else []

    monkeypatch.setattr(ports, "listeners", listeners)
    return seen


def test_fault_122_every_door_is_looked_at(site: Site, asked: list[tuple[str, int]]) -> None:
    site.with_serve("streams: [flow]", DOORS)
    report = validate_file(site.serve, ports=True)
    assert asked == [("127.0.0.1", 8000), ("127.0.0.1", 8002), ("::1", 8001)]
    assert site.lines(report.problems) == [
        "serve.yaml:13: applications[0].args.grpc.port: port 8001 is taken by stranger (PID 7)"
    ]


def test_a_running_site_may_be_checked(site: Site, asked: list[tuple[str, int]]) -> None:
    assert site.with_serve("streams: [flow]", DOORS).good
    assert asked == []


@pytest.mark.parametrize(
    ("configured_ports", "problem"),
    [
        (
            "direct: {port: 8000}",
            "serve.yaml:12: applications[0].args.direct.port: "
            "port 8000 is used already, by http_options.port",
        ),
        (
            "direct: {port: 8001}\n      grpc: {}",
            "serve.yaml:13: applications[0].args.grpc.port: "
            "port 8001 is used already, by applications[0].args.direct.port",
        ),
    ],
)
def test_two_doors_do_not_share_a_port(site: Site, configured_ports: str, problem: str) -> None:
    report = site.with_serve("streams: [flow]", f"streams: [flow]\n      {configured_ports}")
    assert site.lines(report.problems) == [problem]


def test_any_free_port_is_never_taken(site: Site, asked: list[tuple[str, int]]) -> None:
    site.with_serve("streams: [flow]", "streams: [flow]\n      grpc: {port: 0}")
    text = site.serve.read_text()
    site.serve.write_text(f"proxy_location: Disabled\n{text}")
    assert validate_file(site.serve, ports=True).good
    assert asked == []
