"""The standard health service, `grpc.health.v1.Health`, telling what `ServerReady` tells.

The format: gRPC's "GRPC Health Checking Protocol".
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NoReturn, Protocol

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

WATCH_SECONDS = 1.0


class Context(Protocol):
    """What is used of grpc.aio's ServicerContext."""

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn: ...


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it has no types
    """`services` are the names that may be asked about; the empty one is the whole server."""

    def __init__(self, ready: Callable[[], Awaitable[bool]], services: tuple[str, ...]) -> None:
        self._ready = ready
        self._services = ("", *services)
        self._closing = False

    def close(self) -> None:
        """Tell from now on that nothing is served, so that callers go elsewhere."""
        self._closing = True

    async def Check(  # noqa: N802 - the protocol's name
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in self._services:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"there is no service {request.service!r}"
            )
        return health_pb2.HealthCheckResponse(status=await self._status(request.service))

    async def Watch(  # noqa: N802 - the protocol's name
        self, request: health_pb2.HealthCheckRequest, _: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """One answer now, and one for each change."""
        told = None
        while True:
            status = await self._status(request.service)
            if status != told:
                yield health_pb2.HealthCheckResponse(status=status)
                told = status
            await asyncio.sleep(WATCH_SECONDS)

    async def _status(self, service: str) -> int:
        answer = health_pb2.HealthCheckResponse
        if service not in self._services:
            return int(answer.SERVICE_UNKNOWN)
        is_ready = not self._closing and await self._ready()
        return int(answer.SERVING if is_ready else answer.NOT_SERVING)
