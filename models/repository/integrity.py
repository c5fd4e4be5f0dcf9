"""Whether an artefact is the one that `model.yaml` means, and of a size that is wanted."""

import hmac
from collections.abc import Mapping
from pathlib import Path

from app.errors import ConfigurationError
from models.repository.checksum import sha256_of
from models.repository.download import is_remote
from models.repository.external_data import check_external_data, external_data
from models.repository.model_yaml import ModelConfig

MEGABYTE = 1_000_000


def check_artefact(config: ModelConfig, version: str, max_megabytes: int) -> None:
    """Raises ConfigurationError for a file that is too large or has another SHA-256.

    A file on a server is downloaded first, unless that was done before. The size includes files of
    external data; where `sha256` is given for the version, each of these needs its own.
    """
    config.fetch(version, max_megabytes * MEGABYTE)
    path = config.artefact(version)
    _check_size(path, path.stat().st_size, max_megabytes)
    checked = version in config.sha256
    if checked:
        _check_sums(config, version, {path.name: path})
    if path.suffix != ".onnx" and config.runtime_of(version) != "onnx":
        return
    directory = path.resolve().parent
    beside = {name: directory / name for name in external_data(path)}
    there = {file for file in (path.resolve(), *beside.values()) if file.is_file()}
    _check_size(path, sum(file.stat().st_size for file in there), max_megabytes)
    if checked:
        check_external_data(path)
        _check_sums(config, version, beside)
        _check_names(config, version, {path.name, *beside})


def _check_size(path: Path, size: int, max_megabytes: int) -> None:
    if size > max_megabytes * MEGABYTE:
        limit = f"max_model_size_mb allows {max_megabytes}"
        raise ConfigurationError(f"has {size / MEGABYTE:.1f} MB; {limit}", str(path))


def _check_sums(config: ModelConfig, version: str, files: Mapping[str, Path]) -> None:
    sums = config.sums(version)
    for name, file in files.items():
        if name not in sums:
            todo = "give each file of the model its own, {FILE: SHA-256}"
            if is_remote(config.versions[version]):
                todo = "external data is not downloaded, keep the model in the repository"
            raise config.error(f"there is none for {name!r}: {todo}", "sha256", version)
        if not hmac.compare_digest(sha256_of(file), sums[name].lower()):
            reason = f"{name} has another SHA-256: it is damaged, or not the file that was meant"
            raise config.error(reason, "sha256", version)


def _check_names(config: ModelConfig, version: str, names: set[str]) -> None:
    """A sum that is given is verified: one of a file that the model does not have cannot be."""
    for name in config.sums(version):
        if name not in names:
            known = ", ".join(sorted(names))
            reason = f"{name!r} is no file of the model; it has: {known}"
            raise config.error(reason, "sha256", version)
