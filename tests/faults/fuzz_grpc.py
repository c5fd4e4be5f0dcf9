"""Damaged gRPC messages in great number: `python -m tests.faults.fuzz_grpc --requests 100000`.

Serialized messages of every call are changed in their bytes, and inference requests in their fields
before that; now and then the port gets bytes that are no gRPC at all. No answer may be INTERNAL or
UNKNOWN, and each must say something.
"""

import socket
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from app.api.grpc.proto import inference_pb2 as pb
from tests.faults import fuzz
from tests.faults.answers import told_nothing
from tests.faults.fuzz import Finding, Report
from tests.faults.mutate import JUNK, damaged
from tests.faults.server import InferencePlane

SERVICE = "/inference.GRPCInferenceService"
IN_FLIGHT = 16
CALL_SECONDS = 20.0
RAW_SHARE = 0.03
"""Of the requests that are bytes on the port instead of calls."""

ALLOWED = (
    *("OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNIMPLEMENTED"),
    "RESOURCE_EXHAUSTED",
)

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = bytes.fromhex("000000040000000000")
_DATATYPES = (
    *("BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"),
    *("FP16", "BF16", "FP32", "FP64", "BYTES", "", "FP33", "fp32", "STRING"),
)
_MODELS = ("identity", "text", "flags", "int64", "bytes8", "vector", "fixed", "nowhere", "", "..")
_CONTENTS = tuple(field.name for field in pb.InferTensorContents.DESCRIPTOR.fields)
_VALUES = (b"", b"\xff", "x", *(junk for junk in JUNK if type(junk) in (int, float)))
_SIZES = (0, 1, 2, 3, 4, 33, -1, 2**31, 2**62, -(2**63))


class Call(NamedTuple):
    method: str
    data: bytes


def identity(random: Random) -> pb.ModelInferRequest:
    """A good request, in one of the ways that tensors can be sent."""
    model, datatype, field, values = random.choice(
        (
            ("identity", "FP32", "fp32_contents", [1.0, 2.0, 3.0]),
            ("text", "BYTES", "bytes_contents", [b"a", b"b"]),
            ("flags", "BOOL", "bool_contents", [True, False]),
            ("int64", "INT64", "int64_contents", [1, -1]),
            ("bytes8", "UINT8", "uint_contents", [0, 255]),
        )
    )
    message = pb.ModelInferRequest(model_name=model, id="a")
    tensor = message.inputs.add(name="x", datatype=datatype, shape=[1, len(values)])
    if datatype == "FP32" and random.random() < 0.5:
        message.raw_input_contents.append(bytes(12))
    else:
        getattr(tensor.contents, field).extend(values)
    return message


def _tensor(message: pb.ModelInferRequest, random: Random) -> pb.ModelInferRequest.InferInputTensor:
    return random.choice(message.inputs) if message.inputs else message.inputs.add()


def _shape(message: pb.ModelInferRequest, random: Random) -> None:
    shape = _tensor(message, random).shape
    del shape[:]
    shape.extend(random.choice(_SIZES) for _ in range(random.choice((0, 1, 2, 3, 40))))


def _datatype(message: pb.ModelInferRequest, random: Random) -> None:
    _tensor(message, random).datatype = random.choice(_DATATYPES)


def _name(message: pb.ModelInferRequest, random: Random) -> None:
    _tensor(message, random).name = random.choice(("", "y", "x\0", "é" * 100, "x" * 5000))


def _model(message: pb.ModelInferRequest, random: Random) -> None:
    message.model_name = random.choice(_MODELS)
    message.model_version = random.choice(("", "1", "2", "0", "-1", "9" * 30, "../1"))


def _more_inputs(message: pb.ModelInferRequest, random: Random) -> None:
    copied = pb.ModelInferRequest.InferInputTensor()
    copied.CopyFrom(_tensor(message, random))
    message.inputs.extend([copied] * random.choice((1, 2, 300)))


def _fewer_inputs(message: pb.ModelInferRequest, _: Random) -> None:
    del message.inputs[:]


def _contents(message: pb.ModelInferRequest, random: Random) -> None:
    contents = getattr(_tensor(message, random).contents, random.choice(_CONTENTS))
    value = random.choice(_VALUES)
    try:
        contents.extend([value] * random.choice((1, 2, 100)))
    except (TypeError, ValueError, OverflowError):
        contents.extend(contents[:1])


def _raw(message: pb.ModelInferRequest, random: Random) -> None:
    sizes = random.choices((0, 1, 4, 8, 11, 12, 13, 1000), k=random.choice((0, 1, 1, 2)))
    message.raw_input_contents.extend(random.randbytes(size) for size in sizes)


def _outputs(message: pb.ModelInferRequest, random: Random) -> None:
    for _ in range(random.choice((1, 2, 300))):
        output = message.outputs.add(name=random.choice(("y", "y", "z", "")))
        _parameter(output.parameters, random)


def _parameters(message: pb.ModelInferRequest, random: Random) -> None:
    _parameter(message.parameters, random)
    if message.inputs:
        _parameter(_tensor(message, random).parameters, random)


def _parameter(parameters: Any, random: Random) -> None:
    names = ("timeout", "classification", "binary_data", "sequence_id", "triton_x", "", "priority")
    shared = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")
    parameter = parameters[random.choice(names + shared)]
    kind = random.choice(("bool_param", "int64_param", "string_param", "double_param", ""))
    value = {
        "bool_param": True,
        "int64_param": random.choice((0, 1, 5_000_000, -1, 2**63 - 1)),
        "string_param": random.choice(("", "x", "1", "\0")),
        "double_param": random.choice((0.5, -1.0, float("nan"), float("inf"))),
    }
    if kind and kind in parameter.DESCRIPTOR.fields_by_name:
        setattr(parameter, kind, value[kind])


_CHANGES: tuple[Callable[[pb.ModelInferRequest, Random], None], ...] = (
    *(_shape, _datatype, _name, _model, _more_inputs, _fewer_inputs, _contents, _raw, _outputs),
    _parameters,
)

_OTHERS: tuple[tuple[str, Any], ...] = (
    ("ServerLive", pb.ServerLiveRequest()),
    ("ServerReady", pb.ServerReadyRequest()),
    ("ServerMetadata", pb.ServerMetadataRequest()),
    ("ModelReady", pb.ModelReadyRequest(name="identity", version="2")),
    ("ModelMetadata", pb.ModelMetadataRequest(name="identity")),
    ("ModelConfig", pb.ModelConfigRequest(name="identity")),
    ("ModelStatistics", pb.ModelStatisticsRequest(name="identity")),
    ("RepositoryIndex", pb.RepositoryIndexRequest(ready=True)),
    ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="spare")),
    ("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="spare")),
    ("LogSettings", pb.LogSettingsRequest()),
    ("TraceSetting", pb.TraceSettingRequest()),
    ("SystemSharedMemoryStatus", pb.ModelReadyRequest(name="a")),
)


def mutated(random: Random) -> Call:
    if random.random() < 0.2:
        method, message = random.choice(_OTHERS)
        return Call(method, damaged(message.SerializeToString(), random))
    message = identity(random)
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        random.choice(_CHANGES)(message, random)
    data = message.SerializeToString()
    return Call("ModelInfer", damaged(data, random) if random.random() < 0.4 else data)


def _throw(port: int, random: Random) -> None:
    """Bytes at the port: noise, or frames of HTTP/2 (RFC 9113, section 4.1) that fit nothing."""
    data = random.randbytes(random.choice((0, 1, 30, 1000)))
    if random.random() < 0.7:
        data = _PREFACE + _SETTINGS
        for _ in range(random.randint(1, 10)):
            payload = random.randbytes(random.choice((0, 4, 8, 40)))
            kind, flags, stream = random.randrange(12), random.randrange(256), random.randrange(9)
            size = len(payload) if random.random() < 0.9 else random.randrange(2**24)
            data += size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
            data += payload
    with socket.create_connection(("127.0.0.1", port), timeout=5.0) as thrower:
        try:
            thrower.sendall(data)
            thrower.settimeout(0.005)
            thrower.recv(1000)
        except OSError:
            return


def run(plane: InferencePlane, start: int, count: int, seed: int) -> Report:
    report = Report(Counter(), [])
    with plane.channel() as channel:
        calls: dict[str, Any] = {}
        waiting: list[tuple[int, Call, Any]] = []
        for index, random in fuzz.counted(plane, report, fuzz.numbered(start, count, seed)):
            if random.random() < RAW_SHARE:
                _throw(plane.grpc_port, random)
                report.answers["thrown"] += 1
                continue
            call = mutated(random)
            if call.method not in calls:
                calls[call.method] = channel.unary_unary(f"{SERVICE}/{call.method}")
            future = calls[call.method].future(call.data, timeout=CALL_SECONDS)
            waiting.append((index, call, future))
            if len(waiting) >= IN_FLIGHT:
                _note(report, *waiting.pop(0))
        for each in waiting:
            _note(report, *each)
    return report


def _note(report: Report, index: int, call: Call, future: Any) -> None:
    error = future.exception()
    code = "OK" if error is None else error.code().name
    report.answers[code] += 1
    problem = "" if code in ALLOWED else code
    details = "" if error is None else error.details()
    if error is not None and not details:
        problem = f"{code} without a word"
    try:
        told_nothing(details)
    except AssertionError as inside:
        problem = str(inside)
    if problem:
        told = f"{call.method}: {problem}: {details[:300]}"
        report.findings.append(Finding(index, call.data, told))


if __name__ == "__main__":
    fuzz.main(run)
