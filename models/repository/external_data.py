"""What an ONNX file says of itself, found without loading it: which other files it wants opened,
and whether it has loops.

A tensor may keep its data in a file beside the model. Its location is text inside the model, so a
model from elsewhere could name any file of this machine and hand out its content as an answer.

Source of the field numbers: `onnx.proto` (ModelProto, GraphProto, NodeProto, AttributeProto,
TensorProto, SparseTensorProto, FunctionProto, TrainingInfoProto, StringStringEntryProto); of the
encoding: the Protocol Buffers wire format.
"""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.errors import ConfigurationError

_MAX_DEPTH = 100

_GRAPH = 7
"""The field of ModelProto."""

_LOOPS = (b"Loop", b"Scan", b"SequenceMap")

_SCALED = (b"DynamicQuantizeLinear", b"DynamicQuantizeMatMul", b"DynamicQuantizeLSTM")

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# message -> field number -> message, along every way that leads to a tensor's external_data.
_FIELDS: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        22: "SparseTensor",
        23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}


def place_of_data(path: Path, location: str) -> Path:
    """The file at a location of external data that the ONNX file `path` names.

    Raises ConfigurationError unless it lies beside it: below its directory, by a relative path
    without `..` and without links.
    """
    directory = path.resolve().parent
    file = directory / location
    if Path(location).is_absolute() or ".." in Path(location).parts or file.resolve() != file:
        reason = f"external data must lie beside the model, by no link; it is at {location!r}"
        raise ConfigurationError(reason, str(path))
    if not file.is_file():
        raise ConfigurationError(f"external data {location!r} is missing", str(path))
    if file.stat().st_nlink > 1:
        reason = f"external data {location!r} is a hard link: it may be a file of elsewhere"
        raise ConfigurationError(reason, str(path))
    return file


def external_data(path: Path, said_of: Path | None = None) -> Iterator[str]:
    """Every location of external data in an ONNX file, in its order.

    Raises ConfigurationError, naming `said_of` where `path` is its copy, if the file is no protocol
    buffer.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield from _locations(data, 0, len(data), "Model", 0)
    except (OSError, ValueError, IndexError) as error:
        reason = f"is not an ONNX file: {error}"
        raise ConfigurationError(reason, str(said_of or path)) from error


def check_graph(path: Path, said_of: Path) -> None:
    """Raises ConfigurationError, naming `said_of`, for a file that has no graph."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if not any(number == _GRAPH for number, _, _ in _fields(data, 0, len(data))):
            raise ConfigurationError("is not an ONNX file: it has no graph", str(said_of))


def has_loops(path: Path) -> bool:
    """Whether an operator of an ONNX file repeats a part of the graph as often as its data says.

    Raises ConfigurationError for an empty file.
    """
    return bool(_found(path, _LOOPS))


def scaled_by_batch(path: Path) -> str:
    """The operator of an ONNX file that chooses one scale for all that a run is given, or nothing.

    Raises ConfigurationError for an empty file.
    """
    return _found(path, _SCALED)


def _found(path: Path, operators: tuple[bytes, ...]) -> str:
    """The first of `operators` that is in the file.

    Looks for NodeProto's op_type, field 4, as it is encoded. Finding it in the data of a tensor by
    chance is possible, missing it is not.
    """
    if path.stat().st_size == 0:
        raise ConfigurationError("is not an ONNX file: it is empty", str(path))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for name in operators:
            if data.find(b"\x22%c%s" % (len(name), name)) >= 0:
                return name.decode()
    return ""


def _locations(data: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if message == "Entry":
        entry = {number: data[begin:stop] for number, begin, stop in _fields(data, start, end)}
        if entry.get(1) == b"location":
            yield entry.get(2, b"").decode()
        return
    inner = _FIELDS[message]
    for number, begin, stop in _fields(data, start, end):
        if number in inner:
            yield from _locations(data, begin, stop, inner[number], depth + 1)


def _fields(data: mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The length-delimited fields of the message between two offsets: number, start, end."""
    while position < end:
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            size, position = _varint(data, position)
            if position + size > end:
                raise ValueError("a field runs over its end")
            yield number, position, position + size
            position += size
        elif wire == _VARINT:
            _, position = _varint(data, position)
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {wire}")


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
