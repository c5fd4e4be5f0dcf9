"""What a pipelines file says, or leaves out, that may not do what was meant."""

from collections.abc import Iterator

from app.config.yaml_file import Location, error_at
from app.errors import ConfigurationError
from app.nodes.agents.person_in_zone import PersonInZoneConfig
from app.registry import ComponentConfig
from deployments.checks.flows import Flows, place_of

_IGNORED = {
    "host": "serve_config.yaml says where a model runs",
    "port": "serve_config.yaml says where a model runs",
    "pool_size": "calls to another process are shared, as many as it can use",
}


def unmeant(flows: Flows) -> Iterator[ConfigurationError]:
    """Told as warnings: what was written for an older gateway is read and has no effect, and a
    zone may be named before its corners are known."""
    gateway = flows.config.gateway
    for name in sorted(gateway.model_fields_set & _IGNORED.keys()):
        yield error_at(flows.path, ("gateway", name), f"has no effect: {_IGNORED[name]}")
    for place, config in _agents(flows):
        if not isinstance(config, PersonInZoneConfig):
            continue
        if config.polygon is None and isinstance(config.zone, str):
            reason = f"has no polygon, so {config.zone!r} is the whole picture: give its corners"
            yield error_at(flows.path, (*place, "zone"), reason)


def _agents(flows: Flows) -> Iterator[tuple[Location, ComponentConfig]]:
    """Each agent where it is written: in the list of them, or in a graph as a node."""
    for name, config in flows.config.agents.items():
        yield ("agents", name), config
    for graph in flows.graphs.values():
        place = place_of(flows.path, flows.config, graph.pipeline.id)
        written = [node.id for node in graph.pipeline.nodes]
        for node in graph.nodes:
            if node.id in written and isinstance(node.config, ComponentConfig):
                yield (*place, "nodes", written.index(node.id), "params"), node.config
