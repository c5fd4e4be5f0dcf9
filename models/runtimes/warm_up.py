"""The first runs of a model, on values that are made up."""

import logging

import numpy as np

from app.errors import ConfigurationError, MantaError
from app.interfaces import Model
from app.types import Array, Arrays, ModelMetadata, TensorSpec
from models.repository.metadata import warm_up_inputs
from models.repository.model_yaml import ModelConfig

logger = logging.getLogger(__name__)

_MAY_BE_SIZES = frozenset({"INT32", "INT64"})

_MAY_BE_ZERO = frozenset({"BOOL", "FP16", "BF16", "FP32", "FP64"})
"""Whole numbers are left as they are: dividing by a zero among them takes some runtimes down."""


class NotStacked(MantaError):
    """The model cannot run requests as the rows of one batch; the message says what it did."""


def warm_up(model: Model, config: ModelConfig) -> Arrays | None:
    """Run a loaded model, so that its first request does not pay for what comes with that.

    Gives the input that worked, or None: see `first_run`. Raises NotStacked where requests are to
    be stacked and a batch of two rows, one of them zeros, fails or is not answered with two rows.
    """
    inputs, reason = first_run(model, config)
    if inputs is None:
        logger.warning(
            "model %r is served without a warm-up: %s; give shapes that it can run, under `warm_up`"
            " in model.yaml",
            *(config.name, reason),
        )
    elif model.metadata.max_batch_size > 0:
        _check_rows(model, inputs)
    return inputs


def first_run(model: Model, config: ModelConfig) -> tuple[Arrays | None, str]:
    """The input that worked, ones, or else zeros; or None and why there is none.

    Ones come first because there are runtimes that an integer division by zero takes down with
    their process. Raises ConfigurationError if the model can run neither, unless it takes whole
    numbers that may be sizes, axes or indices: values for these cannot be guessed, so that a
    failure says nothing of the model.
    """
    try:
        return _run(model, config, 1), ""
    except Exception as error:  # noqa: BLE001 - a runtime may raise anything
        reason = f"the warm-up run failed: {error}"
    try:
        return _run(model, config, 0), ""
    except Exception as error:
        if not _takes_sizes(model.metadata):
            raise ConfigurationError(reason, field="warm_up") from error
    return None, reason


def _run(model: Model, config: ModelConfig, value: int) -> Arrays:
    inputs = warm_up_inputs(config, model.metadata, value)
    model.predict(inputs)
    return inputs


def _check_rows(model: Model, inputs: Arrays) -> None:
    """An output whose first dimension is the number of things found, say, has other rows."""
    metadata = model.metadata
    rows = min(2, metadata.max_batch_size)
    batch = {spec.name: _two_rows(spec, inputs[spec.name])[:rows] for spec in metadata.inputs}
    try:
        outputs = model.predict(batch)
    except Exception as error:
        raise NotStacked(f"a batch of {rows} cannot be run: {error}") from error
    for name, array in outputs.items():
        if array.shape[:1] != (rows,):
            shape = list(array.shape)
            raise NotStacked(f"output {name!r} has shape {shape} for a batch of {rows}")


def _two_rows(spec: TensorSpec, array: Array) -> Array:
    first = array[:1]
    return np.concatenate([first, np.zeros_like(first) if spec.datatype in _MAY_BE_ZERO else first])


def _takes_sizes(metadata: ModelMetadata) -> bool:
    return any(spec.datatype in _MAY_BE_SIZES for spec in metadata.inputs)
