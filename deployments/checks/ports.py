"""The ports on which the applications of a serve_config.yaml listen."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from app.api.ports import listeners
from app.config.yaml_file import error_at
from app.errors import ConfigurationError
from deployments.args import GatewayArgs, ServingArgs
from deployments.checks.serve_config import OtherApplication, ServeConfig


class ConfiguredPort(NamedTuple):
    """`location` is where the configuration says it."""

    location: tuple[str | int, ...]
    host: str
    port: int


def configured_ports(config: ServeConfig) -> Iterator[ConfiguredPort]:
    """Serve's own HTTP port first, then those of the applications; port 0 is any free one."""
    if config.proxy_location != "Disabled":
        yield ConfiguredPort(
            ("http_options", "port"), config.http_options.host, config.http_options.port
        )
    for index, application in enumerate(config.applications):
        if isinstance(application, OtherApplication):
            continue
        args = application.args
        where = ("applications", index, "args")
        if isinstance(args, ServingArgs) and args.direct is not None:
            yield ConfiguredPort((*where, "direct", "port"), args.direct.host, args.direct.port)
        if isinstance(args, GatewayArgs) and args.grpc is not None and args.grpc.port:
            yield ConfiguredPort((*where, "grpc", "port"), args.grpc.host, args.grpc.port)


def repeated_ports(path: Path, config: ServeConfig) -> Iterator[ConfigurationError]:
    """What one file says twice: every connection would go to either."""
    seen: dict[int, ConfiguredPort] = {}
    for each in configured_ports(config):
        first = seen.setdefault(each.port, each)
        if first is not each:
            place = error_at(path, first.location, "").field
            yield error_at(path, each.location, f"port {each.port} is used already, by {place}")


def taken_ports(path: Path, config: ServeConfig) -> Iterator[ConfigurationError]:
    """Ports on which somebody listens at this moment."""
    for each in configured_ports(config):
        for listener in listeners(each.host, each.port):
            reason = f"port {each.port} is taken by {listener}"
            yield error_at(path, each.location, reason)
