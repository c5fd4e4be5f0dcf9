"""What a model's own application refuses beside what a gateway does, which answers for it too."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from app.config.limits import Limits
from app.config.pipelines import GatewayConfig
from app.config.yaml_file import error_at
from app.errors import ConfigurationError
from deployments.args import ModelArgs
from deployments.checks.flows import Flows
from deployments.checks.serve_config import GatewayApplication, ModelApplication, ServeConfig

GATEWAY_ONLY = frozenset({"parts", "batch_requests", "sockets", "message_bytes"})
"""Of what only a gateway takes: multipart bodies, batches, WebSockets."""


def unequal_limits(
    path: Path, config: ServeConfig, flows: Mapping[Path, Flows]
) -> Iterator[ConfigurationError]:
    """Fields because of which one way to a model may refuse what another takes."""
    models = {
        application.name: (index, application.args)
        for index, application in enumerate(config.applications)
        if isinstance(application, ModelApplication)
    }
    for gateway in config.applications:
        if not isinstance(gateway, GatewayApplication) or gateway.args.pipelines_file not in flows:
            continue
        file = flows[gateway.args.pipelines_file]
        for name in sorted(models.keys() & set(gateway.args.remote)):
            index, args = models[name]
            for field, own, other in _unequal(args, file.config.gateway):
                reason = (
                    f"{own} in application {name!r}, but {other} in {gateway.name!r}"
                    f" (gateway.{field} in {file.path.name}):"
                    " a request may be answered at one address and refused at another"
                )
                yield error_at(path, ("applications", index, "args", *field.split(".")), reason)


def _unequal(model: ModelArgs, gateway: GatewayConfig) -> Iterator[tuple[str, object, object]]:
    for field in Limits.model_fields:
        one, other = getattr(model.limits, field), getattr(gateway.limits, field)
        if field not in GATEWAY_ONLY and one != other:
            yield f"limits.{field}", one, other
    for field in ("origins", "hosts"):
        own, others = sorted(getattr(model, field)), sorted(getattr(gateway, field))
        if own != others:
            yield field, own, others
