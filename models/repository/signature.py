"""Whether a new version can answer the requests that are made to the one it takes over from."""

from app.errors import ConfigurationError
from app.types import ModelMetadata, TensorSpec


def check_takes_over(old: ModelMetadata, new: ModelMetadata) -> None:
    """Raises ConfigurationError where a request that fits `old` would not fit `new`.

    `new` must take the same inputs, in every shape that `old` takes, and give every output of
    `old` with its datatype and as many dimensions; none stand for any number of them.
    """
    inputs = {spec.name: spec for spec in new.inputs}
    outputs = {spec.name: spec for spec in new.outputs}
    for spec in old.inputs:
        if not _takes(spec, inputs.pop(spec.name, None)):
            raise _another("input", spec)
    for name in inputs:
        raise ConfigurationError(f"input {name!r} is not one of the version that is served{_HOW}")
    for spec in old.outputs:
        given = outputs.get(spec.name)
        if given is None or given.datatype != spec.datatype or not _as_many(spec, given):
            raise _another("output", spec)


_HOW = "; unload the model first if its callers know"


def _as_many(old: TensorSpec, new: TensorSpec) -> bool:
    return not old.shape or not new.shape or len(old.shape) == len(new.shape)


def _takes(old: TensorSpec, new: TensorSpec | None) -> bool:
    return (
        new is not None
        and new.datatype == old.datatype
        and len(new.shape) == len(old.shape)
        and all(now in (-1, size) for size, now in zip(old.shape, new.shape, strict=True))
    )


def _another(kind: str, spec: TensorSpec) -> ConfigurationError:
    served = f"{spec.datatype} {list(spec.shape)}"
    return ConfigurationError(
        f"{kind} {spec.name!r} is not what it is in the version that is served, {served}{_HOW}"
    )
