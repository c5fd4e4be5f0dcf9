"""One good HTTP request of every kind, for the fuzzer to damage.

None of them asks for the model that tells whether the server is well.
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tests.faults.http_rows import BINARY, GOOD, HEADER_SIZE, JSON_LENGTH, body, of, tensor
from tests.faults.wire import request
from tests.paths import ROOT


@dataclass(frozen=True)
class Seed:
    """A request in parts; `headers` are those beside host and content-length."""

    method: str
    target: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def request(self, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
        """As bytes, with other parts where they are given."""
        content = self.body if body is None else body
        return request(
            self.method, self.target, content, self.headers if headers is None else headers
        )


def _json(target: str, document: object) -> Seed:
    return Seed("POST", target, json.dumps(document).encode(), {"content-type": "application/json"})


def _picture() -> bytes:
    return (ROOT / "config" / "samples" / "sign.jpg").read_bytes()[:20_000]


_READING = {"co2_ppm": 600, "temperature": 21, "humidity": 40, "pressure": 1013, "voc": 90}
_TEXTS = {"name": "x", "shape": [1, 2], "datatype": "BYTES", "data": ["a", "é"]}
_FLAGS = {"name": "x", "shape": [1, 2], "datatype": "BOOL", "data": [True, False]}
_BIG = tensor(shape=[8, 3], data=np.arange(24).reshape(8, 3).tolist())
_CLASSES = {"name": "y", "parameters": {"classification": 2, "binary_data": True}}
_BOUNDARY = "8ce2"
_MULTIPART = (
    b'--8ce2\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\n'
    b"content-type: image/jpeg\r\n\r\n" + _picture() + b"\r\n--8ce2--\r\n"
)

SEEDS: tuple[Seed, ...] = (
    Seed("POST", of("identity"), GOOD),
    Seed("POST", of("identity"), body(_BIG, id="a", outputs=[_CLASSES], parameters={"a": 1})),
    Seed("POST", of("identity"), body(tensor(), parameters={"binary_data_output": True})),
    Seed("POST", of("identity"), BINARY, {JSON_LENGTH: HEADER_SIZE}),
    Seed("POST", of("identity"), gzip.compress(GOOD), {"content-encoding": "gzip"}),
    Seed("POST", "/v2/models/identity/versions/2/infer", GOOD, {"accept-encoding": "gzip"}),
    Seed("POST", of("text"), body(_TEXTS)),
    Seed("POST", of("flags"), body(_FLAGS)),
    Seed("POST", of("int64"), body(tensor(shape=[1, 2], datatype="INT64", data=[2**40, -1]))),
    Seed("POST", of("bytes8"), body(tensor(shape=[1, 2], datatype="UINT8", data=[0, 255]))),
    Seed("POST", of("vector"), body(tensor(shape=[0], data=[]))),
    *(
        Seed("GET", target)
        for target in (
            *("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/stats", "/v2/logging"),
            *("/v2/models/identity", "/v2/models/identity/config", "/v2/models/identity/stats"),
            *("/v2/models/identity/versions/2/ready", "/v2/trace/setting", "/v1/pipelines"),
            *("/v1/status", "/metrics", "/api/v1/models", "/api/v1/stats", "/health", "/healthz"),
            *("/openapi.json", "/docs", "/v1/models", "/v1/models/identity"),
        )
    ),
    _json("/v2/repository/index", {"ready": True}),
    _json("/v2/repository/models/spare/load", {"parameters": {"config": '{"queue_size": 9}'}}),
    _json("/v2/repository/models/spare/unload", {"parameters": {"unload_dependents": False}}),
    _json("/v2/logging", {"log_verbose_level": 0, "log_info": True}),
    _json("/v2/trace/setting", {"trace_level": ["OFF"]}),
    _json("/v1/models/identity:predict", {"instances": [[1, 2, 3], [4, 5, 6]]}),
    _json("/v1/models/air-quality/predict", {"inputs": {"vector": [[600, 21, 40, 1013, 90]]}}),
    _json("/api/v1/infer", {"model": "identity", "inputs": [[1, 2, 3]]}),
    _json("/api/v1/infer", {"model": "identity", "version": 2, "inputs": [dict(tensor())]}),
    _json("/api/v1/batch", {"requests": [{"model": "identity", "inputs": [[1, 2, 3]]}, {}]}),
    _json("/api/v1/models/load", {"model": "spare", "config": {"queue_size": 9}}),
    _json("/v1/pipelines/numbers", _READING),
    Seed("POST", "/v1/pipelines/picture", _picture(), {"content-type": "image/jpeg"}),
    Seed("POST", "/v1/pipelines/picture?annotate=1", _picture(), {"content-type": "image/jpeg"}),
    Seed(
        "POST",
        "/v1/pipelines/picture",
        _MULTIPART,
        {"content-type": f"multipart/form-data; boundary={_BOUNDARY}"},
    ),
)
