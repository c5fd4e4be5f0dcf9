"""Several processes and one port: replicas share it, strangers are noticed."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import cli
from tests.integration.mosquitto import free_port
from tests.paths import ROOT

pytestmark = pytest.mark.integration

REPLICA = """
import asyncio, sys
from app.api.dataplane import DataPlane
from app.api.http.direct_server import DirectConfig, DirectServer
from app.api.grpc.config import GrpcConfig
from app.api.grpc.server import GrpcServer
from app.api.http.rest import build_model_app

async def main():
    dataplane = DataPlane({})
    await DirectServer(build_model_app(dataplane, 1.0), DirectConfig(port=int(sys.argv[1]))).start()
    await GrpcServer(GrpcConfig(port=int(sys.argv[2])), dataplane, 1.0).start()
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@contextmanager
def replica(direct: int, grpc: int) -> Iterator[str]:
    """A process with both doors; gives the last line that it writes before it waits or ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", REPLICA, str(direct), str(grpc)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    try:
        yield process.stdout.readline().strip() or process.stderr.read().strip().splitlines()[-1]
    finally:
        process.kill()
        process.communicate()


def listening(port: int) -> socket.socket:
    """A stranger who would share the port with anybody."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    made.listen()
    return made


def test_replicas_share_their_ports() -> None:
    ports = free_port(), free_port()
    with ExitStack() as replicas:
        assert [replicas.enter_context(replica(*ports)) for _ in range(2)] == ["started"] * 2


@pytest.mark.parametrize("door", ["direct", "grpc"])
def test_fault_122_a_stranger_on_a_port_is_noticed(door: str) -> None:
    ports = {"direct": free_port(), "grpc": free_port()}
    with closing(listening(ports[door])), replica(**ports) as line:
        assert f"{door}: cannot listen on 127.0.0.1:{ports[door]}: the port is taken by " in line


def test_fault_122_validate_names_the_port_before_anything_starts(tmp_path: Path) -> None:
    text = (ROOT / "serve_config.yaml").read_text()
    ports = {number: free_port() for number in ("8000", "8001")}
    for number, port in ports.items():
        text = text.replace(f"port: {number}", f"port: {port}")
    file = tmp_path / "serve_config.yaml"
    file.write_text(text)
    assert CliRunner().invoke(cli, ["validate", "--ports", str(file)]).exit_code == 0
    with closing(listening(ports["8001"])):
        assert CliRunner().invoke(cli, ["validate", str(file)]).exit_code == 0
        refused = CliRunner().invoke(cli, ["validate", "--ports", str(file)])
    assert refused.exit_code == 1
    assert f"applications[0].args.grpc.port: port {ports['8001']} is taken by " in refused.output


SITE = """
proxy_location: Disabled
applications:
  - name: gateway
    import_path: deployments.gateway:build
    args: {{inline: [digits], pipelines_file: {pipelines}, direct: {{port: {direct}}}, {more}}}
"""
PIPELINES = "actions: {out: {type: mqtt, host: h, topic: t, password: '${MANTA_TEST_SECRET}'}}"


@pytest.mark.parametrize(
    ("pipelines", "more", "told"),
    [
        pytest.param("{}", "grpc: {{port: {taken}}}", "port {taken} is taken by ", id="taken"),
        pytest.param("{}", "gprc: {{}}", "gprc", id="a bad field"),
        pytest.param(PIPELINES, "grpc: null", "MANTA_TEST_SECRET", id="no secret"),
    ],
)
def test_fault_122_the_command_ends_at_once_with_one_line(
    tmp_path: Path, pipelines: str, more: str, told: str
) -> None:
    """`manta run` itself, as a user starts it."""
    flows, site = tmp_path / "pipelines.yaml", tmp_path / "serve_config.yaml"
    flows.write_text(pipelines)
    taken = free_port()
    own = SITE.format(pipelines=flows, direct=free_port(), more=more.format(taken=taken))
    site.write_text(own)
    command = [sys.executable, "-c", "from cli.main import main; main()", "run", str(site)]
    with closing(listening(taken)):
        started = time.monotonic()
        ended = subprocess.run(
            command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=30
        )
        took = time.monotonic() - started
    said = [line for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
    assert ended.returncode == 1, said
    assert took < 5.0
    assert len(said) == 1, said
    assert told.format(taken=taken) in said[0]
