"""The model that does what it is told, in a Serve application of its own."""

from ray import serve
from ray.serve import Application

from deployments.args import ModelArgs
from deployments.handles import MODEL_DEPLOYMENT
from deployments.model import ModelReplica
from deployments.options import deploy
from tests.faults.models import register

register()


class ActingReplica(ModelReplica):
    """Imported with this module, and so in a process that knows the runtime `acting`."""


def build(args: ModelArgs) -> Application:
    return deploy(serve.ingress()(ActingReplica), MODEL_DEPLOYMENT, args)
