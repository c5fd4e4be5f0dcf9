"""Which lines of the log are written, and in which form."""

import logging

import pytest

from app.telemetry.logging import OURS, configure_logging
from tests.fakes.log import captured_log


@pytest.mark.parametrize("name", OURS)
def test_kinds_are_switched_off_for_every_logger_of_the_product(name: str) -> None:
    with captured_log(name) as log:
        assert log.kinds() == ["info", "warning", "error"]
        configure_logging(logging.DEBUG, off=[logging.INFO, logging.ERROR])
        assert log.kinds() == ["debug", "warning"]
        configure_logging()
        assert log.kinds() == ["info", "warning", "error"]


def test_a_level_between_two_kinds_is_of_the_lower_one() -> None:
    with captured_log() as log:
        logger = logging.getLogger("app.said")
        configure_logging(off=[logging.ERROR])
        for level in (logging.CRITICAL, logging.WARNING + 1):
            logger.log(level, "a line of level %d", level)
        assert [line.rpartition(" ")[2] for line in log.written()] == ["31"]


@pytest.mark.parametrize("iso8601", [False, True])
def test_security_s20_a_line_cannot_be_forged(iso8601: bool) -> None:
    with captured_log() as log:
        configure_logging(iso8601=iso8601)
        logging.getLogger("app.said").warning("topic a\nERROR b\x1b[0m\u2028c")
        [line] = log.written()
        assert line.endswith(r"WARNING app.said: topic a\nERROR b\x1b[0m\u2028c")
