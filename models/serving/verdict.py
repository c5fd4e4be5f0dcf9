"""What was found out of a model's rows, kept for the next load of the same files."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from app import __version__
from models.repository.artefacts import cache_directory
from models.repository.model_yaml import ModelConfig
from models.repository.runtime_options import RuntimeOptions

logger = logging.getLogger(__name__)

_ENGINES = ("onnxruntime", "onnxruntime-gpu")
"""Packages whose next version may run the same file otherwise."""


class Verdict:
    """Whether requests to a model are stacked, under the SHA-256 of its files, how it is run, and
    the versions of what runs it. A cache that cannot be read or written is as none."""

    def __init__(self, config: ModelConfig, sums: Mapping[str, str]) -> None:
        options = {name: getattr(config, name) for name in RuntimeOptions.model_fields}
        asked = [options, config.warm_up, config.max_batch_size, config.runtime]
        said = json.dumps(
            [__version__, _engines(), sorted(sums.items()), asked], default=str, sort_keys=True
        )
        self._name = f"{hashlib.sha256(said.encode()).hexdigest()}.json"

    def read(self) -> str | None:
        """Why requests are not stacked, nothing where they are, None where it is not known."""
        try:
            reason = json.loads(self._path().read_text(encoding="utf-8"))["not_stacked"]
        except (OSError, RuntimeError, ValueError, KeyError, TypeError):
            return None
        return reason if isinstance(reason, str) else None

    def write(self, reason: str) -> None:
        """Several processes may write the same at once: the last one stands, whole."""
        try:
            path = self._path()
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            partial.write_text(json.dumps({"not_stacked": reason}), encoding="utf-8")
            partial.replace(path)
        except (OSError, RuntimeError) as error:
            logger.debug("what was found out is not kept: %s", error)

    def _path(self) -> Path:
        """Raises RuntimeError for a user without a home."""
        return cache_directory() / "rows" / self._name


def _engines() -> list[str]:
    found = []
    for name in _ENGINES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found
