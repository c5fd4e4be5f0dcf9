"""An application that hosts connectors: each source runs beside the pipelines it feeds."""

from collections.abc import Mapping

from ray.serve import Application

from app.streams.streams import Streams
from app.types import JsonValue
from deployments.args import StreamsArgs
from deployments.composition import Process, check_files
from deployments.internal_port import listen_on_node_address
from deployments.options import deploy

STREAMS_DEPLOYMENT = "Streams"


class StreamsReplica:
    """Runs its connectors from its first moment to its last. It has no HTTP route.

    A source that is away does not make the replica unhealthy: a restart would not bring it back.
    """

    async def __init__(self, args: StreamsArgs) -> None:  # type: ignore[misc]  # Serve awaits it
        listen_on_node_address()
        self._process = Process(args)
        self._streams = Streams(
            self._process.connectors(args.connectors), self._process.host, self._process.clock
        )
        await self._process.open()
        self._streams.start()

    async def status(self) -> dict[str, JsonValue]:
        return self._process.status(connectors=self._streams.status())

    async def reload(self, model: str, override: Mapping[str, JsonValue] | None) -> None:
        await self._process.reload(model, override)

    async def unload(self, model: str) -> None:
        await self._process.unload(model)

    async def check_health(self) -> None:
        self._process.check_health()

    async def __del__(self) -> None:
        await self._streams.stop()
        await self._process.close()


def build(args: StreamsArgs) -> Application:
    check_files(args)
    return deploy(StreamsReplica, STREAMS_DEPLOYMENT, args)
