import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import TensorProto

from app.errors import ConfigurationError, InvalidInput, ModelNotReady
from app.registry import RUNTIMES
from app.types import Array
from models.repository.metadata import warm_up_inputs
from models.repository.model_yaml import ModelConfig
from models.repository.repository import ModelRepository
from models.runtimes.onnx.options import automatic_threads
from models.runtimes.onnx.runtime import OnnxModel
from models.training.digits_data import split
from models.training.environment import LABELS, Episode, readings
from tests.paths import SHARED_DATA, ZOO
from tests.unit.models.files import as_they_lie
from tests.unit.models.onnx_files import Shape, identity, lower_case, with_external_data


def loaded(directory: Path) -> OnnxModel:
    model = OnnxModel(*as_they_lie(directory))
    model.load()
    return model


def test_the_runtime_is_registered() -> None:
    assert RUNTIMES.get("onnx").factory is OnnxModel


@pytest.mark.parametrize(
    ("element", "datatype"),
    [
        (TensorProto.BOOL, "BOOL"),
        (TensorProto.UINT8, "UINT8"),
        (TensorProto.INT64, "INT64"),
        (TensorProto.FLOAT16, "FP16"),
        (TensorProto.DOUBLE, "FP64"),
        (TensorProto.BFLOAT16, "BF16"),
    ],
)
def test_each_type_goes_in_and_comes_out(tmp_path: Path, element: int, datatype: str) -> None:
    identity(tmp_path / "m" / "1" / "model.onnx", ("batch", 2), element)
    model = loaded(tmp_path / "m")
    assert [spec.datatype for spec in model.metadata.outputs] == [datatype]
    inputs = warm_up_inputs(ModelConfig(), model.metadata, 1)
    result = model.predict(inputs)["y"]
    assert result.dtype == inputs["x"].dtype
    np.testing.assert_array_equal(result, inputs["x"])


def test_strings_go_in_and_come_out_as_bytes(tmp_path: Path) -> None:
    identity(tmp_path / "m" / "1" / "model.onnx", ("batch", 2), TensorProto.STRING)
    model = loaded(tmp_path / "m")
    assert model.metadata.inputs[0].datatype == "BYTES"
    sent = np.array([["é".encode(), b""]], dtype=object)
    assert model.predict({"x": sent})["y"].tolist() == sent.tolist()
    with pytest.raises(InvalidInput, match="input 'x' holds bytes that are not UTF-8"):
        model.predict({"x": np.array([[b"\xff", b""]], dtype=object)})


@pytest.mark.parametrize(
    ("shape", "output", "expected"),
    [
        (("n", 3), None, 32),
        ((1, 3), None, 0),
        ((1, 3), ("n", 3), 0),
        (("n", 3), ("detections", 3), 0),
        (("n", 3), ("unk__12", 3), 32),
        (("n", 3), (None, 3), 32),
    ],
)
def test_a_batch_is_what_every_tensor_has(
    tmp_path: Path, shape: Shape, output: Shape | None, expected: int
) -> None:
    identity(tmp_path / "m" / "1" / "model.onnx", shape, output_shape=output)
    assert loaded(tmp_path / "m").metadata.max_batch_size == expected


def test_a_model_that_is_not_loaded_says_so(tmp_path: Path) -> None:
    identity(tmp_path / "m" / "1" / "model.onnx")
    model = OnnxModel(*as_they_lie(tmp_path / "m"))
    with pytest.raises(ModelNotReady, match="'m' is not loaded"):
        _ = model.metadata
    model.load()
    model.unload()
    with pytest.raises(ModelNotReady, match="'m' is not loaded"):
        model.predict({"x": np.zeros((1, 3), np.float32)})


def test_a_locale_that_is_missing_is_named_and_what_to_do(tmp_path: Path) -> None:
    lower_case(tmp_path / "m" / "1" / "model.onnx", "xx_YY.UTF-8")
    with pytest.raises(
        ConfigurationError, match=r"needs the locale 'xx_YY\.UTF-8'.*localedef -i xx_YY -f UTF-8"
    ):
        loaded(tmp_path / "m")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = identity(tmp_path / "m" / "1" / "model.onnx")
    path.write_bytes(path.read_bytes().replace(b"Identity", b"Telepath"))
    with pytest.raises(
        ConfigurationError, match=r"model\.onnx: ONNX Runtime refuses it: .*Telepath"
    ):
        loaded(tmp_path / "m")


def test_external_data_is_read_beside_the_model_only(tmp_path: Path) -> None:
    path = with_external_data(tmp_path / "m" / "1" / "model.onnx", "weights.bin")
    np.array([1, 2, 3], np.float32).tofile(path.parent / "weights.bin")
    result = loaded(tmp_path / "m").predict({"x": np.zeros((1, 3), np.float32)})["y"]
    assert result.tolist() == [[1, 2, 3]]
    with_external_data(path, "../weights.bin")
    with pytest.raises(ConfigurationError, match="must lie beside the model"):
        ModelRepository([tmp_path]).load("m", "1")


def test_without_onnx_runtime_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity(tmp_path / "m" / "1" / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigurationError, match=r"install manta-server\[cpu\]"):
        loaded(tmp_path / "m")


def test_threads_follow_what_was_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert automatic_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert 1 <= automatic_threads() <= 4


@pytest.mark.parametrize("name", ["fastestdet", "rfb320"])
def test_a_real_model_of_a_fixed_batch_is_never_stacked(tmp_path: Path, name: str) -> None:
    path = SHARED_DATA / "models" / name / "model.onnx"
    if not path.exists():
        pytest.skip("the shared test data (../shared/data) are not here")
    (tmp_path / "m").mkdir()
    text = f"versions: {{1: '{path.as_uri()}'}}\n"
    (tmp_path / "m" / "model.yaml").write_text(text)
    model = loaded(tmp_path / "m")
    assert model.metadata.max_batch_size == 0
    assert model.metadata.inputs[0].shape[0] == 1
    outputs = model.predict(warm_up_inputs(ModelConfig(), model.metadata))
    assert {n: a.shape for n, a in outputs.items()} == {
        spec.name: spec.shape for spec in model.metadata.outputs
    }
    (tmp_path / "m" / "model.yaml").write_text(text + "max_batch_size: 8\n")
    with pytest.raises(ConfigurationError, match=":2: max_batch_size: must be 0"):
        loaded(tmp_path / "m")


@pytest.fixture(scope="module")
def zoo() -> ModelRepository:
    return ModelRepository([ZOO])


@pytest.mark.parametrize("name", ["air-quality", "digits", "text-detect", "text-recognise"])
def test_a_bundled_model_loads_and_warms_up(zoo: ModelRepository, name: str) -> None:
    model = zoo.load(name, "1")
    metadata = model.metadata
    assert metadata.platform == "onnxruntime_onnx"
    assert metadata.max_batch_size > 0
    outputs = model.predict(warm_up_inputs(zoo.config(name), metadata))
    for spec in metadata.outputs:
        assert outputs[spec.name].ndim == len(spec.shape)
        assert np.isfinite(outputs[spec.name].astype(np.float64)).all()


def test_digits_are_read(zoo: ModelRepository) -> None:
    _, images, _, digits = split()
    model = zoo.load("digits", "1")
    probabilities = model.predict({"image": images})["probabilities"]
    assert np.abs(probabilities.astype(np.float64).sum(axis=1) - 1.0).max() < 1e-5
    assert model.metadata.labels["probabilities"] == tuple("0123456789")
    assert (probabilities.argmax(axis=1) == digits).mean() >= 0.98


def test_a_row_does_not_depend_on_its_batch(zoo: ModelRepository) -> None:
    _, images, _, _ = split()
    model = zoo.load("digits", "1")
    together = model.predict({"image": images[:8]})["probabilities"]
    alone = [model.predict({"image": images[i : i + 1]})["probabilities"][0] for i in range(8)]
    assert np.abs(together.astype(np.float64) - np.stack(alone)).max() < 1e-6


def test_air_is_judged(zoo: ModelRepository) -> None:
    """A room that training has not seen, with one episode of each kind."""
    hour = 3600.0
    kinds = enumerate(LABELS[1:])
    episodes = [Episode(kind, (9 + 4 * i) * hour, 1.5 * hour) for i, kind in kinds]
    trace = readings(77, episodes=episodes)
    day = [next(trace) for _ in range(20 * 60)]
    model = zoo.load("air-quality", "1")
    assert model.metadata.labels["probabilities"] == LABELS
    vectors = np.array([reading.values for reading in day], dtype=np.float32)
    answers = model.predict({"vector": vectors})["probabilities"].argmax(axis=1)
    truth = np.array([LABELS.index(reading.label) for reading in day])
    recalls = [(answers[truth == i] == i).mean() for i in range(len(LABELS))]
    assert min(recalls) > 0.9, dict(zip(LABELS, recalls, strict=True))


def test_text_is_read(zoo: ModelRepository) -> None:
    """Class 0 is the CTC blank, the last class a space, and those between are the labels."""
    model = zoo.load("text-recognise", "1")
    classes = model.predict({"x": _line_of_text("Pump 42 OK")})["fetch_name_0"][0].argmax(axis=1)
    alphabet = ("", *model.metadata.labels["fetch_name_0"], " ")
    assert len(alphabet) == model.metadata.outputs[0].shape[2]
    merged = [c for i, c in enumerate(classes) if i == 0 or c != classes[i - 1]]
    assert "".join(alphabet[c] for c in merged) == "Pump 42 OK"


def test_text_is_found(zoo: ModelRepository) -> None:
    picture = np.full((320, 480, 3), 255, np.uint8)
    cv2.putText(picture, "Valve 7", (100, 170), cv2.FONT_HERSHEY_SIMPLEX, 2, (0, 0, 0), 4)
    model = zoo.load("text-detect", "1")
    [[text]] = model.predict({"x": _normalised(picture)})["fetch_name_0"]
    assert text.shape == (320, 480)
    found, ink = np.argwhere(text > 0.3), np.argwhere(picture[:, :, 0] < 128)
    assert np.abs(found.min(axis=0) - ink.min(axis=0)).max() < 20
    assert np.abs(found.max(axis=0) - ink.max(axis=0)).max() < 20


def _line_of_text(text: str) -> Array:
    picture = np.full((48, 320, 3), 255, np.uint8)
    cv2.putText(picture, text, (8, 36), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 2)
    return _normalised(picture)


def _normalised(picture: Array) -> Array:
    """What PP-OCR models take: FP32 (1, 3, height, width) from -1 to 1."""
    scaled = (picture.astype(np.float32) / 255 - 0.5) / 0.5
    batch: Array = scaled.transpose(2, 0, 1)[None]
    return batch
