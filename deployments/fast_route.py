"""Behind HAProxy, inference requests are answered at the head of a replica's HTTP server, before
Serve's own code.

Serve takes ASGI middleware from a function that RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names,
and puts it around its handling of a request: a task that runs it, another that waits for the client
to go away, request context, metrics. That handling takes longer than the whole of an inference on a
small model (docs/adr/0009). An application whose `runtime_env` sets the variable does without it
for `POST /v2/models/<name>/infer`; its replicas' autoscaling does not see these requests.
"""

import asyncio
import os

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import HTTP_PROTOCOLS

from app.api.http.connection import Connection, answering
from app.api.http.infer_route import model_of_path
from app.config.limits import Limits

_applications: dict[asyncio.AbstractEventLoop, ASGIApp] = {}


def middlewares() -> list[Middleware]:
    """Called by Serve just before a replica's HTTP server starts, in its process."""
    # Serve starts uvicorn with its default protocol; this is the table that names it.
    HTTP_PROTOCOLS["auto"] = "deployments.fast_route:ReplicaConnection"
    return [Middleware(FastRoute)]


def has_haproxy() -> bool:
    """Whether requests come from HAProxy to an HTTP server of Serve's own in this process."""
    return os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1"


def answers_in_front() -> bool:
    """Whether the application answers requests that Serve does not see: behind HAProxy where its
    `runtime_env` lets it, and always where Serve has no part in requests."""
    if not has_haproxy():
        return True
    named = os.environ.get("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH")
    return named == f"{__name__}:{middlewares.__name__}"


def answer_in_front(app: ASGIApp, limits: Limits) -> None:
    """Let `app` have the inference requests that arrive on the running event loop. The replica's
    connections, which Serve opens later, keep to `limits`.

    Serve runs replicas on the loop of its HTTP server where RAY_SERVE_THROUGHPUT_OPTIMIZED is set;
    elsewhere their requests go Serve's way.
    """
    _applications[asyncio.get_running_loop()] = answering(app)
    ReplicaConnection.limits = limits


class ReplicaConnection(Connection):
    """What Serve's own HTTP server makes its connections from, in this process."""


class FastRoute:
    """ASGI: inference requests to the application of this process, all others to Serve."""

    def __init__(self, serve: ASGIApp) -> None:
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            app = _applications.get(asyncio.get_running_loop())
            if app is not None and model_of_path(scope["path"]) is not None:
                await app(scope, receive, send)
                return
        await self._serve(scope, receive, send)
