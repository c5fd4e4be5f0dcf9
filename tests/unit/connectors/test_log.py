import json
import logging

import pytest

from app.types import Action
from connectors.log import LogConfig, LogSink


async def test_one_line_an_action(caplog: pytest.LogCaptureFixture) -> None:
    action = Action("1", "guard", "log", {"text": "two\nlines\r\x1b[31m"}, "door")
    with caplog.at_level(logging.DEBUG):
        await LogSink(LogConfig(level="warning")).write(action)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    text = record.getMessage()
    assert text.isprintable()
    assert json.loads(text.removeprefix("action "))["payload"] == {"text": "two\nlines\r\x1b[31m"}
    assert record.__dict__["action"]["agent"] == "guard"
