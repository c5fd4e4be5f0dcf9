"""What every deployment has in common."""

from typing import Any

from ray import serve
from ray.serve import Application

from deployments.args import AppArgs


def deploy(cls: type[object], name: str, args: AppArgs, **options: Any) -> Application:
    """Bind a plain class as a deployment.

    Its replicas take many requests at once, since waiting for a batch or for another process
    costs nothing; what bounds them is the batcher's queue.
    """
    defaults: dict[str, Any] = {
        "max_ongoing_requests": 4096,
        "health_check_period_s": 1,  # replaced after the third failure in a row
        "graceful_shutdown_wait_loop_s": 0.2,
        "graceful_shutdown_timeout_s": 10,
    }
    deployment: serve.Deployment = serve.deployment(name=name, **(defaults | options))(cls)
    return deployment.bind(args)
