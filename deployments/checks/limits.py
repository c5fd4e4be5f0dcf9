"""The limits of a model's own application beside those of a gateway, which answers for it too."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from app.config.limits import Limits
from app.config.yaml_file import error_at
from app.errors import ConfigurationError
from deployments.checks.flows import Flows
from deployments.checks.serve_config import GatewayApplication, ModelApplication, ServeConfig

GATEWAY_ONLY = frozenset({"parts", "batch_requests", "sockets", "message_bytes"})
"""Of what only a gateway takes: multipart bodies, batches, WebSockets."""


def unequal_limits(
    path: Path, config: ServeConfig, flows: Mapping[Path, Flows]
) -> Iterator[ConfigurationError]:
    """Fields because of which one door to a model may refuse what another takes."""
    models = {
        application.name: (index, application.args.limits)
        for index, application in enumerate(config.applications)
        if isinstance(application, ModelApplication)
    }
    for gateway in config.applications:
        if not isinstance(gateway, GatewayApplication) or gateway.args.pipelines_file not in flows:
            continue
        file = flows[gateway.args.pipelines_file]
        for name in sorted(models.keys() & set(gateway.args.remote)):
            index, limits = models[name]
            for field, own, other in _unequal(limits, file.config.gateway.limits):
                reason = (
                    f"{own} in application {name!r}, but {other} in {gateway.name!r}"
                    f" (gateway.limits.{field} in {file.path.name}):"
                    " a request may be answered at one address and refused at another"
                )
                yield error_at(path, ("applications", index, "args", "limits", field), reason)


def _unequal(left: Limits, right: Limits) -> Iterator[tuple[str, float, float]]:
    for field in Limits.model_fields:
        one, other = getattr(left, field), getattr(right, field)
        if field not in GATEWAY_ONLY and one != other:
            yield field, one, other
