"""Bodies that are nothing but the raw bytes of a model's only input."""

import numpy as np
import orjson
import pytest

from app.api.dataplane import DataPlane
from app.api.http.raw_body import decode_raw_body
from app.api.http.rest import build_model_app
from app.config.limits import Limits
from app.errors import InvalidInput
from app.types import ModelMetadata, TensorSpec
from tests.fakes.http import client_of, refuses
from tests.fakes.models import FakeHandle

Shape = tuple[int, ...]


def model(*inputs: tuple[str, Shape], batch: int = 0) -> ModelMetadata:
    specs = tuple(TensorSpec(f"x{n}", *each) for n, each in enumerate(inputs))
    return ModelMetadata("m", ("1",), "test", specs, (), max_batch_size=batch)


@pytest.mark.parametrize(
    ("datatype", "shape", "batch", "elements", "expected"),
    [
        ("FP32", (-1, 3), 8, 3, (1, 3)),
        ("FP32", (-1, -1), 8, 5, (1, 5)),
        ("FP32", (-1, 3), 0, 6, (2, 3)),
        ("INT64", (2, 3), 0, 6, (2, 3)),
        ("UINT8", (1, -1, 4), 0, 12, (1, 3, 4)),
        ("UINT8", (-1, 4), 0, 0, (0, 4)),
        ("BOOL", (-1,), 8, 1, (1,)),
        ("FP16", (), 0, 1, ()),
    ],
)
def test_the_length_tells_the_shape(
    datatype: str, shape: Shape, batch: int, elements: int, expected: Shape
) -> None:
    dtype = {"FP32": "<f4", "INT64": "<i8", "UINT8": "u1", "BOOL": "?", "FP16": "<f2"}[datatype]
    values = np.arange(elements).astype(dtype)
    decoded = decode_raw_body(values.tobytes(), model((datatype, shape), batch=batch))["x0"]
    assert (decoded.dtype, decoded.shape) == (values.dtype, expected)
    assert decoded.ravel().tolist() == values.tolist()


@pytest.mark.parametrize(("shape", "batch"), [((1,), 0), ((-1, 1), 8), ((1, 1), 0), ((-1,), 8)])
@pytest.mark.parametrize("body", [b"", b"\x02\0\0\0ab", b"a picture"])
def test_a_body_is_the_only_element_of_bytes(shape: Shape, batch: int, body: bytes) -> None:
    decoded = decode_raw_body(body, model(("BYTES", shape), batch=batch))["x0"]
    assert decoded.shape == (1, *shape[1:])
    assert decoded.ravel().tolist() == [body]


@pytest.mark.parametrize(
    ("metadata", "size", "words"),
    [
        (model(("FP32", (3,)), ("FP32", (3,))), 12, "2: x0, x1"),
        (model(), 12, "it has 0"),
        (model(("FP32", (-1, -1))), 12, r"\[-1, -1\]"),
        (model(("FP32", (-1, -1, -1)), batch=8), 12, r"\[-1, -1, -1\]"),
        (model(("FP32", (-1, 0))), 0, r"\[-1, 0\]"),
        (model(("FP32", (-1, 3)), batch=8), 24, r"24 bytes but shape \[1, 3\] of FP32 needs 12"),
        (model(("FP32", (3,))), 11, "needs 12"),
        (model(("FP32", (-1, 3))), 13, "multiple of 12"),
        (model(("UINT8", (-1,))), 101, "more than 100"),
        (model(("BYTES", (2,))), 1, "one element"),
        (model(("BYTES", (-1,))), 1, "one element"),
        (model(("BYTES", (-1, 2)), batch=8), 1, "one element"),
    ],
)
def test_what_the_length_does_not_tell_is_refused(
    metadata: ModelMetadata, size: int, words: str
) -> None:
    with pytest.raises(InvalidInput, match=f"inference-header-content-length: 0.*{words}"):
        decode_raw_body(bytes(size), metadata, Limits(elements=100))


RAW = {"inference-header-content-length": "0"}


@pytest.mark.parametrize("path", ["/v2/models/fake", "/v2/models/fake/versions/1"])
async def test_a_raw_body_is_answered_raw(path: str) -> None:
    handle = FakeHandle()
    client = client_of(build_model_app(DataPlane({"fake": handle}), 5.0))
    body = np.array([1, 2, 3], "<f4").tobytes()
    response = await client.post(f"{path}/infer", content=body, headers=RAW)
    length = int(response.headers["inference-header-content-length"])
    [output] = orjson.loads(response.content[:length])["outputs"]
    assert output["shape"] == [1, 3]
    assert np.frombuffer(response.content[length:], "<f4").tolist() == [2, 4, 6]
    assert handle.requests[0].deadline is not None
    refuses(await client.post(f"{path}/infer", content=body * 2, headers=RAW), 400, "24 bytes")
    absent = path.replace("fake", "absent")
    refuses(await client.post(f"{absent}/infer", content=body, headers=RAW), 404)


async def test_a_raw_body_may_not_say_that_it_is_json() -> None:
    client = client_of(build_model_app(DataPlane({"fake": FakeHandle()}), 5.0))
    for content_type, status in (
        ("application/json", 400),
        ("Application/JSON; charset=utf-8", 400),
        ("application/octet-stream", 200),
        ("application/x-www-form-urlencoded", 200),
    ):
        headers = {"content-type": content_type, **RAW}
        response = await client.post(
            "/v2/models/fake/infer", content=b"[null, null]", headers=headers
        )
        assert response.status_code == status
        if status == 400:
            refuses(response, 400, "content-type")
