"""Every way in which applications may not fit one another, and the line that is named."""

import pytest

from deployments.checks.validate import validate_file
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


@pytest.mark.parametrize("name", ["serve_config.yaml", "config/serve_haproxy.yaml"])
def test_the_projects_own_files_fit(name: str) -> None:
    report = validate_file(ROOT / name)
    found = (*report.problems, *report.missing, *report.warnings)
    assert [str(error) for error in found] == []


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


BODY = (
    "applications[1].args.limits.body_bytes: {} in application 'eye', but {} in 'gateway' "
    "(gateway.limits.body_bytes in pipelines.yaml): "
    "a request may be answered at one address and refused at another"
)


def test_unequal_limits_of_two_doors_to_one_model(site: Site) -> None:
    report = site.with_pipelines(
        "pipelines:\n", "gateway: {limits: {body_bytes: 2000}}\npipelines:\n"
    )
    assert site.lines(report.warnings) == ["serve.yaml:17: " + BODY.format(64 * 1024 * 1024, 2000)]
    assert report.good, "it may be meant"
    limits = "model: eye\n      limits:\n        tensors: 1\n        body_bytes: {}"
    args = f"args:\n      repositories: [{site.zoo}]\n      {limits}"
    flow_style = f"args: {{repositories: [{site.zoo}], model: eye}}"
    report = site.with_serve(flow_style, args.format(3000))
    assert site.lines(report.warnings)[0] == "serve.yaml:22: " + BODY.format(3000, 2000)
    assert "limits.tensors: 1 in application 'eye', but 256" in str(report.warnings[1])


def test_unequal_hosts_of_two_doors_to_one_model(site: Site) -> None:
    site.with_pipelines("pipelines:\n", "gateway: {hosts: [b, a], origins: []}\npipelines:\n")
    report = site.with_serve("model: eye}", "model: eye, hosts: [a]}")
    [warning] = site.lines(report.warnings)
    assert "args.hosts: ['a'] in application 'eye', but ['a', 'b'] in 'gateway'" in warning
    assert "(gateway.hosts in pipelines.yaml)" in warning
    assert site.with_serve("hosts: [a]}", "hosts: [a, b]}").warnings == ()


@pytest.mark.parametrize("origin", ["panel.local", "http://panel.local/", "https://a/b"])
def test_what_is_no_origin_is_refused(site: Site, origin: str) -> None:
    report = site.with_pipelines(
        "pipelines:\n", f"gateway: {{origins: ['{origin}']}}\npipelines:\n"
    )
    assert "gateway.origins" in str(report.problems[0])


@pytest.mark.parametrize("host", ["manta:8000", "http://manta", "*", ""])
def test_what_is_no_host_name_is_refused(site: Site, host: str) -> None:
    report = site.with_pipelines("pipelines:\n", f"gateway: {{hosts: ['{host}']}}\npipelines:\n")
    assert "gateway.hosts" in str(report.problems[0])


@pytest.mark.parametrize(
    ("pipelines", "eye"),
    [
        ("body_bytes: 2000", "body_bytes: 2000"),
        ("sockets: 2, parts: 3, batch_requests: 4, message_bytes: 5", ""),
    ],
)
def test_limits_that_cannot_contradict_each_other(site: Site, pipelines: str, eye: str) -> None:
    text = f"gateway: {{limits: {{{pipelines}}}}}\npipelines:\n"
    site.with_pipelines("pipelines:\n", text)
    report = site.with_serve("model: eye}", f"model: eye, limits: {{{eye}}}}}")
    assert (report.good, report.warnings) == (True, ())


def test_a_model_that_no_gateway_answers_for_has_limits_of_its_own(site: Site) -> None:
    site.pipelines.write_text("pipelines: []\n")
    text = site.serve.read_text().replace("remote: [eye]", "remote: []")
    site.serve.write_text(text.replace("model: eye}", "model: eye, limits: {tensors: 1}}"))
    assert validate_file(site.serve).warnings == ()


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
