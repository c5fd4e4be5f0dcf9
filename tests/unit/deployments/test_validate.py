"""Every way in which the files of a site may not fit, and the line that is named."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from app.errors import ConfigurationError
from app.report import Report
from deployments.validate import validate_file
from tests.paths import ROOT

FIXTURES = ROOT / "tests" / "fixtures"

PIPELINES = """\
connectors:
  - {id: air, type: file, path: air.jsonl, pipeline: sense}
pipelines:
  - id: sense
    preprocess: env.vector_to_tensor
    model: air
    agents: [alarm]
  - id: look
    nodes:
      - {id: image, type: image.decode}
      - {id: ask, type: infer, params: {model: eye}}
    edges:
      - {from: image, to: ask}
agents:
  alarm: {type: threshold, metric: co2_ppm, threshold: 1000, dispatcher: log}
actions:
  log: {type: log}
"""

SERVE = """\
applications:
  - name: gateway
    route_prefix: /
    import_path: deployments.gateway:build
    args:
      repositories: [{zoo}]
      pipelines_file: {pipelines}
      inline: [air]
      remote: [eye]
      pipelines: [sense, look]
      streams: [flow]
    deployments:
      - name: Gateway
  - name: eye
    route_prefix: /v2/models/eye
    import_path: deployments.model:build
    args: {{repositories: [{zoo}], model: eye}}
  - name: flow
    route_prefix: null
    import_path: deployments.connector:build
    args:
      repositories: [{zoo}]
      pipelines_file: {pipelines}
      inline: [air]
      pipelines: [sense]
      connectors: [air]
"""


@dataclass
class Site:
    """A site in which everything fits, until something is written over."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("air", "eye"):
            self.model(name)
        self.pipelines.write_text(PIPELINES)
        self.serve.write_text(SERVE.format(zoo=self.zoo, pipelines=self.pipelines))

    @property
    def zoo(self) -> Path:
        return self.folder / "zoo"

    @property
    def serve(self) -> Path:
        return self.folder / "serve.yaml"

    @property
    def pipelines(self) -> Path:
        return self.folder / "pipelines.yaml"

    def model(self, name: str, config: str = "") -> Path:
        """A model whose artefact is there, though it is empty; returns its model.yaml."""
        version = self.zoo / name / "1"
        version.mkdir(parents=True, exist_ok=True)
        (version / "model.onnx").touch()
        path = version.parent / "model.yaml"
        path.write_text(config)
        return path

    def with_serve(self, old: str, new: str) -> Report:
        return _validated(self.serve, old, new)

    def with_pipelines(self, old: str, new: str) -> Report:
        _rewrite(self.pipelines, old, new)
        return validate_file(self.serve)

    def lines(self, errors: tuple[ConfigurationError, ...]) -> list[str]:
        return [str(error).removeprefix(f"{self.folder}/") for error in errors]


def _rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} must stand once in {path.name}"
    path.write_text(text.replace(old, new))


def _validated(path: Path, old: str, new: str) -> Report:
    _rewrite(path, old, new)
    return validate_file(path)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_fits_is_summed_up(site: Site) -> None:
    report = validate_file(site.serve)
    assert report.good
    models, pipelines, connectors = report.tables
    assert models.rows == (("air", "1", "onnx", "gateway, flow"), ("eye", "1", "onnx", "eye"))
    assert pipelines.rows == (
        ("sense", "env.vector_to_tensor → infer(air) → alarm(threshold) → emit", "gateway, flow"),
        ("look", "image.decode → infer(eye)", "gateway"),
    )
    assert connectors.rows == (("air", "file", "sense", "flow"),)


def test_the_projects_own_files_fit() -> None:
    report = validate_file(ROOT / "serve_config.yaml")
    assert [str(error) for error in (*report.problems, *report.missing)] == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "remote: [eye]",
            "remote: [eye, ear]",
            "serve.yaml:9: applications[0].args.remote[1]: "
            "model 'ear' is no application of this file; those that are: eye",
        ),
        (
            "remote: [eye]",
            "remote: [eye, air]",
            "serve.yaml:9: applications[0].args.remote[1]: model 'air' is under inline already",
        ),
        (
            "      remote: [eye]\n",
            "",
            "serve.yaml:5: applications[0].args: pipeline 'look' runs in 'gateway' and uses "
            "model 'eye', which is neither under inline nor under remote",
        ),
        (
            "pipelines: [sense, look]",
            "pipelines: [sense, look, smell]",
            "serve.yaml:10: applications[0].args.pipelines[2]: "
            "no pipeline is called 'smell'; known are: look, sense",
        ),
        (
            "streams: [flow]",
            "streams: [eye]",
            "serve.yaml:11: applications[0].args.streams[0]: "
            "'eye' is no application with connectors; those that are: flow",
        ),
        (
            "name: Gateway",
            "name: Gate",
            "serve.yaml:13: applications[0].deployments[0].name: "
            "this application has no deployment 'Gate'; it has: Gateway",
        ),
        (
            "route_prefix: /v2/models/eye",
            "route_prefix: /eye",
            "serve.yaml:15: applications[1].route_prefix: "
            "must be /v2/models/eye, where the model's routes are",
        ),
        (
            "connectors: [air]",
            "connectors: [air, water]",
            "serve.yaml:26: applications[2].args.connectors[1]: "
            "no connector is called 'water'; known are: air",
        ),
        (
            "pipelines: [sense]\n",
            "pipelines: []\n",
            "serve.yaml:25: applications[2].args.pipelines: connector 'air' leads to pipeline "
            "'sense', which does not run here: all its messages would be dropped",
        ),
    ],
)
def test_applications_that_do_not_fit(site: Site, old: str, new: str, problem: str) -> None:
    report = site.with_serve(old, new)
    assert site.lines(report.problems) == [problem]
    assert report.missing == ()


def test_a_model_application_is_named_as_its_model(site: Site) -> None:
    report = site.with_serve("- name: eye", "- name: eyes")
    assert "serve.yaml:14: applications[1].name: must be 'eye'" in site.lines(report.problems)[-1]


def test_paths_that_lead_nowhere(site: Site) -> None:
    text = site.serve.read_text().replace(str(site.pipelines), "/nowhere/p.yaml")
    site.serve.write_text(text.replace(str(site.zoo), "/nowhere/zoo", 1))
    assert site.lines(validate_file(site.serve).problems) == [
        "serve.yaml:6: applications[0].args.repositories[0]: there is no directory /nowhere/zoo",
        "serve.yaml:7: applications[0].args.pipelines_file: there is no file /nowhere/p.yaml",
    ]


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


def test_a_model_that_this_machine_does_not_have(site: Site) -> None:
    report = site.with_serve("inline: [air]\n      remote", "inline: [air, nose]\n      remote")
    assert report.problems == ()
    assert site.lines(report.missing) == [
        "serve.yaml:8: applications[0].args.inline[1]: "
        "model 'nose' is in no repository; there are: air, eye"
    ]


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


def test_a_wrong_model_yaml_is_found_with_its_line(site: Site) -> None:
    path = site.model("air", "description: x\nmax_batch: 3\n")
    report = validate_file(site.serve)
    problem = "zoo/air/model.yaml:2: max_batch: is not a known field"
    assert [line[: len(problem)] for line in site.lines(report.problems)] == [problem]
    assert site.lines(validate_file(path).problems) == site.lines(report.problems)


def test_a_model_yaml_alone_is_checked_alone(site: Site) -> None:
    site.model("eye", "wrong: 1\n")
    report = validate_file(site.model("air", "max_batch_size: 2\n"))
    assert report.good
    assert report.tables[0].rows == (("air", "1", "onnx"),)


def test_an_artefact_that_is_not_there(site: Site) -> None:
    path = site.model("air", "versions:\n  2: 2/model.onnx\n")
    [problem] = site.lines(validate_file(path).problems)
    assert problem.startswith("zoo/air/model.yaml:2: versions.2: there is no file ")


@pytest.mark.parametrize("content", ["", "colour: red\n", "- a\n"])
def test_a_file_of_another_kind(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(content)
    [problem] = validate_file(path).problems
    assert problem.reason == "is no serve config, no pipelines file and no model.yaml"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    [problem] = validate_file(tmp_path / "x.yaml").problems
    assert "cannot be read" in problem.reason


def test_no_yaml_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\nb: [\n")
    [problem] = validate_file(path).problems
    assert problem.line == 3


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
