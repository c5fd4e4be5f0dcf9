"""Recordings and pictures from files, as a source."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import orjson
from pydantic import Field

from app.config.connectors import ConnectorConfig, OnFull
from app.config.paths import PathInFile
from app.errors import ConnectorRejected, EndOfStream, InvalidInput, NotConnected
from app.interfaces import Clock, Received
from app.registry import SOURCES
from app.types import Message

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


class ReplayConfig(ConnectorConfig):
    """`path` is a recording, a picture, a directory of pictures, or a pattern with `*`.

    A recording (`.jsonl`) has one JSON object a line: `t` in seconds since its start, `source`,
    and `payload`, any JSON value. It is played `speed` times as fast as it was made, 0 meaning as
    fast as possible. Pictures, in the order of their names, come `fps` a second, 0 likewise, and
    are delivered encoded. `loop` starts again at the end. By default nothing is left out.
    """

    type: Literal["file", "FileSource"] = "file"
    path: PathInFile = Field(min_length=1)
    pipeline: str = ""
    speed: float = Field(default=1.0, ge=0, le=1000)
    fps: float = Field(default=1.0, ge=0, le=1000)
    loop: bool = False
    on_full: OnFull = "block"

    def routes(self) -> tuple[str, ...]:
        return (self.pipeline,) if self.pipeline else ()


class _Entry(NamedTuple):
    """What comes next: when, in seconds since the start of this round, and its place in it."""

    after: float
    place: int
    source: str
    content: object
    error: InvalidInput | None = None


class ReplaySource:
    """Plays files from their start after every connect.

    Message ids are made of the connector, the round and the place in it: the same in every run.
    """

    def __init__(self, config: ReplayConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._entries: Iterator[_Entry] | None = None
        self._next: _Entry | None = None
        self._round = 0
        self._started = 0.0
        self._last_due = 0.0

    async def connect(self) -> None:
        self._round = 0
        self._started = self._clock.monotonic()
        self._last_due = 0.0
        self._next = None
        self._entries = await asyncio.to_thread(self._open)

    async def read(self) -> Received:
        if self._entries is None:
            raise NotConnected("the file is not open")
        # Kept until it is due: a read that is cancelled while it waits loses nothing.
        if self._next is None:
            self._next = await self._following(self._entries)
        entry = self._next
        await self._clock.sleep(max(0.0, self._started + entry.after - self._clock.monotonic()))
        self._next = None
        self._last_due = entry.after
        return Received(self._message(entry), _nothing_to_acknowledge)

    async def close(self) -> None:
        self._entries = None
        self._next = None

    async def _following(self, entries: Iterator[_Entry]) -> _Entry:
        entry = next(entries, None)
        if entry is not None:
            return entry
        entries = await asyncio.to_thread(self._open) if self._config.loop else iter(())
        entry = next(entries, None)
        if entry is None:
            raise EndOfStream
        self._entries = entries
        self._round += 1
        # The next round starts where this one ended, one picture later.
        self._started += self._last_due + (0.0 if self._is_recording else self._picture_gap)
        return entry

    @property
    def _is_recording(self) -> bool:
        return _is_recording(self._config.path)

    @property
    def _picture_gap(self) -> float:
        return 1.0 / self._config.fps if self._config.fps else 0.0

    def _open(self) -> Iterator[_Entry]:
        if reason := not_there(self._config.path):
            raise ConnectorRejected(reason)
        if self._is_recording:
            return self._recorded(Path(self._config.path))
        return self._pictured(_pictures(self._config.path))

    def _recorded(self, path: Path) -> Iterator[_Entry]:
        latest = 0.0
        with path.open("rb") as lines:
            for place, line in enumerate(lines):
                if not line.strip():
                    continue
                try:
                    offset, source, payload = _parse(line)
                except InvalidInput as error:
                    reason = InvalidInput(f"line {place + 1}: {error}")
                    yield _Entry(latest, place, self._config.id, line, reason)
                    continue
                latest = offset / self._config.speed if self._config.speed else 0.0
                yield _Entry(latest, place, source, payload)

    def _pictured(self, pictures: list[Path]) -> Iterator[_Entry]:
        for place, path in enumerate(pictures):
            yield _Entry(place * self._picture_gap, place, self._config.id, path.read_bytes())

    def _message(self, entry: _Entry) -> Message:
        message = Message(
            id=f"{self._config.id}-{self._round}-{entry.place}",
            source=entry.source,
            content=entry.content,
            captured_at=self._clock.time(),
            pipeline=self._config.pipeline,
            metadata={"connector": self._config.id},
        )
        return message if entry.error is None else message.with_error("decode", entry.error)


def not_there(path: str) -> str | None:
    """Why nothing can be played from `path`; None where something can."""
    if _is_recording(path):
        return None if Path(path).is_file() else f"there is no recording {path!r}"
    return None if _pictures(path) else f"there are no pictures at {path!r}"


def _is_recording(path: str) -> bool:
    return path.endswith(".jsonl")


def _parse(line: bytes) -> tuple[float, str, object]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise InvalidInput("not a JSON object")
    offset, source = record.get("t"), record.get("source")
    if isinstance(offset, bool) or not isinstance(offset, int | float) or not offset >= 0:
        raise InvalidInput("t: must be a number of seconds, 0 or more")
    if not isinstance(source, str) or not source:
        raise InvalidInput("source: must be a text")
    if "payload" not in record:
        raise InvalidInput("payload: is missing")
    return float(offset), source, record["payload"]


def _pictures(pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.is_dir():
        found = [entry for entry in path.iterdir() if entry.suffix.lower() in PICTURES]
    elif path.is_file():
        found = [path]
    else:
        below = path.relative_to(path.anchor)
        found = [entry for entry in Path(path.anchor).glob(str(below)) if entry.is_file()]
    return sorted(found)


async def _nothing_to_acknowledge(_accepted: bool) -> None:
    """A file keeps what it has."""


SOURCES.register("file", ReplayConfig, ReplaySource, aliases=("FileSource",))
