"""Whether an artefact is the one that `model.yaml` means, and of a size that is wanted."""

import hmac
from pathlib import Path

from app.errors import ConfigurationError
from models.checksum import sha256_of
from models.config import ModelConfig
from models.external_data import external_data

MEGABYTE = 1_000_000


def check_artefact(config: ModelConfig, version: str, max_megabytes: int) -> None:
    """Raises ConfigurationError for a file that is too large or has another SHA-256.

    A file on a server is downloaded first, unless that was done before. The size includes files
    of external data, the sum does not.
    """
    config.fetch(version, max_megabytes * MEGABYTE)
    path = config.artefact(version)
    _check_size(path, path.stat().st_size, max_megabytes)
    wanted = config.sha256.get(version)
    if wanted is not None and not hmac.compare_digest(sha256_of(path), wanted.lower()):
        reason = f"{path.name} has another SHA-256: it is damaged, or not the file that was meant"
        raise config.error(reason, "sha256", version)
    if path.suffix == ".onnx":
        files = {path, *(path.parent / location for location in external_data(path))}
        _check_size(path, sum(f.stat().st_size for f in files if f.is_file()), max_megabytes)


def _check_size(path: Path, size: int, max_megabytes: int) -> None:
    if size > max_megabytes * MEGABYTE:
        limit = f"max_model_size_mb allows {max_megabytes}"
        raise ConfigurationError(f"has {size / MEGABYTE:.1f} MB; {limit}", str(path))
