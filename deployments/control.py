"""Models in applications of their own, started and ended while the product runs."""

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any, cast

import grpc
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from app.errors import MantaError, ModelNotReady
from app.interfaces import ModelHandle
from app.types import JsonValue, ModelState
from deployments.args import GatewayArgs, ModelArgs
from deployments.connector import STREAMS_DEPLOYMENT
from deployments.handles import (
    MODEL_DEPLOYMENT,
    STATUS_TIMEOUT_S,
    RemoteModelHandle,
    deployment_handle,
)
from deployments.model import application
from models.control import Applications
from models.loaded_file import Override

LOAD_TIMEOUT_S = 300.0

_INHERITED = ("RAY_SERVE_", "OMP_NUM_THREADS")


class ServeApplications(Applications):
    """Speaks to Serve for a ModelController. To be used on the event loop of a replica."""

    def __init__(
        self, args: GatewayArgs, remote: Callable[[str], RemoteModelHandle], timeout_s: float
    ) -> None:
        self._args = args
        self._remote = remote
        self._timeout_s = timeout_s
        self._handles: dict[tuple[str, str], DeploymentHandle[Any]] = {}

    async def deploy(self, name: str, override: Override) -> ModelHandle:
        """The new process has the environment of this one, since Serve's fast path is in that."""
        args = ModelArgs(
            repositories=self._args.repositories,
            max_model_size_mb=self._args.max_model_size_mb,
            model=name,
            timeout_s=self._timeout_s,
            override=dict(override),
            shared_memory=self._args.shared_memory,
        )
        environment = {k: v for k, v in os.environ.items() if k.startswith(_INHERITED)}
        options = {"num_cpus": 0.1, "runtime_env": {"env_vars": environment}}
        app = application(args, ray_actor_options=options)
        route = f"/v2/models/{name}"
        try:
            await asyncio.to_thread(serve.run, app, name=name, route_prefix=route)
        except (RayError, RayServeException, RuntimeError) as error:
            raise ModelNotReady(f"model {name!r} was given no process: {error}") from error
        return self.handle(name)

    async def delete(self, name: str) -> None:
        self._handles.pop((name, MODEL_DEPLOYMENT), None)
        await asyncio.to_thread(serve.delete, name)

    def handle(self, name: str) -> ModelHandle:
        return self._remote(name)

    async def states(self, name: str) -> tuple[ModelState, ...]:
        try:
            answers = await self._tell(name, MODEL_DEPLOYMENT, "states", timeout_s=STATUS_TIMEOUT_S)
        except ModelNotReady:
            return ()
        return cast(tuple[ModelState, ...], answers[0]) if answers else ()

    async def reload(self, name: str, override: Override | None) -> None:
        await self._tell_holders("reload", name, None if override is None else dict(override))

    async def unload(self, name: str) -> None:
        await self._tell_holders("unload", name)

    async def _tell_holders(self, method: str, name: str, *arguments: JsonValue) -> None:
        """Tell the model's own application where it has one, otherwise those that host streams."""
        if name not in self._args.inline:
            await self._tell(name, MODEL_DEPLOYMENT, method, name, *arguments)
            return
        for streams in self._args.streams:
            await self._tell(streams, STREAMS_DEPLOYMENT, method, name, *arguments)

    async def _tell(
        self,
        app: str,
        deployment: str,
        method: str,
        *arguments: JsonValue,
        timeout_s: float = LOAD_TIMEOUT_S,
    ) -> Sequence[object]:
        """Call a method of every replica. Raises what it raised, or ModelNotReady."""
        handle = self._handles.get((app, deployment))
        if handle is None:
            handle = deployment_handle(deployment, app)
            self._handles[app, deployment] = handle
        try:
            answers = handle.broadcast(method, *arguments).results_async()
            return cast(Sequence[object], await asyncio.wait_for(answers, timeout_s))
        except (asyncio.TimeoutError, RayError, RayServeException, grpc.RpcError) as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, MantaError):
                raise cause from error
            raise ModelNotReady(f"application {app!r} is away") from error
