"""A Manta server that answers from memory, behind httpx's own transport for tests."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
from typer.testing import CliRunner

from app.types import JsonValue
from cli.outside import Outside
from cli.server import Server

Json = dict[str, JsonValue]

TERMINAL = CliRunner(env={"COLUMNS": "160", "MANTA_URL": None})
"""Where commands are typed: always as wide, and with the default address of the server."""


def model_metadata(
    name: str = "digits",
    shape: tuple[int, ...] = (-1, 1, 8, 8),
    datatype: str = "FP32",
    labels: Mapping[str, JsonValue] | None = None,
) -> Json:
    return {
        "name": name,
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": datatype, "shape": list(shape)}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}],
        "parameters": {"max_batch_size": 32, "labels": labels or {}},
    }


@dataclass
class FakeServer:
    """Answers what it was given; `away` makes it unreachable. Keeps what it was sent."""

    processes: list[JsonValue] = field(default_factory=list)
    pipelines: Mapping[str, JsonValue] = field(default_factory=dict)
    results: Mapping[str, JsonValue] = field(default_factory=dict)
    models: Mapping[str, JsonValue] = field(default_factory=dict)
    outputs: JsonValue = None
    refusal: httpx.Response | None = None
    away: bool = False
    requests: list[httpx.Request] = field(default_factory=list)

    def outside(self) -> Outside:
        return Outside(connect=lambda url: Server(url, httpx.MockTransport(self._answer)))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("connection refused", request=request)
        self.requests.append(request)
        if self.refusal is not None and request.method == "POST":
            return self.refusal
        path = request.url.path
        if path == "/v1/status":
            return httpx.Response(200, json={"version": "0", "processes": self.processes})
        if path == "/v1/pipelines":
            return httpx.Response(200, json={"pipelines": self.pipelines})
        if path.startswith("/v1/pipelines/"):
            return self._run(path.removeprefix("/v1/pipelines/"), request)
        name, _, call = path.removeprefix("/v2/models/").partition("/")
        if name not in self.models:
            return httpx.Response(404, json={"error": f"there is no model {name!r}"})
        if call == "infer":
            return httpx.Response(200, json={"model_name": name, "outputs": self.outputs})
        return httpx.Response(200, json=self.models[name])

    def _run(self, name: str, request: httpx.Request) -> httpx.Response:
        if "annotate" in request.url.params:
            return httpx.Response(200, content=b"\xff\xd8\xff a picture")
        answer = {"id": "1", "pipeline": name, "result": self.results[name]}
        return httpx.Response(200, json=answer)

    @property
    def sent(self) -> JsonValue:
        """The body of the last request, as JSON."""
        value: JsonValue = json.loads(self.requests[-1].content)
        return value
