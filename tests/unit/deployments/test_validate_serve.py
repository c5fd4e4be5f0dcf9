"""Every way in which applications may not fit one another, and the line that is named."""

import pytest

from deployments.validate import validate_file
from tests.paths import ROOT
from tests.unit.deployments.site import Site


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


def test_a_model_that_this_machine_does_not_have(site: Site) -> None:
    report = site.with_serve("inline: [air]\n      remote", "inline: [air, nose]\n      remote")
    assert report.problems == ()
    assert site.lines(report.missing) == [
        "serve.yaml:8: applications[0].args.inline[1]: "
        "model 'nose' is in no repository; there are: air, eye"
    ]
