"""What is done to the gRPC port: bytes that are no gRPC, and connections that are slow, idle, too
many, or torn off."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from random import Random

import grpc
import pytest
from google.protobuf.message import DecodeError, Message

from app.api.grpc.proto import inference_pb2 as pb
from tests.faults import http2
from tests.faults.abuse import (
    BODY_BYTES,
    CONNECTIONS,
    IDLE_SECONDS,
    RECEIVE_SECONDS,
    SLOW_CLIENTS,
    descriptors_of,
    ends,
    fds_at_rest,
    reset,
    settled,
)
from tests.faults.models import GOOD
from tests.faults.server import MIB, InferencePlane
from tests.faults.wire import Connection

pytestmark = pytest.mark.integration

SERVICE = "/inference.GRPCInferenceService"
MESSAGES: dict[str, type[Message]] = {
    "ModelInfer": pb.ModelInferRequest,
    "ModelMetadata": pb.ModelMetadataRequest,
    "ModelReady": pb.ModelReadyRequest,
}


def code_of(call: Callable[[], object]) -> str:
    """How a call ends."""
    try:
        call()
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def metadata(plane: InferencePlane) -> str:
    """How a small call on a connection of its own ends."""
    with plane.channel() as channel:
        call = channel.unary_unary(f"{SERVICE}/ServerLive")
        return code_of(lambda: call(b"", timeout=5.0))


@pytest.mark.parametrize("method", ["ModelInfer", "ModelMetadata"])
def test_fault_046_a_message_over_the_limit(small: InferencePlane, method: str) -> None:
    message = pb.ModelInferRequest(model_name=GOOD, raw_input_contents=[bytes(BODY_BYTES + 1)])
    with small.peak_within(64.0), small.channel() as channel:
        call = channel.unary_unary(f"{SERVICE}/{method}")
        told = code_of(lambda: call(message.SerializeToString(), timeout=5.0))
    assert told == "RESOURCE_EXHAUSTED"
    small.well()


def test_fault_046_a_message_that_says_it_is_too_large(small: InferencePlane) -> None:
    begun = http2.call("ModelInfer") + http2.data(http2.message(b"{", said=2**32 - 1))
    with small.peak_within(16.0), Connection(small.grpc_port) as connection:
        connection.socket.sendall(http2.PREFACE + begun)
        told = b""
        while b"grpc-status" not in told:
            told += connection.socket.recv(65536)
    assert b"\x0bgrpc-status\x018" in told  # 8 is RESOURCE_EXHAUSTED
    small.well()


def test_fault_047_bytes_that_are_no_grpc(small: InferencePlane) -> None:
    random = Random(47)
    opened = http2.PREFACE + http2.call("ModelInfer")
    for start in (b"", http2.PREFACE, opened):
        for size in (0, 1, 9, 1000, 70_000):
            with Connection(small.grpc_port) as connection:
                try:
                    connection.socket.sendall(start + random.randbytes(size))
                except OSError:
                    """It may be closed before all was sent."""
    with Connection(small.grpc_port) as connection:
        connection.socket.sendall(b"GET / HTTP/1.1\r\nhost: manta\r\n\r\n")
        assert ends(connection, 5.0)
    small.well()


@pytest.mark.parametrize("method", ["ModelInfer", "ServerLive", "RepositoryModelLoad"])
def test_fault_047_a_message_that_is_none(small: InferencePlane, method: str) -> None:
    with small.channel() as channel:
        call = channel.unary_unary(f"{SERVICE}/{method}")
        assert code_of(lambda: call(b"\xff\xff\xff", timeout=5.0)) == "INVALID_ARGUMENT"
    small.well()


@pytest.mark.parametrize("method", sorted(MESSAGES))
def test_fault_047_fuzzed_messages(small: InferencePlane, method: str) -> None:
    """What is no message is told so; what happens to be one is answered, and never with a 500."""
    random = Random(f"47 {method}")
    good = pb.ModelInferRequest(model_name=GOOD, raw_input_contents=[bytes(12)])
    good.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    whole = good.SerializeToString()
    refused = 0
    with small.channel() as channel:
        call = channel.unary_unary(f"{SERVICE}/{method}")
        for _ in range(200):
            data = bytearray(random.choice((whole, random.randbytes(random.randrange(1, 3000)))))
            for _ in range(random.randrange(1, 5)):
                data[random.randrange(len(data))] = random.randrange(256)
            del data[random.randrange(1, len(data) + 1) :]
            told = code_of(partial(call, bytes(data), timeout=5.0))
            if is_message(MESSAGES[method], bytes(data)):
                assert told in ("OK", "INVALID_ARGUMENT", "NOT_FOUND"), bytes(data)
            else:
                refused += 1
                assert told == "INVALID_ARGUMENT", bytes(data)
    assert refused > 50
    small.well()


def is_message(kind: type[Message], data: bytes) -> bool:
    try:
        kind.FromString(data)
    except DecodeError:
        return False
    return True


def test_fault_048_clients_that_are_slow_to_open_a_connection(small: InferencePlane) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Connection(small.grpc_port)) for _ in range(SLOW_CLIENTS)]
        started = time.monotonic()
        for client in clients:
            client.socket.sendall(http2.PREFACE[:5])
        small.well()
        for at, client in enumerate(clients):  # the preface is known in advance: no byte is wrong
            client.socket.sendall(http2.PREFACE[5 : 6 + at % 10])
        assert all(ends(client, RECEIVE_SECONDS + 5.0) for client in clients)
        assert time.monotonic() - started < RECEIVE_SECONDS + 5.0
    small.well()


def test_fault_048_a_connection_that_is_never_opened(small: InferencePlane) -> None:
    with Connection(small.grpc_port) as connection:
        assert ends(connection, (RECEIVE_SECONDS + IDLE_SECONDS) / 2)  # before it is idle
    small.well()


def test_fault_049_idle_connections_over_the_limit_are_refused(small: InferencePlane) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(Connection(small.grpc_port)) for _ in range(CONNECTIONS + 300)]
        started = time.monotonic()
        assert metadata(small) == "UNAVAILABLE"
        assert time.monotonic() - started < 1.0
        assert sum(ends(connection, 0.01) for connection in idle[-200:]) == 200
        assert all(ends(connection, 10.0) for connection in idle)  # those that never said a word
    small.well()


def test_fault_049_an_idle_connection_is_closed(small: InferencePlane) -> None:
    with Connection(small.grpc_port) as connection:
        connection.socket.sendall(http2.PREFACE)
        started = time.monotonic()
        assert ends(connection, IDLE_SECONDS + 3.0)
        assert time.monotonic() - started > IDLE_SECONDS - 0.5
    small.well()


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param([("x-long", "a" * 65_536)], id="64 kB"),
        pytest.param([("x-long", "a" * MIB)], id="1 MB"),
        pytest.param([(f"x-{number}", "1") for number in range(1000)], id="1000 headers"),
    ],
)
def test_fault_050_metadata_over_the_limit(
    small: InferencePlane, metadata: list[tuple[str, str]]
) -> None:
    with small.peak_within(16.0), small.channel() as channel:
        call = channel.unary_unary(f"{SERVICE}/ServerLive")
        told = code_of(lambda: call(b"", timeout=5.0, metadata=metadata))
    assert told == "RESOURCE_EXHAUSTED"
    small.well()


@pytest.mark.parametrize(
    "path",
    [
        "/" + SERVICE + "/ServerLive",
        SERVICE + "//ServerLive",
        SERVICE + "/ServerLive/",
        SERVICE + "/ServerLive.",
        SERVICE + "/serverlive",
        SERVICE.lower() + "/ServerLive",
        SERVICE + "/x/../ServerLive",
        SERVICE + "%2fServerLive",
        SERVICE + "/Server%4cive",
    ],
)
def test_fault_055_other_spellings_of_a_call_are_none(small: InferencePlane, path: str) -> None:
    with small.channel() as channel:
        call = channel.unary_unary(path)
        assert code_of(lambda: call(b"", timeout=5.0)) == "UNIMPLEMENTED"
    small.well()


def test_fault_056_clients_that_reset_and_come_back_leave_nothing_open(
    small: InferencePlane,
) -> None:
    before = fds_at_rest(small)
    begun = http2.PREFACE + http2.call("ModelInfer") + http2.data(http2.message(b"{", said=100))
    for _ in range(10):
        clients = [Connection(small.grpc_port) for _ in range(200)]
        for client in clients:
            client.socket.sendall(begun)
            reset(client)
    assert settled(lambda: small.fds() - before < 20)
    small.well()


def test_fault_057_a_process_without_descriptors_left_recovers(small: InferencePlane) -> None:
    limit = small.fds() + 40
    with descriptors_of(small, limit), ExitStack() as stack:
        for _ in range(120):
            stack.enter_context(Connection(small.grpc_port))
        time.sleep(0.5)
        assert small.fds() >= limit - 1, "it had descriptors left"
    assert settled(lambda: metadata(small) == "OK")
    small.well()
