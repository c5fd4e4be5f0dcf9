"""Actions as log lines."""

import logging
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel

from app.config.connectors import ActionConfig
from app.formats.actions import action_document, action_json
from app.registry import SINKS
from app.types import Action

logger = logging.getLogger("manta.actions")

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class LogConfig(ActionConfig):
    type: Literal["log"] = "log"
    level: Literal["debug", "info", "warning", "error"] = "info"


class LogSink:
    """One line per action: JSON as the text, so no value can break the line, and as `extra`."""

    def __init__(self, config: LogConfig) -> None:
        self._level = _LEVELS[config.level]

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def write(self, action: Action) -> None:
        text = action_json(action).decode()
        logger.log(self._level, "action %s", text, extra={"action": action_document(action)})

    async def close(self) -> None:
        """Nothing to close."""


def _make_sink(config: LogConfig, _connectors: Mapping[str, BaseModel]) -> LogSink:
    return LogSink(config)


SINKS.register("log", LogConfig, _make_sink)
