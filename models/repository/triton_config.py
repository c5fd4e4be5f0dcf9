"""Triton's ModelConfig as the override of a load: what its clients send.

Source: Triton's Model Repository Extension (`config` is a JSON that can be parsed into ModelConfig)
and its `model_config.proto`. Both JSON spellings of protobuf are read: `max_batch_size` and
`maxBatchSize`, numbers of 64 bits as numbers and as texts; so is the whole answer of gRPC's
ModelConfig, `{"config": {...}}`. A field that holds its default asks for nothing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.errors import InvalidInput
from app.types import JsonValue, ModelMetadata, TensorSpec

Fields = Mapping[str, JsonValue]

SHARED = frozenset({"max_batch_size", "version_policy"})
"""Fields that `model.yaml` has too, with the same meaning."""

AS_IT_IS = frozenset({"name", "platform", "backend", "input", "output"})
"""Fields that say what the model is: they are compared with it, and change nothing."""

SCHEDULERS = frozenset({"sequence_batching", "ensemble_scheduling"})
"""Fields that ask for something even where they are empty: they choose how requests are run."""

UNSUPPORTED = SCHEDULERS | frozenset(
    {
        *("batch_input", "batch_output", "optimization", "runtime"),
        *("default_model_filename", "cc_model_filenames", "metric_tags"),
        *("parameters", "model_warmup", "model_operations", "model_transaction_policy"),
        *("model_repository_agents", "response_cache", "model_metrics"),
    }
)

BOTH = frozenset({"optimization", "runtime"})
"""Fields that `model.yaml` has with another meaning: there they are texts that are not empty."""

FIELDS = SHARED | AS_IT_IS | UNSUPPORTED | {"instance_group", "dynamic_batching"}

_DEFAULTS = frozenset({"0", "KIND_AUTO", "FORMAT_NONE", "REJECT", "PRIORITY_DEFAULT"})
"""Texts that are defaults: the 0 of 64 bits, and the first values of enumerations."""

_PROVIDERS: Mapping[object, tuple[str, ...]] = {
    "KIND_CPU": ("CPUExecutionProvider",),
    "KIND_GPU": ("CUDAExecutionProvider",),
}


@dataclass(frozen=True, slots=True)
class Translated:
    """Fields of `model.yaml`, and what those that are called otherwise in ModelConfig are there."""

    fields: Fields
    places: Mapping[str, str]


def translate(override: Fields, name: str) -> Translated:
    """What an override asks for of the model `name`, in fields of `model.yaml`.

    Fields that are not of ModelConfig are kept. Raises InvalidInput naming a field that has another
    form than in ModelConfig, asks for what there is not, or is said twice.
    """
    own, theirs = _told_apart(override)
    if theirs.get("name", name) not in ("", name):
        raise InvalidInput(f"config.name: is {theirs['name']!r}; the model is called {name!r}")
    for field in sorted(UNSUPPORTED & theirs.keys()):
        _refuse(f"config.{field}", field in SCHEDULERS or theirs[field])
    found = [
        *_of_instances(_list(theirs.get("instance_group"), "config.instance_group")),
        *_of_batching(_object(theirs.get("dynamic_batching"), "config.dynamic_batching")),
    ]
    places = {field: place for field, place, _ in found}
    for field in places.keys() & own.keys():
        raise InvalidInput(f"config.{places[field]}: is said by config.{field} too: leave one out")
    shared = {field: theirs[field] for field in SHARED & theirs.keys() if theirs[field] != {}}
    fields = {**own, **shared, **{field: value for field, _, value in found}}
    return Translated(fields, places)


def check_agrees(override: Fields, metadata: ModelMetadata) -> None:
    """Raises InvalidInput naming the field where an override takes the model for another one.

    The `dims` of a tensor may leave the batch out or not, so that a client can change
    `max_batch_size` alone. Tensors that are not named are not compared. An output may be told as
    open as it was found to be, whatever its file says: see `models.serving.checks.corrected`.
    """
    _, theirs = _told_apart(override)
    backend = metadata.platform.partition("_")[0]
    for field, actual in (("platform", metadata.platform), ("backend", backend)):
        if theirs.get(field, actual) not in ("", actual):
            raise InvalidInput(f"config.{field}: is {theirs[field]!r}; the model's is {actual!r}")
    for field, specs in (("input", metadata.inputs), ("output", metadata.outputs)):
        known = {spec.name: spec for spec in specs}
        for index, tensor in enumerate(_list(theirs.get(field), f"config.{field}")):
            place = f"config.{field}.{index}"
            _check_tensor(_object(tensor, place), known, place, is_output=field == "output")


def _told_apart(override: Fields) -> tuple[dict[str, JsonValue], dict[str, JsonValue]]:
    """The fields of `model.yaml` alone, and those of ModelConfig; null is as nothing in these."""
    inner = override.get("config")
    if len(override) == 1 and isinstance(inner, Mapping):
        override = inner
    own: dict[str, JsonValue] = {}
    theirs: dict[str, JsonValue] = {}
    for name, value in override.items():
        field = _snake(name)
        if field not in FIELDS or (field in BOTH and isinstance(value, str) and value):
            own[name] = value
        elif value is not None:
            theirs[field] = _snake_keys(value)
    return own, theirs


def _of_instances(groups: Sequence[JsonValue]) -> Iterator[tuple[str, str, JsonValue]]:
    """(field of `model.yaml`, its place in ModelConfig, value)"""
    if len(groups) > 1:
        raise InvalidInput("config.instance_group: more than one group is not supported")
    for each in groups:
        place = "instance_group.0"
        group = dict(_object(each, f"config.{place}"))
        group.pop("name", None)
        kind, count = group.pop("kind", None), group.pop("count", None)
        if kind in _PROVIDERS:
            yield "providers", f"{place}.kind", list(_PROVIDERS[kind])
        else:
            _refuse(f"config.{place}.kind", kind)
        if not _is_default(count):
            yield "instances", f"{place}.count", count
        if group.get("gpus") in ([0], ["0"]):
            group.pop("gpus")  # the one that is used anyway
        _refuse_each(f"config.{place}", group)


def _of_batching(batching: Fields) -> Iterator[tuple[str, str, JsonValue]]:
    """As `_of_instances`."""
    rest = dict(batching)
    place = "dynamic_batching.default_queue_policy"
    policy = dict(_object(rest.pop("default_queue_policy", None), f"config.{place}"))
    size = policy.pop("max_queue_size", None)
    if not _is_default(size):
        yield "queue_size", f"{place}.max_queue_size", size
    _refuse_each(f"config.{place}", policy)
    _refuse_each("config.dynamic_batching", rest)


def _check_tensor(
    tensor: Fields, known: Mapping[str, TensorSpec], place: str, *, is_output: bool
) -> None:
    rest = dict(tensor)
    name = rest.pop("name", "")
    spec = known.get(name) if isinstance(name, str) else None
    if spec is None:
        raise InvalidInput(f"{place}.name: is {name!r}; the model has: {', '.join(known)}")
    kind = rest.pop("data_type", None)
    actual = f"TYPE_{'STRING' if spec.datatype == 'BYTES' else spec.datatype}"
    if kind not in (None, "TYPE_INVALID", actual):
        raise InvalidInput(f"{place}.data_type: is {kind!r}; that of {name!r} is {actual!r}")
    dims, reshape = rest.pop("dims", None), rest.pop("reshape", None)
    if reshape is not None:
        dims = _object(reshape, f"{place}.reshape").get("shape", [])
    if dims is not None and not _has_shape(_shape(dims, f"{place}.dims"), spec, is_output):
        raise InvalidInput(f"{place}.dims: is {dims}; the shape of {name!r} is {list(spec.shape)}")
    _refuse_each(place, rest)


def _has_shape(said: tuple[int, ...], spec: TensorSpec, is_output: bool) -> bool:
    if said in _shapes(spec) or not is_output:
        return said in _shapes(spec)
    return not said or any(
        len(said) == len(shape) and all(map(_is_open_or_same, said, shape))
        for shape in _shapes(spec)
    )


def _is_open_or_same(said: int, size: int) -> bool:
    return said in (-1, size)


def _shapes(spec: TensorSpec) -> tuple[tuple[int, ...], ...]:
    return (spec.shape, spec.shape[1:]) if spec.shape[:1] == (-1,) else (spec.shape,)


def _shape(dims: JsonValue, place: str) -> tuple[int, ...]:
    try:
        return tuple(int(str(size)) for size in _list(dims, place))
    except ValueError as error:
        raise InvalidInput(f"{place}: must be a list of whole numbers") from error


def _refuse_each(place: str, fields: Fields) -> None:
    for field, value in fields.items():
        _refuse(f"{place}.{field}", value)


def _refuse(place: str, value: JsonValue) -> None:
    if not _is_default(value):
        raise InvalidInput(f"{place}: is not supported: leave it out")


def _is_default(value: JsonValue) -> bool:
    """Whether it is what protobuf leaves out, or holds nothing else."""
    if isinstance(value, Mapping):
        return all(_is_default(each) for each in value.values())
    return not value or (isinstance(value, str) and value in _DEFAULTS)


def _list(value: JsonValue, place: str) -> Sequence[JsonValue]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidInput(f"{place}: must be a list")
    return value


def _object(value: JsonValue, place: str) -> Fields:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{place}: must be an object")
    return value


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def _snake_keys(value: JsonValue) -> JsonValue:
    if isinstance(value, Mapping):
        return {_snake(name): _snake_keys(each) for name, each in value.items()}
    return [_snake_keys(each) for each in value] if isinstance(value, list) else value
