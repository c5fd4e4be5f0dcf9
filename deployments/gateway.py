"""The gateway application: everything under `/` that is no model of its own."""

import asyncio

from ray import serve
from ray.serve import Application
from starlette.types import ASGIApp

from app.api.dataplane import DataPlane
from app.api.gateway import build_gateway_app
from app.types import JsonValue
from deployments.announce import announce
from deployments.args import GatewayArgs, resolved
from deployments.cleanup import remove_session_after_end
from deployments.connector import STREAMS_DEPLOYMENT
from deployments.control import ServeApplications
from deployments.handles import MODEL_DEPLOYMENT, RemoteProcesses
from deployments.options import deploy
from deployments.process import Process, check_files
from models.control import ModelController
from models.loaded_file import LoadedFile


class GatewayReplica:
    """Serves its inline models and pipelines, and speaks for the other processes."""

    async def __init__(self, args: GatewayArgs) -> None:  # type: ignore[misc]  # Serve awaits it
        asyncio.get_running_loop().run_in_executor(None, remove_session_after_end)
        self._process = Process(args)
        self._dataplane = DataPlane(self._process.models)
        self._others = [
            *(RemoteProcesses(name, MODEL_DEPLOYMENT) for name in args.remote),
            *(RemoteProcesses(name, STREAMS_DEPLOYMENT) for name in args.streams),
        ]
        timeout_s = self._process.config.gateway.timeout_s
        self._control = ModelController(
            self._process.repository,
            self._process.services,
            args.remote,
            ServeApplications(args, self._process.remote, timeout_s),
            self._dataplane,
            LoadedFile(resolved(args.loaded_models_file)),
        )
        await self._process.open()
        self._restoring = asyncio.ensure_future(self._control.restore())
        self._announcement = asyncio.ensure_future(announce(self._statuses, len(self._others)))

    def __serve_build_asgi_app__(self) -> ASGIApp:
        timeout_s = self._process.config.gateway.timeout_s
        return build_gateway_app(self._dataplane, self._process.host, self._statuses, timeout_s)

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
        await self._process.close()


def build(args: GatewayArgs) -> Application:
    check_files(args)
    return deploy(serve.ingress()(GatewayReplica), "Gateway", args)
