"""The gateway application: everything under `/` that is no model of its own."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

from ray import serve
from ray.serve import Application
from starlette.types import ASGIApp

from app.api.dataplane import DataPlane
from app.api.grpc.config import GrpcConfig
from app.api.grpc.server import GrpcServer
from app.api.http.direct_server import direct_servers
from app.api.http.gateway import build_gateway_app
from app.config.pipelines import GatewayConfig
from app.errors import ConfigurationError, ModelNotReady
from app.types import JsonValue
from deployments.args import GatewayArgs, resolved, shared_memory
from deployments.banner import banner_when_ready
from deployments.cleanup import remove_session_after_end
from deployments.composition import Process, check_files
from deployments.connector import STREAMS_DEPLOYMENT
from deployments.control import ServeApplications
from deployments.fast_route import answer_in_front
from deployments.handles import GATEWAY_DEPLOYMENT, MODEL_DEPLOYMENT, RemoteProcesses
from deployments.internal_port import listen_on_node_address
from deployments.options import deploy
from models.repository.loaded_file import LoadedFile
from models.serving.control import ModelController

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = 1.0


class GatewayReplica:
    """Serves its inline models and pipelines, and speaks for the other processes."""

    async def __init__(self, args: GatewayArgs) -> None:  # type: ignore[misc]  # Serve awaits it
        listen_on_node_address()
        asyncio.get_running_loop().run_in_executor(None, remove_session_after_end)
        self._process = Process(args)
        self._dataplane = DataPlane(self._process.models, memory=shared_memory(args))
        self._others = [
            RemoteProcesses(serve.get_replica_context().app_name, GATEWAY_DEPLOYMENT),
            *(RemoteProcesses(name, MODEL_DEPLOYMENT) for name in args.remote),
            *(RemoteProcesses(name, STREAMS_DEPLOYMENT) for name in args.streams),
        ]
        gateway = self._process.config.gateway
        self._control = ModelController(
            self._process.repository,
            self._process.services,
            args.remote,
            ServeApplications(args, self._process.remote, gateway),
            self._dataplane,
            LoadedFile(resolved(args.loaded_models_file)),
        )
        self._dataplane.control = self._control
        self._app = build_gateway_app(
            self._dataplane,
            self._process.host,
            self._statuses,
            gateway.timeout_s,
            gateway.limits,
            gateway.origins,
            gateway.hosts,
        )
        self._servers = direct_servers(self._app, args.direct, gateway.limits)
        await self._process.open()
        with suppress(ModelNotReady):
            await self._control.follow()
        for server in self._servers:
            await server.start()
        answer_in_front(self._app, gateway.limits)
        self._grpc = await started_grpc(args.grpc, self._dataplane, gateway)
        self._following = asyncio.ensure_future(self._follow())
        self._announcement = asyncio.ensure_future(
            banner_when_ready(self._statuses, len(self._others) - 1, args.direct)
        )

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return self._app

    async def status(self) -> dict[str, JsonValue]:
        return self._process.status()

    async def reload(self, model: str, override: Mapping[str, JsonValue] | None) -> None:
        await self._control.hear_load(model, override)

    async def unload(self, model: str) -> None:
        await self._control.hear_unload(model)

    async def check_health(self) -> None:
        self._process.check_health()

    async def _statuses(self) -> list[dict[str, JsonValue]]:
        deployed = [RemoteProcesses(name, MODEL_DEPLOYMENT) for name in self._control.deployed]
        others = (*self._others, *deployed)
        answers = await asyncio.gather(*(other.statuses() for other in others))
        own = self._process.status()
        told = [status for answer in answers for status in answer]
        return [own, *(status for status in told if status["replica"] != own["replica"])]

    async def _follow(self) -> None:
        await self._control.restore()
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            with suppress(ModelNotReady):  # Serve's controller is being replaced
                await self._control.follow()

    async def __del__(self) -> None:
        self._announcement.cancel()
        self._following.cancel()
        for server in self._servers:
            await server.stop()
        if self._grpc is not None:
            await self._grpc.stop()
        await self._process.close()


async def started_grpc(
    config: GrpcConfig | None, dataplane: DataPlane, gateway: GatewayConfig
) -> GrpcServer | None:
    """Raises ConfigurationError, and says it in the log, if the server cannot be started."""
    if config is None:
        return None
    server = GrpcServer(config, dataplane, gateway.timeout_s, gateway.limits)
    try:
        await server.start()
    except ConfigurationError as error:
        logger.error("%s", error)
        raise
    return server


def build(args: GatewayArgs) -> Application:
    check_files(args)
    return deploy(serve.ingress()(GatewayReplica), GATEWAY_DEPLOYMENT, args)
