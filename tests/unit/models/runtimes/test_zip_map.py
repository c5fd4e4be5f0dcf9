"""What scikit-learn's exports answer by default: maps from class to probability."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from app.types import InferenceRequest
from models.repository.repository import ModelRepository
from models.serving.service import LocalModelService
from tests.unit.models.onnx_files import classifier

ROWS = np.array([[1, 2], [3, -1], [0, 0], [-4, 2]], np.float32)


@pytest.mark.parametrize("classes", [(7, 3, 5), ("wolf", "cat", "dog")], ids=["int64", "string"])
async def test_fault_157_a_zip_map_is_served_as_a_table_with_the_classes_as_labels(
    tmp_path: Path, classes: tuple[int | str, ...]
) -> None:
    path = classifier(tmp_path / "m" / "1" / "model.onnx", classes)
    service = LocalModelService(ModelRepository([tmp_path]), "m")
    await service.load()
    metadata = await service.metadata()
    assert metadata.max_batch_size == 32
    assert [(each.name, each.shape) for each in metadata.outputs] == [
        ("output_label", (-1,)),
        ("output_probability", (-1, 3)),
    ]
    labels = metadata.labels["output_probability"]
    assert set(labels) == set(map(str, classes))
    outputs = (await service.infer(InferenceRequest("m", {"x": ROWS}))).outputs
    table = outputs["output_probability"]
    assert table.dtype == np.float32
    assert table.shape == (4, 3)
    for row, maps in zip(table, ort.InferenceSession(path).run(None, {"x": ROWS})[1], strict=True):
        alone = {str(name): np.float32(value) for name, value in maps.items()}
        assert dict(zip(labels, row, strict=True)) == alone
    best = [labels[column] for column in table.argmax(axis=1)]
    told = [
        each.decode() if isinstance(each, bytes) else str(each) for each in outputs["output_label"]
    ]
    assert best == told
    await service.close()
