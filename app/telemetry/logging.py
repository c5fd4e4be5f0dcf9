"""Where log lines go: one line each, to standard output, with nothing in them that breaks lines."""

import logging
import sys

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
OURS = ("app", "models", "connectors", "deployments", "cluster", "manta")


class _OneLine(logging.Formatter):
    """Escapes control characters, so that a topic or a model name cannot forge a log line.

    A traceback keeps its lines.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        text = super().formatMessage(record)
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def configure_logging(level: int = logging.INFO) -> None:
    """Send the product's own log lines to the real standard output.

    Serve redirects `sys.stdout` of its replicas into its log files; what is written to the real
    one is forwarded to the terminal of `serve run`.
    """
    for name in OURS:
        logger = logging.getLogger(name)
        if not logger.handlers:
            handler = logging.StreamHandler(sys.__stdout__)
            handler.setFormatter(_OneLine(FORMAT))
            logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
