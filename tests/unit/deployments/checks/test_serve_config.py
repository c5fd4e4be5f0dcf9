from pathlib import Path

import pytest

from app.errors import ConfigurationError
from deployments.checks.serve_config import OtherApplication, ServeConfig, load_serve_config
from tests.paths import ROOT

OWN_FILE = ROOT / "serve_config.yaml"


def load(tmp_path: Path, text: str) -> ServeConfig:
    path = tmp_path / "serve.yaml"
    path.write_text(text)
    return load_serve_config(path)


def errors_of(tmp_path: Path, text: str) -> list[str]:
    """Each error without the directory of the file."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    return [
        str(error).removeprefix(f"{tmp_path}/") for error in caught.value.parts or [caught.value]
    ]


def test_the_projects_own_file_is_right() -> None:
    kinds = {type(each).__name__ for each in load_serve_config(OWN_FILE).applications}
    assert kinds == {"GatewayApplication", "ModelApplication", "StreamsApplication"}


def test_an_application_of_someone_else_may_say_what_it_wants(tmp_path: Path) -> None:
    text = "applications:\n- {name: own, import_path: my.app, args: {anything: [1]}}\n"
    [application] = load(tmp_path, text).applications
    assert isinstance(application, OtherApplication)
    assert application.args == {"anything": [1]}


def test_ray_puts_in_the_variables_of_a_runtime_environment(tmp_path: Path) -> None:
    text = (
        "applications:\n- import_path: my.app\n"
        "  runtime_env: {env_vars: {PATH: 'bin:${NOT_SET_HERE}'}}\n"
    )
    [application] = load(tmp_path, text).applications
    assert application.runtime_env == {"env_vars": {"PATH": "bin:${NOT_SET_HERE}"}}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "applications: []\nhttp_options:\n  prot: 1\n",
            r"serve.yaml:3: http_options.prot: is not a known field; known here are: host, "
            r"keep_alive_timeout_s, port, request_timeout_s, root_path, ssl_ca_certs, "
            r"ssl_certfile, ssl_keyfile, ssl_keyfile_password (did you mean port?)",
        ),
        (
            "applications: []\nproxy_location: headonly\n",
            "serve.yaml:2: proxy_location: Input should be 'Disabled', 'HeadOnly' or 'EveryNode'",
        ),
        ("http_options: {}\n", "serve.yaml:1: applications: is required"),
        (
            "applications:\n- name: a\n  route_prefix: a\n  import_path: my.app\n",
            "serve.yaml:3: applications[0].route_prefix: must start with '/' and not end with it",
        ),
        (
            "applications:\n- name: a\n  import_path: deployments.modle:build\n",
            "serve.yaml:3: applications[0].import_path: there is no 'deployments.modle:build'; "
            "Manta has: deployments.gateway:build, deployments.model:build, "
            "deployments.connector:build",
        ),
        (
            "applications:\n- {name: a, route_prefix: /a, import_path: x}\n"
            "- {name: a, route_prefix: /b, import_path: x}\n",
            "serve.yaml:1: 2 applications have the name 'a'",
        ),
        (
            "applications:\n- {name: a, import_path: x}\n- {name: b, import_path: x}\n",
            "serve.yaml:1: 2 applications have the route_prefix '/'",
        ),
        (
            "applications:\n- import_path: deployments.model:build\n  args:\n    modle: digits\n"
            "    model: digits\n",
            "serve.yaml:4: applications[0].args.modle: is not a known field; "
            "known here are: direct, hosts, limits, loaded_models_file, max_model_size_mb, model, "
            "origins, override, repositories, shared_memory, timeout_s (did you mean model?)",
        ),
        (
            "applications:\n- import_path: deployments.model:build\n",
            "serve.yaml:2: applications[0].args: is required",
        ),
        (
            "applications:\n- import_path: deployments.connector:build\n  args:\n"
            "    streams: [a]\n",
            "serve.yaml:4: applications[0].args.streams: is not a known field; known here are: "
            "connectors, inline, max_model_size_mb, model_cache_size, pipelines, pipelines_file, "
            "remote, repositories",
        ),
        (
            "applications:\n- import_path: x\n  deployments:\n  - name: D\n    num_replicas: 2\n"
            "    autoscaling_config: {max_replicas: 3}\n",
            "serve.yaml:4: applications[0].deployments[0]: "
            "write num_replicas: <number> or autoscaling_config, not both",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, error: str) -> None:
    assert errors_of(tmp_path, text) == [error]


def test_a_misspelt_limit_is_not_silently_no_limit(tmp_path: Path) -> None:
    text = (
        "applications:\n- import_path: deployments.gateway:build\n  deployments:\n"
        "  - name: Gateway\n    max_queue_requests: 5\n"
    )
    [error] = errors_of(tmp_path, text)
    assert error.startswith(
        "serve.yaml:5: applications[0].deployments[0].max_queue_requests: is not a known field"
    )
    assert error.endswith("(did you mean max_queued_requests?)")
