import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import ConfigurationError
from models.repository.external_data import external_data, has_loops, place_of_data
from tests.unit.models.onnx_files import (
    counting,
    identity,
    with_external_data,
    with_hidden_external_data,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A model's directory with weights beside it and a secret above it."""
    directory = tmp_path / "model"
    (directory / "data").mkdir(parents=True)
    np.array([1, 2, 3], np.float32).tofile(directory / "data" / "weights.bin")
    np.array([4, 2, 4], np.float32).tofile(tmp_path / "secret.bin")
    (directory / "link.bin").symlink_to(tmp_path / "secret.bin")
    (directory / "inner-link.bin").symlink_to(directory / "data" / "weights.bin")
    (directory / "linked").symlink_to(tmp_path)
    return directory


def checked(path: Path) -> None:
    for location in external_data(path):
        place_of_data(path, location)


def test_loops_are_found(tmp_path: Path) -> None:
    assert has_loops(counting(tmp_path / "counting" / "model.onnx"))
    assert not has_loops(identity(tmp_path / "identity" / "model.onnx"))


def test_data_beside_the_model_is_fine(directory: Path) -> None:
    path = with_external_data(directory / "model.onnx", "data/weights.bin")
    assert list(external_data(path)) == ["data/weights.bin"]
    checked(path)


@pytest.mark.parametrize(
    "location",
    [
        "/etc/hostname",
        "../secret.bin",
        "data/../../secret.bin",
        "data/../data/weights.bin",
        "link.bin",
        "inner-link.bin",
        "linked/secret.bin",
    ],
)
def test_data_elsewhere_is_refused(directory: Path, location: str) -> None:
    path = with_external_data(directory / "model.onnx", location)
    with pytest.raises(ConfigurationError, match="must lie beside the model") as caught:
        checked(path)
    assert repr(location) in str(caught.value)


def test_fault_081_a_hard_link_is_refused(directory: Path) -> None:
    path = with_external_data(directory / "model.onnx", "hard.bin")
    (directory / "hard.bin").hardlink_to(directory / "data" / "weights.bin")
    with pytest.raises(ConfigurationError, match=r"'hard\.bin' is a hard link"):
        checked(path)


def test_data_of_an_inner_graph_is_found(directory: Path) -> None:
    path = with_hidden_external_data(directory / "model.onnx", "../secret.bin")
    assert list(external_data(path)) == ["../secret.bin", "../secret.bin"]
    with pytest.raises(ConfigurationError, match="must lie beside the model"):
        checked(path)


@pytest.mark.parametrize("location", ["data/absent.bin", "data", "*/_ORT_MEM_ADDR_/*", ""])
def test_data_that_is_missing_is_named(directory: Path, location: str) -> None:
    path = with_external_data(directory / "model.onnx", location)
    with pytest.raises(ConfigurationError, match="is missing"):
        checked(path)


def test_most_models_have_none(tmp_path: Path) -> None:
    assert list(external_data(identity(tmp_path / "model.onnx"))) == []


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x3a\xff\x01", b"\xff" * 20])
def test_a_file_that_is_no_protocol_buffer_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"model\.onnx: is not an ONNX file"):
        checked(path)


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, 400), flip=st.integers(0, 400), value=st.integers(0, 255))
def test_damaged_files_never_break_the_reader(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int, value: int
) -> None:
    path = with_hidden_external_data(tmp_path_factory.mktemp("m") / "model.onnx", "w.bin")
    content = bytearray(path.read_bytes())
    content[flip % len(content)] = value
    path.write_bytes(content[: max(cut % len(content), 1)])
    with contextlib.suppress(ConfigurationError):
        list(external_data(path))
