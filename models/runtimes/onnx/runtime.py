"""Models in ONNX files, run by ONNX Runtime."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from app.errors import ConfigurationError, InvalidInput, ModelNotReady
from app.formats.datatypes import bytes_to_text, text_to_bytes
from app.registry import RUNTIMES
from app.types import Array, Arrays, ModelMetadata, TensorSpec
from models.repository.external_data import has_loops, scaled_by_batch
from models.repository.metadata import describe, warm_up_inputs
from models.repository.model_yaml import ModelConfig
from models.repository.runtime_options import RuntimeOptions
from models.repository.version_files import VersionFiles
from models.runtimes.onnx.bf16 import run_with_bf16
from models.runtimes.onnx.options import automatic_threads, providers_to_try
from models.runtimes.onnx.quantize import deviation, quantize_int8, seeded_inputs
from models.runtimes.onnx.sessions import open_session
from models.runtimes.onnx.zip_map import MAPS, Key, Rows, as_table, classes_of
from models.runtimes.row_independence import NotStacked
from models.runtimes.warm_up import first_run

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, NodeArg

logger = logging.getLogger(__name__)

TINY_SECONDS = 0.0001
"""A run that takes less than this is not shared among threads: waking a second one takes longer
than it saves. A dense network of 16 us took 69 us behind a server on two threads, 50 on one."""

LONG_SECONDS = 0.1
"""A first run of more than this is not repeated to find out how the next ones share threads."""

TRIALS = 7

SHORT_SECONDS = 0.020
"""Runs of less than this are tried on one thread, too, while the model is loaded."""

WORTH_SHARING = 1.7
"""Runs that take less than so many times as long on one thread are not shared among threads, but
one goes on in each. A convolutional network that took 4.2 ms on one thread and 3.1 ms on two came
to 466 runs/s as two runs on a thread each, and to 267 to 338 as one on two threads. Behind a
server, whose own thread holds up a run on all, its latency at one client was the same."""

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
    "tensor(bfloat16)": "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class OnnxModel:
    """One ONNX file in one ONNX Runtime session, on the first provider that can run it.

    Operators that need a library of their own are not loaded. `files` must be there for as long as
    it loads.
    """

    def __init__(self, config: ModelConfig, files: VersionFiles) -> None:
        self._config = config
        self._files = files
        self._options: RuntimeOptions = config
        self._instances = config.instances or 1
        self._spare_instances = 0
        self._session: InferenceSession | None = None
        self._output_names: list[str] = []
        self._metadata: ModelMetadata | None = None
        self._has_bf16 = False
        self._has_text = False
        self._has_loops = True
        self._classes: Mapping[str, tuple[Key, ...]] = {}

    @property
    def metadata(self) -> ModelMetadata:
        if self._metadata is None:
            raise ModelNotReady(f"model {self._config.name!r} is not loaded")
        return self._metadata

    @property
    def steady(self) -> bool:
        """On an accelerator a run can also wait for others, or for ever."""
        return not self._has_loops and self.metadata.provider == "CPUExecutionProvider"

    @property
    def instances(self) -> int:
        return self._instances

    @property
    def spare_instances(self) -> int:
        return self._spare_instances

    def load(self) -> None:
        try:
            import onnxruntime as ort  # noqa: PLC0415 - an extra, and slow to import
        except ImportError as error:
            reason = "needs ONNX Runtime: install manta-server[cpu] or manta-server[gpu]"
            raise self._config.error(reason, "runtime") from error
        path = self._files.path
        self._has_loops = has_loops(path)
        try:
            providers = providers_to_try(self._config, ort.get_available_providers())
        except ValueError as error:
            raise self._config.error(str(error), "providers") from error
        for provider in providers:
            try:
                self._open(path, provider, try_it=provider != providers[-1])
                break
            except ConfigurationError as error:
                self.unload()
                if provider == providers[-1]:
                    raise
                logger.warning("model %r: %s is not used: %s", self._config.name, provider, error)
        self._check_scales(path)
        if self._config.quantize is not None:
            self._quantize(path, self.metadata.provider)

    def _open(self, path: Path, provider: str, *, try_it: bool) -> None:
        """Open a session on one provider. With `try_it`, run it once: some fail only then."""
        self._session = open_session(path, self._options, provider)
        self._metadata = self._describe(self._session, provider)
        tensors = (*self._metadata.inputs, *self._metadata.outputs)
        self._has_bf16 = any(spec.datatype == "BF16" for spec in tensors)
        self._has_text = any(spec.datatype == "BYTES" for spec in tensors)
        self._output_names = [spec.name for spec in self._metadata.outputs]
        self._find_classes(self._session)
        if self._config.threads is None and provider == "CPUExecutionProvider":
            self._choose_threads(path, provider)
        if try_it:
            first_run(self, self._config)

    def _find_classes(self, session: "InferenceSession") -> None:
        """Run once to learn which classes the maps of a ZipMap have: the columns of its table."""
        maps = [node.name for node in session.get_outputs() if node.type in MAPS]
        if not maps:
            return
        metadata = self.metadata
        inputs = warm_up_inputs(self._config, metadata)
        feed = {spec.name: _fed(spec, inputs[spec.name]) for spec in metadata.inputs}
        try:
            found = zip(maps, session.run(maps, feed), strict=True)
        except Exception as error:
            reason = f"the classes of {maps[0]!r} are not known: its first run failed: {error}"
            raise self._config.error(reason, "warm_up") from error
        self._classes = {name: classes_of(rows) for name, rows in found}
        columns = {name: (-1, len(classes)) for name, classes in self._classes.items()}
        labels = {name: tuple(map(str, classes)) for name, classes in self._classes.items()}
        self._metadata = replace(
            metadata,
            outputs=tuple(
                replace(spec, shape=columns.get(spec.name, spec.shape)) for spec in metadata.outputs
            ),
            labels={**labels, **metadata.labels},
        )

    def _choose_threads(self, path: Path, provider: str) -> None:
        """Let short runs take one thread each, where the shapes tell that they are always short.

        What is said of neither in `model.yaml` is measured on this machine.
        """
        threads = automatic_threads()
        if self._config.instances is not None:
            self._reopen(path, provider, max(1, threads // self._config.instances))
            return
        known = {*self._config.warm_up}
        if any(-1 in spec.shape[1:] and spec.name not in known for spec in self.metadata.inputs):
            return
        inputs = warm_up_inputs(self._config, self.metadata)
        try:
            shared = self._usual(inputs)
            if threads == 1 or shared > SHORT_SECONDS:
                return
            self._reopen(path, provider, 1)
            alone = self._usual(inputs)
        except Exception:  # noqa: BLE001 - it may raise anything, and the warm-up will tell of it
            return
        if shared < TINY_SECONDS:
            return
        if alone < WORTH_SHARING * shared:
            self._instances = threads
            self._spare_instances = 1  # it runs while another's answer is handed on
        else:
            self._reopen(path, provider, threads)

    def _reopen(self, path: Path, provider: str, threads: int) -> None:
        self._options = self._options.model_copy(update={"threads": threads})
        self._session = open_session(path, self._options, provider)

    def _usual(self, inputs: Arrays) -> float:
        """The median of a few runs after the first, in seconds; a long first one stands alone."""
        first = self._seconds(inputs)
        if first > LONG_SECONDS:
            return first
        return median(self._seconds(inputs) for _ in range(TRIALS))

    def _seconds(self, inputs: Arrays) -> float:
        started = time.perf_counter()
        self.predict(inputs)
        return time.perf_counter() - started

    def _quantize(self, path: Path, provider: str) -> None:
        """Go on with the weights in 8 bits, if the answers are close enough to the original's."""
        inputs = seeded_inputs(self.metadata, warm_up_inputs(self._config, self.metadata))
        original = self.predict(inputs)
        with TemporaryDirectory() as folder:
            small = Path(folder) / path.name
            try:
                quantize_int8(path, small)
            except ImportError as error:
                reason = "needs the onnx package: install manta-server[quantize]"
                raise self._config.error(reason, "quantize") from error
            except Exception as error:  # its errors share no base
                raise self._config.error(f"cannot be done: {error}", "quantize") from error
            self._check_scales(small)
            self._session = open_session(small, self._options, provider)
        off = deviation(self.predict(inputs), original)
        if off > self._config.quantize_tolerance:
            reason = (
                f"the answers deviate by {off:.2g} of the largest value; quantize_tolerance "
                f"allows {self._config.quantize_tolerance:g}"
            )
            raise self._config.error(reason, "quantize")

    def _check_scales(self, path: Path) -> None:
        """Raises NotStacked where requests are to share a run whose operators choose one scale for
        all of it: a small row beside a large one would be answered otherwise than alone."""
        if self.metadata.max_batch_size > 1 and self._config.verify_batch:
            operator = scaled_by_batch(path)
            if operator:
                self.unload()
                raise NotStacked(f"its operator {operator} chooses one scale for a whole batch")

    def _describe(self, session: "InferenceSession", provider: str) -> ModelMetadata:
        return describe(
            self._config,
            self._files.version,
            platform="onnxruntime_onnx",
            inputs=tuple(self._spec(node) for node in session.get_inputs()),
            outputs=tuple(self._spec(node) for node in session.get_outputs()),
            custom=session.get_modelmeta().custom_metadata_map,
            provider=provider,
            one_batch=_one_batch((*session.get_inputs(), *session.get_outputs())),
        )

    def predict(self, inputs: Arrays) -> Arrays:
        if self._session is None:
            raise ModelNotReady(f"model {self._config.name!r} is not loaded")
        if not (self._has_text or self._has_bf16 or self._classes):
            results = self._session.run(self._output_names, inputs)
            return dict(zip(self._output_names, results, strict=True))
        metadata = self.metadata
        feed = {spec.name: _fed(spec, inputs[spec.name]) for spec in metadata.inputs}
        if self._has_bf16:
            results = run_with_bf16(self._session, feed)
        else:
            results = self._session.run(self._output_names, feed)
        named = zip(metadata.outputs, results, strict=True)
        return {spec.name: self._told(spec, result) for spec, result in named}

    def _told(self, spec: TensorSpec, result: Array | Rows) -> Array:
        if not isinstance(result, np.ndarray):
            return as_table(result, self._classes[spec.name])
        return text_to_bytes(result) if spec.datatype == "BYTES" else result

    def unload(self) -> None:
        self._session = None
        self._metadata = None

    def _spec(self, node: "NodeArg") -> TensorSpec:
        if node.type in MAPS:
            return TensorSpec(node.name, "FP32", (-1, -1))
        if node.type not in _DATATYPES:
            reason = f"{node.name!r} is a {node.type}; only {', '.join(_DATATYPES)} are served"
            raise ConfigurationError(reason, str(self._files.path))
        shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
        return TensorSpec(node.name, _DATATYPES[node.type], shape)


def _one_batch(nodes: Sequence["NodeArg"]) -> bool:
    """Whether no two tensors have first dimensions of different names.

    Names that begin with `unk__` do not count: converters make them up, one for every dimension.
    """
    first = {node.shape[0] for node in nodes if node.shape and isinstance(node.shape[0], str)}
    return len({name for name in first if not name.startswith("unk__")}) <= 1


def _fed(spec: TensorSpec, array: Array) -> Array:
    if spec.datatype != "BYTES":
        return array
    try:
        return bytes_to_text(array)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"input {spec.name!r} holds bytes that are not UTF-8 text") from error


RUNTIMES.register("onnx", ModelConfig, OnnxModel)
