"""Every way in which a pipelines file may be wrong, and the line that is named."""

import pytest

from deployments.checks.validate import validate_file
from tests.paths import ROOT
from tests.unit.deployments.site import PIPELINES, Site

FIXTURES = ROOT / "tests" / "fixtures"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "agents: [alarm]",
            "agents: [alarm, siren]",
            "pipelines.yaml:7: pipelines[0].agents[1]: no agent is called 'siren'; "
            "known are: alarm",
        ),
        (
            "preprocess: env.vector_to_tensor",
            "preprocess: env.vector",
            "pipelines.yaml:5: pipelines[0].preprocess: preprocess: unknown node type "
            "'env.vector'; known are: ",
        ),
        (
            "preprocess: env.vector_to_tensor",
            "preprocess: infer",
            "pipelines.yaml:5: pipelines[0].preprocess: preprocess.infer.model: is required; "
            "write it as a graph to say so",
        ),
        (
            "- {from: image, to: ask}",
            "- {from: image, to: ask}\n      - {from: ask, to: tell}",
            "pipelines.yaml:14: pipelines[1].edges[1]: the edge ask -> tell names no node 'tell'",
        ),
        (
            "- {from: image, to: ask}",
            "- {from: image, to: ask}\n      - {from: ask, to: image}",
            "pipelines.yaml:12: pipelines[1].edges: the nodes ",
        ),
        (
            "id: ask, type",
            "id: image, type",
            "pipelines.yaml:11: pipelines[1].nodes[1]: two nodes are called 'image'",
        ),
        (
            "- id: look",
            "- id: look\n    output: eyes",
            "pipelines.yaml:9: pipelines[1].output: output names no node 'eyes'",
        ),
        (
            "- id: look",
            "- id: look\n    fallback: look",
            "pipelines.yaml:9: pipelines[1].fallback: fallback names no other pipeline 'look'",
        ),
        (
            "- id: look",
            "- id: look\n    dead_letter: post",
            "pipelines.yaml:9: pipelines[1].dead_letter: no action is called 'post'; "
            "known are: log",
        ),
        (
            "pipeline: sense}",
            "pipeline: sens}",
            "pipelines.yaml:2: connectors[0]: connector 'air' leads to no pipeline 'sens'; "
            "known are: look, sense",
        ),
        (
            "dispatcher: log",
            "dispatcher: lgo",
            "pipelines.yaml:15: agents.alarm.dispatcher: agent 'alarm': "
            "no action is called 'lgo'; known are: log",
        ),
        (
            "threshold: 1000",
            "treshold: 1000",
            "pipelines.yaml:15: agents.alarm.threshold: is required",
        ),
        (
            "type: file",
            "type: files",
            "pipelines.yaml:2: connectors[0]: Input tag 'files' found using 'type'",
        ),
    ],
)
def test_pipelines_that_are_wrong(site: Site, old: str, new: str, problem: str) -> None:
    problems = site.lines(site.with_pipelines(old, new).problems)
    assert any(each.startswith(problem) for each in problems), problems
    alone = site.lines(validate_file(site.pipelines).problems)
    assert any(each.startswith(problem) for each in alone), alone


def test_agents_do_not_take_the_names_of_nodes(site: Site) -> None:
    text = PIPELINES.replace("agents: [alarm]", "agents: [model]").replace("  alarm:", "  model:")
    site.pipelines.write_text(text)
    assert site.lines(validate_file(site.pipelines).problems) == [
        "pipelines.yaml:7: pipelines[0].agents[0]: two nodes are called 'model'"
    ]


def test_two_of_one_name_are_found_where_the_second_stands(site: Site) -> None:
    report = site.with_pipelines("- id: look", "- id: sense")
    assert site.lines(report.problems)[0] == (
        "pipelines.yaml:8: pipelines[1]: two pipelines are called 'sense'"
    )


@pytest.mark.parametrize(
    ("old", "place"),
    [
        ("model: air", "pipelines.yaml:6: pipelines[0].model: pipeline 'sense'"),
        ("model: eye", "pipelines.yaml:11: pipelines[1].nodes[1].params.model: pipeline 'look'"),
    ],
)
def test_a_pipeline_whose_model_is_missing(site: Site, old: str, place: str) -> None:
    report = site.with_pipelines(old, "model: nose")
    assert report.problems == ()
    line = f"{place} uses model 'nose', which is in no repository"
    assert set(site.lines(report.missing)) == {line}


def test_the_gateway_documents_example_needs_only_its_models() -> None:
    report = validate_file(FIXTURES / "gateway.yaml")
    assert report.problems == ()
    assert [(error.line, error.reason) for error in report.missing] == [
        (27, "pipeline 'env-quality' uses model 'mobilenet_v2_cls', which is in no repository"),
        (34, "pipeline 'frontdoor-vision' uses model 'yolov5n_coco', which is in no repository"),
    ]
    pipelines, connectors = report.tables
    assert pipelines.rows[1][1].endswith(
        "→ [frontdoor_guard(person_in_zone), frontdoor_archive(snapshot_archive)] → emit"
    )
    assert connectors.rows == (("floor1-mqtt", "mqtt", "env-quality, frontdoor-vision"),)


def test_the_graph_documents_example_needs_only_its_engine() -> None:
    report = validate_file(FIXTURES / "aegis.json")
    assert report.problems == ()
    assert [(error.line, error.field, error.reason) for error in report.missing] == [
        (
            6,
            "nodes[2].params.model",
            "pipeline 'aegis_tracking_pipeline' uses model 'yolo.engine',"
            " which is in no repository",
        )
    ]
    pipelines, connectors = report.tables
    assert pipelines.rows == (
        (
            "aegis_tracking_pipeline",
            "image.to_tensor → infer(yolo.engine) → detection.auto → draw",
        ),
    )
    assert connectors.rows == (
        ("aegis_tracking_pipeline.cam", "camera", "aegis_tracking_pipeline"),
    )
