"""Open Inference Protocol requests and responses to and from the core's types.

The format: KServe "Open Inference Protocol" (v2), Inference Request and Response JSON Objects,
with its Binary Tensor Data and Classification extensions.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from app.api.codec import json_data as codec_json
from app.api.codec.binary_data import decode_raw, encode_raw
from app.api.codec.fields import (
    Fields,
    check_depth,
    decode_json,
    flag,
    is_object,
    items,
    mapping,
    may_be_deeper,
    parameters,
    text,
    whole,
)
from app.api.codec.shared_memory import Placement, SharedMemory, placement_of, switched_on
from app.config.limits import DEFAULT, Limits
from app.errors import InvalidInput, TooLarge
from app.formats.datatypes import datatype_of, dtype_of
from app.types import Array, InferenceRequest, InferenceResponse, JsonValue

RESERVED = ("triton_", "manta_")
"""Names that a server keeps for itself; no caller may set them."""

_SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How a caller wants its outputs: as raw bytes, as the best classes, or as JSON numbers.

    `binary` holds for outputs that `by_output` says nothing of; `classes` is how many of the best
    classes of an output to tell instead of the tensor. Outputs with a place in `places` are written
    there, and only their description is answered.
    """

    binary: bool = False
    by_output: Mapping[str, bool] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)
    places: Mapping[str, Placement] = field(default_factory=dict)


class Call(NamedTuple):
    """A request, and the form of the answer to it."""

    request: InferenceRequest
    form: AnswerForm


class Answer(NamedTuple):
    """A whole body; `header_length` is that of its JSON part, None where that is all of it."""

    body: bytes
    header_length: int | None


JSON = AnswerForm()


def decode_request(
    model: str,
    version: str | None,
    body: bytes,
    deadline: float | None = None,
    *,
    header_length: int | None = None,
    limits: Limits = DEFAULT,
    memory: SharedMemory | None = None,
) -> Call:
    """Raises InvalidInput naming the field, before anything of the stated size is allocated.

    Bytes from `header_length` on are raw tensors, in the order of the inputs that announce them.
    Without `memory`, a tensor in shared memory raises NotSupported.
    """
    json = body if header_length is None else memoryview(body)[:header_length]
    document = mapping(decode_json(json), "the body")
    if may_be_deeper(json, limits.json_depth):
        check_depth(_beside_data(document, limits), limits.json_depth)
    return decode_fields(
        model,
        version,
        document,
        deadline,
        raw=memoryview(body)[len(json) :] if header_length is not None else None,
        limits=limits,
        memory=memory,
    )


def decode_fields(
    model: str,
    version: str | None,
    data: Fields,
    deadline: float | None = None,
    *,
    raw: memoryview | None = None,
    limits: Limits = DEFAULT,
    memory: SharedMemory | None = None,
) -> Call:
    """As `decode_request`, for a document that is parsed already."""
    request_id = data.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidInput("id must be a string")
    options = parameters(data, "")
    inputs = _decode_inputs(items(data, "inputs", limits.tensors), raw, limits, memory)
    outputs, form = _decode_outputs(data, options, limits, memory)
    if options:
        deadline = checked_options(options, deadline)
    request = InferenceRequest(model, inputs, version, request_id, outputs, options, deadline)
    return Call(request, form)


def encode_response(
    response: InferenceResponse, form: AnswerForm = JSON, memory: SharedMemory | None = None
) -> Answer:
    """The body: JSON, followed by the raw bytes of those outputs that are wanted so.

    JSON alone ends in a newline, for terminals; before raw bytes, where its length counts, not.
    Raises InvalidInput where an output has no room in its place in `memory`.
    """
    raw: list[bytes | memoryview] = []
    outputs: list[dict[str, object]] = []
    for name, array in response.outputs.items():
        output: dict[str, object] = {
            "name": name,
            "datatype": datatype_of(array.dtype),
            "shape": array.shape,
        }
        if name in form.places:
            output["parameters"] = placed(array, form.places[name], memory)
        elif form.by_output.get(name, form.binary):
            data = memoryview(encode_raw(array))
            output["parameters"] = {"binary_data_size": data.nbytes}
            raw.append(data)
        else:
            output["data"] = codec_json.encode_data(array)
        outputs.append(output)
    answer: dict[str, object] = {
        "model_name": response.model,
        "model_version": response.version,
        "outputs": outputs,
    }
    if response.id is not None:
        answer["id"] = response.id
    if not raw:
        option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
        return Answer(orjson.dumps(answer, option=option), None)
    header = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    return Answer(b"".join([header, *raw]), len(header))


def placed(array: Array, place: Placement, memory: SharedMemory | None) -> dict[str, JsonValue]:
    """Write an output into its place; the parameters that tell its caller so."""
    told: dict[str, JsonValue] = {
        "shared_memory_region": place.region,
        "shared_memory_byte_size": switched_on(memory).write(place, encode_raw(array)),
    }
    return told | {"shared_memory_offset": place.offset} if place.offset else told


def _beside_data(document: Fields, limits: Limits) -> object:
    """All but the tensors' data, as deep as it is: rows of numbers cost time to look through, and
    how deep they may be is known to whoever decodes them."""
    inputs = [
        {name: value for name, value in tensor.items() if name != "data"}
        for tensor in items(document, "inputs", limits.tensors)
        if is_object(tensor)
    ]
    return {**document, "inputs": inputs}


def _decode_inputs(
    tensors: list[JsonValue],
    raw: memoryview | None,
    limits: Limits,
    memory: SharedMemory | None,
) -> dict[str, Array]:
    inputs: dict[str, Array] = {}
    taken = shared = 0
    for index, item in enumerate(tensors):
        where = f"inputs[{index}]"
        tensor = mapping(item, where)
        name = text(tensor, "name", where)
        if name in inputs:
            raise InvalidInput(f"{where}.name: {name!r} is there twice")
        datatype, shape = _description(tensor, where, limits)
        options = parameters(tensor, f"{where}.") if "parameters" in tensor else {}
        place = placement_of(options, where) if options else None
        if place is not None:
            shared += place.byte_size
            check_shared(shared, place, limits)
            region = memoryview(switched_on(memory).read(place))
            inputs[name] = decode_raw(region, datatype, shape, place.where)
            continue
        size = whole(options, "binary_data_size", f"{where}.parameters.") if options else None
        if size is None:
            inputs[name] = codec_json.decode_data(tensor.get("data"), datatype, shape, where)
            continue
        size_field = f"{where}.parameters.binary_data_size"
        if raw is None:
            raise InvalidInput(f"{where}.data: must be an array; no binary data follows the JSON")
        if "data" in tensor:
            raise InvalidInput(f"{where}.data: must not be there beside binary_data_size")
        if size > len(raw) - taken:
            raise InvalidInput(f"{size_field}: {size} bytes, but {len(raw) - taken} are left")
        inputs[name] = decode_raw(raw[taken : taken + size], datatype, shape, size_field)
        taken += size
    if raw is not None and taken != len(raw):
        raise InvalidInput(f"the body has {len(raw) - taken} bytes that belong to no input")
    return inputs


def _description(tensor: Fields, where: str, limits: Limits) -> tuple[str, tuple[int, ...]]:
    datatype = text(tensor, "datatype", where)
    try:
        dtype_of(datatype)
    except ValueError as error:
        raise InvalidInput(f"{where}.datatype: {error}") from error
    value = tensor.get("shape")
    if not isinstance(value, list) or len(value) > limits.rank:
        raise InvalidInput(f"{where}.shape: must be an array of at most {limits.rank} sizes")
    shape: list[int] = []
    for size in value:
        if type(size) is not int or size < 0:
            raise InvalidInput(f"{where}.shape: {size!r} is not a size, a whole number from 0")
        shape.append(size)
    count = math.prod(shape)
    if count > limits.elements:
        raise InvalidInput(f"{where}.shape: {count} elements are more than {limits.elements}")
    return datatype, tuple(shape)


def _decode_outputs(
    data: Fields, options: Fields, limits: Limits, memory: SharedMemory | None
) -> tuple[tuple[str, ...], AnswerForm]:
    wanted = items(data, "outputs", limits.tensors)
    binary = flag(options, "binary_data_output", "parameters.", default=False)
    if not wanted:
        return (), AnswerForm(binary) if binary else JSON
    names: list[str] = []
    by_output: dict[str, bool] = {}
    classes: dict[str, int] = {}
    places: dict[str, Placement] = {}
    for index, item in enumerate(wanted):
        where = f"outputs[{index}]"
        output = mapping(item, where)
        name = text(output, "name", where)
        names.append(name)
        if "parameters" not in output:
            continue
        own = parameters(output, f"{where}.")
        place = placement_of(own, where)
        if place is not None:
            switched_on(memory).check(place)
            places[name] = place
        if "binary_data" in own:
            by_output[name] = flag(own, "binary_data", f"{where}.parameters.", default=binary)
        count = whole(own, "classification", f"{where}.parameters.")
        if count:
            classes[name] = count
    return tuple(names), AnswerForm(binary, by_output, classes, places)


def checked_options(options: Fields, deadline: float | None) -> float | None:
    """The deadline of a request that has parameters. What is not known is ignored.

    `timeout` is in microseconds, 0 standing for none, as Triton's clients send it.
    """
    for name in options:
        if name.startswith(RESERVED):
            raise InvalidInput(f"parameters.{name}: is reserved for the server")
        if name in _SEQUENCES and options[name]:
            raise InvalidInput(f"parameters.{name}: models with sequences are not served")
    timeout = whole(options, "timeout", "parameters.")
    if not timeout:
        return deadline
    own = time.monotonic() + timeout / 1e6
    return own if deadline is None else min(deadline, own)


def check_shared(size: int, place: Placement, limits: Limits) -> None:
    """`size` is that of a request's inputs in shared memory so far."""
    if size > limits.decompressed_bytes:
        raise TooLarge(f"{place.where}: the inputs are over {limits.decompressed_bytes} bytes")
