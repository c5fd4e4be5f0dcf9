"""Bad requests over HTTP as a table: row of the list of faults, what is sent, what must come."""

import gzip
import json
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from tests.faults.answers import REQUEST_ID
from tests.faults.wire import request

Json = Mapping[str, object]


class Row(NamedTuple):
    """`words` must stand in the error's text; `path` says in which form the error comes."""

    number: int
    what: str
    path: str
    data: bytes
    status: int
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"fault_{self.number:03d} {self.what}"


def tensor(**fields: object) -> Json:
    """A good input of `identity`, but for `fields`; None takes a field away."""
    made = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3], **fields}
    return {name: value for name, value in made.items() if value is not None}


def body(*inputs: Json, **more: object) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def row(
    number: int,
    what: str,
    content: bytes,
    status: int,
    *words: str,
    path: str = "/v2/models/identity/infer",
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> Row:
    data = request(method, path, content, {"x-request-id": REQUEST_ID, **(headers or {})})
    return Row(number, what, path, data, status, words)


def of(model: str) -> str:
    return f"/v2/models/{model}/infer"


GOOD = body(tensor())
JSON_LENGTH = "inference-header-content-length"
BINARY = body(tensor(data=None, parameters={"binary_data_size": 12})) + bytes(12)
HEADER_SIZE = str(len(BINARY) - 12)


def binary(what: str, parameters: Json, raw: bytes, *words: str, number: int = 22) -> Row:
    header = body(tensor(data=None, parameters=parameters))
    return row(number, what, header + raw, 400, *words, headers={JSON_LENGTH: str(len(header))})


def elements(what: str, raw: bytes, *words: str) -> Row:
    """Two elements of BYTES."""
    size = {"binary_data_size": len(raw)}
    header = body({"name": "x", "shape": [1, 2], "datatype": "BYTES", "parameters": size})
    headers = {JSON_LENGTH: str(len(header))}
    return row(20, what, header + raw, 400, *words, path=of("text"), headers=headers)


def nested(depth: int) -> bytes:
    """Braces included."""
    return b'{"other": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def hidden(depth: int) -> bytes:
    """The nesting where nothing reads it, in a request that is good otherwise."""
    return GOOD[:-1] + b', "parameters": {"a": ' + b"[" * (depth - 2) + b"]" * (depth - 2) + b"}}"


def packed(encoding: str, content: bytes, status: int, what: str, number: int) -> Row:
    return row(number, what, content, status, headers={"content-encoding": encoding})


FORM: tuple[Row, ...] = (
    row(1, "truncated JSON", GOOD[:-5], 400, "JSON"),
    row(1, "no JSON at all", b"hello", 400, "JSON"),
    row(1, "binary where JSON should be", bytes(range(256)), 400, "JSON"),
    row(2, "empty body", b"", 400, "JSON"),
    row(3, "a list", b"[]", 400, "object"),
    row(3, "a number", b"1", 400, "object"),
    row(3, "a string", b'"x"', 400, "object"),
    row(3, "null", b"null", 400, "object"),
    row(4, "nested 101 deep", nested(101), 400, "deep"),
    row(
        4,
        "data nested 101 deep",
        body(tensor(data="D")).replace(b'"D"', b"[" * 98 + b"]" * 98),
        400,
    ),
    row(4, "nested 250,000 deep", nested(250_000), 400),
    row(4, "nested 250,000 deep and open", b"[" * 250_000, 400),
    row(4, "nested 101 deep where nothing reads it", hidden(101), 400, "deep"),
    row(4, "objects nested 250,000 deep", b'{"a":' * 250_000, 400),
    row(5, "invalid UTF-8", body(tensor()).replace(b"x", b"\xff"), 400, "JSON"),
    row(5, "a lone surrogate", GOOD.replace(b'"x"', b'"\\ud800"'), 400, "JSON"),
    row(5, "UTF-16", GOOD.decode().encode("utf-16"), 400, "JSON"),
    row(5, "a byte-order mark", b"\xef\xbb\xbf" + GOOD, 400, "JSON"),
    row(6, "NaN", GOOD.replace(b"3]}", b"NaN]}"), 400, "JSON"),
    row(6, "Infinity", GOOD.replace(b"3]}", b"-Infinity]}"), 400, "JSON"),
    row(21, "a negative length", BINARY, 400, JSON_LENGTH, headers={JSON_LENGTH: "-1"}),
    row(21, "a length beyond the body", BINARY, 400, JSON_LENGTH, headers={JSON_LENGTH: "9999"}),
    row(21, "a huge length", BINARY, 400, JSON_LENGTH, headers={JSON_LENGTH: "99999999999"}),
    row(21, "a length of 5000 digits", BINARY, 400, headers={JSON_LENGTH: "9" * 5000}),
    row(21, "a length in words", BINARY, 400, JSON_LENGTH, headers={JSON_LENGTH: "ten"}),
    row(21, "a length that ends in the JSON", BINARY, 400, headers={JSON_LENGTH: "20"}),
    row(21, "a length that is missing", BINARY, 400),
    row(21, "a length of 0 before JSON", BINARY, 400, JSON_LENGTH, headers={JSON_LENGTH: "0"}),
    binary("one byte too few", {"binary_data_size": 11}, bytes(11), "binary_data_size"),
    binary("one byte too many", {"binary_data_size": 13}, bytes(13), "binary_data_size"),
    binary("more than the body", {"binary_data_size": 12}, bytes(11), "11 are left"),
    binary("far more than the body", {"binary_data_size": 2**62}, bytes(12), "12 are left"),
    binary("negative", {"binary_data_size": -12}, bytes(12), "binary_data_size"),
    binary("no number", {"binary_data_size": "12"}, bytes(12), "binary_data_size"),
    binary("bytes of no input", {"binary_data_size": 12}, bytes(13), "no input"),
    row(38, "GET", b"", 405, method="GET"),
    row(38, "PUT", GOOD, 405, method="PUT"),
    row(38, "DELETE of a model", b"", 405, method="DELETE", path="/v2/models/identity"),
    row(38, "POST to live", b"", 405, path="/v2/health/live"),
    row(38, "GET of a load", b"", 405, method="GET", path="/v2/repository/models/identity/load"),
    row(38, "GET of a pipeline", b"", 405, method="GET", path="/v1/pipelines/numbers"),
    row(38, "TRACE", b"", 405, method="TRACE"),
    row(
        39,
        "a document for a pipeline",
        b"%PDF-1.7",
        415,
        "application/pdf",
        path="/v1/pipelines/picture",
        headers={"content-type": "application/pdf"},
    ),
    packed("br", GOOD, 415, "brotli", 40),
    packed("zstd", GOOD, 415, "zstd", 40),
    packed("gzip, gzip", gzip.compress(gzip.compress(GOOD)), 415, "gzip twice", 40),
    packed("x" * 5000, GOOD, 415, "a long name", 40),
    packed("gzip", GOOD, 400, "gzip that is none", 41),
    packed("gzip", gzip.compress(GOOD)[:-4], 400, "truncated gzip", 41),
    packed("gzip", gzip.compress(GOOD) + b"more", 400, "gzip with more behind it", 41),
    packed("gzip", b"", 400, "gzip of nothing at all", 41),
    packed("deflate", zlib.compress(GOOD)[:-6], 400, "truncated deflate", 41),
)
"""Rows whose fault is in the form of the body, or of what is said of it."""

TENSORS: tuple[Row, ...] = (
    row(7, "no inputs field", b"{}", 400, "'x' is missing"),
    row(7, "inputs null", b'{"inputs": null}', 400, "'x' is missing"),
    row(7, "empty inputs", body(), 400, "'x' is missing"),
    row(7, "inputs that are an object", b'{"inputs": {"x": [1]}}', 400, "inputs"),
    row(7, "an input that is no object", b'{"inputs": [1]}', 400, "inputs[0]"),
    row(8, "an unknown input", body(tensor(name="z")), 400, "'x' is missing"),
    row(8, "an extra input", body(tensor(), tensor(name="z")), 400, "'z' is not known"),
    row(8, "an input without a name", body(tensor(name=None)), 400, "inputs[0].name"),
    row(9, "the same input twice", body(tensor(), tensor()), 400, "twice"),
    row(9, "an output twice", body(tensor(), outputs=[{"name": "y"}] * 2), 400, "twice"),
    row(10, "an unknown output", body(tensor(), outputs=[{"name": "z"}]), 400, "'z'"),
    row(11, "100,000 outputs", body(tensor(), outputs=[{"name": "y"}] * 100_000), 400, "outputs"),
    row(11, "100,000 inputs", body(*[tensor()] * 100_000), 400, "inputs"),
    row(12, "datatype FP33", body(tensor(datatype="FP33")), 400, "FP33"),
    row(12, "another datatype", body(tensor(datatype="FP64")), 400, "expected FP32"),
    row(12, "datatype in small letters", body(tensor(datatype="fp32")), 400, "fp32"),
    row(12, "datatype 32", body(tensor(datatype=32)), 400, "datatype"),
    row(13, "rank 1", body(tensor(shape=[3])), 400, "expected [-1, 3]"),
    row(13, "rank 3", body(tensor(shape=[1, 1, 3])), 400, "expected [-1, 3]"),
    row(13, "rank 33", body(tensor(shape=[1] * 33)), 400, "shape"),
    row(13, "another fixed dim", body(tensor(shape=[3, 1])), 400, "expected [-1, 3]"),
    row(14, "a negative dim", body(tensor(shape=[-1, 3])), 400, "inputs[0].shape"),
    row(14, "a float dim", body(tensor(shape=[1.0, 3])), 400, "inputs[0].shape"),
    row(14, "a bool dim", body(tensor(shape=[True, 3])), 400, "inputs[0].shape"),
    row(14, "a string dim", body(tensor(shape=["1", 3])), 400, "inputs[0].shape"),
    row(14, "a null dim", body(tensor(shape=[None, 3])), 400, "inputs[0].shape"),
    row(15, "a product beyond 64 bits", body(tensor(shape=[2**4, 2**60 + 2])), 400, "shape"),
    row(15, "a dim beyond 64 bits", body(tensor(shape=[2**70, 3])), 400),
    row(16, "10^9 elements said", body(tensor(shape=[10**9], data=[1])), 400, "shape"),
    row(16, "10^7 elements said", body(tensor(shape=[10**7], data=[1])), 400, "1 elements"),
    row(17, "longer data", body(tensor(data=[1, 2, 3, 4])), 400, "4 elements"),
    row(17, "shorter data", body(tensor(data=[1, 2])), 400, "2 elements"),
    row(17, "rows that differ", body(tensor(shape=[2, 3], data=[[1, 2, 3], [4]])), 400, "rows"),
    row(17, "no data", body(tensor(data=None)), 400, "data"),
    row(18, "no rows", body(tensor(shape=[0, 3], data=[])), 400, "0 rows"),
    row(
        19,
        "300 for UINT8",
        body(tensor(datatype="UINT8", shape=[1, 2], data=[1, 300])),
        400,
        "300 is out of range",
        path=of("bytes8"),
    ),
    row(
        19,
        "2^70 for INT64",
        body(tensor(datatype="INT64", shape=[1, 2], data=[1, 2**70])),
        400,
        path=of("int64"),
    ),
    row(19, "1e39 for FP32", body(tensor(data=[1, 2, 1e39])), 400, "out of range"),
    row(19, "text for FP32", body(tensor(data=[1, 2, "3"])), 400, "type FP32"),
    row(19, "true for FP32", body(tensor(data=[1, 2, True])), 400, "type FP32"),
    elements("a length of three bytes", b"\x01\0\0", "too few"),
    elements("a length past the end", b"\x01\0\0\0a\xff\xff\xff\x7fb", "said to end"),
    elements("bytes behind the last", b"\x01\0\0\0a\x01\0\0\0bc", "follow the last"),
    elements("no UTF-8 for a text model", b"\x01\0\0\0\xff\x01\0\0\0b", "UTF-8"),
    row(23, "33 rows", body(tensor(shape=[33, 3], data=[0] * 99)), 400, "33 rows"),
    row(
        23,
        "2 rows for a fixed batch",
        body(tensor(shape=[2, 3], data=[0] * 6)),
        400,
        "expected [1, 3]",
        path=of("fixed"),
    ),
)
"""Rows whose fault is in the tensors."""

VERSIONS = "/v2/models/identity/versions"

NAMES: tuple[Row, ...] = (
    row(24, "an unknown model", GOOD, 404, "nowhere", path=of("nowhere")),
    row(24, "metadata of one", b"", 404, method="GET", path="/v2/models/nowhere"),
    row(24, "readiness of one", b"", 404, method="GET", path="/v2/models/nowhere/ready"),
    row(24, "load of one", b"", 404, path="/v2/repository/models/nowhere/load"),
    row(24, "unload of one", b"", 404, path="/v2/repository/models/nowhere/unload"),
    row(24, "an alias of one", b'{"inputs": [1]}', 404, path="/v1/models/nowhere:predict"),
    row(24, "a body that names one", b'{"model": "no", "inputs": []}', 404, path="/api/v1/infer"),
    row(25, "an unknown version", GOOD, 404, "'99'", path=f"{VERSIONS}/99/infer"),
    row(25, "one that is not served", GOOD, 404, "'1'", path=f"{VERSIONS}/1/infer"),
    row(25, "version 0", GOOD, 400, "'0'", path=f"{VERSIONS}/0/infer"),
    row(25, "version -1", GOOD, 400, "'-1'", path=f"{VERSIONS}/-1/infer"),
    row(25, "version 01", GOOD, 400, "'01'", path=f"{VERSIONS}/01/infer"),
    row(25, "a version of 20 digits", GOOD, 400, path=f"{VERSIONS}/{'9' * 20}/infer"),
    row(25, "version ../1", GOOD, 404, path=f"{VERSIONS}/../1/infer"),
    row(25, "version ..%2f1", GOOD, 404, path=f"{VERSIONS}/..%2f1/infer"),
    row(25, "version ٣", GOOD, 400, path=f"{VERSIONS}/%D9%A3/infer"),
    *(
        row(26, f"the name {what}", GOOD, 404, path=of(name))
        for what, name in (
            ("..", ".."),
            ("%2e%2e", "%2e%2e"),
            ("../good", "../good"),
            ("with an escaped slash", "..%2fgood"),
            ("NUL", "good%00"),
            ("with a newline", "x%0aforged"),
            ("of 10 kB", "m" * 10_000),
            ("with an emoji", "%F0%9F%90%9F"),
            ("that is no UTF-8", "%ff%fe"),
            ("that is empty", ""),
        )
    ),
    row(26, "a load of a newline", b"", 404, path="/v2/repository/models/x%0aforged/load"),
    row(26, "a load of ..", b"", 404, path="/v2/repository/models/../load"),
    row(26, "a load of %2e%2e", b"", 404, path="/v2/repository/models/%2e%2e/load"),
    row(26, "a pipeline of a newline", b"1", 404, path="/v1/pipelines/x%0aforged"),
    row(27, "inference while loading", GOOD, 503, "loading", path=of("loading")),
    row(27, "metadata while loading", b"", 503, method="GET", path="/v2/models/loading"),
    row(28, "inference of a damaged model", GOOD, 503, "failed", path=of("damaged")),
    row(28, "one that never ran", GOOD, 503, "failed", path=of("never-runs")),
    row(28, "load of a damaged model", b"", 503, path="/v2/repository/models/damaged/load"),
)
"""Rows whose fault is in what is asked for."""

ALIASES: tuple[Row, ...] = tuple(
    row(number, f"{what} to {path}", content, 400, path=path)
    for path in ("/api/v1/infer", "/api/v1/batch", "/v1/models/identity:predict")
    for number, what, content in (
        (1, "truncated JSON", b'{"model": "identity", "inputs": [1'),
        (2, "empty body", b""),
        (3, "a list", b"[]"),
        (4, "nested 250,000 deep", nested(250_000)),
        (4, "nested 101 deep", nested(101)),
        (5, "invalid UTF-8", b'{"model": "\xff"}'),
        (6, "NaN", b'{"model": "identity", "inputs": [NaN]}'),
    )
)
"""The same over other spellings, whose errors are problem documents."""
