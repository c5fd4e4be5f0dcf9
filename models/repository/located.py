"""Where the files of a version are and what they must be, as its `model.yaml` says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from models.repository.artefacts import cached, find_artefact, is_remote
from models.repository.model_yaml import ModelConfig

RUNTIME_OF_SUFFIX = {".onnx": "onnx"}


@dataclass(frozen=True, slots=True)
class Located:
    """Where the artefact of a version is, and the SHA-256 that its files must have.

    path: the artefact, which is not there yet where it has a `url` and was never downloaded.
    sums: file name -> SHA-256 in small hexadecimal, the names as seen from the artefact; empty
        where none is given.
    """

    config: ModelConfig
    version: str
    path: Path
    url: str | None
    sums: Mapping[str, str]


def locate(config: ModelConfig, version: str) -> Located:
    """Raises ConfigurationError where there is no file, for a remote one only without a SHA-256."""
    address = config.versions[version]
    given = config.sha256.get(version, {})
    if is_remote(address):
        if not given:
            raise config.error("is required for what is downloaded", "sha256", version)
        if not isinstance(given, str):
            raise config.error("must be one sum: one file is downloaded", "sha256", version)
        path = cached(address, given)
    else:
        try:
            path = find_artefact(config.directory, address)
        except ValueError as error:
            raise config.error(str(error), "versions", version) from error
    sums = {path.name: given} if isinstance(given, str) else given
    small = {name: digest.lower() for name, digest in sums.items()}
    return Located(config, version, path, address if is_remote(address) else None, small)


def runtime_of(config: ModelConfig, version: str) -> str:
    """The name of the runtime that serves a version. Raises ConfigurationError."""
    if config.runtime is not None:
        return config.runtime
    address = config.versions[version]
    suffix = PurePosixPath(urlsplit(address).path if is_remote(address) else address).suffix
    if suffix not in RUNTIME_OF_SUFFIX:
        known = ", ".join(RUNTIME_OF_SUFFIX)
        reason = f"no runtime is known for {suffix!r} files ({known} have one): name it"
        raise config.error(reason, "runtime")
    return RUNTIME_OF_SUFFIX[suffix]
