"""What every refusal must look like, over both doors."""

import json
import re

import grpc

from tests.faults.wire import Answer

REQUEST_ID = "fault-1"

INSIDE = re.compile(
    r"Traceback|\.py\b|File \"|site-packages|object at 0x|onnxruntime|numpy|asyncio"
    r"|(?<![\w.])/(?:home|tmp|root|usr|opt|var|secret|work|proc|etc)/"
)
"""What tells of the inside of the server: stacks, paths, objects, the names of libraries."""


def told_nothing(text: str) -> None:
    found = INSIDE.search(text)
    assert found is None, f"{found.group()!r} is told: {text[:500]}"


def refused(answer: Answer, path: str, status: int, *words: str) -> None:
    """An error as its path promises it: `{"error": text}` as JSON, or as a problem document."""
    text = answer.body.decode()
    assert answer.status == status, text[:500]
    body = json.loads(text)
    if path.startswith("/v2"):
        assert answer.headers["content-type"] == "application/json"
        assert set(body) == {"error"}
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert body["status"] == status
    assert body["error"]
    told_nothing(text)
    for word in words:
        assert word in body["error"], body["error"]
    if status == 503:
        assert int(answer.headers["retry-after"]) > 0
    if status == 405:
        assert answer.headers["allow"]


def identified(answer: Answer) -> None:
    """The caller's request id came back: to be used where REQUEST_ID was sent."""
    assert answer.headers["x-request-id"] == REQUEST_ID


def refused_call(error: grpc.RpcError, code: str, *words: str) -> None:
    """The same over gRPC, `code` being the name of a status."""
    details = error.details()
    assert error.code().name == code, details
    assert details
    told_nothing(details)
    for word in words:
        assert word in details, details
