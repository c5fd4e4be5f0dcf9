"""What every registered runtime must do. A new one needs a rig here, and has its tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import models.runtimes
from app.errors import ConfigurationError, ModelNotReady
from app.formats.datatypes import dtype_of
from app.interfaces import Model
from app.registry import RUNTIMES
from models.repository.metadata import warm_up_inputs
from models.repository.model_yaml import load_model_config
from models.serving.checks import check_answer, check_inputs
from tests.fakes.models import FakeModel
from tests.unit.models.files import as_they_lie
from tests.unit.models.onnx_files import identity

assert models.runtimes.__all__


def onnx_identity(directory: Path) -> None:
    identity(directory / "1" / "model.onnx")


RIGS: dict[str, Callable[[Path], None]] = {"onnx": onnx_identity}
"""By runtime: writes version 1 of a model that answers `x`, FP32 (batch, 3), as `y`."""

NAMES = [registration.names[0] for registration in RUNTIMES]
EVERY = pytest.mark.parametrize("name", NAMES)


def open_model(name: str, directory: Path) -> Model:
    RIGS[name](directory)
    return RUNTIMES.get(name).factory(*as_they_lie(directory))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "same").mkdir()
    return tmp_path / "same"


def test_every_runtime_has_a_rig() -> None:
    assert list(RIGS) == NAMES


@EVERY
def test_nothing_is_known_before_load(name: str, directory: Path) -> None:
    model = open_model(name, directory)
    with pytest.raises(ModelNotReady):
        _ = model.metadata
    with pytest.raises(ModelNotReady):
        model.predict({"x": np.zeros((1, 3), np.float32)})


@EVERY
def test_the_metadata_says_what_predict_takes_and_gives(name: str, directory: Path) -> None:
    model = open_model(name, directory)
    model.load()
    metadata = model.metadata
    assert (metadata.name, metadata.versions) == ("same", ("1",))
    assert metadata.platform
    [spec] = metadata.inputs
    assert (spec.name, dtype_of(spec.datatype), spec.shape) == ("x", np.dtype(np.float32), (-1, 3))
    assert metadata.max_batch_size > 1
    inputs = warm_up_inputs(load_model_config(directory), metadata)
    rows = check_inputs(metadata, inputs)
    check_answer(metadata, model.predict(inputs), rows)


@EVERY
def test_row_by_row_the_answer_is_that_of_the_batch(name: str, directory: Path) -> None:
    model = open_model(name, directory)
    model.load()
    batch = np.random.default_rng(0).random((5, 3), dtype=np.float32)
    together = model.predict({"x": batch})["y"]
    assert together.tolist() == batch.tolist()
    alone = [model.predict({"x": batch[n : n + 1]})["y"] for n in range(5)]
    assert np.concatenate(alone).tolist() == together.tolist()


@EVERY
def test_inputs_are_not_written_to(name: str, directory: Path) -> None:
    model = open_model(name, directory)
    model.load()
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    x.flags.writeable = False
    model.predict({"x": x})
    turned = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert model.predict({"x": turned})["y"].tolist() == turned.tolist()


@EVERY
def test_after_unload_nothing_runs_and_unloading_twice_is_harmless(
    name: str, directory: Path
) -> None:
    model = open_model(name, directory)
    model.load()
    model.unload()
    model.unload()
    with pytest.raises(ModelNotReady):
        model.predict({"x": np.zeros((1, 3), np.float32)})


@EVERY
@pytest.mark.parametrize("damage", [b"", b"no model at all", bytes(1000)])
def test_a_damaged_artefact_is_a_configuration_error(
    name: str, directory: Path, damage: bytes
) -> None:
    model = open_model(name, directory)
    as_they_lie(directory)[1].path.write_bytes(damage)
    with pytest.raises(ConfigurationError, match=r"model\.onnx"):
        model.load()


def test_the_fake_keeps_the_rules_too() -> None:
    model = FakeModel()
    for early in (lambda: model.predict({}), lambda: model.metadata, model.unload):
        with pytest.raises(AssertionError):
            early()
    model.load()
    rows = np.ones((2, 3), np.float32)
    check_answer(model.metadata, model.predict({"x": rows}), 2)
    with pytest.raises(AssertionError):
        model.load()
    model.unload()
    with pytest.raises(AssertionError):
        model.predict({"x": rows})
