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


class SocketAddress(NamedTuple):
    """A socket at `path` on Ray's node `node`; both are empty for none."""

    node: str
    path: str


def found(addresses: Sequence[SocketAddress]) -> Found:
    """What `addresses` are to this process."""
    here = _here()
    paths = [each.path for each in addresses if each.path and each.node == here]
    return Found(paths, len(addresses) - len(paths))


class LocalSocket:
    """The replica's own: until it is open, other processes reach the replica through Serve only."""

    def __init__(self, infer: Infer) -> None:
        self._infer = infer
        self._server: ChannelServer | None = None
        self.address = SocketAddress("", "")

    async def open(self) -> None:
        address = await asyncio.get_running_loop().run_in_executor(None, _new_address)
        server = ChannelServer(self._infer, Path(address.path))
        try:
            await server.start()
        except OSError as error:
            logger.warning("other processes reach this one through Ray only: %s", error)
            return
        self._server, self.address = server, address

    async def close(self) -> None:
        if self._server is not None:
            await self._server.stop()


def _new_address() -> SocketAddress:
    """Among Ray's own sockets on this machine: they are removed together."""
    here = _here()
    nodes: list[dict[str, str]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray has no types
    store = next(node["ObjectStoreSocketName"] for node in nodes if node["NodeID"] == here)
    return SocketAddress(here, str(Path(store).with_name(f"manta-{secrets.token_hex(3)}")))


def _here() -> str:
    return ray.get_runtime_context().get_node_id()
