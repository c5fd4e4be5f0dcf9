"""From a pipeline's configuration to the order in which its nodes run.

The short form is expanded to the graph it stands for; then the graph is checked and sorted. Every
problem of a pipeline is reported, not only the first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter

from pydantic import BaseModel

from app.config.connectors import ConnectorConfig
from app.config.pipelines import PipelineConfig, PipelinesConfig
from app.errors import ConfigurationError
from app.interfaces import Node, NodeContext
from app.pipeline.checks import (
    EMIT,
    file_problems,
    graph_problems,
    short_form_params,
    short_form_types,
)
from app.registry import NODES, SOURCES


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One node to build: `inputs` are the nodes it reads, none meaning the message's content."""

    id: str
    type: str
    config: BaseModel
    inputs: tuple[str, ...]

    @property
    def stateful(self) -> bool:
        return NODES.get(self.type).stateful

    def build(self, context: NodeContext) -> Node:
        return NODES.get(self.type).factory(self.config, context)


@dataclass(frozen=True, slots=True)
class Graph:
    """A checked pipeline: `levels` run one after the other, the nodes of one side by side.

    `output` is the node whose result answers a request. `connectors` are the sources that stood
    in the graph, as connectors routed to this pipeline.
    """

    pipeline: PipelineConfig
    levels: tuple[tuple[GraphNode, ...], ...]
    output: str
    connectors: tuple[ConnectorConfig, ...]

    @property
    def nodes(self) -> Iterator[GraphNode]:
        return (node for level in self.levels for node in level)

    @property
    def stateful(self) -> bool:
        return any(node.stateful for node in self.nodes)

    @property
    def takes_pictures(self) -> bool:
        """Whether the message's content is read as a picture."""
        return any(_family(node.type) == "image" for node in self.levels[0])

    @property
    def models(self) -> tuple[str, ...]:
        """Those that the pipeline asks, or whose labels it needs."""
        named = (getattr(node.config, "model", None) for node in self.nodes)
        return tuple(name for name in named if isinstance(name, str))


def _family(node_type: str) -> str:
    """Of `image` in `image.decode`, whatever alias the file uses."""
    return NODES.get(node_type).names[0].partition(".")[0]


def compile_graph(pipeline: PipelineConfig, config: PipelinesConfig) -> Graph:
    """Raises ConfigurationError with one line for each problem of this pipeline."""
    problems = [problem.reason for problem in graph_problems(pipeline, config)]
    if problems:
        raise ConfigurationError(
            "\n".join(f"pipeline {pipeline.id!r}: {problem}" for problem in problems)
        )
    sources = [node for node in pipeline.nodes if node.type in SOURCES]
    nodes = _graph_form(pipeline, {node.id for node in sources})
    output = pipeline.output or _last(nodes)
    nodes += _agent_nodes(pipeline, output, config)
    connectors = tuple(
        node.params.model_copy(update={"id": f"{pipeline.id}.{node.id}", "pipeline": pipeline.id})
        for node in sources
        if isinstance(node.params, ConnectorConfig)
    )
    return Graph(pipeline, _levels(nodes), output, connectors)


def _graph_form(pipeline: PipelineConfig, sources: set[str]) -> list[GraphNode]:
    if not pipeline.nodes:
        return _short_form(pipeline)
    inputs: dict[str, list[str]] = {node.id: [] for node in pipeline.nodes}
    for edge in pipeline.edges:
        if edge.source not in sources and edge.to in inputs:
            inputs[edge.to].append(edge.source)
    return [
        GraphNode(node.id, node.type, node.params, tuple(inputs[node.id]))
        for node in pipeline.nodes
        if node.id not in sources
    ]


def _short_form(pipeline: PipelineConfig) -> list[GraphNode]:
    """preprocess -> model -> postprocess, each where it is given."""
    nodes: list[GraphNode] = []
    for node_id, type_name in short_form_types(pipeline).items():
        params = short_form_params(pipeline, node_id, type_name)
        config = NODES.get(type_name).config.model_validate(params)
        inputs = (nodes[-1].id,) if nodes else ()
        nodes.append(GraphNode(node_id, type_name, config, inputs))
    return nodes


def _last(nodes: list[GraphNode]) -> str:
    """The last written node that nothing reads from."""
    read = {name for node in nodes for name in node.inputs}
    return next(node.id for node in reversed(nodes) if node.id not in read)


def _agent_nodes(pipeline: PipelineConfig, output: str, config: PipelinesConfig) -> list[GraphNode]:
    """Every agent reads the output; one emit node carries out what they decide."""
    agents = []
    for name in pipeline.agents:
        agent = config.agents[name]
        type_name: str = getattr(agent, "type")  # noqa: B009  # the file's schema adds it to every agent
        agents.append(GraphNode(name, type_name, agent, (output,)))
    if not agents:
        return []
    emit = GraphNode(EMIT, EMIT, NODES.get(EMIT).config(), tuple(agent.id for agent in agents))
    return [*agents, emit]


def _levels(nodes: list[GraphNode]) -> tuple[tuple[GraphNode, ...], ...]:
    by_id = {node.id: node for node in nodes}
    order = TopologicalSorter({node.id: node.inputs for node in nodes})
    order.prepare()
    levels = []
    while order.is_active():
        ready = order.get_ready()
        levels.append(tuple(by_id[name] for name in by_id if name in ready))
        order.done(*ready)
    return tuple(levels)


def compile_all(config: PipelinesConfig) -> dict[str, Graph]:
    """Every pipeline of a file, by id.

    Raises ConfigurationError with one line for each problem of the whole file.
    """
    graphs: dict[str, Graph] = {}
    problems = [problem.reason for problem in file_problems(config)]
    for pipeline in config.pipelines:
        try:
            graphs[pipeline.id] = compile_graph(pipeline, config)
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return graphs
