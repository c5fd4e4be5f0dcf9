"""Where a replica can be asked by processes on its own machine, without Ray."""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import ray

from app.remote.local_replicas import Found
from app.remote.unix_socket import ChannelServer, Infer

logger = logging.getLogger(__name__)


class Door(NamedTuple):
    """A socket at `path` on Ray's node `node`; both are empty for none."""

    node: str
    path: str


def found(doors: Sequence[Door]) -> Found:
    """What `doors` are to this process."""
    here = _here()
    paths = [door.path for door in doors if door.path and door.node == here]
    return Found(paths, len(doors) - len(paths))


class NearbyDoor:
    """The replica's own: until it is open, other processes reach the replica through Serve only."""

    def __init__(self, infer: Infer) -> None:
        self._infer = infer
        self._server: ChannelServer | None = None
        self.place = Door("", "")

    async def open(self) -> None:
        place = await asyncio.get_running_loop().run_in_executor(None, _new_place)
        server = ChannelServer(self._infer, Path(place.path))
        try:
            await server.start()
        except OSError as error:
            logger.warning("other processes reach this one through Ray only: %s", error)
            return
        self._server, self.place = server, place

    async def close(self) -> None:
        if self._server is not None:
            await self._server.stop()


def _new_place() -> Door:
    """Among Ray's own sockets on this machine: they are removed together."""
    here = _here()
    nodes: list[dict[str, str]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray has no types
    store = next(node["ObjectStoreSocketName"] for node in nodes if node["NodeID"] == here)
    return Door(here, str(Path(store).with_name(f"manta-{secrets.token_hex(3)}")))


def _here() -> str:
    return ray.get_runtime_context().get_node_id()
