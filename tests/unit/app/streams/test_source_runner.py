import asyncio
import logging

import pytest

from app.errors import NotConnected
from app.pipeline.outcome import Outcome
from app.streams.source_runner import default_queue_depth
from app.types import Message
from tests.fakes.streams import Step, message
from tests.unit.app.streams.runners import runner_of, scripted, slow, total
from tests.virtual_time import run_virtual, virtual_loop


def test_processes_and_acknowledges_everything_then_finishes() -> None:
    async def scenario() -> None:
        source = scripted(*(message(n) for n in range(5)))
        runner = runner_of(source)
        await runner.run()
        assert source.acks == {str(n): True for n in range(5)}
        assert runner.status().state == "finished"
        assert total(runner) == {
            "captured": 5,
            "processed": 5,
            "downgraded": 0,
            "dropped": {},
            "in_flight": 0,
        }
        assert source.closes == 1

    run_virtual(scenario())


def test_counts_what_the_pipeline_says() -> None:
    async def scenario() -> None:
        async def process(message: Message) -> Outcome:
            if message.id == "0":
                return Outcome("downgraded", "small_model", message)
            return Outcome("dropped", "filtered", message)

        runner = runner_of(scripted(message(0), message(1)), process)
        await runner.run()
        assert total(runner)["downgraded"] == 1
        assert total(runner)["dropped"] == {"filtered": 1}

    run_virtual(scenario())


def test_fault_101_slow_consumer_gets_the_newest_frames() -> None:
    async def scenario() -> None:
        seen: list[str] = []

        async def process(message: Message) -> Outcome:
            await asyncio.sleep(10.0)
            seen.append(message.id)
            return Outcome("processed", None, message)

        frames: list[Step] = []
        for number in range(10):
            frames += [1.0, message(number)]
        source = scripted(*frames)
        runner = runner_of(source, process, depth=2)
        await runner.run()
        assert seen == ["0", "8", "9"]
        assert total(runner)["dropped"] == {"queue_full": 7}
        assert len(source.acks) == 10

    run_virtual(scenario())


def test_drop_newest_keeps_what_waits() -> None:
    async def scenario() -> None:
        source = scripted(*(message(n) for n in range(6)))
        seen: list[str] = []

        async def process(message: Message) -> Outcome:
            await asyncio.sleep(1.0)
            seen.append(message.id)
            return Outcome("processed", None, message)

        runner = runner_of(source, process, depth=2, on_full="drop_newest")
        await runner.run()
        assert seen == ["0", "1", "2"]
        assert total(runner)["dropped"] == {"queue_full": 3}

    run_virtual(scenario())


def test_block_stops_reading_and_loses_nothing() -> None:
    async def scenario() -> None:
        source = scripted(*(message(n) for n in range(50)))
        most = 0

        async def process(message: Message) -> Outcome:
            nonlocal most
            most = max(most, len(source.delivered) - len(source.acks))
            await asyncio.sleep(1.0)
            return Outcome("processed", None, message)

        runner = runner_of(source, process, depth=3, on_full="block")
        await runner.run()
        assert total(runner)["processed"] == 50
        assert most <= 4

    run_virtual(scenario())


def test_messages_of_one_source_keep_their_order_while_sources_overlap() -> None:
    async def scenario() -> None:
        running: set[str] = set()
        order: dict[str, list[int]] = {"a": [], "b": [], "c": []}
        most = 0

        async def process(message: Message) -> Outcome:
            nonlocal most
            assert message.source not in running
            running.add(message.source)
            most = max(most, len(running))
            await asyncio.sleep(1.0 + int(message.id) % 3)
            running.remove(message.source)
            order[message.source].append(int(message.id))
            return Outcome("processed", None, message)

        source = scripted(*(message(n, "abc"[n % 3]) for n in range(30)))
        await runner_of(source, process, concurrency=3).run()
        assert most == 3
        assert all(numbers == sorted(numbers) for numbers in order.values())

    run_virtual(scenario())


def test_late_messages_are_dropped_before_any_work() -> None:
    async def scenario() -> None:
        seen: list[str] = []

        async def process(message: Message) -> Outcome:
            seen.append(message.id)
            await asyncio.sleep(5.0)
            return Outcome("processed", None, message)

        now = virtual_loop().monotonic()
        source = scripted(message(0), message(1, deadline=now + 4.9), message(2, deadline=now + 60))
        runner = runner_of(source, process)
        await runner.run()
        assert seen == ["0", "2"]
        assert total(runner)["dropped"] == {"late": 1}
        assert source.acks["1"] is True

    run_virtual(scenario())


def test_fault_094_undecodable_messages_reach_the_pipeline_which_drops_them() -> None:
    async def scenario() -> None:
        async def process(message: Message) -> Outcome:
            if message.error is not None:
                return Outcome("dropped", "invalid", message)
            return Outcome("processed", None, message)

        source = scripted(message(0, undecodable=True), message(1))
        runner = runner_of(source, process)
        await runner.run()
        assert total(runner)["dropped"] == {"invalid": 1}
        assert total(runner)["processed"] == 1
        assert source.acks == {"0": True, "1": True}

    run_virtual(scenario())


def test_a_raising_pipeline_does_not_end_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async def process(message: Message) -> Outcome:
            if message.id == "0":
                raise ValueError("bug")
            return Outcome("processed", None, message)

        runner = runner_of(scripted(message(0), message(1)), process)
        await runner.run()
        assert total(runner)["dropped"] == {"failed": 1}
        assert total(runner)["processed"] == 1

    run_virtual(scenario())


def test_logs_only_when_the_state_changes(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        source = scripted(message(0), connects=[NotConnected("refused") for _ in range(20)])
        await runner_of(source).run()

    with caplog.at_level(logging.INFO):
        run_virtual(scenario())
    assert [record.getMessage() for record in caplog.records] == [
        "connector 'test' is backing_off: refused",
        "connector 'test' is running",
        "connector 'test' is finished",
    ]


def test_drain_finishes_what_was_read() -> None:
    async def scenario() -> None:
        source = scripted(*(message(n) for n in range(5)), ends=False)
        runner = runner_of(source, slow(1.0))
        running = asyncio.create_task(runner.run())
        await asyncio.sleep(0.5)
        await runner.drain(timeout=60.0)
        await running
        assert source.acks == {str(n): True for n in range(5)}
        assert runner.status().state == "stopped"
        assert virtual_loop().monotonic() < 1010.0

    run_virtual(scenario())


def test_drain_gives_back_what_it_has_no_time_for() -> None:
    async def scenario() -> None:
        source = scripted(*(message(n) for n in range(5)), ends=False)
        runner = runner_of(source, slow(1.0))
        running = asyncio.create_task(runner.run())
        await asyncio.sleep(0.5)
        await runner.drain(timeout=2.0)
        await running
        assert source.acks == {"0": True, "1": True, "2": False, "3": False, "4": False}
        assert total(runner)["dropped"] == {"shutdown": 3}
        assert total(runner)["in_flight"] == 0
        assert not source.connected

    run_virtual(scenario())


def test_a_failing_ack_is_counted_and_the_stream_goes_on() -> None:
    async def scenario() -> None:
        source = scripted(message(0), message(0), message(1))
        runner = runner_of(source)
        await runner.run()
        assert source.acks == {"0": True, "1": True}
        assert runner.status().ack_failures == 1
        assert total(runner)["processed"] == 3

    run_virtual(scenario())


def test_default_queue_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VU_PIPELINE_QUEUE_SIZE", raising=False)
    assert default_queue_depth() == 512
    monkeypatch.setenv("VU_PIPELINE_QUEUE_SIZE", "7")
    assert default_queue_depth() == 7
