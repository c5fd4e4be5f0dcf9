"""What can be wrong with pipelines beyond the shape of their fields: names that name nothing."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from app.config import PipelineConfig, PipelinesConfig
from app.registry import NODES, SOURCES

EMIT = "emit"
"""The id of the node that is added to carry out what the agents of a pipeline decide."""


class Problem(NamedTuple):
    """What is wrong, and the keys and indices that lead to it from what was checked."""

    location: tuple[str | int, ...]
    reason: str


def graph_problems(pipeline: PipelineConfig, config: PipelinesConfig) -> Iterator[Problem]:
    """Everything that is wrong with one pipeline; locations start at that pipeline."""
    yield from _wrong_types(pipeline)
    yield from _wrong_edges(pipeline)
    yield from _same_names(pipeline)
    written = [node.id for node in pipeline.nodes]
    if pipeline.output is not None and pipeline.output not in written:
        yield Problem(("output",), f"output names no node {pipeline.output!r}")
    for index, agent in enumerate(pipeline.agents):
        if agent not in config.agents:
            reason = f"no agent is called {agent!r}; known are: {listed(config.agents)}"
            yield Problem(("agents", index), reason)
    letter = pipeline.dead_letter
    if letter is not None and letter not in config.actions:
        reason = f"no action is called {letter!r}; known are: {listed(config.actions)}"
        yield Problem(("dead_letter",), reason)
    others = {other.id for other in config.pipelines} - {pipeline.id}
    if pipeline.fallback is not None and pipeline.fallback not in others:
        yield Problem(("fallback",), f"fallback names no other pipeline {pipeline.fallback!r}")


def file_problems(config: PipelinesConfig) -> Iterator[Problem]:
    """What is wrong between pipelines, connectors, agents and actions; locations in the file."""
    pipelines = [pipeline.id for pipeline in config.pipelines]
    for index in repeated(pipelines):
        yield Problem(("pipelines", index), f"two pipelines are called {pipelines[index]!r}")
    connectors = [connector.id for connector in config.connectors]
    for index in repeated(connectors):
        yield Problem(("connectors", index), f"two connectors are called {connectors[index]!r}")
    for index, connector in enumerate(config.connectors):
        if not connector.routes():
            reason = f"connector {connector.id!r} names no pipeline"
            yield Problem(("connectors", index), reason)
        for route in connector.routes():
            if route not in pipelines:
                reason = (
                    f"connector {connector.id!r} leads to no pipeline {route!r};"
                    f" known are: {listed(pipelines)}"
                )
                yield Problem(("connectors", index), reason)
    for name, agent in config.agents.items():
        dispatcher = getattr(agent, "dispatcher", None)
        if dispatcher is not None and dispatcher not in config.actions:
            reason = (
                f"agent {name!r}: no action is called {dispatcher!r};"
                f" known are: {listed(config.actions)}"
            )
            yield Problem(("agents", name, "dispatcher"), reason)


def _wrong_types(pipeline: PipelineConfig) -> Iterator[Problem]:
    """The short form builds its nodes from their defaults, so they must have them."""
    for field in ("preprocess", "postprocess"):
        type_name = getattr(pipeline, field)
        if type_name is None:
            continue
        if type_name not in NODES:
            known = listed(registration.names[0] for registration in NODES)
            reason = f"{field}: unknown node type {type_name!r}; known are: {known}"
            yield Problem((field,), reason)
            continue
        given = {"model"} if field == "postprocess" and pipeline.model else set()
        parameters = NODES.get(type_name).config.model_fields
        needed = [name for name, info in parameters.items() if info.is_required()]
        if missing := set(needed) - given:
            reason = (
                f"{field}: a node of type {type_name!r} needs {listed(missing)}, for which the"
                " short form has no place; write the pipeline as nodes and edges"
            )
            yield Problem((field,), reason)


def _same_names(pipeline: PipelineConfig) -> Iterator[Problem]:
    short = ("preprocess", "model", "postprocess")
    written = [("nodes", index, node.id) for index, node in enumerate(pipeline.nodes)]
    agents = [("agents", index, name) for index, name in enumerate(pipeline.agents)]
    taken = [name for name in short if getattr(pipeline, name) is not None]
    taken += [EMIT] if agents else []
    for section, index, name in (*written, *agents):
        if name in taken:
            yield Problem((section, index), f"two nodes are called {name!r}")
        taken.append(name)


def _wrong_edges(pipeline: PipelineConfig) -> Iterator[Problem]:
    types = {node.id: node.type for node in pipeline.nodes}
    for index, edge in enumerate(pipeline.edges):
        for end in (edge.source, edge.to):
            if end not in types:
                reason = f"the edge {edge.source} -> {edge.to} names no node {end!r}"
                yield Problem(("edges", index), reason)
        if types.get(edge.to) in SOURCES:
            reason = f"the edge {edge.source} -> {edge.to} leads into a source"
            yield Problem(("edges", index), reason)
    order: TopologicalSorter[str] = TopologicalSorter()
    for edge in pipeline.edges:
        order.add(edge.to, edge.source)
    try:
        order.prepare()
    except CycleError as error:
        nodes = " -> ".join(reversed(error.args[1]))
        yield Problem(("edges",), f"the nodes {nodes} form a cycle")
    if types and all(type_name in SOURCES for type_name in types.values()):
        yield Problem(("nodes",), "has sources but no node to read from them")


def repeated(names: Sequence[str]) -> Iterator[int]:
    """The index of the second of two equal names, once for each name."""
    for name, count in Counter(names).items():
        if count > 1:
            yield names.index(name, names.index(name) + 1)


def listed(names: Iterable[str]) -> str:
    """Names as an error message lists them."""
    return ", ".join(sorted(names)) or "none"
