"""The model repositories of an application."""

import os
from pathlib import Path

from app.errors import ConfigurationError
from deployments.args import AppArgs, resolved
from models.repository.repository import ModelRepository

VARIABLE = "MANTA_MODEL_REPOSITORY"


def open_repository(args: AppArgs) -> ModelRepository:
    """Raises ConfigurationError if one of them is no directory."""
    directories = from_environment()
    for directory in directories:
        if not directory.is_dir():
            raise not_there(directory)
    configured = [resolved(path) for path in args.repositories]
    return ModelRepository(directories or configured, args.max_model_size_mb)


def from_environment() -> tuple[Path, ...]:
    """The directories that stand for the `repositories` of every application.

    None where MANTA_MODEL_REPOSITORY is not set, or empty. Several are split as those of PATH are;
    a relative one starts at the project's directory, as in the configuration.
    """
    names = os.environ.get(VARIABLE, "").split(os.pathsep)
    return tuple(resolved(Path(name)) for name in names if name)


def not_there(directory: Path) -> ConfigurationError:
    """The error about a directory of `from_environment`."""
    return ConfigurationError(f"there is no directory {directory}", field=VARIABLE)
