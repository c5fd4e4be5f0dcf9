"""Where log lines go: one line each, to standard output, with nothing in them that breaks lines."""

import logging
import sys
from collections.abc import Collection
from datetime import datetime, timezone

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
OURS = ("app", "models", "connectors", "deployments", "cluster", "manta")
KINDS = (logging.ERROR, logging.WARNING, logging.INFO)
"""Of lines: each is that of the first of these levels that it reaches."""


class _OneLine(logging.Formatter):
    """Escapes control characters, so that a topic or a model name cannot forge a log line.

    A traceback keeps its lines.
    """

    iso8601 = False

    def formatTime(  # noqa: N802 - logging's own name
        self, record: logging.LogRecord, datefmt: str | None = None
    ) -> str:
        if not self.iso8601:
            return super().formatTime(record, datefmt)
        time = datetime.fromtimestamp(record.created, timezone.utc)
        return time.isoformat(timespec="milliseconds")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        text = super().formatMessage(record)
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class _Switches(logging.Filter):
    """Drops lines of the kinds that are switched off."""

    off: Collection[int] = ()

    def filter(self, record: logging.LogRecord) -> bool:
        kind = next((kind for kind in KINDS if record.levelno >= kind), logging.DEBUG)
        return kind not in self.off


_FORMATTER = _OneLine(FORMAT)
_SWITCHES = _Switches()

HANDLER = logging.StreamHandler(sys.__stdout__)
"""Of the product's loggers; whatever else handles their lines is not changed."""

HANDLER.setFormatter(_FORMATTER)
HANDLER.addFilter(_SWITCHES)


def configure_logging(
    level: int = logging.INFO, *, off: Collection[int] = (), iso8601: bool = False
) -> None:
    """Send the product's own log lines to the real standard output.

    Lines below `level` and of the `KINDS` in `off` are not written. Times are local ones, with
    `iso8601` those of UTC in the form of that standard.

    Serve redirects `sys.stdout` of its replicas into its log files; what is written to the real
    one is forwarded to the terminal of `serve run`.
    """
    _SWITCHES.off = off
    _FORMATTER.iso8601 = iso8601
    for name in OURS:
        logger = logging.getLogger(name)
        logger.addHandler(HANDLER)
        logger.setLevel(level)
        logger.propagate = False
