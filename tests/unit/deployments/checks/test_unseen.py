"""`manta validate` says which settings of Serve do nothing for inference, with their line."""

import pytest

from deployments.checks.validate import validate_file
from tests.paths import ROOT
from tests.unit.deployments.site import Site

PROXY = {
    "none": ("proxy_location: Disabled\n", ""),
    "Serve's": ("proxy_location: HeadOnly\n", ""),
    "HAProxy": ("", "env_vars: {RAY_SERVE_ENABLE_HA_PROXY: '1'}"),
    "in front": (
        "",
        "env_vars: {RAY_SERVE_ENABLE_HA_PROXY: '1', RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH:"
        " 'deployments.fast_route:middlewares'}",
    ),
}


def warned(site: Site, proxy: str, head: str = "", deployment: str = "") -> list[str]:
    """`line field` of each warning."""
    first, variables = PROXY[proxy]
    text = site.serve.read_text().replace(
        "- name: Gateway", f"- {{name: Gateway{deployment}}}\n    runtime_env: {{{variables}}}"
    )
    site.serve.write_text(f"{first}{head}{text}")
    report = validate_file(site.serve)
    assert report.good, report.problems
    assert all("no effect" in error.reason for error in report.warnings)
    return [f"{error.line} {error.field}" for error in report.warnings]


@pytest.mark.parametrize(
    "setting",
    [
        "max_ongoing_requests: 8",
        "max_queued_requests: 8",
        "backpressure_config: {status_code: 429}",
        "autoscaling_config: {max_replicas: 3}",
        "num_replicas: auto",
    ],
)
def test_what_serve_cannot_do_for_requests_that_it_does_not_see(site: Site, setting: str) -> None:
    field = setting.partition(":")[0]
    for proxy, told in (("none", 1), ("Serve's", 0), ("HAProxy", 0), ("in front", 1)):
        fresh = Site(site.folder)
        found = warned(fresh, proxy, deployment=f", {setting}")
        assert len(found) == told, proxy
        assert all(each.endswith(f"applications[0].deployments[0].{field}") for each in found)


@pytest.mark.parametrize(
    ("field", "proxies"),
    [
        ("ssl_keyfile: k", ("none", "Serve's", "HAProxy", "in front")),
        ("request_timeout_s: 3", ("none", "Serve's", "HAProxy", "in front")),
        ("keep_alive_timeout_s: 3", ("none",)),
        ("root_path: /x", ("none",)),
    ],
)
def test_what_the_proxy_would_do_for_requests_that_do_not_pass_it(
    site: Site, field: str, proxies: tuple[str, ...]
) -> None:
    name = field.partition(":")[0]
    for proxy in PROXY:
        fresh = Site(site.folder)
        found = warned(fresh, proxy, head=f"http_options: {{{field}}}\n")
        assert [each.split()[1] for each in found] == [f"http_options.{name}"] * (proxy in proxies)


def test_the_line_and_what_to_write_instead_are_named(site: Site) -> None:
    report = site.with_serve("- name: Gateway", "- {name: Gateway, max_ongoing_requests: 3}")
    assert report.warnings == ()
    report = site.with_serve(
        "applications:\n",
        "proxy_location: Disabled\ngrpc_options: {request_timeout_s: 3}\napplications:\n",
    )
    grpc, gateway = site.lines(report.warnings)
    assert grpc.startswith("serve.yaml:2: grpc_options.request_timeout_s: has no effect")
    assert "gateway.timeout_s" in grpc
    assert gateway.startswith("serve.yaml:15: applications[0].deployments[0].max_ongoing_requests:")
    assert "queue_size in model.yaml" in gateway


def test_nobody_asks_streams(site: Site) -> None:
    report = site.with_serve(
        "connectors: [air]",
        "connectors: [air]\n    deployments: [{name: Streams, autoscaling_config: {}}]",
    )
    [told] = site.lines(report.warnings)
    assert "applications[2].deployments[0].autoscaling_config" in told
    assert "nobody sends requests" in told


@pytest.mark.parametrize("file", ["serve_config.yaml", "config/serve_haproxy.yaml"])
def test_the_files_of_the_project_say_nothing_in_vain(file: str) -> None:
    report = validate_file(ROOT / file)
    assert [each for each in report.warnings if "no effect" in each.reason] == []
