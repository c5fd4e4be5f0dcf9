"""Does a request fit the model? Errors name the input and say what is expected."""

from collections.abc import Callable
from dataclasses import replace

from app.errors import InferenceFailed, InvalidInput
from app.formats.datatypes import datatype_of, dtype_of
from app.types import Array, Arrays, InferenceRequest, ModelMetadata, TensorSpec


def check_inputs(metadata: ModelMetadata, inputs: Arrays) -> int:
    """How many rows the request has: 1 for a model that is never stacked.

    Raises InvalidInput for a missing, unknown or ill-fitting input.
    """
    batched = metadata.max_batch_size > 0
    rows = 1
    for index, spec in enumerate(metadata.inputs):
        array = inputs.get(spec.name)
        if array is None:
            raise InvalidInput(f"input {spec.name!r} is missing")
        _check_input(spec, array)
        if batched and index == 0:
            rows = array.shape[0]
        elif batched and array.shape[0] != rows:
            first = metadata.inputs[0].name
            raise InvalidInput(
                f"input {spec.name!r} has {array.shape[0]} rows but {first!r} has {rows}"
            )
    if len(inputs) > len(metadata.inputs):
        known = [spec.name for spec in metadata.inputs]
        unknown = next(name for name in inputs if name not in known)
        raise InvalidInput(f"input {unknown!r} is not known; the model takes: {', '.join(known)}")
    if batched and not 0 < rows <= metadata.max_batch_size:
        raise InvalidInput(
            f"the batch has {rows} rows; this model takes 1 to {metadata.max_batch_size}"
        )
    return rows


def check_outputs(metadata: ModelMetadata, request: InferenceRequest) -> None:
    """Raises InvalidInput for a requested output that the model does not have, or twice."""
    known = [spec.name for spec in metadata.outputs]
    for name in request.outputs:
        if name not in known:
            raise InvalidInput(f"output {name!r} is not known; the model gives: {', '.join(known)}")
    if len(set(request.outputs)) != len(request.outputs):
        raise InvalidInput("outputs: the same output is requested twice")


def key_of(metadata: ModelMetadata) -> Callable[[Arrays], object]:
    """What must be equal for two requests to share a batch: the shapes apart from the rows."""
    dynamic = [spec.name for spec in metadata.inputs if -1 in spec.shape[1:]]
    if not dynamic or metadata.max_batch_size == 0:
        return lambda _: None
    return lambda inputs: tuple(inputs[name].shape[1:] for name in dynamic)


def _check_input(spec: TensorSpec, array: Array) -> None:
    if not _is_of_shape(array, spec):
        raise InvalidInput(
            f"input {spec.name!r} has shape {list(array.shape)}; expected {list(spec.shape)}"
        )
    if array.dtype != dtype_of(spec.datatype):
        raise InvalidInput(
            f"input {spec.name!r} has datatype {datatype_of(array.dtype)}; expected {spec.datatype}"
        )


def check_answer(metadata: ModelMetadata, outputs: Arrays, rows: int) -> None:
    """Raises InferenceFailed if an output is missing, of another datatype or of other rows.

    Only the rows of a stacked run are law: what a file says of its outputs' shapes is a claim,
    which `corrected` holds against what came out.
    """
    for spec in metadata.outputs:
        array = outputs.get(spec.name)
        if array is None:
            raise InferenceFailed(f"model {metadata.name!r} gave no output {spec.name!r}")
        if array.dtype != dtype_of(spec.datatype):
            raise InferenceFailed(
                f"output {spec.name!r} of model {metadata.name!r} is {array.dtype},"
                f" not {spec.datatype}"
            )
        if metadata.max_batch_size > 0 and array.shape[:1] != (rows,):
            raise InferenceFailed(
                f"output {spec.name!r} of model {metadata.name!r} has shape {list(array.shape)}"
                f" for a batch of {rows}"
            )


def corrected(metadata: ModelMetadata, outputs: Arrays) -> ModelMetadata:
    """The metadata itself, or what is left of it where an output has another shape than it says.

    A dimension that was wrong becomes -1. No dimensions at all stand for any shape: the file leaves
    the rank open, or was wrong about it.
    """
    for spec in metadata.outputs:
        if spec.shape and spec.name in outputs and not _is_of_shape(outputs[spec.name], spec):
            specs = (_corrected(each, outputs.get(each.name)) for each in metadata.outputs)
            return replace(metadata, outputs=tuple(specs))
    return metadata


def _corrected(spec: TensorSpec, array: Array | None) -> TensorSpec:
    if array is None:
        return spec
    shape = array.shape
    if len(shape) != len(spec.shape):
        return replace(spec, shape=())
    sizes = zip(spec.shape, shape, strict=True)
    return replace(spec, shape=tuple(said if said == size else -1 for said, size in sizes))


def _is_of_shape(array: Array, spec: TensorSpec) -> bool:
    if len(array.shape) != len(spec.shape):
        return False
    for size, wanted in zip(array.shape, spec.shape, strict=True):  # noqa: SIM110 - half the time
        if wanted not in (size, -1):
            return False
    return True
