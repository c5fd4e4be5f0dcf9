"""Settings of Serve for requests that Serve does not see, and what to write instead.

Serve sees a request to a model or a pipeline where its proxy leads there and the application does
not answer in front of it (`deployments.fast_route`). The gateway's own ports never pass Serve.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from app.config.yaml_file import error_at
from app.errors import ConfigurationError
from deployments.checks.serve_config import (
    Application,
    DeploymentOptions,
    ModelApplication,
    OtherApplication,
    ServeConfig,
    StreamsApplication,
)

HAPROXY = "RAY_SERVE_ENABLE_HA_PROXY"
IN_FRONT = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
FAST_ROUTE = "deployments.fast_route:middlewares"

TIMEOUT = (
    "write gateway.timeout_s in the pipelines file, and timeout_s in the args of each model's"
    " application"
)
QUEUE = "how many requests may wait is queue_size in model.yaml"
REPLICAS = "write num_replicas: <number>"
TLS = "over gRPC, write grpc.tls in the gateway's args; over HTTP, put a proxy with TLS in front"

HTTP: Mapping[str, str] = {
    "host": "write direct.host in the gateway's args",
    "port": "write direct.port in the gateway's args",
    "root_path": "put a proxy that removes the prefix in front",
    "request_timeout_s": TIMEOUT,
    "keep_alive_timeout_s": "write gateway.limits.idle_seconds in the pipelines file",
    "ssl_keyfile": TLS,
    "ssl_certfile": TLS,
    "ssl_keyfile_password": TLS,
    "ssl_ca_certs": TLS,
}
DEPLOYMENT: Mapping[str, str] = {
    "max_ongoing_requests": QUEUE,
    "max_queued_requests": QUEUE,
    "backpressure_config": "what is refused is answered with 503 and Retry-After",
    "autoscaling_config": REPLICAS,
}


def settings_without_effect(path: Path, config: ServeConfig) -> Iterator[ConfigurationError]:
    """Told as warnings: what the file says is not what happens, and nothing fails by it."""
    yield from _of_http(path, config)
    others = any(isinstance(each, OtherApplication) for each in config.applications)
    if "request_timeout_s" in config.grpc_options.model_fields_set and not others:
        reason = f"has no effect: Manta's gRPC server is not Serve's; {TIMEOUT}"
        yield error_at(path, ("grpc_options", "request_timeout_s"), reason)
    for index, application in enumerate(config.applications):
        why = _unseen(config, application)
        if why is None:
            continue
        for place, deployment in enumerate(application.deployments):
            for field, instead in _set_in(deployment):
                where = ("applications", index, "deployments", place, field)
                reason = f"has no effect on inference: {why}; {instead}"
                yield error_at(path, where, reason)


def _of_http(path: Path, config: ServeConfig) -> Iterator[ConfigurationError]:
    """With a proxy, what is left is what does not pass it."""
    proxied = config.proxy_location != "Disabled"
    in_front = any(_answers_in_front(each) for each in config.applications)
    for field, instead in HTTP.items():
        if field not in config.http_options.model_fields_set:
            continue
        if not proxied:
            reason = f"has no effect: proxy_location is Disabled; {instead}"
        elif field.startswith("ssl_") and any(map(_has_haproxy, config.applications)):
            reason = f"has no effect in front: HAProxy as Serve starts it has no TLS; {instead}"
        elif field.startswith("ssl_"):
            reason = f"has no effect on the ports under direct and grpc; {instead}"
        elif field == "request_timeout_s" and in_front:
            reason = (
                f"has no effect on inference: it is answered before Serve's own code; {instead}"
            )
        elif field == "request_timeout_s":
            reason = f"has no effect on the ports under direct and grpc; {instead}"
        else:
            continue
        yield error_at(path, ("http_options", field), reason)


def _unseen(config: ServeConfig, application: Application) -> str | None:
    """Why Serve does not see the requests of an application, None if it does."""
    if isinstance(application, OtherApplication):
        return None
    if isinstance(application, StreamsApplication):
        return "nobody sends requests to this application"
    if _answers_in_front(application):
        return f"it is answered before Serve's own code ({IN_FRONT})"
    if _has_haproxy(application) or config.proxy_location != "Disabled":
        return None
    if isinstance(application, ModelApplication):
        return "other processes of this machine ask over a local socket, which Serve does not see"
    return "requests come over the gateway's own ports, which Serve does not see"


def _set_in(deployment: DeploymentOptions) -> Iterator[tuple[str, str]]:
    for field, instead in DEPLOYMENT.items():
        if field in deployment.model_fields_set:
            yield field, instead
    if deployment.num_replicas == "auto":
        yield "num_replicas", REPLICAS


def _has_haproxy(application: Application) -> bool:
    return _variables(application).get(HAPROXY) == "1"


def _answers_in_front(application: Application) -> bool:
    return _has_haproxy(application) and _variables(application).get(IN_FRONT) == FAST_ROUTE


def _variables(application: Application) -> Mapping[str, object]:
    found = (application.runtime_env or {}).get("env_vars")
    return found if isinstance(found, Mapping) else {}
