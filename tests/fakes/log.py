"""The product's log, kept instead of written to the terminal."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from app.telemetry.logging import HANDLER, configure_logging


class Log:
    """What one logger of the product writes."""

    def __init__(self, stream: io.StringIO, name: str) -> None:
        self._stream = stream
        self._logger = logging.getLogger(name)

    def written(self) -> list[str]:
        """Since this was asked last."""
        lines = self._stream.getvalue().split("\n")[:-1]
        self._stream.seek(0)
        self._stream.truncate()
        return lines

    def lines(self) -> list[str]:
        """Those that are written where there is one of each kind, the gravest last."""
        self.written()
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            self._logger.log(level, "said %s", logging.getLevelName(level).lower())
        return self.written()

    def kinds(self) -> list[str]:
        return [line.rpartition(" ")[2] for line in self.lines()]


@contextmanager
def captured_log(name: str = "app") -> Iterator[Log]:
    """Of the logger `name`; settings are the usual ones at first, and again afterwards."""
    configure_logging()
    stream = io.StringIO()
    handler = cast("logging.StreamHandler[Any]", HANDLER)
    before = handler.setStream(stream)
    try:
        yield Log(stream, f"{name}.said")
    finally:
        handler.setStream(before)
        configure_logging()
