"""From what a file says of itself and what its `model.yaml` adds to what callers are told.

Every runtime ends its `load` here, so that batching, labels and warm-up follow one rule.
"""

from collections.abc import Mapping

import numpy as np

from app.datatypes import dtype_of
from app.types import Arrays, ModelMetadata, TensorSpec
from models.config import ModelConfig

DEFAULT_MAX_BATCH_SIZE = 32


def describe(
    config: ModelConfig,
    version: str,
    *,
    platform: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    custom: Mapping[str, str],
    provider: str = "",
) -> ModelMetadata:
    """The metadata of a loaded version, `custom` being the artefact's own metadata entries.

    Raises ConfigurationError where `model.yaml` asks for what the artefact cannot do.
    """
    _check_warm_up(config, inputs)
    names = [spec.name for spec in outputs]
    for output in config.labels:
        if output not in names:
            reason = f"the model has no such output; it has: {', '.join(names)}"
            raise config.error(reason, "labels", output)
    return ModelMetadata(
        name=config.name,
        versions=(version,),
        platform=platform,
        inputs=inputs,
        outputs=outputs,
        max_batch_size=_max_batch_size(config, (*inputs, *outputs)),
        labels={output: config.labels_of(output, custom) for output in config.labels},
        provider=provider,
    )


def warm_up_inputs(config: ModelConfig, metadata: ModelMetadata) -> Arrays:
    """One input of zeros (empty strings for BYTES) in the shapes that `warm_up` names."""
    arrays = {}
    for spec in metadata.inputs:
        default = tuple(1 if size < 0 else size for size in spec.shape)
        shape = config.warm_up.get(spec.name, default)
        empty = b"" if spec.datatype == "BYTES" else 0
        arrays[spec.name] = np.full(shape, empty, dtype_of(spec.datatype))
    return arrays


def _max_batch_size(config: ModelConfig, tensors: tuple[TensorSpec, ...]) -> int:
    fixed = [spec for spec in tensors if spec.shape[:1] != (-1,)]
    if config.max_batch_size is None:
        return 0 if fixed else DEFAULT_MAX_BATCH_SIZE
    if config.max_batch_size > 0 and fixed:
        reason = (
            f"must be 0: the first dimension of {fixed[0].name!r} is fixed, its shape being "
            f"{list(fixed[0].shape)}, so requests cannot be stacked"
        )
        raise config.error(reason, "max_batch_size")
    return config.max_batch_size


def _check_warm_up(config: ModelConfig, inputs: tuple[TensorSpec, ...]) -> None:
    shapes = {spec.name: spec.shape for spec in inputs}
    for name, shape in config.warm_up.items():
        if name not in shapes:
            reason = f"the model has no such input; it has: {', '.join(shapes)}"
            raise config.error(reason, "warm_up", name)
        wanted = shapes[name]
        fits = len(shape) == len(wanted) and all(
            size in (-1, given) for size, given in zip(wanted, shape, strict=True)
        )
        if not fits:
            reason = f"{list(shape)} does not fit the input's shape {list(wanted)}"
            raise config.error(reason, "warm_up", name)
