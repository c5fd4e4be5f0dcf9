"""What was loaded on request, remembered for the next start."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from app.types import JsonValue

logger = logging.getLogger(__name__)

Override = Mapping[str, JsonValue]


class LoadedFile:
    """A JSON file `{"models": {NAME: CONFIG}}`, replaced as a whole or not at all.

    Kept where the gateway runs. A file that cannot be read is as none: it is rewritten at the next
    change.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Override]:
        """The models to load, with what was changed of their configuration."""
        if not self._path.exists():
            return {}
        try:
            models = json.loads(self._path.read_text(encoding="utf-8"))["models"]
            return {str(name): dict(override) for name, override in models.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.error("what was loaded before is not known: %s: %s", self._path, error)
            return {}

    def write(self, models: Mapping[str, Override]) -> None:
        """Raises OSError. A crash at any moment leaves the old file or the new one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            with partial.open("w", encoding="utf-8") as file:
                json.dump({"models": dict(models)}, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
        finally:
            partial.unlink(missing_ok=True)
