import asyncio
from pathlib import Path

import pytest

from app.errors import ConnectorRejected, EndOfStream
from app.types import Message
from connectors.replay import ReplayConfig, ReplaySource
from tests.fakes.context import StillClock

RECORDING = """\
{"t": 0, "source": "a", "payload": {"n": 1}}
{"t": 1.5, "source": "b", "payload": [2]}

{"t": 4, "source": "a", "payload": 3}
"""


def source_of(clock: StillClock, path: Path, **options: object) -> ReplaySource:
    values = {"id": "rec", "path": str(path), "pipeline": "p", **options}
    return ReplaySource(ReplayConfig.model_validate(values), clock)


async def played(source: ReplaySource, most: int = 100) -> list[Message]:
    messages: list[Message] = []
    await source.connect()
    while len(messages) < most:
        try:
            received = await source.read()
        except EndOfStream:
            break
        await received.ack(True)
        messages.append(received.message)
    await source.close()
    return messages


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text(RECORDING)
    return path


@pytest.mark.parametrize(
    ("speed", "times"), [(1.0, [0, 1.5, 4]), (2.0, [0, 0.75, 2]), (0, [0] * 3)]
)
async def test_plays_a_recording_at_its_speed(
    recording: Path, speed: float, times: list[float]
) -> None:
    messages = await played(source_of(StillClock(), recording, speed=speed))
    assert [message.captured_at - 1000.0 for message in messages] == times
    assert [message.source for message in messages] == ["a", "b", "a"]
    assert [message.content for message in messages] == [{"n": 1}, [2], 3]
    assert {message.pipeline for message in messages} == {"p"}


async def test_ids_are_the_same_in_every_run(recording: Path) -> None:
    first = await played(source_of(StillClock(), recording, loop=True), most=7)
    again = await played(source_of(StillClock(), recording, loop=True), most=7)
    ids = [message.id for message in first]
    assert ids == [message.id for message in again]
    assert len(set(ids)) == 7


async def test_a_loop_goes_on_in_time(recording: Path) -> None:
    messages = await played(source_of(StillClock(), recording, loop=True), most=5)
    assert [message.captured_at - 1000.0 for message in messages] == [0, 1.5, 4, 4, 5.5]


async def test_bad_lines_are_marked_and_the_rest_is_played(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    bad = [
        "{",
        "[]",
        '{"source": "a", "payload": 1}',
        '{"t": -1, "source": "a", "payload": 1}',
        '{"t": 0, "payload": 1}',
        '{"t": 0, "source": "a"}',
    ]
    path.write_text("\n".join([*bad, '{"t": 0, "source": "a", "payload": 1}']))
    messages = await played(source_of(StillClock(), path))
    assert [message.error is not None for message in messages] == [True] * 6 + [False]
    errors = [str(message.error.error) for message in messages if message.error]
    assert errors[0].startswith("line 1: not JSON")
    assert errors[1:] == [
        "line 2: not a JSON object",
        "line 3: t: must be a number of seconds, 0 or more",
        "line 4: t: must be a number of seconds, 0 or more",
        "line 5: source: must be a text",
        "line 6: payload: is missing",
    ]


async def test_an_empty_recording_ends_even_in_a_loop(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n\n")
    assert await played(source_of(StillClock(), path, loop=True)) == []


async def test_plays_pictures_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "c.txt"):
        (tmp_path / name).write_bytes(name.encode())
    for path in (tmp_path, tmp_path / "*.[jp]*"):
        messages = await played(source_of(StillClock(), path, fps=4, loop=True), most=3)
        assert [message.content for message in messages] == [b"a.jpg", b"b.png", b"a.jpg"]
        assert [message.captured_at - 1000.0 for message in messages] == [0, 0.25, 0.5]
    [message] = await played(source_of(StillClock(), tmp_path / "b.png"))
    assert message.content == b"b.png"


@pytest.mark.parametrize("name", ["no.jsonl", "no.jpg", "no/*.jpg", "empty"])
async def test_nothing_there_is_refused(tmp_path: Path, name: str) -> None:
    await asyncio.to_thread((tmp_path / "empty").mkdir)
    with pytest.raises(ConnectorRejected, match="there"):
        await source_of(StillClock(), tmp_path / name).connect()


class Interrupted(StillClock):
    """Cancels the first sleep that is longer than nothing."""

    async def sleep(self, seconds: float) -> None:
        if seconds and not any(self.slept):
            self.slept.append(seconds)
            raise asyncio.CancelledError
        await super().sleep(seconds)


async def test_a_cancelled_read_loses_nothing(recording: Path) -> None:
    source = source_of(Interrupted(), recording)
    await source.connect()
    await source.read()
    with pytest.raises(asyncio.CancelledError):
        await source.read()
    assert (await source.read()).message.source == "b"
    await source.close()
