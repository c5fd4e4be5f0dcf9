"""What can be wrong with pipelines beyond the shape of their fields: names that name nothing."""

from collections import Counter
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter

from app.config import PipelineConfig, PipelinesConfig
from app.registry import NODES, SOURCES


def graph_problems(pipeline: PipelineConfig, config: PipelinesConfig) -> Iterator[str]:
    """One line for each thing that is wrong with one pipeline."""
    yield from _wrong_types(pipeline)
    yield from _wrong_edges(pipeline)
    written = [node.id for node in pipeline.nodes]
    for name, count in Counter([*written, *pipeline.agents]).items():
        if count > 1:
            yield f"two nodes are called {name!r}"
    if pipeline.output is not None and pipeline.output not in written:
        yield f"output names no node {pipeline.output!r}"
    for agent in pipeline.agents:
        if agent not in config.agents:
            yield f"no agent is called {agent!r}; known are: {listed(config.agents)}"
    if pipeline.dead_letter is not None and pipeline.dead_letter not in config.actions:
        yield f"no action is called {pipeline.dead_letter!r}; known are: {listed(config.actions)}"
    others = {other.id for other in config.pipelines} - {pipeline.id}
    if pipeline.fallback is not None and pipeline.fallback not in others:
        yield f"fallback names no other pipeline {pipeline.fallback!r}"


def file_problems(config: PipelinesConfig) -> Iterator[str]:
    """One line for each name that stands between pipelines, connectors, agents and actions."""
    pipelines = {pipeline.id for pipeline in config.pipelines}
    for name, count in Counter(pipeline.id for pipeline in config.pipelines).items():
        if count > 1:
            yield f"two pipelines are called {name!r}"
    for name, count in Counter(connector.id for connector in config.connectors).items():
        if count > 1:
            yield f"two connectors are called {name!r}"
    for connector in config.connectors:
        if not connector.routes():
            yield f"connector {connector.id!r} names no pipeline"
        for route in connector.routes():
            if route not in pipelines:
                yield (
                    f"connector {connector.id!r} leads to no pipeline {route!r};"
                    f" known are: {listed(pipelines)}"
                )
    for name, agent in config.agents.items():
        dispatcher = getattr(agent, "dispatcher", None)
        if dispatcher is not None and dispatcher not in config.actions:
            yield (
                f"agent {name!r}: no action is called {dispatcher!r};"
                f" known are: {listed(config.actions)}"
            )


def _wrong_types(pipeline: PipelineConfig) -> Iterator[str]:
    for field in ("preprocess", "postprocess"):
        type_name = getattr(pipeline, field)
        if type_name is not None and type_name not in NODES:
            known = listed(registration.names[0] for registration in NODES)
            yield f"{field}: unknown node type {type_name!r}; known are: {known}"


def _wrong_edges(pipeline: PipelineConfig) -> Iterator[str]:
    types = {node.id: node.type for node in pipeline.nodes}
    for edge in pipeline.edges:
        for end in (edge.source, edge.to):
            if end not in types:
                yield f"the edge {edge.source} -> {edge.to} names no node {end!r}"
        if types.get(edge.to) in SOURCES:
            yield f"the edge {edge.source} -> {edge.to} leads into a source"
    order: TopologicalSorter[str] = TopologicalSorter()
    for edge in pipeline.edges:
        order.add(edge.to, edge.source)
    try:
        order.prepare()
    except CycleError as error:
        yield f"the nodes {' -> '.join(reversed(error.args[1]))} form a cycle"
    if types and all(type_name in SOURCES for type_name in types.values()):
        yield "has sources but no node to read from them"


def listed(names: Iterable[str]) -> str:
    """Names as an error message lists them."""
    return ", ".join(sorted(names)) or "none"
