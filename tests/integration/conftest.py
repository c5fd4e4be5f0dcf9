from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.mosquitto import MOSQUITTO, MOSQUITTO_PASSWD, Mosquitto


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running broker that anyone may enter."""
    if MOSQUITTO is None:
        pytest.skip("the broker `mosquitto` is not installed")
    yield from _running(Mosquitto(tmp_path))


@pytest.fixture
def locked_mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running broker that lets in user "edge" with password "right" only."""
    if MOSQUITTO is None or MOSQUITTO_PASSWD is None:
        pytest.skip("the broker `mosquitto` or `mosquitto_passwd` is not installed")
    yield from _running(Mosquitto(tmp_path, password="right"))


def _running(broker: Mosquitto) -> Iterator[Mosquitto]:
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
