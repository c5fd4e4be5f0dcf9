"""Bodies in every form, and what is told of a model. Rows are of the table of faults."""

import gzip
import time
import zlib

import httpx
import numpy as np
import orjson
import pytest

from app.api.dataplane import DataPlane
from app.api.descriptions import encode_statistics
from app.api.http.compression import accepted_encoding
from app.api.http.rest import build_model_app
from app.config.limits import Limits
from app.types import Arrays, Duration, ModelMetadata, ModelStatistics, TensorSpec
from tests.fakes.http import client_of, refuses
from tests.fakes.models import METADATA, FakeHandle

INFER = "/v2/models/fake/infer"
BODY = orjson.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
)


def client_for(handle: FakeHandle | None = None, limits: Limits | None = None) -> httpx.AsyncClient:
    dataplane = DataPlane({"fake": handle or FakeHandle()})
    client = client_of(build_model_app(dataplane, 5.0, limits or Limits()))
    client.headers["accept-encoding"] = ""
    return client


def binary(**options: object) -> tuple[bytes, dict[str, str]]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3]}
    header = orjson.dumps(
        {"inputs": [tensor | {"parameters": {"binary_data_size": 12}}], **options}
    )
    raw = np.array([1, 2, 3], "<f4").tobytes()
    return header + raw, {"inference-header-content-length": str(len(header))}


async def test_binary_in_and_json_out() -> None:
    content, headers = binary()
    response = await client_for().post(INFER, content=content, headers=headers)
    assert response.json()["outputs"][0]["data"] == [2, 4, 6]
    assert "inference-header-content-length" not in response.headers


async def test_binary_in_and_out() -> None:
    content, headers = binary(parameters={"binary_data_output": True})
    response = await client_for().post(INFER, content=content, headers=headers)
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers["inference-header-content-length"])
    output = orjson.loads(response.content[:length])["outputs"][0]
    assert output["parameters"] == {"binary_data_size": 12}
    assert np.frombuffer(response.content[length:], "<f4").tolist() == [2, 4, 6]


@pytest.mark.parametrize("value", ["-1", "99999999999", "text", "0", "", "1e2", "9" * 5000, "+5"])
async def test_fault_021_lengths_of_the_header_that_cannot_be(value: str) -> None:
    content, _ = binary()
    headers = {"inference-header-content-length": value}
    client = client_for()
    response = await client.post(INFER, content=content, headers=headers)
    refuses(response, 400, "inference-header-content-length")
    assert (await client.post(INFER, content=BODY)).status_code == 200


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(BODY)),
        ("GZIP", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflate(BODY)),
    ],
)
async def test_compressed_bodies(encoding: str, packed: bytes) -> None:
    headers = {"content-encoding": encoding}
    response = await client_for().post(INFER, content=packed, headers=headers)
    assert response.json()["outputs"][0]["data"] == [2, 4, 6]


async def test_fault_041_corrupt_and_truncated_bodies() -> None:
    client = client_for()
    packed = gzip.compress(BODY)
    for content in (packed[:-9], b"nonsense", b"", packed + b"more", packed[:-8] + bytes(8)):
        response = await client.post(INFER, content=content, headers={"content-encoding": "gzip"})
        refuses(response, 400, "gzip")
    assert (await client.post(INFER, content=BODY)).status_code == 200


@pytest.mark.parametrize("size", [101, 100_000_000])
async def test_fault_045_bombs_stop_at_the_limit(size: int) -> None:
    client = client_for(limits=Limits(decompressed_bytes=100))
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    parts = [packer.compress(bytes(min(size, 10_000_000))) for _ in range(max(1, size // 10**7))]
    bomb = b"".join(parts) + packer.flush()
    response = await client.post(INFER, content=bomb, headers={"content-encoding": "gzip"})
    refuses(response, 413, "over the limit of 100 bytes once decompressed")


async def test_fault_050_too_many_headers() -> None:
    headers = {f"x-{n}": "1" for n in range(200)}
    refuses(await client_for().post(INFER, content=BODY, headers=headers), 400, "headers")


def long(inputs: Arrays) -> Arrays:
    return {"y": np.zeros((1, 3000), np.float32)}


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_answers_are_compressed_if_that_is_asked(encoding: str) -> None:
    client = client_for(FakeHandle(long))
    plain = await client.post(INFER, content=BODY)
    assert "content-encoding" not in plain.headers
    packed = await client.post(INFER, content=BODY, headers={"accept-encoding": encoding})
    assert packed.headers["content-encoding"] == encoding
    assert int(packed.headers["content-length"]) < 1000
    assert packed.content == plain.content


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        (b"gzip, deflate, br", b"gzip"),
        (b"deflate", b"deflate"),
        (b"br", None),
        (b"gzip;q=0", None),
        (b"gzip;q=0.0, deflate;q=0.5", b"deflate"),
        (b"GZIP; q=1", b"gzip"),
        (b"identity", None),
        (b"*", None),
    ],
)
def test_accepted_encoding(accept: bytes, encoding: bytes | None) -> None:
    assert accepted_encoding(accept) == encoding


async def test_a_timeout_in_microseconds_is_a_deadline() -> None:
    handle = FakeHandle()
    body = orjson.loads(BODY)
    for timeout, least, most in ((2_000_000, 0.0, 2.0), (0, 2.0, 5.0), (9 * 10**9, 2.0, 5.0)):
        await client_for(handle).post(INFER, json=body | {"parameters": {"timeout": timeout}})
        deadline = handle.requests[-1].deadline
        assert deadline is not None
        assert least < deadline - time.monotonic() <= most


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"timeout": -1}, "parameters.timeout: -1"),
        ({"timeout": "1"}, "parameters.timeout"),
        ({"timeout": True}, "parameters.timeout"),
        ({"triton_enable": 1}, "parameters.triton_enable: is reserved"),
        ({"manta_x": 1}, "parameters.manta_x: is reserved"),
        ({"sequence_id": 7}, "parameters.sequence_id"),
        ({"binary_data_output": 1}, "parameters.binary_data_output"),
    ],
)
async def test_parameters_that_are_refused(parameters: dict[str, object], words: str) -> None:
    body = orjson.loads(BODY) | {"parameters": parameters}
    refuses(await client_for().post(INFER, json=body), 400, words)


async def test_unknown_parameters_are_ignored() -> None:
    body = orjson.loads(BODY) | {"parameters": {"mine": 1, "priority": 2}}
    assert (await client_for().post(INFER, json=body)).status_code == 200


LABELLED = ModelMetadata(
    "fake", ("1",), "test", METADATA.inputs, METADATA.outputs, 8, {"y": ("cat", "dog")}
)


async def test_classification() -> None:
    output = {"name": "y", "parameters": {"classification": 2}}
    body = orjson.loads(BODY) | {"outputs": [output]}
    response = await client_for(FakeHandle(model=LABELLED)).post(INFER, json=body)
    assert response.json()["outputs"] == [
        {
            "name": "y",
            "datatype": "BYTES",
            "shape": [1, 2],
            "data": ["6.000000:2", "4.000000:1:dog"],
        }
    ]


async def test_configuration() -> None:
    for path in ("/v2/models/fake/config", "/v2/models/fake/versions/1/config"):
        config = await client_for().get(path)
        assert config.json() == {
            "name": "fake",
            "platform": "test",
            "backend": "test",
            "version_policy": {"specific": {"versions": [1]}},
            "max_batch_size": 8,
            "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [3]}],
            "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [3]}],
            "dynamic_batching": {},
        }


async def test_configuration_of_a_model_that_is_never_stacked() -> None:
    specs = (TensorSpec("t", "BYTES", (1, -1)),)
    model = ModelMetadata("fake", ("2",), "onnxruntime_onnx", specs, specs)
    config = (await client_for(FakeHandle(model=model)).get("/v2/models/fake/config")).json()
    assert config["backend"] == "onnxruntime"
    assert config["input"] == [{"name": "t", "data_type": "TYPE_STRING", "dims": [1, -1]}]
    assert "dynamic_batching" not in config


def test_the_parts_of_computing_are_counted_alike() -> None:
    """perf_analyzer ends with an error where they are not."""
    statistics = ModelStatistics("fake", "1", compute=Duration(3, 700))
    [entry] = orjson.loads(orjson.dumps(encode_statistics([statistics])))["model_stats"]
    parts = entry["inference_stats"]
    assert parts["compute_infer"] == {"count": 3, "ns": 700}
    assert parts["compute_input"] == parts["compute_output"] == {"count": 3, "ns": 0}


async def test_statistics_name_every_version() -> None:
    for path in ("/v2/models/fake/stats", "/v2/models/fake/versions/1/stats"):
        [entry] = (await client_for().get(path)).json()["model_stats"]
        assert (entry["name"], entry["version"], entry["inference_count"]) == ("fake", "1", 0)
        assert entry["inference_stats"]["success"] == {"count": 0, "ns": 0}
    refuses(await client_for().get("/v2/models/fake/versions/9/stats"), 404)
    refuses(await client_for().get("/v2/models/absent/config"), 404)
