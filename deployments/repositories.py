"""The model repositories of an application."""

from deployments.args import AppArgs, resolved
from models.repository import ModelRepository


def open_repository(args: AppArgs) -> ModelRepository:
    """Raises ConfigurationError if one of them is no directory."""
    directories = [resolved(path) for path in args.repositories]
    return ModelRepository(directories, args.max_model_size_mb)
