"""A model repository of real, tiny ONNX files."""

from pathlib import Path

from models.repository.repository import ModelRepository
from tests.unit.models.onnx_files import identity, lookup, never_runs


def tiny_repository(root: Path) -> ModelRepository:
    """Models by how they behave, in the directory `root`.

    identity: `x` (batch, 3) FP32 comes back as `y`; it has the versions 1 and 2.
    fixed: the same for (1, 3), never stacked.
    lookup: `x` (batch, 1) INT64 times ten; a value from 8 on fails the run.
    never-runs: its warm-up fails. damaged: no ONNX file at all.
    """
    identity(root / "identity" / "1" / "model.onnx")
    identity(root / "identity" / "2" / "model.onnx")
    identity(root / "fixed" / "1" / "model.onnx", shape=(1, 3))
    lookup(root / "lookup" / "1" / "model.onnx")
    never_runs(root / "never-runs" / "1" / "model.onnx")
    (root / "damaged" / "1").mkdir(parents=True)
    (root / "damaged" / "1" / "model.onnx").write_bytes(b"no model at all")
    return ModelRepository([root])
