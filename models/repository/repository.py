"""The models that are there: directories of model directories."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from app.errors import ConfigurationError, ModelNotFound
from app.interfaces import Model
from app.registry import RUNTIMES
from models.repository import config_pbtxt
from models.repository.download import fetch
from models.repository.integrity import MEGABYTE
from models.repository.labels import read_labels, with_labels
from models.repository.located import RUNTIME_OF_SUFFIX, Located, locate, runtime_of
from models.repository.model_yaml import FILE_NAME, VERSION, ModelConfig, load_model_config
from models.repository.version_files import VersionFiles, private_copy, sums_of

logger = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class ModelRepository:
    """Every model found in `directories`, broken ones included.

    A model that is wrong does not hide the others: its error is kept, and raised when that model
    is asked for. What is not meant as a model is ignored, and said once: files, directories whose
    names begin with a dot or an underscore, and those with neither a configuration, a numbered
    directory nor an artefact.
    Raises ConfigurationError if one of `directories` is no directory. An artefact may have at most
    `max_model_size_mb` million bytes.
    """

    def __init__(self, directories: Iterable[Path], max_model_size_mb: int = 1024) -> None:
        self._directories = tuple(directories)
        self._max_model_size_mb = max_model_size_mb
        self._found: Mapping[str, ModelConfig | ConfigurationError] = {}
        self._strays: Mapping[Path, tuple[str, ...]] = {}
        self.scan()

    def scan(self) -> None:
        """Look again. Models that were opened before are not touched."""
        found: dict[str, ModelConfig | ConfigurationError] = {}
        strays: dict[Path, tuple[str, ...]] = {}
        for directory in self._directories:
            entries, strays[directory] = _told_apart(directory)
            if strays[directory] and strays[directory] != self._strays.get(directory):
                names = ", ".join(strays[directory])
                logger.info("%s: ignored, being no models: %s", directory, names)
            for entry in entries:
                if entry.name in found:
                    reason = f"a model {entry.name!r} stands in more than one repository"
                    found[entry.name] = ConfigurationError(reason, str(entry))
                else:
                    found[entry.name] = _config_or_error(entry, directory)
        before, self._found, self._strays = self._found, found, strays
        for name, each in found.items():
            for note in _notes(each):
                if note not in _notes(before.get(name)):
                    logger.warning("%s", note)

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

    @contextmanager
    def files(self, config: ModelConfig, version: str) -> Iterator[VersionFiles]:
        """The files of a version for as long as it takes to load them.

        Raises ModelNotFound, or ConfigurationError if it can never be loaded or is not the file
        that is meant.
        """
        with private_copy(self._located(config, version), self._max_model_size_mb) as files:
            yield files

    def sums(self, config: ModelConfig, version: str) -> Mapping[str, str]:
        """File name -> SHA-256 of each file that `files` would give now. Raises as that does."""
        return sums_of(self._located(config, version), self._max_model_size_mb)

    def load(self, name: str, version: str) -> Model:
        """A version of a model, loaded. Raises as `config`, `files` and its runtime do."""
        config = with_labels(self.config(name))
        with self.files(config, version) as files:
            model = open_model(config, files)
            model.load()
        return model

    def check(self, config: ModelConfig) -> None:
        """What can be known at once, before anything is downloaded, read or loaded.

        Raises ConfigurationError for a version of the policy that has no file or no runtime.
        """
        for version in config.served_versions():
            locate(config, version)
            _runtime(config, version)

    def _located(self, config: ModelConfig, version: str) -> Located:
        if version not in config.versions:
            known = ", ".join(config.versions)
            reason = f"model {config.name!r} has no version {version!r}; it has: {known}"
            raise ModelNotFound(reason)
        located = locate(config, version)
        fetch(located, self._max_model_size_mb * MEGABYTE)
        return located

    def check_files(self, config: ModelConfig) -> None:
        """What reading the files of the served versions tells, without loading or downloading any.

        Raises ConfigurationError for a file that is missing, too large, damaged or another one than
        `sha256` says.
        """
        for version in config.served_versions():
            located = locate(config, version)
            if located.path.is_file():
                sums_of(located, self._max_model_size_mb)
        with_labels(config)

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


def open_model(config: ModelConfig, files: VersionFiles) -> Model:
    """The model of a version, not loaded yet. Raises ConfigurationError for an unknown runtime."""
    return RUNTIMES.get(_runtime(config, files.version)).factory(config, files)


def _told_apart(directory: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The directories that are meant as models, and the names of whatever else there is."""
    if not directory.is_dir():
        raise ConfigurationError("the model repository is no directory", str(directory))
    models: list[Path] = []
    strays: list[str] = []
    for entry in sorted(directory.iterdir()):
        if _is_meant(entry):
            models.append(entry)
        else:
            strays.append(entry.name)
    return models, tuple(strays)


def _is_meant(entry: Path) -> bool:
    """Whether it is to be a model, be it a broken one. One that cannot be read goes by its name."""
    if not entry.is_dir() or entry.name.startswith((".", "_")):
        return False
    try:
        return any(
            inner.name in (FILE_NAME, config_pbtxt.FILE_NAME)
            or inner.suffix in RUNTIME_OF_SUFFIX
            or (VERSION.fullmatch(inner.name) and inner.is_dir())
            for inner in entry.iterdir()
        )
    except OSError:
        return NAME.fullmatch(entry.name) is not None


def _config_or_error(entry: Path, repository: Path) -> ModelConfig | ConfigurationError:
    if not NAME.fullmatch(entry.name):
        reason = "a model's name is up to 128 letters, digits, dots, underscores and hyphens"
        return ConfigurationError(reason, str(entry))
    if not entry.resolve().is_relative_to(repository.resolve()):
        return ConfigurationError(f"leads out of the repository {repository}", str(entry))
    try:
        return _config(entry)
    except ConfigurationError as error:
        return error
    except OSError as error:
        return ConfigurationError(f"cannot be read: {error.strerror}", str(entry))


def _notes(found: ModelConfig | ConfigurationError | None) -> tuple[str, ...]:
    return found.notes if isinstance(found, ModelConfig) else ()


def _config(entry: Path) -> ModelConfig:
    if not (entry / config_pbtxt.FILE_NAME).exists():
        return load_model_config(entry)
    if (entry / FILE_NAME).exists():
        note = f"model {entry.name!r}: config.pbtxt is not read, model.yaml stands for it"
        return load_model_config(entry).model_copy(update={"notes": (note,)})
    return config_pbtxt.load_config_pbtxt(entry)


def _problems(config: ModelConfig) -> Iterator[ConfigurationError]:
    yield from _error_of(config.served_versions)
    for version in config.versions:
        yield from _error_of(partial(locate, config, version))
        yield from _error_of(partial(_runtime, config, version))
    for output, labels in config.labels.items():
        if isinstance(labels, str):
            yield from _error_of(partial(read_labels, config, output))


def _error_of(check: Callable[[], object]) -> Iterator[ConfigurationError]:
    try:
        check()
    except ConfigurationError as error:
        yield error


def _runtime(config: ModelConfig, version: str) -> str:
    name = runtime_of(config, version)
    if name not in RUNTIMES:
        known = ", ".join(registration.names[0] for registration in RUNTIMES)
        raise config.error(f"unknown runtime {name!r}; known are: {known}", "runtime")
    return name
