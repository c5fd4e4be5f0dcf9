"""A pipelines file as checking needs it: its graphs, and everything that is wrong with them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import deployments.catalogue  # noqa: F401 - fills the registries
from app.config.connectors import ConnectorConfig
from app.config.pipelines import PipelinesConfig, load_pipelines
from app.config.report import Table
from app.config.yaml_file import error_at, keys_of
from app.errors import ConfigurationError
from app.pipeline.checks import file_problems, graph_problems
from app.pipeline.graph import Graph, GraphNode, compile_graph
from app.registry import NODES


@dataclass(frozen=True)
class Flows:
    """`graphs` are those pipelines that are right, by id."""

    path: Path
    config: PipelinesConfig
    graphs: Mapping[str, Graph]
    problems: tuple[ConfigurationError, ...]

    @property
    def connectors(self) -> dict[str, ConnectorConfig]:
        """All of them by id, also the sources that stand in a graph."""
        known = {connector.id: connector for connector in self.config.connectors}
        for graph in self.graphs.values():
            known |= {connector.id: connector for connector in graph.connectors}
        return known

    def with_fallbacks(self, names: Iterable[str]) -> list[Graph]:
        """The graphs that run where these pipelines do."""
        found: dict[str, Graph] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop(0)
            graph = self.graphs.get(name)
            if graph is not None and name not in found:
                found[name] = graph
                waiting += [graph.pipeline.fallback] if graph.pipeline.fallback else []
        return list(found.values())

    def error(self, use: "Use", reason: str) -> ConfigurationError:
        """An error about where a pipeline names a model, with its line."""
        place = place_of(self.path, self.config, use.pipeline)
        return error_at(self.path, (*place, *use.location), reason)


class Use(NamedTuple):
    """A pipeline calls a model, or asks for its labels; `location` starts at the pipeline."""

    pipeline: str
    model: str
    location: tuple[str | int, ...]


def no_model(use: Use) -> str:
    return f"pipeline {use.pipeline!r} uses model {use.model!r}, which is in no repository"


def load_flows(path: Path) -> Flows:
    """Raises ConfigurationError where the file cannot be read as one of pipelines at all."""
    config = load_pipelines(path)
    problems = [error_at(path, where, reason) for where, reason in file_problems(config)]
    graphs: dict[str, Graph] = {}
    for pipeline in config.pipelines:
        place = place_of(path, config, pipeline.id)
        wrong = list(graph_problems(pipeline, config))
        problems += [error_at(path, (*place, *where), reason) for where, reason in wrong]
        if not wrong:
            graphs[pipeline.id] = compile_graph(pipeline, config)
    return Flows(path, config, graphs, tuple(problems))


def place_of(path: Path, config: PipelinesConfig, pipeline: str) -> tuple[str | int, ...]:
    """Where a pipeline stands in its file; a bare graph is the whole file."""
    if "pipelines" not in keys_of(path):
        return ()
    return ("pipelines", [each.id for each in config.pipelines].index(pipeline))


def uses_of(graph: Graph) -> Iterator[Use]:
    """Each model that a pipeline uses, where it is named first."""
    pipeline = graph.pipeline
    written = [node.id for node in pipeline.nodes]
    seen: set[str] = set()
    for node in graph.nodes:
        model = getattr(node.config, "model", None)
        if not isinstance(model, str) or model in seen:
            continue
        seen.add(model)
        if node.id in written:
            yield Use(pipeline.id, model, ("nodes", written.index(node.id), "params", "model"))
        elif node.id in pipeline.agents:
            yield Use(pipeline.id, model, ("agents", pipeline.agents.index(node.id)))
        else:
            yield Use(pipeline.id, model, ("model",))


def pipelines_table(flows: Iterable[Flows], homes: Mapping[str, str]) -> Table:
    """`homes` says where each pipeline runs."""
    rows = tuple(
        (name, _chain(graph), homes.get(name, "nowhere"))
        for each in flows
        for name, graph in each.graphs.items()
    )
    return Table("Pipelines", ("pipeline", "nodes", "runs in"), rows)


def connectors_table(flows: Iterable[Flows], homes: Mapping[str, str]) -> Table:
    """`homes` says where each connector runs."""
    rows = tuple(
        (name, connector.type, ", ".join(connector.routes()), homes.get(name, "nowhere"))
        for each in flows
        for name, connector in each.connectors.items()
    )
    return Table("Connectors", ("connector", "type", "leads to", "runs in"), rows)


def _chain(graph: Graph) -> str:
    """The nodes in the order they run, those that run side by side in brackets."""
    levels = [[_label(node, graph) for node in level] for level in graph.levels]
    return " → ".join(f"[{', '.join(each)}]" if len(each) > 1 else each[0] for each in levels)


def _label(node: GraphNode, graph: Graph) -> str:
    name = NODES.get(node.type).names[0]
    if node.id in graph.pipeline.agents:
        return f"{node.id}({name})"
    return f"infer({getattr(node.config, 'model', '')})" if name == "infer" else name
