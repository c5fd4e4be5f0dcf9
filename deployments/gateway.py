"""The gateway application: everything under `/` that is no model of its own."""

import asyncio
import logging

from ray import serve
from ray.serve import Application
from starlette.types import ASGIApp

from app.api.dataplane import DataPlane
from app.api.direct import direct_doors
from app.api.gateway import build_gateway_app
from app.api.grpc_config import GrpcConfig
from app.api.grpc_server import GrpcServer
from app.config import GatewayConfig
from app.errors import ConfigurationError
from app.types import JsonValue
from deployments.announce import announce
from deployments.args import GatewayArgs, resolved, shared_memory
from deployments.cleanup import remove_session_after_end
from deployments.connector import STREAMS_DEPLOYMENT
from deployments.control import ServeApplications
from deployments.front import answer_in_front
from deployments.handles import MODEL_DEPLOYMENT, RemoteProcesses
from deployments.options import deploy
from deployments.process import Process, check_files
from models.control import ModelController
from models.loaded_file import LoadedFile

logger = logging.getLogger(__name__)


class GatewayReplica:
    """Serves its inline models and pipelines, and speaks for the other processes."""

    async def __init__(self, args: GatewayArgs) -> None:  # type: ignore[misc]  # Serve awaits it
        asyncio.get_running_loop().run_in_executor(None, remove_session_after_end)
        self._process = Process(args)
        self._dataplane = DataPlane(self._process.models, memory=shared_memory(args))
        self._others = [
            *(RemoteProcesses(name, MODEL_DEPLOYMENT) for name in args.remote),
            *(RemoteProcesses(name, STREAMS_DEPLOYMENT) for name in args.streams),
        ]
        gateway = self._process.config.gateway
        self._control = ModelController(
            self._process.repository,
            self._process.services,
            args.remote,
            ServeApplications(args, self._process.remote, gateway.timeout_s),
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
        )
        self._doors = direct_doors(self._app, args.direct)
        await self._process.open()
        for door in self._doors:
            await door.start()
        answer_in_front(self._app)
        self._grpc = await started_grpc(args.grpc, self._dataplane, gateway)
        self._restoring = asyncio.ensure_future(self._control.restore())
        self._announcement = asyncio.ensure_future(announce(self._statuses, len(self._others)))

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return self._app

    async def status(self) -> dict[str, JsonValue]:
        return self._process.status()

    async def check_health(self) -> None:
        self._process.check_health()

    async def _statuses(self) -> list[dict[str, JsonValue]]:
        deployed = [RemoteProcesses(name, MODEL_DEPLOYMENT) for name in self._control.deployed]
        others = (*self._others, *deployed)
        answers = await asyncio.gather(*(other.statuses() for other in others))
        return [self._process.status(), *(status for answer in answers for status in answer)]

    async def __del__(self) -> None:
        self._announcement.cancel()
        self._restoring.cancel()
        for door in self._doors:
            await door.stop()
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
    return deploy(serve.ingress()(GatewayReplica), "Gateway", args)
