"""What a `model.yaml` may say, and where a model's files are.

A model is a directory, named as the model is, in the usual model-repository form: an optional
`model.yaml`, and a directory for each version, `1/model.onnx`, `2/model.onnx`, ...
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit

import httpx
from pydantic import Discriminator, Field, Tag, field_validator

from app.config.yaml_file import line_of, load_yaml
from app.errors import ConfigurationError
from app.registry import ComponentConfig
from models.repository.artefacts import contained, find_artefact
from models.repository.download import NotDownloaded, cached, download, is_remote
from models.repository.policy import Latest, VersionPolicy
from models.repository.runtime_options import RuntimeOptions

FILE_NAME = "model.yaml"
VERSION = re.compile(r"[1-9][0-9]{0,18}")
RUNTIME_OF_SUFFIX = {".onnx": "onnx"}


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
        first dimension of every input and output is dynamic, otherwise 0.
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
    """One model of the repository: its `model.yaml`, its name and the directory it lives in."""

    name: str = ""
    directory: Path = Path()

    def error(self, reason: str, *field: str) -> ConfigurationError:
        """An error about `field` of this model's `model.yaml`, with its line where it is there."""
        path = self.directory / FILE_NAME
        return ConfigurationError(reason, str(path), line_of(path, field), ".".join(field))

    def artefact(self, version: str) -> Path:
        """The file to load for a version, downloaded or not.

        Raises ConfigurationError where there is none, for a remote one only if it has no SHA-256.
        """
        if is_remote(self.versions[version]):
            return cached(self.versions[version], self._sum_of_download(version))
        try:
            return find_artefact(self.directory, self.versions[version])
        except ValueError as error:
            raise self.error(str(error), "versions", version) from error

    def fetch(self, version: str, max_bytes: int) -> None:
        """Let the file of a version be here. Raises ConfigurationError where it cannot be."""
        address = self.versions[version]
        if not is_remote(address):
            return
        digest = self._sum_of_download(version)
        try:
            download(address, digest, max_bytes)
        except (NotDownloaded, OSError, httpx.InvalidURL) as error:
            raise self.error(str(error), "versions", version) from error

    def sums(self, version: str) -> Mapping[str, str]:
        """File name -> SHA-256, the names as seen from the artefact; empty where none is given."""
        given = self.sha256.get(version, {})
        return {self.artefact(version).name: given} if isinstance(given, str) else given

    def served_versions(self) -> tuple[str, ...]:
        """The versions that the policy names, oldest first. Raises ConfigurationError."""
        try:
            return self.version_policy.choose(self.versions)
        except ValueError as error:
            raise self.error(str(error), "version_policy") from error

    def runtime_of(self, version: str) -> str:
        """The name of the runtime that serves a version."""
        if self.runtime is not None:
            return self.runtime
        address = self.versions[version]
        path = urlsplit(address).path if is_remote(address) else address
        suffix = PurePosixPath(path).suffix
        if suffix not in RUNTIME_OF_SUFFIX:
            known = ", ".join(RUNTIME_OF_SUFFIX)
            reason = f"no runtime is known for {suffix!r} files ({known} have one): name it"
            raise self.error(reason, "runtime")
        return RUNTIME_OF_SUFFIX[suffix]

    def labels_of(self, output: str, metadata: Mapping[str, str]) -> tuple[str, ...]:
        """The labels of an output, `metadata` being the custom metadata of the artefact.

        Raises ConfigurationError if their file or metadata entry is not there.
        """
        labels = self.labels[output]
        if isinstance(labels, tuple):
            return labels
        if isinstance(labels, str):
            return _lines(self._labels_file(output, labels))
        if labels.metadata not in metadata:
            known = ", ".join(sorted(metadata)) or "none at all"
            reason = f"the artefact has no metadata entry {labels.metadata!r}; it has: {known}"
            raise self.error(reason, "labels", output)
        return _lines(metadata[labels.metadata])

    def _sum_of_download(self, version: str) -> str:
        given = self.sha256.get(version)
        if given is None:
            raise self.error("is required for what is downloaded", "sha256", version)
        if not isinstance(given, str):
            raise self.error("must be one sum: one file is downloaded", "sha256", version)
        return given

    def _labels_file(self, output: str, name: str) -> str:
        try:
            return contained(self.directory, name).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise self.error(f"cannot read labels: {error}", "labels", output) from error


def load_model_config(directory: Path) -> ModelConfig:
    """Read a model's directory: its `model.yaml` where it has one, and what versions it has.

    Raises ConfigurationError if the file is wrong or the model has no version at all.
    """
    path = directory / FILE_NAME
    file = load_yaml(path, ModelFile) if path.exists() else ModelFile()
    versions = file.versions or {
        entry.name: f"{entry.name}/model.onnx"
        for entry in directory.iterdir()
        if entry.is_dir() and VERSION.fullmatch(entry.name)
    }
    if not versions:
        reason = "the model has no version: neither `versions` nor a numbered directory is there"
        raise ConfigurationError(reason, str(directory))
    ordered = dict(sorted(versions.items(), key=lambda item: int(item[0])))
    fields = {**dict(file), "versions": ordered}
    return ModelConfig(name=directory.name, directory=directory, **fields)


def _lines(text: str) -> tuple[str, ...]:
    """Split at newlines alone, since U+2028 and its like are characters of OCR dictionaries."""
    return tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))
