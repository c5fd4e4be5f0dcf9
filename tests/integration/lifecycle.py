"""Callers of models that come, change and go: over HTTP and over gRPC."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc
import httpx
import numpy as np
import psutil

from app.api.grpc.proto import inference_pb2 as pb
from tests.integration.product import Product

MIB = 1024 * 1024
WAIT_SECONDS = 90.0
SERVICE = "/inference.GRPCInferenceService"
HTTP_OF = {"OK": 200, "INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "UNAVAILABLE": 503}


class Told(NamedTuple):
    """An answer of either door in the words of HTTP, or the version that made all of it."""

    status: int
    text: str


def change(product: Product, name: str, what: str, config: object = None) -> Told:
    """Load or unload over HTTP, `config` being an override."""
    parameters = {} if config is None else {"config": json.dumps(config)}
    path = f"/v2/repository/models/{name}/{what}"
    answer = product.client.post(path, json={"parameters": parameters})
    return Told(answer.status_code, answer.text)


def change_over_grpc(
    product: Product, name: str, what: str, parameters: Mapping[str, str | bytes] | None = None
) -> Told:
    loads = what == "load"
    kind = pb.RepositoryModelLoadRequest if loads else pb.RepositoryModelUnloadRequest
    message = kind(model_name=name)
    for key, value in (parameters or {}).items():
        field = "string_param" if isinstance(value, str) else "bytes_param"
        setattr(message.parameters[key], field, value)
    with grpc.insecure_channel(product.grpc_address) as channel:
        call = channel.unary_unary(f"{SERVICE}/RepositoryModel{what.capitalize()}")
        try:
            call(message.SerializeToString(), timeout=WAIT_SECONDS)
        except grpc.RpcError as error:
            return _refused(error)
    return Told(200, "")


def index(product: Product) -> dict[tuple[str, str], tuple[str, str]]:
    """(name, version) -> (state, reason)"""
    answer = product.client.post("/v2/repository/index")
    return {(e["name"], e["version"]): (e["state"], e["reason"]) for e in answer.json()}


def is_ready(product: Product, name: str = "") -> bool:
    """A model, or the whole server."""
    path = f"/v2/models/{name}/ready" if name else "/v2/health/ready"
    try:
        return product.client.get(path, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def ask(product: Product, name: str) -> Told:
    return over_http(product.client, name)


def over_http(client: httpx.Client, name: str) -> Told:
    """Ask a `numbered` model; fails where two versions had a part in the answer."""
    x = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [5, 5, 5]}
    answer = client.post(f"/v2/models/{name}/infer", json={"inputs": [x]})
    if answer.status_code != 200:
        return Told(answer.status_code, answer.text)
    body = answer.json()
    outputs = {output["name"]: output["data"] for output in body["outputs"]}
    version = int(body["model_version"])
    assert outputs == {"y": [5 * version] * 3, "version": [version] * 3}
    return Told(200, body["model_version"])


def over_grpc(channel: grpc.Channel, name: str) -> Told:
    message = pb.ModelInferRequest(model_name=name)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    message.raw_input_contents.append(np.full((1, 3), 5, np.float32).tobytes())
    try:
        data = channel.unary_unary(f"{SERVICE}/ModelInfer")(
            message.SerializeToString(), timeout=WAIT_SECONDS
        )
    except grpc.RpcError as error:
        return _refused(error)
    answer = pb.ModelInferResponse.FromString(data)
    raw = [np.frombuffer(each, np.float32).tolist() for each in answer.raw_output_contents]
    version = int(answer.model_version)
    outputs = dict(zip((output.name for output in answer.outputs), raw, strict=True))
    assert outputs == {"y": [5 * version] * 3, "version": [version] * 3}
    return Told(200, answer.model_version)


def at_every_door(product: Product, name: str) -> list[int]:
    """What port 8000, the gateway's direct door and gRPC answer to the same request."""
    with httpx.Client(base_url=product.direct_url) as direct:
        answers = [ask(product, name), over_http(direct, name)]
    with grpc.insecure_channel(product.grpc_address) as channel:
        answers.append(over_grpc(channel, name))
    return [answer.status for answer in answers]


def _refused(error: grpc.RpcError) -> Told:
    code = error.code().name
    return Told(HTTP_OF.get(code, 500), f"{code}: {error.details()}")


class OpenLoop:
    """Requests at a fixed rate, however long the answers take; half over each door."""

    def __init__(self, product: Product, name: str, per_second: float = 100.0) -> None:
        self.answers: dict[str, list[Told]] = {"http": [], "grpc": []}
        self._product = product
        self._name = name
        self._period = 1 / per_second
        self._done = threading.Event()
        self._problems: list[BaseException] = []

    def told(self) -> set[Told]:
        """What all of them were told; the text of an answer is its version."""
        return {told for answers in self.answers.values() for told in answers}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Raises what an answer was wrong in."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()
        if self._problems:
            raise self._problems[0]

    def _run(self) -> None:
        with (
            httpx.Client(base_url=self._product.url, timeout=WAIT_SECONDS) as client,
            grpc.insecure_channel(self._product.grpc_address) as channel,
            ThreadPoolExecutor(16) as threads,  # ends first, after its last answer
        ):
            started, sent = time.monotonic(), 0
            calls = {
                "http": lambda: over_http(client, self._name),
                "grpc": lambda: over_grpc(channel, self._name),
            }
            while not self._done.wait(max(0, started + sent * self._period - time.monotonic())):
                door = ("http", "grpc")[sent % 2]
                threads.submit(calls[door]).add_done_callback(self._kept(door))
                sent += 1

    def _kept(self, door: str) -> Any:
        def keep(answer: "Future[Told]") -> None:
            problem = answer.exception()
            if problem is not None:
                self._problems.append(problem)
            else:
                self.answers[door].append(answer.result())

        return keep


def rss(pid: int) -> int:
    """Resident memory, in bytes."""
    return int(psutil.Process(pid).memory_info().rss)


def well(product: Product, good: str) -> None:
    """Every row ends with this: live within 1 s, and a good request on another model answers."""
    assert product.client.get("/v2/health/live", timeout=1).status_code == 200
    assert ask(product, good) == (200, "1")
