"""The replicas of a model that are on this machine: which of them to ask, or one elsewhere."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from app.errors import MantaError
from app.remote.unix_socket import Channel

LOOK_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.5


class Found(NamedTuple):
    """The sockets of the replicas on this machine, and how many others there are."""

    paths: Sequence[str]
    elsewhere: int


class LocalReplicas:
    """Channels to the replicas of one model that are on this machine.

    They are looked for while there are requests, every LOOK_SECONDS, and sooner while no
    replica is known at all. `look` may raise MantaError; then what was known stays so.
    """

    def __init__(self, name: str, look: Callable[[], Awaitable[Found]]) -> None:
        self._name = name
        self._look = look
        self._channels: dict[str, Channel] = {}
        self._elsewhere = 0
        self._next_look = 0.0
        self._looking: asyncio.Task[None] | None = None

    def channel(self, asked_elsewhere: int) -> Channel | None:
        """The one with the least to do; None where there is none, or where the replicas elsewhere,
        which have `asked_elsewhere` requests of this process, have less to do each."""
        channels = [channel for channel in self._channels.values() if channel.open]
        self._look_when_due(known=bool(channels or self._elsewhere))
        if not channels:
            return None
        best = min(channels, key=lambda channel: channel.waiting)
        if self._elsewhere and best.waiting * self._elsewhere > asked_elsewhere:
            return None
        return best

    def _look_when_due(self, *, known: bool) -> None:
        now = time.monotonic()
        if not known:
            self._next_look = min(self._next_look, now + LOOK_AGAIN_SECONDS)
        if self._looking is None and now >= self._next_look:
            self._looking = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        try:
            paths, elsewhere = await self._look()
            channels = {path: each for path, each in self._channels.items() if each.open}
            for path in paths:
                if path not in channels:
                    try:
                        channels[path] = await Channel.connect(self._name, path)
                    except OSError:  # it has ended since
                        continue
            self._channels, self._elsewhere = channels, elsewhere
        except MantaError:
            pass
        finally:
            self._next_look = time.monotonic() + LOOK_SECONDS
            self._looking = None
