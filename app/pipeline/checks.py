"""What can be wrong with pipelines beyond the shape of their fields: names that name nothing."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from pydantic import ValidationError

from app.config.pipelines import PipelineConfig, PipelinesConfig
from app.config.validation import reason_of
from app.registry import NODES, SOURCES

EMIT = "emit"
"""Id and type of the node that carries out what a pipeline's agents decide."""


class Problem(NamedTuple):
    """What is wrong, and the keys and indices that lead to it from what was checked."""

    location: tuple[str | int, ...]
    reason: str


def graph_problems(pipeline: PipelineConfig, config: PipelinesConfig) -> Iterator[Problem]:
    """Everything that is wrong with one pipeline; locations start at that pipeline."""
    yield from _wrong_types(pipeline)
    yield from _wrong_edges(pipeline)
    yield from _same_names(pipeline)
    written = [node.id for node in pipeline.nodes] or list(short_form_types(pipeline))
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
    yield from _fallback_cycles(config)
    for name, agent in config.agents.items():
        dispatcher = getattr(agent, "dispatcher", None)
        if dispatcher is not None and dispatcher not in config.actions:
            reason = (
                f"agent {name!r}: no action is called {dispatcher!r};"
                f" known are: {listed(config.actions)}"
            )
            yield Problem(("agents", name, "dispatcher"), reason)


def short_form_types(pipeline: PipelineConfig) -> Mapping[str, str]:
    """The nodes of the short form, node id -> type, in the order in which they run."""
    types = {
        "preprocess": pipeline.preprocess,
        "model": pipeline.model and "infer",
        "postprocess": pipeline.postprocess,
    }
    return {name: type_name for name, type_name in types.items() if type_name}


def short_form_params(pipeline: PipelineConfig, node: str, type_name: str) -> dict[str, object]:
    """A postprocess that reads a model's labels is told which model it follows."""
    takes_model = node == "postprocess" and "model" in NODES.get(type_name).config.model_fields
    return {"model": pipeline.model} if node == "model" or (takes_model and pipeline.model) else {}


def _wrong_types(pipeline: PipelineConfig) -> Iterator[Problem]:
    """Of the short form: the file's schema checks the nodes of a graph."""
    for node, type_name in short_form_types(pipeline).items():
        if type_name not in NODES:
            known = listed(registration.names[0] for registration in NODES)
            yield Problem((node,), f"{node}: unknown node type {type_name!r}; known are: {known}")
            continue
        config = NODES.get(type_name).config
        try:
            config.model_validate(short_form_params(pipeline, node, type_name))
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                where = ".".join(map(str, (node, type_name, *detail["loc"])))
                reason = f"{where}: {reason_of(detail, config)}; write it as a graph to say so"
                yield Problem((node,), reason)


def _fallback_cycles(config: PipelinesConfig) -> Iterator[Problem]:
    order: TopologicalSorter[str] = TopologicalSorter()
    for pipeline in config.pipelines:
        if pipeline.fallback not in (None, pipeline.id):
            order.add(pipeline.fallback, pipeline.id)
    try:
        order.prepare()
    except CycleError as error:
        reason = f"the pipelines {' -> '.join(error.args[1])} are one another's fallback"
        yield Problem(("pipelines",), reason)


def _same_names(pipeline: PipelineConfig) -> Iterator[Problem]:
    written = [("nodes", index, node.id) for index, node in enumerate(pipeline.nodes)]
    agents = [("agents", index, name) for index, name in enumerate(pipeline.agents)]
    taken = list(short_form_types(pipeline))
    taken += [EMIT] if agents else []
    for section, index, name in (*written, *agents):
        if name in taken:
            yield Problem((section, index), f"two nodes are called {name!r}")
        taken.append(name)


def _wrong_edges(pipeline: PipelineConfig) -> Iterator[Problem]:
    types = {node.id: node.type for node in pipeline.nodes}
    for edge, count in Counter(pipeline.edges).items():
        if count > 1:
            index = pipeline.edges.index(edge)
            reason = f"the edge {edge.source} -> {edge.to} is there twice"
            yield Problem(("edges", index), reason)
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
        nodes = " -> ".join(error.args[1])
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
