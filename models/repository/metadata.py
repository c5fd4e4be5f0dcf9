"""From what a file says of itself and what its `model.yaml` adds to what callers are told.

Every runtime ends its `load` here, so that batching, labels and warm-up follow one rule.
"""

from collections.abc import Mapping

import numpy as np

from app.formats.datatypes import dtype_of, float32_to_bf16
from app.types import Array, Arrays, ModelMetadata, TensorSpec
from models.repository.labels import labels_of
from models.repository.model_yaml import ModelConfig

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
    one_batch: bool = True,
) -> ModelMetadata:
    """The metadata of a loaded version, `custom` being the artefact's own metadata entries.

    `one_batch` is false where the artefact says that its tensors have different first dimensions.
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
        max_batch_size=_max_batch_size(config, (*inputs, *outputs), one_batch),
        labels={output: labels_of(config, output, custom) for output in config.labels},
        provider=provider,
    )


def warm_up_inputs(config: ModelConfig, metadata: ModelMetadata, value: int = 1) -> Arrays:
    """Every element `value` (empty strings for BYTES) in the shapes that `warm_up` names."""
    arrays = {}
    for spec in metadata.inputs:
        default = tuple(1 if size < 0 else size for size in spec.shape)
        shape = config.warm_up.get(spec.name, default)
        arrays[spec.name] = _filled(shape, spec.datatype, value)
    return arrays


def _filled(shape: tuple[int, ...], datatype: str, value: int) -> Array:
    if datatype == "BF16":
        return float32_to_bf16(np.full(shape, value, np.float32))
    return np.full(shape, b"" if datatype == "BYTES" else value, dtype_of(datatype))


def _max_batch_size(config: ModelConfig, tensors: tuple[TensorSpec, ...], one_batch: bool) -> int:
    fixed = [spec for spec in tensors if spec.shape[:1] != (-1,)]
    if config.max_batch_size is None:
        return DEFAULT_MAX_BATCH_SIZE if one_batch and not fixed else 0
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
