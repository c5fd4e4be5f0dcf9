"""The models that are there: directories of model directories."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from app.errors import ConfigurationError, ModelNotFound
from app.interfaces import Model
from app.registry import RUNTIMES
from models.repository.integrity import check_artefact
from models.repository.model_yaml import ModelConfig, load_model_config

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class ModelRepository:
    """Every model found in `directories`, broken ones included.

    A model that is wrong does not hide the others: its error is kept, and raised when that model
    is asked for. Directories whose names begin with a dot or an underscore are left alone.
    Raises ConfigurationError if one of `directories` is no directory. An artefact may have at most
    `max_model_size_mb` million bytes.
    """

    def __init__(self, directories: Iterable[Path], max_model_size_mb: int = 1024) -> None:
        self._directories = tuple(directories)
        self._max_model_size_mb = max_model_size_mb
        self._found: Mapping[str, ModelConfig | ConfigurationError] = {}
        self.scan()

    def scan(self) -> None:
        """Look again. Models that were opened before are not touched."""
        found: dict[str, ModelConfig | ConfigurationError] = {}
        for directory in self._directories:
            for entry in _model_directories(directory):
                if entry.name in found:
                    reason = f"a model {entry.name!r} stands in more than one repository"
                    found[entry.name] = ConfigurationError(reason, str(entry))
                else:
                    found[entry.name] = _config_or_error(entry, directory)
        self._found = found

    def names(self) -> tuple[str, ...]:
        """The names of all models, broken ones included, in alphabetical order."""
        return tuple(sorted(self._found))

    def config(self, name: str) -> ModelConfig:
        """Raises ModelNotFound, or the model's own ConfigurationError if it is broken."""
        found = self._found.get(name)
        if found is None:
            raise ModelNotFound(f"there is no model {name!r}")
        if isinstance(found, ConfigurationError):
            raise found
        return found

    def open(self, name: str, version: str, config: ModelConfig | None = None) -> Model:
        """A version of a model, not loaded yet; `config` stands for what the repository has.

        Raises ModelNotFound, or ConfigurationError if it can never be loaded or is not the file
        that is meant.
        """
        config = config or self.config(name)
        if version not in config.versions:
            known = ", ".join(config.versions)
            reason = f"model {name!r} has no version {version!r}; it has: {known}"
            raise ModelNotFound(reason)
        check_artefact(config, version, self._max_model_size_mb)
        return RUNTIMES.get(_runtime(config, version)).factory(config, version)

    def check(self, config: ModelConfig) -> None:
        """What can be known at once, before anything is downloaded, read or loaded.

        Raises ConfigurationError for a version of the policy that has no file or no runtime.
        """
        for version in config.served_versions():
            config.artefact(version)
            _runtime(config, version)

    def validate(self, *names: str) -> Iterator[ConfigurationError]:
        """Everything that is wrong, as far as it can be known without loading a model.

        `names` are the models to look at, all of them where none is given.
        """
        for name in names or self.names():
            found = self._found[name]
            if isinstance(found, ConfigurationError):
                yield found
            else:
                yield from _problems(found)


def _model_directories(directory: Path) -> Iterator[Path]:
    if not directory.is_dir():
        raise ConfigurationError("the model repository is no directory", str(directory))
    for entry in sorted(directory.iterdir()):
        if entry.is_dir() and not entry.name.startswith((".", "_")):
            yield entry


def _config_or_error(entry: Path, repository: Path) -> ModelConfig | ConfigurationError:
    if not NAME.fullmatch(entry.name):
        reason = "a model's name is up to 128 letters, digits, dots, underscores and hyphens"
        return ConfigurationError(reason, str(entry))
    if not entry.resolve().is_relative_to(repository.resolve()):
        return ConfigurationError(f"leads out of the repository {repository}", str(entry))
    try:
        return load_model_config(entry)
    except ConfigurationError as error:
        return error
    except OSError as error:
        return ConfigurationError(f"cannot be read: {error.strerror}", str(entry))


def _problems(config: ModelConfig) -> Iterator[ConfigurationError]:
    yield from _error_of(config.served_versions)
    for version in config.versions:
        yield from _error_of(partial(config.artefact, version))
        yield from _error_of(partial(_runtime, config, version))
    for output, labels in config.labels.items():
        if isinstance(labels, str):
            yield from _error_of(partial(config.labels_of, output, {}))


def _error_of(check: Callable[[], object]) -> Iterator[ConfigurationError]:
    try:
        check()
    except ConfigurationError as error:
        yield error


def _runtime(config: ModelConfig, version: str) -> str:
    name = config.runtime_of(version)
    if name not in RUNTIMES:
        known = ", ".join(registration.names[0] for registration in RUNTIMES)
        raise config.error(f"unknown runtime {name!r}; known are: {known}", "runtime")
    return name
