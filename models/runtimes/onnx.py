"""Models in ONNX files, run by ONNX Runtime."""

import os
from typing import TYPE_CHECKING

from app.datatypes import bytes_to_text, text_to_bytes
from app.errors import ConfigurationError, InvalidInput, ModelNotReady
from app.registry import RUNTIMES
from app.types import Array, Arrays, ModelMetadata, TensorSpec
from models.config import ModelConfig
from models.external_data import check_external_data
from models.metadata import describe

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, NodeArg, SessionOptions

MAX_AUTOMATIC_THREADS = 4

_PREFERRED_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class OnnxModel:
    """One ONNX file in one ONNX Runtime session, on a CUDA device where there is one.

    Operators that need a library of their own are not loaded, and external data must lie beside
    the file.
    """

    def __init__(self, config: ModelConfig, version: str) -> None:
        self._config = config
        self._version = version
        self._session: InferenceSession | None = None
        self._metadata: ModelMetadata | None = None

    @property
    def metadata(self) -> ModelMetadata:
        if self._metadata is None:
            raise ModelNotReady(f"model {self._config.name!r} is not loaded")
        return self._metadata

    def load(self) -> None:
        try:
            import onnxruntime as ort  # noqa: PLC0415 - an extra, and slow to import
        except ImportError as error:
            reason = "needs ONNX Runtime: install manta-server[cpu] or manta-server[gpu]"
            raise self._config.error(reason, "runtime") from error
        path = self._config.artefact(self._version)
        check_external_data(path)
        available = ort.get_available_providers()
        providers = [name for name in _PREFERRED_PROVIDERS if name in available]
        options = _session_options(ort.SessionOptions(), self._config.threads)
        try:
            session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # ONNX Runtime's own errors share no other base
            raise ConfigurationError(f"ONNX Runtime refuses it: {error}", str(path)) from error
        self._metadata = describe(
            self._config,
            self._version,
            platform="onnxruntime_onnx",
            inputs=tuple(self._spec(node) for node in session.get_inputs()),
            outputs=tuple(self._spec(node) for node in session.get_outputs()),
            custom=session.get_modelmeta().custom_metadata_map,
        )
        self._session = session

    def predict(self, inputs: Arrays) -> Arrays:
        if self._session is None:
            raise ModelNotReady(f"model {self._config.name!r} is not loaded")
        metadata = self.metadata
        feed = {spec.name: _fed(spec, inputs[spec.name]) for spec in metadata.inputs}
        results = self._session.run(None, feed)
        return {
            spec.name: text_to_bytes(result) if spec.datatype == "BYTES" else result
            for spec, result in zip(metadata.outputs, results, strict=True)
        }

    def unload(self) -> None:
        self._session = None
        self._metadata = None

    def _spec(self, node: "NodeArg") -> TensorSpec:
        if node.type not in _DATATYPES:
            reason = f"{node.name!r} is a {node.type}; only {', '.join(_DATATYPES)} are served"
            raise ConfigurationError(reason, str(self._config.artefact(self._version)))
        shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
        return TensorSpec(node.name, _DATATYPES[node.type], shape)


def _fed(spec: TensorSpec, array: Array) -> Array:
    if spec.datatype != "BYTES":
        return array
    try:
        return bytes_to_text(array)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"input {spec.name!r} holds bytes that are not UTF-8 text") from error


def _session_options(options: "SessionOptions", threads: int | None) -> "SessionOptions":
    options.intra_op_num_threads = threads or automatic_threads()
    options.inter_op_num_threads = 1
    # Waiting threads spin by default, which takes whole cores from everything else on the box. Not
    # spinning costs a small detector a millisecond (3 to 4 on two threads) and saves three quarters
    # of its CPU time; on one thread it makes no difference.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Errors only: warnings are about how a file was exported, one for each of its weights.
    options.log_severity_level = 3
    return options


def automatic_threads() -> int:
    """CPU threads for a model whose `threads` is not given: see `models.config.ModelFile`."""
    reserved = os.environ.get("OMP_NUM_THREADS", "")
    if reserved.isdecimal() and int(reserved) > 0:
        return int(reserved)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(usable or 1, MAX_AUTOMATIC_THREADS)


RUNTIMES.register("onnx", ModelConfig, OnnxModel)
