"""From a pipeline's configuration to the order in which its nodes run."""

import pytest

from app.errors import ConfigurationError
from app.pipeline.graph import Graph
from tests.fakes.pipelines import graphs_of

AGENTS = """
agents:
  alarm: {type: threshold, metric: heat, threshold: 5, dispatcher: out}
  other: {type: threshold, metric: heat, threshold: 9, dispatcher: out}
actions:
  out: {type: log}
"""


def graph_of(pipeline: str) -> Graph:
    [graph] = graphs_of(f"pipelines:\n  - {pipeline}\n{AGENTS}").values()
    return graph


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        graphs_of(text)
    return str(raised.value).splitlines()


def pipeline_problems(pipeline: str) -> list[str]:
    """The problems of one pipeline `p`, without its name."""
    found = problems_of(f"pipelines:\n  - {pipeline}\n{AGENTS}")
    assert all(line.startswith("pipeline 'p': ") for line in found), found
    return [line.removeprefix("pipeline 'p': ") for line in found]


def shape_of(graph: Graph) -> list[list[tuple[str, tuple[str, ...]]]]:
    return [[(node.id, node.inputs) for node in level] for level in graph.levels]


@pytest.mark.parametrize(
    ("short", "expected"),
    [
        ("preprocess: scripted", ["preprocess"]),
        ("model: m", ["model"]),
        ("postprocess: scripted", ["postprocess"]),
        ("preprocess: scripted, postprocess: scripted", ["preprocess", "postprocess"]),
        (
            "preprocess: scripted, model: m, postprocess: scripted",
            ["preprocess", "model", "postprocess"],
        ),
    ],
)
def test_the_short_form_is_a_chain(short: str, expected: list[str]) -> None:
    graph = graph_of(f"{{id: p, {short}}}")
    assert [node.id for node in graph.nodes] == expected
    inputs = [node.inputs for node in graph.nodes]
    assert inputs == [(), *((name,) for name in expected[:-1])]
    assert graph.output == expected[-1]


def test_the_short_form_tells_a_postprocess_which_model_it_follows() -> None:
    graph = graph_of("{id: p, model: m, postprocess: env.softmax_topk}")
    configs = {node.id: node.config.model_dump() for node in graph.nodes}
    assert configs["model"]["model"] == "m"
    assert configs["postprocess"]["model"] == "m"
    alone = graph_of("{id: p, postprocess: env.softmax_topk}")
    assert next(alone.nodes).config.model_dump()["model"] is None


def test_agents_read_the_output_and_one_emit_reads_the_agents() -> None:
    graph = graph_of("{id: p, model: m, agents: [alarm, other]}")
    assert shape_of(graph) == [
        [("model", ())],
        [("alarm", ("model",)), ("other", ("model",))],
        [("emit", ("alarm", "other"))],
    ]
    assert graph.output == "model"
    assert graph.stateful


def test_branches_run_side_by_side_and_inputs_keep_the_order_of_the_edges() -> None:
    graph = graph_of(
        """
    id: p
    nodes: [{id: join, type: scripted}, {id: b, type: scripted},
            {id: a, type: scripted}, {id: start, type: scripted}]
    edges: [{from: start, to: a}, {from: start, to: b}, {from: b, to: join}, {from: a, to: join}]
"""
    )
    assert shape_of(graph) == [
        [("start", ())],
        [("b", ("start",)), ("a", ("start",))],
        [("join", ("b", "a"))],
    ]
    assert graph.output == "join"
    assert not graph.stateful


def test_the_output_is_the_last_written_node_that_nothing_reads_unless_named() -> None:
    nodes = "nodes: [{id: a, type: scripted}, {id: b, type: scripted}, {id: c, type: scripted}]"
    assert graph_of(f"{{id: p, {nodes}}}").output == "c"
    assert graph_of(f"{{id: p, {nodes}, edges: [{{from: c, to: a}}]}}").output == "b"
    assert graph_of(f"{{id: p, {nodes}, output: a}}").output == "a"


def test_several_sources_of_one_graph_all_lead_to_it() -> None:
    graph = graph_of(
        """
    id: p
    nodes: [{id: left, type: CameraSource, params: {id: 1}}, {id: look, type: scripted},
            {id: right, type: FileSource, params: {path: clips/*.jpg}}]
    edges: [{from: left, to: look}, {from: right, to: look}]
"""
    )
    assert [(c.id, c.routes()) for c in graph.connectors] == [
        ("p.left", ("p",)),
        ("p.right", ("p",)),
    ]
    assert shape_of(graph) == [[("look", ())]]


@pytest.mark.parametrize(
    ("pipeline", "problem"),
    [
        ("{id: p, preprocess: magic}", "preprocess: unknown node type 'magic'; known are: "),
        ("{id: p, model: m, postprocess: magic}", "postprocess: unknown node type 'magic'; "),
        (
            "{id: p, preprocess: infer}",
            "preprocess.infer.model: is required; write it as a graph to say so",
        ),
        (
            "{id: p, nodes: [{id: a, type: scripted}], edges: [{from: a, to: b}]}",
            "the edge a -> b names no node 'b'",
        ),
        (
            "{id: p, nodes: [{id: a, type: scripted}], edges: [{from: a, to: a}]}",
            "the nodes a -> a form a cycle",
        ),
        (
            "{id: p, nodes: [{id: a, type: scripted}, {id: a, type: scripted}]}",
            "two nodes are called 'a'",
        ),
        (
            "{id: p, nodes: [{id: a, type: scripted}, {id: b, type: scripted}],"
            " edges: [{from: a, to: b}, {from: a, to: b}]}",
            "the edge a -> b is there twice",
        ),
        ("{id: p, model: m, output: a}", "output names no node 'a'"),
        (
            "{id: p, model: m, agents: [ghost]}",
            "no agent is called 'ghost'; known are: alarm, other",
        ),
        ("{id: p, model: m, agents: [alarm, alarm]}", "two nodes are called 'alarm'"),
        (
            "{id: p, nodes: [{id: alarm, type: scripted}], agents: [alarm]}",
            "two nodes are called 'alarm'",
        ),
        (
            "{id: p, nodes: [{id: emit, type: scripted}], agents: [alarm]}",
            "two nodes are called 'emit'",
        ),
        (
            "{id: p, model: m, on_error: dead_letter, dead_letter: box}",
            "no action is called 'box'; known are: out",
        ),
        ("{id: p, model: m, fallback: q}", "fallback names no other pipeline 'q'"),
        ("{id: p, model: m, fallback: p}", "fallback names no other pipeline 'p'"),
        (
            "{id: p, nodes: [{id: cam, type: camera}]}",
            "has sources but no node to read from them",
        ),
        (
            "{id: p, nodes: [{id: cam, type: camera}, {id: a, type: scripted}],"
            " edges: [{from: a, to: cam}]}",
            "the edge a -> cam leads into a source",
        ),
    ],
)
def test_what_a_pipeline_may_not_say(pipeline: str, problem: str) -> None:
    [found] = pipeline_problems(pipeline)
    assert found.startswith(problem)


def test_a_cycle_is_named_in_the_direction_of_its_edges() -> None:
    [found] = pipeline_problems(
        "{id: p, nodes: [{id: a, type: scripted}, {id: b, type: scripted},"
        " {id: c, type: scripted}],"
        " edges: [{from: a, to: b}, {from: b, to: c}, {from: c, to: a}]}"
    )
    assert found.removeprefix("the nodes ").removesuffix(" form a cycle") in (
        "a -> b -> c -> a",
        "b -> c -> a -> b",
        "c -> a -> b -> c",
    )


def test_an_agent_may_not_have_the_name_of_a_node_of_the_short_form() -> None:
    text = """
pipelines: [{id: p, model: m, agents: [model]}]
agents: {model: {type: threshold, metric: heat, threshold: 5, dispatcher: out}}
actions: {out: {type: log}}
"""
    assert problems_of(text) == ["pipeline 'p': two nodes are called 'model'"]


def test_pipelines_that_are_one_anothers_fallback_are_refused() -> None:
    text = """
pipelines:
  - {id: a, model: m, fallback: b}
  - {id: b, model: m, fallback: c}
  - {id: c, model: m, fallback: a}
"""
    [found] = problems_of(text)
    assert found.startswith("the pipelines ")
    assert found.endswith(" are one another's fallback")
    assert sorted(set(found.split()) & {"a", "b", "c"}) == ["a", "b", "c"]


def test_every_problem_of_a_file_is_listed_at_once() -> None:
    text = """
connectors:
  - {id: c, type: file, path: a.jsonl, pipeline: nowhere}
  - {id: c, type: file, path: b.jsonl, pipeline: p}
pipelines:
  - {id: p, preprocess: magic, agents: [ghost], fallback: q, on_error: dead_letter, dead_letter: x}
  - {id: p, model: m}
  - id: loop
    nodes: [{id: a, type: scripted}, {id: b, type: scripted}]
    edges: [{from: a, to: b}, {from: b, to: a}, {from: a, to: z}]
    output: y
agents:
  stray: {type: threshold, metric: heat, threshold: 5, dispatcher: nobody}
"""
    found = problems_of(text)
    expected = [
        "two pipelines are called 'p'",
        "two connectors are called 'c'",
        "connector 'c' leads to no pipeline 'nowhere'; known are: loop, p",
        "agent 'stray': no action is called 'nobody'; known are: none",
        "pipeline 'p': preprocess: unknown node type 'magic'",
        "pipeline 'p': no agent is called 'ghost'; known are: stray",
        "pipeline 'p': no action is called 'x'; known are: none",
        "pipeline 'p': fallback names no other pipeline 'q'",
        "pipeline 'loop': the edge a -> z names no node 'z'",
        "pipeline 'loop': the nodes ",
        "pipeline 'loop': output names no node 'y'",
    ]
    assert len(found) == len(expected), found
    assert all(a.startswith(b) for a, b in zip(found, expected, strict=True)), found
