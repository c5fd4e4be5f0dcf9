"""The guard of tests/unit/conftest.py: one that lets everything through would look the same."""

import asyncio
import socket
import time

import pytest


def test_sockets_are_refused() -> None:
    with socket.socket() as unused:
        with pytest.raises(pytest.fail.Exception, match="may not bind a socket"):
            unused.bind(("127.0.0.1", 0))
        with pytest.raises(pytest.fail.Exception, match="may not connect a socket"):
            unused.connect(("127.0.0.1", 9))


async def test_sockets_of_the_event_loop_are_refused() -> None:
    with pytest.raises(pytest.fail.Exception, match="may not connect a socket"):
        await asyncio.open_connection("127.0.0.1", 9)


def test_sleep_is_refused() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"time\.sleep"):
        time.sleep(0.001)
