"""The first run of a model, on values that are made up."""

import logging

from app.errors import ConfigurationError
from app.interfaces import Model
from app.types import Arrays, ModelMetadata
from models.config import ModelConfig
from models.metadata import warm_up_inputs

logger = logging.getLogger(__name__)

_MAY_BE_SIZES = frozenset({"INT32", "INT64"})


def warm_up(model: Model, config: ModelConfig) -> Arrays | None:
    """Run a loaded model once, so that its first request does not pay for what comes with that.

    Gives the input that worked: ones, or else zeros; ones come first because there are runtimes
    that an integer division by zero takes down with their process. Raises ConfigurationError if
    the model can run neither, unless it takes whole numbers that may be sizes, axes or indices:
    values for these cannot be guessed, so that a failure says nothing of the model.
    """
    try:
        return _first_run(model, config, 1)
    except Exception as error:  # noqa: BLE001 - a runtime may raise anything
        reason = f"the warm-up run failed: {error}"
    try:
        return _first_run(model, config, 0)
    except Exception as error:
        if not _takes_sizes(model.metadata):
            raise ConfigurationError(reason, field="warm_up") from error
    logger.warning(
        "model %r is served without a warm-up: %s; requests that fail alike will be taken for its"
        " own fault: give shapes that it can run, under `warm_up` in model.yaml",
        *(config.name, reason),
    )
    return None


def _first_run(model: Model, config: ModelConfig, value: int) -> Arrays:
    inputs = warm_up_inputs(config, model.metadata, value)
    model.predict(inputs)
    return inputs


def _takes_sizes(metadata: ModelMetadata) -> bool:
    return any(spec.datatype in _MAY_BE_SIZES for spec in metadata.inputs)
