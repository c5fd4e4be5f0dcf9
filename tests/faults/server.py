"""A running inference plane, and whether it is well."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import numpy as np
import psutil

from app.api.grpc.proto import inference_pb2 as pb
from app.types import JsonValue
from tests.faults.models import GOOD
from tests.faults.plane import READY
from tests.faults.wire import Answer, exchange, request
from tests.integration.mosquitto import free_port
from tests.paths import ROOT

MIB = 1024 * 1024
START_SECONDS = 60.0
SETTLE_SECONDS = 10.0
GROWTH_MIB = 64.0

_ASKED = np.array([[1, 2, 3]], np.float32)
_TENSOR = {"name": "x", "shape": [1, 3], "datatype": "FP32"}
_GOOD_BODY = {"inputs": [{**_TENSOR, "data": [1, 2, 3]}], "outputs": [{"name": "y"}]}
_INFER = "/inference.GRPCInferenceService/ModelInfer"


class InferencePlane:
    """The process of `tests.faults.plane`, started in an empty `folder`.

    `limits`, `direct` and `grpc` are fields of `Limits`, `DirectConfig` and `GrpcConfig` to be set;
    `timeout_s` is the deadline of a request. With `healthy`, no model misbehaves. Ports are free
    ones.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limits: Mapping[str, JsonValue] | None = None,
        direct: Mapping[str, JsonValue] | None = None,
        grpc: Mapping[str, JsonValue] | None = None,
        timeout_s: float = 10.0,
        healthy: bool = False,
    ) -> None:
        self.port = free_port()
        self.grpc_port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.grpc_address = f"127.0.0.1:{self.grpc_port}"
        self.log_file = folder / "plane.log"
        self.repository = folder / "models"
        self._config = {
            "folder": str(folder),
            "direct": {"port": self.port, **(direct or {})},
            "grpc": {"port": self.grpc_port, **(grpc or {})},
            "limits": dict(limits or {}),
            "timeout_s": timeout_s,
            "healthy": healthy,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._baseline = 0

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Returns once both doors answer."""
        command = [sys.executable, "-m", "tests.faults.plane", json.dumps(self._config)]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT
            )
        self._wait_until_ready(self._process)
        for _ in range(20):
            self.answers()
        self._baseline = self.rss()

    def stop(self) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=15.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def rss(self) -> int:
        """Resident memory, in bytes."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def fds(self) -> int:
        return int(psutil.Process(self.pid).num_fds())

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def http(self, data: bytes) -> Answer:
        """One request, given as bytes, on a connection of its own."""
        return exchange(self.port, data)

    def channel(self) -> grpc.Channel:
        """A new gRPC channel, for serialized messages; to be closed."""
        return grpc.insecure_channel(self.grpc_address)

    def well(self, growth_mib: float = GROWTH_MIB) -> None:
        """Every row ends with this: live within 1 s, another model answers right over both doors,
        and memory is back within `growth_mib` of what it was after the start."""
        assert self._process is not None
        assert self._process.poll() is None, f"the process ended:\n{self.log()[-5000:]}"
        started = time.monotonic()
        live = httpx.get(f"{self.base_url}/v2/health/live", timeout=5.0)
        seconds = time.monotonic() - started
        assert (live.status_code, live.json()) == (200, {"live": True})
        assert seconds < 1.0, f"live after {seconds:.2f} s"
        self.answers()
        self._memory_is_back(growth_mib)

    def answers(self) -> None:
        """A good request to the model that no test misuses, over HTTP and over gRPC."""
        body = json.dumps(_GOOD_BODY).encode()
        answer = self.http(request("POST", f"/v2/models/{GOOD}/infer", body))
        assert answer.status == 200, answer.body
        assert json.loads(answer.body)["outputs"][0]["data"] == [3, 6, 9]
        message = pb.ModelInferRequest(model_name=GOOD, raw_input_contents=[_ASKED.tobytes()])
        message.inputs.add(**_TENSOR)
        message.outputs.add(name="y")
        with self.channel() as channel:
            told = channel.unary_unary(_INFER)(message.SerializeToString(), timeout=5.0)
        raw = pb.ModelInferResponse.FromString(told).raw_output_contents[0]
        assert np.frombuffer(raw, np.float32).tolist() == [3, 6, 9]

    @contextmanager
    def peak_within(self, growth_mib: float) -> Iterator[None]:
        """At no moment of what is done inside may memory be more than that over what it was."""
        before = self.rss()
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # forgets the peak: see proc(5)
        yield
        status = Path(f"/proc/{self.pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        grown = (peak - before) / MIB
        assert grown <= growth_mib, f"memory was {grown:.0f} MiB higher for a while"

    def _memory_is_back(self, growth_mib: float, within_s: float = SETTLE_SECONDS) -> None:
        """The allocator gives memory back a moment later."""
        give_up = time.monotonic() + within_s
        grown = self._grown()
        while grown > growth_mib and time.monotonic() < give_up:
            time.sleep(0.1)
            grown = self._grown()
        assert grown <= growth_mib, f"memory grew by {grown:.0f} MiB"

    def _grown(self) -> float:
        return (self.rss() - self._baseline) / MIB

    def _wait_until_ready(self, process: "subprocess.Popen[bytes]") -> None:
        give_up = time.monotonic() + START_SECONDS
        while READY not in self.log():
            if process.poll() is not None or time.monotonic() > give_up:
                self.stop()
                raise RuntimeError(f"the inference plane did not start:\n{self.log()[-5000:]}")
            time.sleep(0.05)
