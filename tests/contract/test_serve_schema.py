"""Our strict copy of Ray Serve's schema against the schema of the Ray that is installed."""

import importlib
import warnings

import pytest
from pydantic import BaseModel

from deployments.checks import serve_config as ours

PAIRS: list[tuple[type[BaseModel], str, str]] = [
    (ours.ServeConfig, "ray.serve.schema", "ServeDeploySchema"),
    (ours.ControllerOptions, "ray.serve.config", "ControllerOptions"),
    (ours.HttpOptions, "ray.serve.schema", "HTTPOptionsSchema"),
    (ours.GrpcOptions, "ray.serve.schema", "gRPCOptionsSchema"),
    (ours.LoggingOptions, "ray.serve.schema", "LoggingConfig"),
    (ours.TracingOptions, "ray.serve.schema", "TracingConfig"),
    (ours.OtherApplication, "ray.serve.schema", "ServeApplicationSchema"),
    (ours.DeploymentOptions, "ray.serve.schema", "DeploymentSchema"),
    (ours.ActorOptions, "ray.serve.schema", "RayActorOptionsSchema"),
    (ours.AutoscalingOptions, "ray.serve.config", "AutoscalingConfig"),
]

OF_A_LONE_APPLICATION = {"host", "port"}
"""Ray takes these from an application only where the file holds no other."""


@pytest.mark.parametrize(("own", "module", "name"), PAIRS, ids=[pair[2] for pair in PAIRS])
def test_the_fields_are_rays(own: type[BaseModel], module: str, name: str) -> None:
    with warnings.catch_warnings():
        # Ray's own use of pydantic warns on import.
        warnings.simplefilter("ignore")
        rays: type[BaseModel] = getattr(importlib.import_module(module), name)
    left_out = OF_A_LONE_APPLICATION if own is ours.OtherApplication else set()
    assert set(own.model_fields) == set(rays.model_fields) - left_out
