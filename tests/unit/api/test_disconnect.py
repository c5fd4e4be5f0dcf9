"""A caller that hangs up while its request waits, in virtual time."""

import asyncio

import pytest
from starlette.types import Message

from app.api.disconnect import PATIENCE_SECONDS, CallerGone, unless_gone
from tests.virtual_time import run_virtual


class Connection:
    """Says that the caller is gone after so many seconds, or never."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self.asked = 0

    async def receive(self) -> Message:
        self.asked += 1
        if self._seconds is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(self._seconds)
        return {"type": "http.disconnect"}


class Work:
    """Takes a second, and knows what became of it."""

    def __init__(self) -> None:
        self.state = "not begun"

    async def run(self) -> str:
        self.state = "running"
        try:
            await asyncio.sleep(1.0)
        except asyncio.CancelledError:
            self.state = "cancelled"
            raise
        self.state = "done"
        return "answer"


def test_fault_036_a_caller_that_hangs_up_takes_its_request_along() -> None:
    async def main() -> None:
        work = Work()
        with pytest.raises(CallerGone):
            await unless_gone(work.run(), Connection(0.1).receive)
        assert work.state == "cancelled"

    run_virtual(main())


def test_a_caller_that_stays_is_answered() -> None:
    async def main() -> None:
        work, connection = Work(), Connection(None)
        assert await unless_gone(work.run(), connection.receive) == "answer"
        assert (work.state, connection.asked) == ("done", 1)

    run_virtual(main())


def test_a_quick_answer_is_not_watched() -> None:
    async def main() -> None:
        async def quick() -> str:
            await asyncio.sleep(PATIENCE_SECONDS / 2)
            return "answer"

        connection = Connection(None)
        assert await unless_gone(quick(), connection.receive) == "answer"
        await asyncio.sleep(1.0)
        assert connection.asked == 0

    run_virtual(main())


def test_a_server_that_stops_is_no_caller_that_hangs_up() -> None:
    async def main() -> None:
        task = asyncio.ensure_future(unless_gone(Work().run(), Connection(None).receive))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main())


def test_errors_pass() -> None:
    async def main() -> None:
        async def fails() -> None:
            raise ValueError("wrong")

        with pytest.raises(ValueError, match="wrong"):
            await unless_gone(fails(), Connection(None).receive)

    run_virtual(main())
