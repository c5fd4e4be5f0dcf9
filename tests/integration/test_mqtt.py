"""The MQTT connector against a real Mosquitto."""

import asyncio
import os
import signal
import sys
import time

import pytest

from app.clock import SystemClock
from app.errors import NotConnected
from app.pipeline.outcome import Outcome
from app.types import Message
from connectors.mqtt import MqttSource
from tests.integration.mosquitto import Mosquitto
from tests.integration.mqtt import (
    JPEG,
    collecting,
    config_of,
    connected,
    numbers,
    publish,
    runner_of,
    running,
    total,
    until,
)
from tests.paths import ROOT

pytestmark = pytest.mark.integration


async def test_json_and_jpeg_reach_their_pipelines(mosquitto: Mosquitto) -> None:
    messages: list[Message] = []
    runner = runner_of(config_of(mosquitto), collecting(messages))
    async with running(runner):
        await until(lambda: runner.status().state == "running")
        await publish(mosquitto, "sensors/a/env", b'{"co2_ppm": 900, "id": "reading-7"}')
        await publish(mosquitto, "sensors/b/frame", JPEG)
        await until(lambda: total(runner)["processed"] == 2)
    env, frame = sorted(messages, key=lambda message: message.source)
    assert (env.pipeline, env.content) == ("env-quality", {"co2_ppm": 900, "id": "reading-7"})
    assert env.id == "sensors/a/env#reading-7"
    assert (frame.pipeline, frame.source, frame.content) == ("vision", "sensors/b/frame", JPEG)
    assert abs(frame.captured_at - time.time()) < 60


async def test_acknowledged_only_after_processing(mosquitto: Mosquitto) -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    async def process(message: Message) -> Outcome:
        started.set()
        await finish.wait()
        return Outcome("processed", None, message)

    runner = runner_of(config_of(mosquitto), process)
    async with running(runner):
        await until(lambda: runner.status().state == "running")
        await publish(mosquitto, "sensors/a/env", b"{}")
        await started.wait()
        await asyncio.sleep(0.1)
        assert "Received PUBACK from manta-test" not in mosquitto.log()
        finish.set()
        await until(lambda: "Received PUBACK from manta-test" in mosquitto.log())


async def test_the_receive_maximum_bounds_what_is_in_flight(mosquitto: Mosquitto) -> None:
    source = MqttSource(config_of(mosquitto, receive_maximum=3), SystemClock())
    await source.connect()
    try:
        await publish(mosquitto, "sensors/a/env", *(b"{}" for _ in range(10)))
        received = [await source.read() for _ in range(3)]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(source.read(), 0.2)
        await received[0].ack(True)
        await asyncio.wait_for(source.read(), 5.0)
    finally:
        await source.close()


async def test_fault_089_broker_killed_and_restarted(mosquitto: Mosquitto) -> None:
    messages: list[Message] = []
    runner = runner_of(config_of(mosquitto), collecting(messages), jitter=0.5)
    async with running(runner):
        await until(lambda: runner.status().state == "running")
        await publish(mosquitto, "sensors/a/env", *(b'{"n": %d}' % n for n in range(20)))
        await until(lambda: total(runner)["processed"] == 20)
        # What the broker loses because it did not save yet is not the connector's loss.
        saved_at = mosquitto.saved_at()
        await until(lambda: mosquitto.saved_at() > saved_at)
        mosquitto.kill()
        await until(lambda: runner.status().state == "backing_off")
        await asyncio.sleep(10.0)
        mosquitto.start()
        back = time.monotonic()
        await publish(mosquitto, "sensors/a/env", *(b'{"n": %d}' % n for n in range(20, 120)))
        await until(lambda: numbers(messages) == set(range(120)))
        assert time.monotonic() - back < 5.0
        assert runner.status().reconnects == 1
        await publish(mosquitto, "sensors/b/frame", JPEG)
        await until(lambda: messages[-1].content == JPEG)
    assert total(runner)["in_flight"] == 0


VICTIM = """
import asyncio, sys
from app.clock import SystemClock
from connectors.mqtt import MqttConfig, MqttSource

async def main():
    source = MqttSource(MqttConfig.model_validate_json(sys.argv[1]), SystemClock())
    await source.connect()
    print("connected", flush=True)
    received = await source.read()
    print(received.message.id, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_fault_091_095_process_killed_between_receive_and_ack(mosquitto: Mosquitto) -> None:
    config = config_of(mosquitto, status_topic="manta/floor1")
    async with connected(mosquitto) as watcher:
        await watcher.subscribe([("manta/floor1", 1)])
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            VICTIM,
            config.model_dump_json(),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdout is not None
        try:
            assert await asyncio.wait_for(process.stdout.readline(), 20) == b"connected\n"
            assert (await asyncio.wait_for(watcher.receive(), 5)).payload == b'{"status":"online"}'
            await publish(mosquitto, "sensors/a/env", b'{"co2_ppm": 900}')
            first = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        will = await asyncio.wait_for(watcher.receive(), 5)
        assert will.payload == b'{"status":"offline"}'

        source = MqttSource(config, SystemClock())
        await source.connect()
        try:
            again = await asyncio.wait_for(source.read(), 5)
            assert again.message.id == first
            await again.ack(True)
            birth = await asyncio.wait_for(watcher.receive(), 5)
            assert birth.payload == b'{"status":"online"}'
        finally:
            await source.close()
        assert (await asyncio.wait_for(watcher.receive(), 5)).payload == b'{"status":"offline"}'


async def test_fault_092_a_silent_broker_is_noticed(mosquitto: Mosquitto) -> None:
    runner = runner_of(config_of(mosquitto, keepalive=3), collecting([]))
    async with running(runner):
        await until(lambda: runner.status().state == "running")
        mosquitto.freeze()
        frozen = time.monotonic()
        try:
            await until(lambda: runner.status().state == "backing_off", 1.5 * 3 + 2.0)
        finally:
            mosquitto.thaw()
        # paho looks at its timers once a second.
        assert time.monotonic() - frozen < 1.5 * 3 + 1.0
        await until(lambda: runner.status().state == "running", 5.0)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_fault_093_two_clients_with_one_id(mosquitto: Mosquitto, protocol: str) -> None:
    config = config_of(mosquitto, protocol=protocol)
    runners = [runner_of(config, collecting([])) for _ in range(2)]
    async with running(runners[0]), running(runners[1]):
        await until(lambda: any("client id" in (r.status().last_error or "") for r in runners), 5.0)
        await asyncio.sleep(0.5)
        before = sum(runner.status().reconnects for runner in runners)
        await asyncio.sleep(2.0)
        assert sum(runner.status().reconnects for runner in runners) == before < 8


async def test_fault_094_bad_payloads_are_counted_and_the_stream_goes_on(
    mosquitto: Mosquitto,
) -> None:
    await publish(mosquitto, "sensors/r/env", b"retained junk", retain=True)
    messages: list[Message] = []
    runner = runner_of(config_of(mosquitto), collecting(messages))
    async with running(runner):
        await until(lambda: runner.status().state == "running")
        bad = [b"{", b"\xff\xfe", b"", b"NaN", b"[" * 200_000, b"x" * (10 * 2**20)]
        await publish(mosquitto, "sensors/a/env", *bad)
        await publish(mosquitto, "sensors/a/frame", b"\x89PNG")
        await publish(mosquitto, "sensors/a/env", b'{"co2_ppm": 900}')
        await until(lambda: total(runner)["processed"] == 1)
        await until(lambda: total(runner)["in_flight"] == 0)
    assert total(runner)["dropped"] == {"invalid": 8}
    assert messages[0].content == {"co2_ppm": 900}
    assert runner.status().reconnects == 0


async def test_a_wrong_password_is_rejected(locked_mosquitto: Mosquitto) -> None:
    config = config_of(locked_mosquitto, username="edge", password="wrong")
    runner = runner_of(config, collecting([]))
    await asyncio.wait_for(runner.run(), 10)
    status = runner.status()
    assert status.state == "rejected"
    assert "wrong" not in str(status.last_error)
    assert "refuses" in str(status.last_error)


async def test_the_right_password_lets_in(locked_mosquitto: Mosquitto) -> None:
    config = config_of(locked_mosquitto, username="edge", password="right")
    source = MqttSource(config, SystemClock())
    await source.connect()
    await source.close()


async def test_nobody_listens(mosquitto: Mosquitto) -> None:
    mosquitto.stop()
    source = MqttSource(config_of(mosquitto), SystemClock())
    with pytest.raises(NotConnected, match=r"cannot reach the broker at 127\.0\.0\.1"):
        await source.connect()
    await source.close()
