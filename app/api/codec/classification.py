"""The best classes of an output instead of all its scores.

The format: KServe "Open Inference Protocol", Classification Extension: elements of BYTES,
`<score>:<index>[:<label>]`, best first. As with Triton, a score has six decimals, or none where the
output is of whole numbers.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from app.errors import InvalidInput
from app.types import Array, InferenceResponse, ModelMetadata


def classified(
    response: InferenceResponse, classes: Mapping[str, int], metadata: ModelMetadata
) -> InferenceResponse:
    """The response with the outputs of `classes` replaced by that many of their best classes.

    The shape becomes (rows, classes) where the model batches and (classes,) where it does not; an
    output with fewer classes tells all it has. Raises InvalidInput for an output of no numbers.
    """
    outputs = dict(response.outputs)
    for name, count in classes.items():
        is_batched = metadata.max_batch_size > 0
        outputs[name] = _best(outputs[name], name, count, metadata.labels.get(name, ()), is_batched)
    return replace(response, outputs=outputs)


def _best(scores: Array, name: str, count: int, labels: tuple[str, ...], is_batched: bool) -> Array:
    if scores.dtype.kind not in "iuf":
        raise InvalidInput(f"output {name!r} cannot be classified: its elements are no scores")
    rows = scores.reshape(scores.shape[0], -1) if is_batched else scores.reshape(1, -1)
    is_whole = scores.dtype.kind != "f"
    falling = (
        np.invert(rows) if is_whole else np.negative(rows)
    )  # the complement of whole numbers cannot overflow
    order = np.argsort(falling, axis=1, kind="stable")[:, :count]
    form = "d" if is_whole else "f"
    best = np.empty(order.shape, dtype=np.object_)
    for (row, place), index in np.ndenumerate(order):
        label = f":{labels[index]}" if index < len(labels) else ""
        best[row, place] = f"{rows[row, index].item():{form}}:{index}{label}".encode()
    return best if is_batched else best[0]
