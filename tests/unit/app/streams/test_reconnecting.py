"""The runner of a source that loses its other side."""

import asyncio
import itertools
import random

import pytest

from app.errors import ConnectorRejected, NotConnected
from tests.fakes.streams import ScriptedSource, message
from tests.unit.app.streams.runners import runner_of, scripted, total
from tests.virtual_time import run_virtual, virtual_loop


def test_reconnects_with_growing_jittered_pauses() -> None:
    async def scenario() -> None:
        refused = [NotConnected("refused") for _ in range(40)]
        source = scripted(message(0), connects=refused)
        runner = runner_of(source, random=lambda: 0.5)
        await runner.run()
        times = source.connect_times
        pauses = [after - before for before, after in itertools.pairwise(times)]
        assert pauses[0] == pytest.approx(0.5)
        assert pauses[1] == pytest.approx(0.6)
        assert pauses == sorted(pauses)
        assert pauses[-1] == pytest.approx(15.0)
        assert source.closes == 41

    run_virtual(scenario())


def test_a_healthy_period_starts_the_back_off_anew() -> None:
    async def scenario() -> None:
        lost = NotConnected("lost")
        source = scripted(1.0, lost, 1.0, lost, 60.0, lost, message(0))
        runner = runner_of(source)
        await runner.run()
        times = source.connect_times
        assert times[1] - times[0] == pytest.approx(1.0 + 1.0)
        assert times[2] - times[1] == pytest.approx(1.0 + 1.2)
        assert times[3] - times[2] == pytest.approx(60.0 + 1.0)
        assert runner.status().reconnects == 3

    run_virtual(scenario())


def test_fault_093_waits_as_long_as_the_other_side_asks() -> None:
    async def scenario() -> None:
        source = scripted(NotConnected("taken over", retry_after=10.0), message(0))
        await runner_of(source, random=lambda: 0.0).run()
        assert source.connect_times[1] - source.connect_times[0] == pytest.approx(10.0)

    run_virtual(scenario())


def test_a_rejected_connector_is_not_tried_again() -> None:
    async def scenario() -> None:
        source = scripted(connects=[ConnectorRejected("bad password")])
        runner = runner_of(source)
        await runner.run()
        assert len(source.connect_times) == 1
        status = runner.status()
        assert (status.state, status.last_error) == ("rejected", "bad password")

    run_virtual(scenario())


def test_an_unforeseen_error_of_the_source_backs_off(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        source = scripted(ValueError("bug"), message(0))
        runner = runner_of(source)
        await runner.run()
        assert total(runner)["processed"] == 1
        assert runner.status().last_error == "bug"

    run_virtual(scenario())


def test_drain_interrupts_a_back_off() -> None:
    async def scenario() -> None:
        source = scripted(connects=[NotConnected("refused", retry_after=1000.0)])
        runner = runner_of(source)
        running = asyncio.create_task(runner.run())
        await asyncio.sleep(1.0)
        await runner.drain(timeout=5.0)
        await running
        assert virtual_loop().monotonic() < 1010.0
        assert runner.status().state == "stopped"

    run_virtual(scenario())


def test_fault_096_many_clients_come_back_spread_out_and_soon() -> None:
    async def scenario() -> None:
        loop = virtual_loop()
        down_until = loop.monotonic() + 60.0

        class Client(ScriptedSource):
            async def connect(self) -> None:
                await super().connect()
                if self.clock.monotonic() < down_until:
                    self.connected = False
                    raise NotConnected("refused")

        chance = random.Random(96)
        clients = [Client(loop, [], ends=False) for _ in range(200)]
        runners = [runner_of(client, random=chance.random) for client in clients]
        tasks = [asyncio.create_task(runner.run()) for runner in runners]
        await asyncio.sleep(60.0 + 30.0)
        assert all(runner.status().state == "running" for runner in runners)
        back = sorted(client.connect_times[-1] - down_until for client in clients)
        assert back[-1] - back[0] >= 5.0
        busiest = max(sum(at <= other < at + 1.0 for other in back) for at in back)
        assert busiest < 60
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run_virtual(scenario())
