"""The models that the fault tests ask: real ONNX files, and one that misbehaves when told to."""

import ctypes
import shutil
import time
from pathlib import Path

import numpy as np
import onnx

from app.errors import ConfigurationError
from app.registry import RUNTIMES
from app.types import Arrays, ModelMetadata, TensorSpec
from models.repository.model_yaml import ModelConfig
from models.repository.version_files import VersionFiles
from tests.paths import ZOO
from tests.unit.models.coupled_files import running_sum
from tests.unit.models.onnx_files import (
    claims_shape,
    identity,
    lookup,
    never_runs,
    numbered,
    with_external_data,
)

GOOD = "good"
"""Answers `y` = 3 times `x`, (batch, 3) FP32. Never misused: its answers tell that all is well."""

NEVER_LOADED = "loading"
"""Served, and never done loading."""

HEALTHY = (
    *(GOOD, "identity", "fixed", "vector", "text", "bytes8", "int64", "flags", "picture"),
    "air-quality",
)
"""Those that answer every request that fits them."""

INLINE = (
    *HEALTHY,
    *(
        "claims",
        "running-sum",
        "lookup",
        "acting",
        "narrow",
        "hanging",
        "damaged",
        "never-runs",
        "weighted",
    ),
)

ACTING_QUEUE = 4
HANGING_SECONDS = 1.0
HOARD_MIB = 2048
PART_MIB = 40
"""So large that the allocator gives it back as soon as it is free: see mallopt(3)."""
MIB = 2**20


def write_repository(root: Path, *, healthy: bool = False) -> Path:
    """Every model by how it behaves, or the HEALTHY ones only.

    identity: `x` (batch, 3) FP32 comes back as `y`; it has the versions 1 and 2, 2 being served.
    fixed: the same for (1, 3), never stacked. vector: the same for any number of elements.
    claims: `x` (batch, 3) FP32 comes back as `y`, which the file says is (batch, 5).
    lookup: `x` (batch, 1) INT64 times ten; a value from 8 on fails the run.
    text, bytes8, int64, flags: `x` (batch, 2) of BYTES, UINT8, INT64, BOOL comes back as `y`.
    acting, narrow, hanging: see ActingModel; narrow has a queue of ACTING_QUEUE, and a run of
    hanging may take HANGING_SECONDS.
    picture: the same for pictures of (batch, 3, 8, 8) UINT8. air-quality: the one of the product.
    weighted: `x` (batch, 3) FP32 plus [1, 2, 3], from the file `w.bin` beside it, comes back as
    `y`; its labels are in `classes.txt`. damaged: no ONNX file at all. never-runs: its warm-up
    fails. spare: identity, not loaded.
    """
    numbered(root / GOOD / "1" / "model.onnx", 3)
    for version in ("1", "2"):
        identity(root / "identity" / version / "model.onnx")
    identity(root / "spare" / "1" / "model.onnx")
    identity(root / "fixed" / "1" / "model.onnx", shape=(1, 3))
    identity(root / "vector" / "1" / "model.onnx", shape=("n",))
    (root / "vector" / "model.yaml").write_text("max_batch_size: 0\n")
    for name, element in (
        ("text", onnx.TensorProto.STRING),
        ("bytes8", onnx.TensorProto.UINT8),
        ("int64", onnx.TensorProto.INT64),
        ("flags", onnx.TensorProto.BOOL),
    ):
        identity(root / name / "1" / "model.onnx", ("batch", 2), element)
    identity(root / "picture" / "1" / "model.onnx", ("batch", 3, 8, 8), onnx.TensorProto.UINT8)
    shutil.copytree(ZOO / "air-quality", root / "air-quality")
    if healthy:
        return root
    identity(root / NEVER_LOADED / "1" / "model.onnx")
    with_external_data(root / "weighted" / "1" / "model.onnx", "w.bin")
    np.array([1, 2, 3], np.float32).tofile(root / "weighted" / "1" / "w.bin")
    (root / "weighted" / "model.yaml").write_text("labels: {y: classes.txt}\n")
    (root / "weighted" / "classes.txt").write_text("a\nb\nc\n")
    running_sum(root / "running-sum" / "1" / "model.onnx")
    claims_shape(root / "claims" / "1" / "model.onnx")
    lookup(root / "lookup" / "1" / "model.onnx")
    never_runs(root / "never-runs" / "1" / "model.onnx")
    (root / "damaged" / "1").mkdir(parents=True)
    (root / "damaged" / "1" / "model.onnx").write_bytes(b"no model at all")
    _write_acting(root / "acting")
    _write_acting(root / "narrow", f"queue_size: {ACTING_QUEUE}\n")
    _write_acting(root / "hanging", f"max_run_seconds: {HANGING_SECONDS}\n")
    return root


def _write_acting(directory: Path, more: str = "") -> None:
    directory.mkdir()
    (directory / "model.yaml").write_text(f"runtime: acting\nversions: {{1: script.txt}}\n{more}")
    (directory / "script.txt").write_text("does what it is told\n")


class ActingModel:
    """A Model that does what its input `act`, one BYTES, says, and answers `y`, (1,) FP32.

    `sleep SECONDS` takes its time, `raise` and `misuse` raise errors with a path in them, `none`
    forgets the output, `shape`, `rank` and `dtype` answer another one than promised, `nan` and
    `inf` answer what is no number in JSON, `hoard` takes memory until there is none, and at most
    HOARD_MIB, and `crash` ends the process as a bug in a library
    would. Anything else is answered with 1.
    """

    def __init__(self, config: ModelConfig, files: VersionFiles) -> None:
        self._metadata = ModelMetadata(
            name=config.name,
            versions=(files.version,),
            platform="acting",
            inputs=(TensorSpec("act", "BYTES", (1,)),),
            outputs=(TensorSpec("y", "FP32", (1,)),),
        )

    @property
    def metadata(self) -> ModelMetadata:
        return self._metadata

    @property
    def steady(self) -> bool:
        """How long it takes is in its input."""
        return False

    @property
    def instances(self) -> int:
        return 1

    @property
    def spare_instances(self) -> int:
        return 0

    def load(self) -> None:
        """It has nothing to load."""

    def predict(self, inputs: Arrays) -> Arrays:
        element = inputs["act"].tolist()[0]
        act, _, argument = (element or b"").decode(errors="replace").partition(" ")
        if act == "raise":
            raise RuntimeError("the file /secret/place/weights.bin is damaged")
        if act == "misuse":
            raise ConfigurationError("no such thing", file="/secret/place/model.py", line=7)
        if act == "crash":
            ctypes.string_at(0)
        if act == "hoard":
            held = [np.ones(PART_MIB * MIB, np.uint8) for _ in range(HOARD_MIB // PART_MIB)]
            del held
        if act == "sleep":
            time.sleep(min(10.0, float(argument)))
        answers: dict[str, Arrays] = {
            "none": {},
            "shape": {"y": np.zeros(2, np.float32)},
            "rank": {"y": np.zeros((1, 1), np.float32)},
            "dtype": {"y": np.zeros(1, np.float64)},
            "nan": {"y": np.array([np.nan], np.float32)},
            "inf": {"y": np.array([-np.inf], np.float32)},
        }
        return answers.get(act, {"y": np.ones(1, np.float32)})

    def unload(self) -> None:
        """It holds nothing."""


def register() -> None:
    """Let the runtime `acting` be known in this process."""
    RUNTIMES.register("acting", ModelConfig, ActingModel)
