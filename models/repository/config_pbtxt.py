"""A model's `config.pbtxt`, as a Triton repository has it, in place of a `model.yaml`.

What cannot be done is never passed over: an error names the field and its line where answers would
be others without it, a warning where it only tunes.

Source: Triton's `model_config.proto` and its guides "Model Configuration" and "Model Repository";
for `parameters`, the README of its ONNX Runtime backend.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from app.config.validation import reason_of
from app.errors import ConfigurationError, InvalidInput
from app.types import JsonValue, ModelMetadata
from models.repository.model_yaml import ModelConfig, ModelFile, numbered, with_versions
from models.repository.text_format import Place, TextFormatError, parse_text_format
from models.repository.triton_config import FIELDS, check_agrees, translate

FILE_NAME = "config.pbtxt"

_REPEATED = frozenset(
    {
        *("input", "output", "instance_group", "parameters", "dims", "shape", "gpus", "versions"),
        *("preferred_batch_size", "model_warmup", "batch_input", "batch_output", "inputs"),
        *("op_library_filename", "agents", "secondary_devices", "profile", "source_input"),
        *("target_name", "step", "control_input", "control", "state", "metric_control"),
        *("cc_model_filenames", "metric_tags", "gpu_execution_accelerator"),
        *("cpu_execution_accelerator", "int32_false_true", "fp32_false_true", "bool_false_true"),
    }
)

_DECLARED = frozenset({"input", "output", "max_batch_size"})
"""What says how the tensors of the file should look."""

_TUNING = frozenset(
    {"optimization", "model_warmup", "response_cache", "metric_tags", "model_metrics"}
)
"""Fields without which the answers are the same."""

_TUNING_OF_BATCHING = (
    *("preferred_batch_size", "max_queue_delay_microseconds", "preserve_ordering"),
    *("priority_levels", "default_priority_level", "priority_queue_policy"),
)

_PARAMETERS = {
    "intra_op_thread_count": "threads",
    "enable_mem_arena": "arena",
    "enable_mem_pattern": "memory_pattern",
}

_OURS = {"onnxruntime_onnx": "onnx", "onnxruntime": "onnx"}
"""Runtime by `platform` and by `backend`."""


@dataclass(frozen=True)
class _File:
    path: Path
    lines: Mapping[Place, int]
    notes: list[str]

    def error(self, reason: str, *place: str) -> ConfigurationError:
        line = next(
            (self.lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self.lines),
            None,
        )
        return ConfigurationError(reason, str(self.path), line, ".".join(place))

    def translated(self, error: InvalidInput) -> ConfigurationError:
        """An error about an override, whose text begins with `config.PLACE: `, of this file."""
        place, _, reason = str(error).removeprefix("config.").partition(": ")
        return self.error(reason, *place.split("."))

    def warn(self, *place: str) -> None:
        self.note("is not used: answers are the same without it", *place)

    def note(self, reason: str, *place: str) -> None:
        self.notes.append(str(self.error(reason, *place)))


def load_config_pbtxt(directory: Path) -> ModelConfig:
    """Read a model's directory that has a `config.pbtxt`, what is not used of it being in `notes`.

    Raises ConfigurationError.
    """
    file, asked = _read(directory / FILE_NAME)
    for field in asked:
        if field not in FIELDS:
            raise file.error("is no field of a model configuration", field)
    fields = _fields(file, asked, directory.name)
    name = asked.get("default_model_filename") or "model.onnx"
    fields["versions"] = numbered(directory, str(name))
    try:
        model = ModelFile.model_validate(fields)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = tuple(str(part) for part in detail["loc"])
        raise file.error(reason_of(detail, ModelFile), *place) from error
    declared = {field: value for field, value in asked.items() if field in _DECLARED}
    return with_versions(directory, model, FILE_NAME, declared, file.notes)


def check_declared(config: ModelConfig, metadata: ModelMetadata) -> None:
    """Raises ConfigurationError where a `config.pbtxt` says of the tensors what the file does not.

    Its `dims` leave the batch out exactly where it has a `max_batch_size` over 0.
    """
    if not config.declared:
        return
    file, _ = _read(config.directory / FILE_NAME)
    batched = bool(config.declared.get("max_batch_size"))  # whatever a load overrides
    for kind, specs in (("input", metadata.inputs), ("output", metadata.outputs)):
        shapes = {spec.name: spec.shape[batched:] for spec in specs}
        tensors = config.declared.get(kind, ())
        for index, tensor in enumerate(tensors if isinstance(tensors, list) else ()):
            if not isinstance(tensor, Mapping):
                raise file.error("must be a message", kind, str(index))
            own = {key: tensor[key] for key in ("name", "data_type") if key in tensor}
            try:
                check_agrees({kind: [own]}, metadata)
            except InvalidInput as error:
                place = str(error).partition(": ")[0].rpartition(".")[2]
                reason = str(error).partition(": ")[2]
                raise file.error(reason, kind, str(index), place) from error
            shape, dims = shapes[str(tensor["name"])], tensor.get("dims", [])
            if not _fits(dims, shape):
                without = "; a max_batch_size over 0 leaves the batch out" if batched else ""
                reason = f"is {dims}; the file has {list(shape)}{without}"
                raise file.error(reason, kind, str(index), "dims")


def _fits(dims: JsonValue, shape: tuple[int, ...]) -> bool:
    """Whether every size that is declared is one that the file takes."""
    return (
        isinstance(dims, list)
        and len(dims) == len(shape)
        and all(size in (-1, given) for size, given in zip(shape, dims, strict=True))
    )


def _read(path: Path) -> tuple[_File, dict[str, JsonValue]]:
    try:
        asked, lines = parse_text_format(path.read_text(encoding="utf-8"), _REPEATED)
    except TextFormatError as error:
        raise ConfigurationError(str(error), str(path), error.line) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError("is not UTF-8 text", str(path)) from error
    return _File(path, lines, []), asked


def _fields(file: _File, asked: Mapping[str, JsonValue], name: str) -> dict[str, JsonValue]:
    """The fields of `model.yaml` that it comes to."""
    left = dict(asked)
    for field in _TUNING & left.keys():
        file.warn(field)
        del left[field]
    labels = _labels(file, left)
    for field in ("input", "output", "default_model_filename"):
        left.pop(field, None)
    parameters = _parameters(file, left.pop("parameters", []))
    left["dynamic_batching"] = _batching(file, left.get("dynamic_batching"))
    for field in ("platform", "backend"):
        value = left.pop(field, "")
        if value and value not in _OURS:
            known = [each for each in _OURS if ("_" in each) == (field == "platform")]
            raise file.error(f"is {value!r}; known are: {', '.join(known)}", field)
    try:
        translated = translate(left, name).fields
    except InvalidInput as error:
        raise file.translated(error) from error
    return {"runtime": "onnx", **translated, **parameters, "labels": labels}


def _labels(file: _File, asked: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """What the outputs say of labels. Refuses what is said of a tensor and changes answers."""
    labels: dict[str, JsonValue] = {}
    for kind in ("input", "output"):
        tensors = asked.get(kind, [])
        for index, tensor in enumerate(tensors if isinstance(tensors, list) else []):
            if not isinstance(tensor, Mapping):
                raise file.error("must be a message", kind, str(index))
            for field, value in tensor.items():
                if field == "label_filename" and value:
                    labels[str(tensor.get("name"))] = value
                elif field in ("format", "optional"):
                    if value not in (False, "FORMAT_NONE"):
                        file.warn(kind, str(index), field)
                elif field not in ("name", "data_type", "dims", "label_filename") and value:
                    raise file.error("is not supported", kind, str(index), field)
    return labels


def _batching(file: _File, asked: JsonValue) -> JsonValue:
    if not isinstance(asked, Mapping):
        return None
    for field in _TUNING_OF_BATCHING:
        if asked.get(field):
            file.warn("dynamic_batching", field)
    return {key: value for key, value in asked.items() if key not in _TUNING_OF_BATCHING}


def _parameters(file: _File, entries: JsonValue) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        value = entry.get("value") if isinstance(entry, Mapping) else None
        if not isinstance(entry, Mapping) or not isinstance(value, Mapping):
            raise file.error(
                "must be {key: NAME value {string_value: TEXT}}", "parameters", str(index)
            )
        name, text = str(entry.get("key")), str(value.get("string_value", ""))
        if name not in _PARAMETERS:
            file.note(f"{name!r} is not used", "parameters", str(index))
        elif not text.isdecimal():
            raise file.error(f"{name!r} must be a whole number", "parameters", str(index))
        elif name == "intra_op_thread_count":
            found.update({"threads": int(text)} if int(text) else {})
        else:
            found[_PARAMETERS[name]] = text != "0"
    return found
