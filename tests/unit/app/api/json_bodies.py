"""Inference requests and responses as JSON, for tests."""

from collections.abc import Mapping

import orjson
import pytest

from app.api.codec.requests import decode_request
from app.api.codec.requests import encode_response as encode_answer
from app.errors import InvalidInput
from app.types import Array, InferenceRequest, InferenceResponse

VALUES: Mapping[str, list[object]] = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 2**16 - 1],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [0.5, -2.0],
    "FP32": [1.5, -3.25],
    "FP64": [0.1, -1e300],
    "BF16": [0.5, -2.0],
    "BYTES": ["a\0b", "ü€😀"],
}


def tensor(**changes: object) -> dict[str, object]:
    """One good input, with `changes`."""
    return {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2.5]} | changes


def decode(body: object) -> InferenceRequest:
    return decode_request(
        "m", None, body if isinstance(body, bytes) else orjson.dumps(body)
    ).request


def encode_response(response: InferenceResponse) -> bytes:
    answer = encode_answer(response)
    assert answer.header_length is None
    return answer.body


def decode_tensor(**changes: object) -> Array:
    return decode({"inputs": [tensor(**changes)]}).inputs["x"]


def refused(body: object, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        decode(body)


def tensor_refused(reason: str, **changes: object) -> None:
    refused({"inputs": [tensor(**changes)]}, reason)
