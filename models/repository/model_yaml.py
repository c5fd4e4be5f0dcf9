"""What a `model.yaml` may say, and what versions a model's directory has.

A model is a directory, named as the model is, in the usual model-repository form: an optional
`model.yaml`, and a directory for each version, `1/model.onnx`, `2/model.onnx`, ...
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, field_validator

from app.config.yaml_file import line_of, load_yaml
from app.errors import ConfigurationError
from app.registry import ComponentConfig
from app.types import JsonValue
from models.repository.policy import Latest, VersionPolicy
from models.repository.runtime_options import RuntimeOptions
from models.repository.text_format import line_of_field

FILE_NAME = "model.yaml"
VERSION = re.compile(r"[1-9][0-9]{0,18}")


class MetadataLabels(ComponentConfig):
    """Labels that the artefact itself carries: one custom-metadata entry, one label a line."""

    metadata: str


def _form_of_labels(value: object) -> str | None:
    if isinstance(value, str):
        return "file"
    if isinstance(value, list | tuple):
        return "list"
    return "metadata" if isinstance(value, Mapping | MetadataLabels) else None


Labels = Annotated[
    Annotated[tuple[str, ...], Tag("list")]
    | Annotated[str, Tag("file")]
    | Annotated[MetadataLabels, Tag("metadata")],
    Discriminator(
        _form_of_labels,
        custom_error_type="labels",
        custom_error_message="must be a list, the name of a file or {metadata: KEY}",
    ),
]


def _form_of_sums(value: object) -> str | None:
    if isinstance(value, str):
        return "sum"
    return "files" if isinstance(value, Mapping) else None


Sum = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]

Sums = Annotated[
    Annotated[Sum, Tag("sum")] | Annotated[dict[str, Sum], Tag("files")],
    Discriminator(
        _form_of_sums,
        custom_error_type="sums",
        custom_error_message="must be a SHA-256 in hexadecimal, or {FILE: SHA-256}; quote a number",
    ),
]


class ModelFile(RuntimeOptions):
    """The schema of `model.yaml`; every field may be left out. More of them: RuntimeOptions.

    runtime: a type of `models.runtimes`; by default the artefact's suffix says which.
    versions: version -> address of the artefact: a path relative to the model's directory,
        `file:///PATH`, `package://PACKAGE/PATH` for a file inside an installed Python package, or
        `https://...`, which needs its `sha256` and is kept in a cache (MANTA_ARTEFACT_CACHE).
        By default the numbered directories, each with its `model.onnx`.
    sha256: version -> the SHA-256 of its artefact, in hexadecimal; another file is not loaded. With
        external data, version -> file name -> the SHA-256 of that file, for each of its files.
    version_policy: which versions are served at once: `{latest: 2}` for the two newest (by default
        the newest one), `all`, or `{specific: [1, 3]}`.
    max_batch_size: how many requests one run may hold; 0 means never stacked. By default 32 if the
        first dimension of every input and output is dynamic and rows were seen to be independent
        when the model was loaded, otherwise 0.
    verify_batch: whether that is tried, also of a `max_batch_size` that is given: one that is
        refuted is an error. Without it, whoever wrote this file answers for it.
    queue_size: how many requests may wait; more are shed.
    labels: output name -> the names of its classes: a list, a text file beside `model.yaml` with
        one label a line, or `{metadata: KEY}` for an entry of the artefact's own metadata.
    warm_up: input name -> the shape to run once before the model is called ready. By default the
        model's shape with 1 for every dynamic dimension, or where that fails with usual sizes of
        pictures and sound; a model that runs none of them is ready, and said to be not tried.
    max_run_seconds: a run that takes longer is taken to hang: the model is not ready any more, and
        its process is replaced.
    on_demand: load it at its first request, not at start, and unload it again for others.
    """

    runtime: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    sha256: dict[str, Sums] = Field(default_factory=dict)
    version_policy: VersionPolicy = Latest()
    max_batch_size: int | None = Field(default=None, ge=0, le=4096)
    verify_batch: bool = True
    queue_size: int = Field(default=512, ge=1)
    labels: dict[str, Labels] = Field(default_factory=dict)
    warm_up: dict[str, tuple[Annotated[int, Field(ge=1)], ...]] = Field(default_factory=dict)
    max_run_seconds: float = Field(default=60.0, gt=0)
    on_demand: bool = False
    description: str = ""

    @field_validator("versions", "sha256", mode="before")
    @classmethod
    def _as_text(cls, versions: object) -> object:
        """YAML reads the key of `1: model.onnx` as a number."""
        if not isinstance(versions, Mapping):
            return versions
        return {str(version): address for version, address in versions.items()}

    @field_validator("versions", "sha256")
    @classmethod
    def _are_numbers(cls, versions: dict[str, Sums]) -> dict[str, Sums]:
        for version in versions:
            if not VERSION.fullmatch(version):
                raise ValueError(f"{version!r} is not a version: a whole number from 1 is")
        return versions


class ModelConfig(ModelFile):
    """One model of the repository: its `model.yaml`, its name and the directory it lives in.

    file_name: the file it was read from; `declared`: what that says of inputs and outputs, where it
        is a `config.pbtxt`; `notes`: what else is to be known of the file.
    """

    name: str = ""
    directory: Path = Path()
    file_name: str = FILE_NAME
    declared: dict[str, Any] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def error(self, reason: str, *field: str) -> ConfigurationError:
        """An error about `field` of this model's file, with its line where it is there."""
        path = self.directory / self.file_name
        if self.file_name == FILE_NAME:
            line = line_of(path, field)
        else:
            line = line_of_field(path, field[0]) if field else None
        return ConfigurationError(reason, str(path), line, ".".join(field))

    def served_versions(self) -> tuple[str, ...]:
        """The versions that the policy names, oldest first. Raises ConfigurationError."""
        try:
            return self.version_policy.choose(self.versions)
        except ValueError as error:
            raise self.error(str(error), "version_policy") from error


def load_model_config(directory: Path) -> ModelConfig:
    """Read a model's directory: its `model.yaml` where it has one, and what versions it has.

    Raises ConfigurationError if the file is wrong or the model has no version at all.
    """
    path = directory / FILE_NAME
    return with_versions(directory, load_yaml(path, ModelFile) if path.exists() else ModelFile())


def with_versions(
    directory: Path,
    file: ModelFile,
    file_name: str = FILE_NAME,
    declared: Mapping[str, JsonValue] | None = None,
    notes: Iterable[str] = (),
) -> ModelConfig:
    """What a model's file says, with its versions, the oldest first. Raises ConfigurationError."""
    versions = file.versions or numbered(directory)
    if not versions:
        reason = "the model has no version: neither `versions` nor a numbered directory is there"
        raise ConfigurationError(reason, str(directory))
    ordered = dict(sorted(versions.items(), key=lambda item: int(item[0])))
    fields = {**dict(file), "versions": ordered, "declared": declared or {}, "notes": tuple(notes)}
    return ModelConfig(name=directory.name, directory=directory, file_name=file_name, **fields)


def numbered(directory: Path, artefact: str = "model.onnx") -> dict[str, JsonValue]:
    """The versions that the numbered directories are, each with its artefact."""
    return {
        entry.name: f"{entry.name}/{artefact}"
        for entry in directory.iterdir()
        if entry.is_dir() and VERSION.fullmatch(entry.name)
    }
