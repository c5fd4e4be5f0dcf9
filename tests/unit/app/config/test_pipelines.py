"""The file's schema: both forms of a pipeline, and what is refused with its place."""

import pytest

from app.config.pipelines import PipelineConfig
from app.errors import ConfigurationError
from tests.fakes.pipelines import config_of, graphs_of

GRAPH = """
{
  "name": "tracking",
  "nodes": [
    {"id": "cam", "type": "CameraSource", "params": {"id": 0}},
    {"id": "pre", "type": "ImagePreproc", "params": {"width": 320, "height": 320}},
    {"id": "ai", "type": "Inference", "params": {"model": "detector", "target": "gpu"}},
    {"id": "post", "type": "DetectionPost", "params": {"thresh": 0.4}},
    {"id": "view", "type": "Visualizer", "params": {}}
  ],
  "edges": [
    {"from": "cam", "to": "pre"}, {"from": "pre", "to": "ai"},
    {"from": "ai", "to": "post"}, {"from": "post", "to": "view"}
  ]
}
"""

SITE = """
version: 1
gateway: {host: 127.0.0.1, port: 9000, pool_size: 2, timeout_s: 1.5}
connectors:
  - id: hall
    type: mqtt
    host: 10.0.0.4
    username: reader
    password: secret
    topics:
      - {filter: hall/+/air, pipeline: air, serializer: json}
      - {filter: hall/door/picture, pipeline: door, serializer: jpeg}
pipelines:
  - id: air
    preprocess: env.vector_to_tensor
    model: air-classes
    postprocess: env.softmax_topk
    agents: [stuffy]
  - id: door
    preprocess: vision.jpeg_to_yolov5
    model: detector
    postprocess: vision.yolo_nms
    agents: [visitor, archive]
agents:
  stuffy: {type: threshold, metric: co2_ppm, threshold: 900, dispatcher: log}
  visitor: {type: person_in_zone, zone: door, dispatcher: bell, target: bell/ring}
  archive: {type: snapshot_archive, dispatcher: log}
actions:
  log: {type: log}
  bell: {type: mqtt, host: hall, topic: bell/ring}
"""


def refused(text: str, *reasons: str) -> None:
    """Every one of `reasons` stands in the one error that the text gives."""
    with pytest.raises(ConfigurationError) as raised:
        config_of(text)
    for reason in reasons:
        assert reason in str(raised.value)


def test_a_bare_graph_is_a_file_with_one_pipeline() -> None:
    config = config_of(GRAPH)
    [pipeline] = config.pipelines
    assert pipeline.id == "tracking"
    assert [node.id for node in pipeline.nodes] == ["cam", "pre", "ai", "post", "view"]
    assert (pipeline.edges[0].source, pipeline.edges[0].to) == ("cam", "pre")


def test_a_source_inside_a_graph_is_a_connector_that_leads_to_it() -> None:
    graph = graphs_of(GRAPH)["tracking"]
    [camera] = graph.connectors
    assert (camera.id, camera.type, camera.routes()) == ("tracking.cam", "camera", ("tracking",))
    assert camera.model_dump()["device"] == 0
    assert [node.id for node in graph.nodes] == ["pre", "ai", "post", "view"]
    assert next(graph.nodes).inputs == ()


def test_a_site_in_the_short_form() -> None:
    config = config_of(SITE)
    assert (config.gateway.pool_size, config.gateway.timeout_s) == (2, 1.5)
    [connector] = config.connectors
    assert connector.routes() == ("air", "door")
    graphs = graphs_of(SITE)
    assert [[node.id for node in level] for level in graphs["door"].levels] == [
        ["preprocess"],
        ["model"],
        ["postprocess"],
        ["visitor", "archive"],
        ["emit"],
    ]


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(config_of(SITE))


def test_an_empty_file_has_nothing() -> None:
    config = config_of("")
    assert (config.pipelines, config.connectors, dict(config.agents)) == ((), (), {})


def test_configurations_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        config_of(SITE).pipelines[0].id = "other"  # type: ignore[misc]  # it cannot be set


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        ("{id: p}", "needs preprocess, model or postprocess, or a graph of nodes"),
        (
            "{id: p, model: m, nodes: [{id: a, type: scripted}]}",
            "write preprocess/model/postprocess or nodes/edges, not both",
        ),
        ("{model: m}", "id: is required"),
        ("{id: 'a b', model: m}", "id: String should match"),
        ("{id: p, model: m, deadline_ms: 0}", "deadline_ms: Input should be greater than 0"),
        ("{id: p, model: m, on_error: retry}", "on_error: Input should be 'drop', 'continue'"),
        ("{id: p, model: m, on_error: dead_letter}", "needs dead_letter: <name of an action>"),
        ("{id: p, model: m, stages: []}", "stages: is not a known field; known here are: agents"),
        ("{id: p, nodes: [{id: a, type: nope}]}", "'nope'"),
        (
            "{id: p, nodes: [{id: a, type: scripted, params: {speed: 1}}]}",
            "params.speed: is not a known field; known here are: cannot_be_built",
        ),
        ("{id: p, nodes: [{id: a, type: infer}]}", "nodes[0].model: is required"),
        (
            "{id: p, nodes: [{id: a, type: scripted}], edges: [{from: a}]}",
            "edges[0].to: is required",
        ),
    ],
)
def test_wrong_pipelines_are_refused_with_their_line(pipeline: str, reason: str) -> None:
    refused(f"version: 1\npipelines:\n  - {pipeline}\n", ":3: pipelines[0]", reason)


def test_all_wrong_fields_of_a_file_are_listed_at_once() -> None:
    refused(
        """
        version: 2
        pipelines: [{id: p, model: 5}]
        connectors: [{id: c, type: carrier-pigeon}]
        agents: {a: {type: threshold, metric: co2}}
        actions: {log: {type: log, level: loud}}
        """,
        "6 errors",
        ":2: version: Input should be 1",
        ":3: pipelines[0].model: Input should be a valid string",
        ":4: connectors[0]",
        "'carrier-pigeon'",
        ":5: agents.a.threshold: is required",
        ":5: agents.a.dispatcher: is required",
        ":6: actions.log.level: Input should be 'debug', 'info', 'warning' or 'error'",
    )


def test_edges_are_written_from_and_to() -> None:
    pipeline = PipelineConfig.model_validate(
        {"id": "p", "model": "m", "edges": [{"from": "a", "to": "b"}]}
    )
    assert pipeline.edges[0].model_dump(by_alias=True) == {"from": "a", "to": "b"}
