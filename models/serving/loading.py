"""Loading the versions of a model that its policy asks for."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.interfaces import Model
from app.types import JsonValue, ModelMetadata
from models.repository.config_pbtxt import check_declared
from models.repository.labels import with_labels
from models.repository.model_yaml import ModelConfig
from models.repository.override import with_override
from models.repository.repository import ModelRepository, open_model
from models.repository.signature import check_takes_over
from models.repository.triton_config import check_agrees
from models.repository.version_files import VersionFiles
from models.runtimes.row_independence import NotProbed, NotStacked, check_rows
from models.runtimes.warm_up import FirstRun, warm_up
from models.serving.verdict import Verdict
from models.serving.version import ModelVersion

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version that was loaded, and what from: equal origins need not be loaded again.

    The origin is the content of every file that it was read from, and its configuration.
    """

    version: ModelVersion
    origin: object


def load_versions(
    repository: ModelRepository,
    name: str,
    override: Mapping[str, JsonValue] | None,
    served: Mapping[str, Loaded],
) -> tuple[dict[str, Loaded], dict[str, Exception]]:
    """Every version of the policy: those that are loaded and warmed up, and why others are not.

    One of `served` that works and whose files and configuration are as they were is kept; any other
    must take the requests that the newest of `served` takes. Blocks for as long as loading takes.
    Raises as `ModelRepository.config`, `with_override` and, for what is served, `check_agrees` do.
    """
    config = repository.config(name)
    if override:
        config = with_override(config, override)
        for version in config.served_versions():
            if version in served:
                check_agrees(override, served[version].version.metadata)
    callers_know = max(served.items(), key=_number)[1].version.metadata if served else None

    def check(metadata: ModelMetadata) -> None:
        if callers_know is not None:
            check_takes_over(callers_know, metadata)
        check_agrees(override or {}, metadata)
        check_declared(config, metadata)

    loaded: dict[str, Loaded] = {}
    failures: dict[str, Exception] = {}
    for version in config.served_versions():
        try:
            current = served.get(version)
            known = with_labels(config)
            if current is not None and _is_still_good(current, repository, known, version):
                loaded[version] = current
            else:
                loaded[version] = _copy_and_load(repository, known, version, check)
        except Exception as error:  # noqa: BLE001 - a runtime may raise anything
            failures[version] = error
    return loaded, failures


def _is_still_good(
    current: Loaded, repository: ModelRepository, config: ModelConfig, version: str
) -> bool:
    if current.version.fault:
        return False
    return current.origin == _origin(config, repository.sums(config, version))


def _number(served: tuple[str, Loaded]) -> int:
    return int(served[0])


def _copy_and_load(
    repository: ModelRepository,
    config: ModelConfig,
    version: str,
    check: Callable[[ModelMetadata], None],
) -> Loaded:
    with repository.files(config, version) as files:
        origin = _origin(config, files.sums)
        verdict = Verdict(config, files.sums)
        try:
            known = not config.verify_batch or _is_known_to_stack(verdict)
            return Loaded(_load(config, files, check, None if known else verdict), origin)
        except NotStacked as error:
            verdict.write(str(error))
            alone = _not_stacked(config, error)
            reason = f"requests are not stacked: {error}"
            return Loaded(_load(alone, files, check, None, reason), origin)


def _is_known_to_stack(verdict: Verdict) -> bool:
    """Raises NotStacked where it is known that it must not."""
    known = verdict.read()
    if known:
        raise NotStacked(known)
    return known is not None


def _not_stacked(config: ModelConfig, reason: NotStacked) -> ModelConfig:
    """Raises ConfigurationError where somebody has said that requests are to be stacked."""
    if config.max_batch_size is not None:
        todo = "`verify_batch: false` overrules this"
        raise config.error(f"must be 0: {reason}; {todo}", "max_batch_size") from reason
    logger.warning("requests to model %r are not stacked: %s", config.name, reason)
    return config.model_copy(update={"max_batch_size": 0})


def _load(
    config: ModelConfig,
    files: VersionFiles,
    check: Callable[[ModelMetadata], None],
    verdict: Verdict | None,
    not_stacked: str = "",
) -> ModelVersion:
    """With `verdict`, whether its rows are independent is found out, and kept there."""
    model = open_model(config, files)
    model.load()
    try:
        check(model.metadata)
        ran = warm_up(model, config)
        if verdict is not None and model.metadata.max_batch_size > 1:
            _find_out(model, config, ran, verdict)
    except Exception:
        model.unload()
        raise
    return ModelVersion(
        files.version,
        model,
        queue_size=config.queue_size,
        probe=ran.inputs,
        answer=ran.outputs,
        untried=ran.reason,
        not_stacked=not_stacked,
        max_run_seconds=config.max_run_seconds,
    )


def _find_out(model: Model, config: ModelConfig, ran: FirstRun, verdict: Verdict) -> None:
    """Raises NotStacked, also where nothing is known and nobody has said that they are stacked."""
    try:
        check_rows(model, ran.inputs, ran.reason)
    except NotProbed as error:
        if config.max_batch_size is None:
            reason = f"whether its rows are independent could not be tried: {error}"
            raise NotStacked(reason) from error
        logger.warning("max_batch_size of model %r is not verified: %s", config.name, error)
    else:
        verdict.write("")


def _origin(config: ModelConfig, sums: Mapping[str, str]) -> object:
    """The configuration but for the versions beside this one, and the SHA-256 of each file."""
    aside: dict[str, object] = {
        "version_policy": None,
        "versions": {},
        "description": "",
        "notes": (),
    }
    own = config.model_copy(update=aside)
    return own, dict(sums)
