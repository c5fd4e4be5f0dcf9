"""The first runs of a model, on values that are made up."""

import logging
import time
from typing import NamedTuple

from app.errors import ConfigurationError
from app.interfaces import Model
from app.types import Arrays, ModelMetadata
from models.repository.metadata import warm_up_inputs
from models.repository.model_yaml import ModelConfig
from models.runtimes.trial_shapes import leaves_sizes_open, trial_shapes

logger = logging.getLogger(__name__)

_MAY_BE_SIZES = frozenset({"INT32", "INT64"})

SECONDS = 10.0
"""No further size is tried after so long."""


class FirstRun(NamedTuple):
    """The input that worked and its answer, or None and the reason why there are none."""

    inputs: Arrays | None
    outputs: Arrays | None
    reason: str = ""


def warm_up(model: Model, config: ModelConfig) -> FirstRun:
    """Run a loaded model, so that its first request does not pay for what comes with that.

    Raises as `first_run` does.
    """
    ran = first_run(model, config)
    if ran.inputs is None:
        logger.warning(
            "model %r is served without a warm-up: %s; give shapes that it can run, under `warm_up`"
            " in model.yaml",
            *(config.name, ran.reason),
        )
    return ran


def first_run(model: Model, config: ModelConfig) -> FirstRun:
    """What worked first: ones in the smallest shapes, zeros, or ones in those of `trial_shapes`.

    Ones come first because there are runtimes that an integer division by zero takes down with
    their process. Raises ConfigurationError if nothing can be run, unless that says nothing of the
    model: it takes whole numbers that may be sizes, axes or indices, which cannot be guessed, or it
    leaves open more than how many rows there are, and no size that was tried is its own.
    """
    try:
        return _run(model, config, 1)
    except Exception as error:  # noqa: BLE001 - a runtime may raise anything
        reason = f"the warm-up run failed: {error}"
    has_sizes = _takes_sizes(model.metadata)
    try:
        return _run(model, config, 0)
    except Exception as error:
        if not has_sizes and not leaves_sizes_open(model.metadata, config.warm_up):
            raise ConfigurationError(reason, field="warm_up") from error
    if not has_sizes:
        ran, reason = _run_sizes(model, config, reason)
        if ran is not None:
            return ran
    return FirstRun(None, None, f"not tried: {reason}")


def _run_sizes(model: Model, config: ModelConfig, reason: str) -> tuple[FirstRun | None, str]:
    give_up = time.monotonic() + SECONDS
    for shapes in trial_shapes(model.metadata):
        if time.monotonic() > give_up:
            break
        sized = config.model_copy(update={"warm_up": {**shapes, **config.warm_up}})
        try:
            return _run(model, sized, 1), ""
        except Exception as error:  # noqa: BLE001 - a runtime may raise anything
            sizes = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
            reason = f"no size that was tried can be run, the last being {sizes}: {error}"
    return None, reason


def _run(model: Model, config: ModelConfig, value: int) -> FirstRun:
    inputs = warm_up_inputs(config, model.metadata, value)
    return FirstRun(inputs, model.predict(inputs))


def _takes_sizes(metadata: ModelMetadata) -> bool:
    return any(spec.datatype in _MAY_BE_SIZES for spec in metadata.inputs)
