"""What can be wrong with pipelines beyond the shape of their fields: names that name nothing."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from pydantic import ValidationError

from app.config import PipelineConfig, PipelinesConfig
from app.registry import NODES, SOURCES
from app.validation import reason_of

EMIT = "emit"
"""Id and type of the node that carries out what a pipeline's agents decide."""


def graph_problems(pipeline: PipelineConfig, config: PipelinesConfig) -> Iterator[str]:
    """One line for each thing that is wrong with one pipeline."""
    yield from _wrong_types(pipeline)
    yield from _wrong_edges(pipeline)
    written = [node.id for node in pipeline.nodes] or list(short_form_types(pipeline))
    added = [*pipeline.agents, EMIT] if pipeline.agents else []
    for name, count in Counter([*written, *added]).items():
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
    yield from _fallback_cycles(config)
    for name, agent in config.agents.items():
        dispatcher = getattr(agent, "dispatcher", None)
        if dispatcher is not None and dispatcher not in config.actions:
            yield (
                f"agent {name!r}: no action is called {dispatcher!r};"
                f" known are: {listed(config.actions)}"
            )


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


def _wrong_types(pipeline: PipelineConfig) -> Iterator[str]:
    """Of the short form: the file's schema checks the nodes of a graph."""
    for node, type_name in short_form_types(pipeline).items():
        if type_name not in NODES:
            known = listed(registration.names[0] for registration in NODES)
            yield f"{node}: unknown node type {type_name!r}; known are: {known}"
            continue
        config = NODES.get(type_name).config
        try:
            config.model_validate(short_form_params(pipeline, node, type_name))
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                where = ".".join(map(str, (node, type_name, *detail["loc"])))
                yield f"{where}: {reason_of(detail, config)}; write it as a graph to say so"


def _fallback_cycles(config: PipelinesConfig) -> Iterator[str]:
    order: TopologicalSorter[str] = TopologicalSorter()
    for pipeline in config.pipelines:
        if pipeline.fallback not in (None, pipeline.id):
            order.add(pipeline.fallback, pipeline.id)
    try:
        order.prepare()
    except CycleError as error:
        yield f"the pipelines {' -> '.join(error.args[1])} are one another's fallback"


def _wrong_edges(pipeline: PipelineConfig) -> Iterator[str]:
    types = {node.id: node.type for node in pipeline.nodes}
    for edge, count in Counter(pipeline.edges).items():
        if count > 1:
            yield f"the edge {edge.source} -> {edge.to} is there twice"
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
        yield f"the nodes {' -> '.join(error.args[1])} form a cycle"
    if types and all(type_name in SOURCES for type_name in types.values()):
        yield "has sources but no node to read from them"


def listed(names: Iterable[str]) -> str:
    """Names as an error message lists them."""
    return ", ".join(sorted(names)) or "none"
