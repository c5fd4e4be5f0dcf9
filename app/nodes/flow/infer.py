"""`infer`: the one node that joins pipelines and models."""

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np

from app.errors import InvalidInput
from app.interfaces import Node, NodeContext
from app.registry import NODES, ComponentConfig
from app.types import Array, InferenceRequest, Message, Tensors


class InferConfig(ComponentConfig):
    """`target` is read and ignored: which device a model runs on is said where it is deployed."""

    model: str
    version: str | None = None
    target: str | None = None


class InferNode:
    """Sends its input to a model and stores the outputs as Tensors, the transform riding along.

    The input is Tensors, a mapping of tensor names to arrays, or one array where the model has
    one input; the name "" stands for that only input too. A list of them is sent at once and
    answered by a list, in order. An input of no rows is answered by no rows, without a call.
    """

    def __init__(self, config: InferConfig, context: NodeContext) -> None:
        self._config = config
        self._context = context
        self._model = context.model(config.model)
        self._only_input: str | None = None

    async def open(self) -> None:
        """Nothing to open: the model is reached with the first message."""

    async def process(self, message: Message) -> Message | None:
        value = self._context.value(message)
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            answers = await asyncio.gather(*(self._infer(item, message) for item in value))
            return message.with_result(self._context.id, list(answers))
        return message.with_result(self._context.id, await self._infer(value, message))

    async def close(self) -> None:
        """Nothing to close."""

    async def _infer(self, value: object, message: Message) -> Tensors:
        tensors = _as_tensors(value)
        if any(array.ndim > 0 and array.shape[0] == 0 for array in tensors.arrays.values()):
            return Tensors({}, tensors.transform)
        arrays = tensors.arrays
        if "" in arrays:
            arrays = {await self._input_name(): arrays[""]}
        request = InferenceRequest(
            model=self._config.model,
            version=self._config.version,
            id=message.id,
            inputs=arrays,
            deadline=message.deadline,
        )
        response = await self._model.infer(request)
        return Tensors(response.outputs, tensors.transform)

    async def _input_name(self) -> str:
        if self._only_input is None:
            metadata = await self._model.metadata(self._config.version)
            if len(metadata.inputs) != 1:
                names = ", ".join(spec.name for spec in metadata.inputs)
                raise InvalidInput(
                    f"model {metadata.name!r} has several inputs ({names}): name the tensor"
                )
            self._only_input = metadata.inputs[0].name
        return self._only_input


def _as_tensors(value: object) -> Tensors:
    if isinstance(value, Tensors):
        return value
    if isinstance(value, np.ndarray):
        return Tensors({"": value})
    if isinstance(value, Mapping):
        arrays: dict[str, Array] = {}
        for name, array in value.items():
            if not isinstance(array, np.ndarray):
                raise InvalidInput(f"{name}: infer takes arrays, not {type(array).__name__}")
            arrays[str(name)] = array
        return Tensors(arrays)
    raise InvalidInput(f"infer takes tensors, not {type(value).__name__}; put a preprocess before")


def _infer_node(config: InferConfig, context: NodeContext) -> Node:
    return InferNode(config, context)


NODES.register(
    "infer",
    InferConfig,
    _infer_node,
    aliases=("Inference", "ZooModelNode", "GenericModelNode"),
)
