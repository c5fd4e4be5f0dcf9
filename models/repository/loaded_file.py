"""What was loaded on request: the one record that the gateways share, and the next start reads."""

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from app.types import JsonValue
from models.repository.file_lock import alone

logger = logging.getLogger(__name__)

Override = Mapping[str, JsonValue]


class LoadedFile:
    """A JSON file `{"models": {NAME: CONFIG}}`, replaced as a whole or not at all.

    Kept where the gateways run, several of which may use it at once. A file that cannot be read is
    as none: it is rewritten at the next change.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Override]:
        """The models to load, with what was changed of their configuration."""
        if not self.path.exists():
            return {}
        try:
            models = json.loads(self.path.read_text(encoding="utf-8"))["models"]
            return {str(name): dict(override) for name, override in models.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.error("what was loaded before is not known: %s: %s", self.path, error)
            return {}

    def stamp(self) -> object:
        """Equal for as long as the file is the same; None while there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def put(self, name: str, override: Override) -> None:
        """Raises OSError. A crash at any moment leaves the old file or the new one."""
        self._change(lambda models: models.update({name: override}))

    def forget(self, name: str) -> None:
        """Raises OSError, as `put` does. Nothing is written where the name is not there."""
        if name in self.read():
            self._change(lambda models: models.pop(name, None))

    def _change(self, change: Callable[[dict[str, Override]], object]) -> None:
        with alone(self.path):
            models = self.read()
            change(models)
            self._replace(models)

    def _replace(self, models: Mapping[str, Override]) -> None:
        partial = self.path.with_name(f".{self.path.name}.partial")
        try:
            with partial.open("w", encoding="utf-8") as file:
                json.dump({"models": models}, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)
