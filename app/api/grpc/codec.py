"""Inference over gRPC to and from the core's types.

The format: KServe "Open Inference Protocol" (v2), gRPC; raw contents are those of its Binary Tensor
Data extension.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from app.api.codec.binary_data import decode_raw, encode_raw
from app.api.codec.fields import whole
from app.api.codec.requests import check_shared, checked_options, placed
from app.api.codec.shared_memory import Placement, SharedMemory, placement_of, switched_on
from app.api.grpc.proto import inference_pb2 as pb
from app.config.limits import Limits
from app.errors import InvalidInput
from app.formats.datatypes import DTYPES, datatype_of, dtype_of
from app.types import Array, InferenceRequest, InferenceResponse, JsonValue

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_RANGES = {
    "INT8": (-(2**7), 2**7 - 1),
    "INT16": (-(2**15), 2**15 - 1),
    "UINT8": (0, 2**8 - 1),
    "UINT16": (0, 2**16 - 1),
}
"""Of those that are sent in a wider field."""

_EMPTY_FINAL = "triton_enable_empty_final_response"
"""Triton's stream clients send it. It asks nothing of models with one answer for each request."""

_RAW_OUTPUT = b"\x32"
"""The tag of `ModelInferResponse.raw_output_contents`: field 6, a length and that many bytes."""

_STREAMED = b"\x12"
"""The tag of `ModelStreamInferResponse.infer_response`: field 2, likewise."""

_FINAL = pb.ModelInferResponse(
    parameters={"triton_final_response": pb.InferParameter(bool_param=True)}
).SerializeToString()
"""Of every answer in a stream, since a request has one: clients read on until they see it."""


class GrpcCall(NamedTuple):
    """A request; how many of the best classes to tell of an output instead of the tensor; and
    where in shared memory an output is to be written."""

    request: InferenceRequest
    classes: Mapping[str, int]
    places: Mapping[str, Placement]


def parse_request(data: bytes) -> pb.ModelInferRequest:
    """Raises InvalidInput for bytes that are no such message."""
    try:
        return pb.ModelInferRequest.FromString(data)
    except DecodeError:
        raise InvalidInput("the message is not a ModelInferRequest") from None


def decode_request(
    message: pb.ModelInferRequest,
    deadline: float | None,
    limits: Limits,
    memory: SharedMemory | None = None,
) -> GrpcCall:
    """Raises InvalidInput naming the field, before anything of the stated size is allocated."""
    outputs: tuple[str, ...] = ()
    classes: dict[str, int] = {}
    places: dict[str, Placement] = {}
    if message.outputs:
        outputs = _decode_outputs(message, classes, places, limits)
        for place in places.values():
            switched_on(memory).check(place)
    options: dict[str, JsonValue] = {}
    if message.parameters:
        options = _values(message.parameters)
        options.pop(_EMPTY_FINAL, None)
        deadline = checked_options(options, deadline)
    request = InferenceRequest(
        model=message.model_name,
        version=message.model_version or None,
        id=message.id or None,
        inputs=_decode_inputs(message, limits, memory),
        outputs=outputs,
        parameters=options,
        deadline=deadline,
    )
    return GrpcCall(request, classes, places)


def encode_response(
    response: InferenceResponse,
    places: Mapping[str, Placement] = {},
    memory: SharedMemory | None = None,
) -> bytes:
    """A serialized ModelInferResponse; every output is raw, as Triton answers, and empty where it
    was written into shared memory.

    The tensors' bytes are appended to the serialized rest, and so are copied once: the fields of a
    message may stand in any order.
    """
    message = pb.ModelInferResponse(
        model_name=response.model, model_version=response.version, id=response.id or ""
    )
    parts: list[bytes | memoryview] = [b""]
    for name, array in response.outputs.items():
        output = message.outputs.add(
            name=name, datatype=datatype_of(array.dtype), shape=array.shape
        )
        if name in places:
            for field, told in placed(array, places[name], memory).items():
                kind = "int64_param" if isinstance(told, int) else "string_param"
                setattr(output.parameters[field], kind, told)
            parts += (_RAW_OUTPUT, _varint(0))
            continue
        raw = encode_raw(array)
        size = len(raw) if isinstance(raw, bytes) else raw.nbytes
        parts += (_RAW_OUTPUT, _varint(size), raw)
    parts[0] = message.SerializeToString()
    return b"".join(parts)


def streamed(response: bytes) -> bytes:
    """A serialized ModelInferResponse as a serialized ModelStreamInferResponse, marked as final."""
    return b"".join((_STREAMED, _varint(len(response) + len(_FINAL)), response, _FINAL))


def streamed_error(request_id: str, text: str) -> bytes:
    message = pb.ModelStreamInferResponse(error_message=text)
    message.infer_response.id = request_id
    return message.SerializeToString()


def _decode_inputs(
    message: pb.ModelInferRequest, limits: Limits, memory: SharedMemory | None
) -> dict[str, Array]:
    tensors, raw = message.inputs, message.raw_input_contents
    if len(tensors) > limits.tensors:
        raise InvalidInput(f"inputs: more than {limits.tensors} tensors")
    places = _input_places(message)
    if raw and len(raw) != len(tensors) - len(places):
        raise InvalidInput(
            f"raw_input_contents: has {len(raw)} elements but there are"
            f" {len(tensors) - len(places)} inputs that are not in shared memory"
        )
    inputs: dict[str, Array] = {}
    taken = shared = 0
    for index, tensor in enumerate(tensors):
        where = f"inputs[{index}]"
        name, datatype = tensor.name, tensor.datatype
        if not name:
            raise InvalidInput(f"{where}.name: must be a string")
        if name in inputs:
            raise InvalidInput(f"{where}.name: {name!r} is there twice")
        if datatype not in DTYPES:
            raise InvalidInput(f"{where}.datatype: {_unknown(datatype)}")
        shape = _shape(tuple(tensor.shape), where, limits)
        place = places.get(index)
        if place is not None:
            shared += place.byte_size
            check_shared(shared, place, limits)
            region = memoryview(switched_on(memory).read(place))
            inputs[name] = decode_raw(region, datatype, shape, place.where)
        elif not raw:
            inputs[name] = _decode_contents(tensor, shape, where)
        elif tensor.HasField("contents"):
            raise InvalidInput(f"{where}.contents: must not be there beside raw_input_contents")
        else:
            field = f"raw_input_contents[{taken}]"
            inputs[name] = decode_raw(memoryview(raw[taken]), datatype, shape, field)
            taken += 1
    return inputs


def _input_places(message: pb.ModelInferRequest) -> dict[int, Placement]:
    """Of the inputs in shared memory, by their number."""
    places: dict[int, Placement] = {}
    for index, tensor in enumerate(message.inputs):
        if tensor.parameters:
            place = placement_of(_values(tensor.parameters), f"inputs[{index}]")
            if place is not None:
                places[index] = place
    return places


def _shape(shape: tuple[int, ...], where: str, limits: Limits) -> tuple[int, ...]:
    if len(shape) > limits.rank:
        raise InvalidInput(f"{where}.shape: must be an array of at most {limits.rank} sizes")
    if shape and min(shape) < 0:
        raise InvalidInput(f"{where}.shape: {min(shape)} is not a size, a whole number from 0")
    count = math.prod(shape)
    if count > limits.elements:
        raise InvalidInput(f"{where}.shape: {count} elements are more than {limits.elements}")
    return shape


def _decode_contents(
    tensor: pb.ModelInferRequest.InferInputTensor, shape: tuple[int, ...], where: str
) -> Array:
    datatype = tensor.datatype
    field = _CONTENTS.get(datatype)
    if field is None:
        raise InvalidInput(f"{where}.contents: {datatype} can only be sent raw")
    for other, _ in tensor.contents.ListFields():
        if other.name != field:
            raise InvalidInput(f"{where}.contents.{other.name}: {datatype} belongs into {field}")
    values = getattr(tensor.contents, field)
    if len(values) != math.prod(shape):
        raise InvalidInput(
            f"{where}.contents.{field}: has {len(values)} elements but shape {list(shape)} has"
            f" {math.prod(shape)}"
        )
    if datatype in _RANGES and values:
        least, most = _RANGES[datatype]
        for outlier in (min(values), max(values)):
            if not least <= outlier <= most:
                raise InvalidInput(
                    f"{where}.contents.{field}: {outlier} is out of range for {datatype}"
                )
    if datatype == "BYTES":
        array = np.empty(len(values), dtype=np.object_)
        array[:] = list(values)
        return array.reshape(shape)
    return np.fromiter(values, DTYPES[datatype], len(values)).reshape(shape)


def _decode_outputs(
    message: pb.ModelInferRequest,
    classes: dict[str, int],
    places: dict[str, Placement],
    limits: Limits,
) -> tuple[str, ...]:
    if len(message.outputs) > limits.tensors:
        raise InvalidInput(f"outputs: more than {limits.tensors} tensors")
    names: list[str] = []
    for index, output in enumerate(message.outputs):
        where = f"outputs[{index}]"
        if not output.name:
            raise InvalidInput(f"{where}.name: must be a string")
        names.append(output.name)
        if not output.parameters:
            continue
        options = _values(output.parameters)
        place = placement_of(options, where)
        if place is not None:
            places[output.name] = place
        count = whole(options, "classification", f"{where}.parameters.")
        if count:
            classes[output.name] = count
    return tuple(names)


def _values(parameters: Mapping[str, pb.InferParameter]) -> dict[str, JsonValue]:
    values: dict[str, JsonValue] = {}
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        values[name] = None if kind is None else getattr(parameter, kind)
    return values


def _unknown(datatype: str) -> str:
    try:
        dtype_of(datatype)
    except ValueError as error:
        return str(error)
    return ""


def _varint(number: int) -> bytes:
    """Protocol Buffers' "Base 128 Varints": seven bits a byte, the lowest first."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
