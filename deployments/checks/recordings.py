"""Recordings and pictures that a pipelines file names and that are not on this machine."""

from collections.abc import Iterator, Mapping

from app.config.yaml_file import Location, error_at
from app.errors import ConfigurationError
from connectors.replay import ReplayConfig, not_there
from deployments.checks.flows import Flows, place_of


def absent_recordings(flows: Flows) -> Iterator[ConfigurationError]:
    """Told as warnings: a connector may run on another machine, and the rest runs without it."""
    for name, connector in flows.connectors.items():
        if not isinstance(connector, ReplayConfig):
            continue
        try:
            reason = not_there(connector.path)
        except (OSError, ValueError) as error:
            reason = f"{connector.path!r} cannot be looked for: {error}"
        if reason:
            yield error_at(flows.path, _places(flows)[name], reason)


def _places(flows: Flows) -> Mapping[str, Location]:
    """Where each connector's `path` stands: in the list of them, or in a graph as a node."""
    found: dict[str, Location] = {
        connector.id: ("connectors", index, "path")
        for index, connector in enumerate(flows.config.connectors)
    }
    for pipeline in flows.config.pipelines:
        place = place_of(flows.path, flows.config, pipeline.id)
        for index, node in enumerate(pipeline.nodes):
            found[f"{pipeline.id}.{node.id}"] = (*place, "nodes", index, "params", "path")
    return found
