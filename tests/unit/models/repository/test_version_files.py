import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from app.errors import ConfigurationError
from models.repository.located import locate
from models.repository.model_yaml import load_model_config
from models.repository.repository import ModelRepository
from models.repository.version_files import PREFIX, private_copy, remove_abandoned, sums_of
from tests.unit.models.onnx_files import identity, with_external_data

X = {"x": np.zeros((1, 3), np.float32)}


@pytest.fixture(autouse=True)
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where copies are made."""
    folder = tmp_path / "copies"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The directory of a model whose weights are in `1/data/w.bin`."""
    path = with_external_data(tmp_path / "models" / "m" / "1" / "model.onnx", "data/w.bin")
    (path.parent / "data").mkdir()
    np.array([1, 2, 3], np.float32).tofile(path.parent / "data" / "w.bin")
    return path.parents[1]


def test_every_file_is_copied_and_summed(model: Path, copies: Path) -> None:
    located = locate(load_model_config(model), "1")
    with private_copy(located, 1) as files:
        assert files.path.is_relative_to(copies)
        assert files.path.read_bytes() == located.path.read_bytes()
        weights = (files.path.parent / "data" / "w.bin").read_bytes()
        assert weights == np.array([1, 2, 3], np.float32).tobytes()
        assert dict(files.sums) == {
            "model.onnx": sha256(located.path.read_bytes()).hexdigest(),
            "data/w.bin": sha256(weights).hexdigest(),
        }
        assert files.path.parent.stat().st_mode & 0o077 == 0
        assert files.sums == sums_of(located, 1)
    assert list(copies.iterdir()) == []


def test_fault_154_what_is_loaded_does_not_follow_its_files(model: Path) -> None:
    loaded = ModelRepository([model.parent]).load("m", "1")
    with (model / "1" / "data" / "w.bin").open("r+b") as file:
        file.write(np.array([7, 8, 9], np.float32).tobytes())
        file.flush()
        assert loaded.predict(X)["y"].tolist() == [[1, 2, 3]]
        file.truncate(0)
        assert loaded.predict(X)["y"].tolist() == [[1, 2, 3]]
    (model / "1" / "data" / "w.bin").unlink()
    assert loaded.predict(X)["y"].tolist() == [[1, 2, 3]]


def test_an_error_names_the_original(model: Path, copies: Path) -> None:
    path = model / "1" / "model.onnx"
    path.write_bytes(path.read_bytes().replace(b"Add", b"Bad"))
    with pytest.raises(ConfigurationError, match="ONNX Runtime refuses it") as caught:
        ModelRepository([model.parent]).load("m", "1")
    assert caught.value.file == str(path)
    assert str(copies) not in str(caught.value)


def test_a_file_that_is_written_to_meanwhile_is_refused(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = model / "1" / "data" / "w.bin"

    class Digest:
        """A sum that takes so long that the file has grown."""

        def update(self, data: bytes) -> None:
            if len(data) == 12:
                weights.write_bytes(bytes(16))

        def hexdigest(self) -> str:
            return "0" * 64

    monkeypatch.setattr("models.repository.version_files.hashlib.sha256", Digest)
    with pytest.raises(ConfigurationError, match=r"w\.bin: was written to while it was read"):
        sums_of(locate(load_model_config(model), "1"), 1)


def test_a_disk_that_is_full_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def full(path: Path, mode: str = "r") -> object:
        if mode == "wb":
            raise OSError(28, "No space left on device")
        return real(path, mode)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ConfigurationError, match=r"TMPDIR says where to\): No space left"):
        ModelRepository([model.parent]).load("m", "1")


def test_a_place_for_copies_that_is_not_there_is_named(model: Path, copies: Path) -> None:
    copies.rmdir()
    with pytest.raises(
        ConfigurationError, match=r"TMPDIR: no directory can be made .*No such file"
    ):
        ModelRepository([model.parent]).load("m", "1")


def test_what_a_process_left_that_died_is_removed_later(copies: Path, model: Path) -> None:
    for name in ("old", "young"):
        (copies / f"{PREFIX}{name}").mkdir()
        (copies / f"{PREFIX}{name}" / "model.onnx").write_bytes(b"left")
    os.utime(copies / f"{PREFIX}old", (0, 0))
    with private_copy(locate(load_model_config(model), "1"), 1) as files:
        os.utime(files.path.parent, (0, 0))
        remove_abandoned(copies)
        assert files.path.exists(), "it is in use"
    assert [path.name for path in copies.iterdir()] == [f"{PREFIX}young"]


def test_fault_156_a_directory_stands_for_the_file_in_it(tmp_path: Path) -> None:
    artefact = tmp_path / "models" / "m" / "1" / "model.onnx"
    with_external_data(artefact / "model.onnx", "w.bin")
    np.array([4, 5, 6], np.float32).tofile(artefact / "w.bin")
    repository = ModelRepository([tmp_path / "models"])
    assert list(repository.validate()) == []
    assert repository.load("m", "1").predict(X)["y"].tolist() == [[4, 5, 6]]


def test_a_directory_without_that_file_is_none(tmp_path: Path) -> None:
    identity(tmp_path / "models" / "m" / "1" / "model.onnx" / "other.onnx")
    with pytest.raises(ConfigurationError, match=r"versions\.1: there is no file .*model\.onnx"):
        ModelRepository([tmp_path / "models"]).load("m", "1")
