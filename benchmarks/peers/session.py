"""How every peer opens and calls a model: the same ONNX Runtime options for all of them.

This package runs inside each peer's own environment: beside numpy and ONNX Runtime it imports only
that peer's package.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort


def open_session(file: Path, threads: int | None = None) -> Any:
    """A session on the CPU; `threads` for one run are by default as many as there are cores.

    Waiting threads do not spin, as in Manta: on a machine whose cores also run the server, the
    default takes them from it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


TINY_BYTES = 256 * 1024
"""Waking a second thread for the runs of a model this small takes longer than it saves. Manta finds
that out for itself; the peers are told."""


class SingleInputModel:
    """A session with one input and one output, and what a server must know of them."""

    def __init__(self, file: Path) -> None:
        tiny = file.stat().st_size < TINY_BYTES
        self._session = open_session(file, threads=1 if tiny else None)
        wanted, answered = self._session.get_inputs()[0], self._session.get_outputs()[0]
        self.input: str = wanted.name
        self.output: str = answered.name
        self.dtype = np.dtype(np.uint8 if wanted.type == "tensor(uint8)" else np.float32)
        self.shape: tuple[int, ...] = tuple(wanted.shape[1:])
        self.output_shape: tuple[int, ...] = tuple(answered.shape[1:])

    def run(self, batch: Any) -> Any:
        return self._session.run(None, {self.input: batch})[0]

    def decode_json(self, body: Any) -> Any:
        """The first input of an Open Inference Protocol body."""
        tensor = body["inputs"][0]
        return np.asarray(tensor["data"], dtype=self.dtype).reshape(tensor["shape"])

    def encode_json(self, batch: Any) -> dict[str, Any]:
        """An Open Inference Protocol answer."""
        data = batch.ravel().tolist()
        tensor = {"name": self.output, "datatype": "FP32", "shape": batch.shape, "data": data}
        return {"outputs": [tensor]}

    def decode_raw(self, body: bytes) -> Any:
        return np.frombuffer(body, dtype=self.dtype).reshape(-1, *self.shape)


def models_below(repository: Path) -> dict[str, SingleInputModel]:
    """Every `<name>/1/model.onnx`."""
    files = sorted(repository.glob("*/1/model.onnx"))
    return {file.parts[-3]: SingleInputModel(file) for file in files}
