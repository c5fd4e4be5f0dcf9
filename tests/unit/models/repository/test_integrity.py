"""Sums and sizes of what is about to be loaded."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from app.errors import ConfigurationError
from models.repository.artefacts import CACHE_VARIABLE, cached
from models.repository.checksum import sha256_of
from models.repository.repository import ModelRepository
from tests.unit.models.onnx_files import dense, with_external_data

WEIGHTS = np.array([1, 2, 3], np.float32).tobytes()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model whose weights are in `data/w.bin` beside it."""
    path = with_external_data(tmp_path / "m" / "1" / "model.onnx", "data/w.bin")
    weights = path.parent / "data" / "w.bin"
    weights.parent.mkdir()
    weights.write_bytes(WEIGHTS)
    return path


def with_sums(path: Path, sums: str, more: str = "") -> None:
    (path.parents[1] / "model.yaml").write_text(f"sha256:\n  1: {sums}\n{more}")


def opened(root: Path) -> None:
    repository = ModelRepository([root])
    with repository.files(repository.config("m"), "1"):
        pass


def sums_of(path: Path) -> str:
    return f"{{model.onnx: {sha256_of(path)}, data/w.bin: {sha256(WEIGHTS).hexdigest().upper()}}}"


def test_fault_083_replaced_weights_beside_the_file(tmp_path: Path, model: Path) -> None:
    with_sums(model, sums_of(model))
    opened(tmp_path)
    (model.parent / "data" / "w.bin").write_bytes(WEIGHTS[::-1])
    with pytest.raises(ConfigurationError, match=r":2: sha256\.1: data/w\.bin has another SHA-256"):
        opened(tmp_path)


def test_a_replaced_artefact_beside_its_weights(tmp_path: Path, model: Path) -> None:
    with_sums(model, sums_of(model))
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(ConfigurationError, match=r"sha256\.1: model\.onnx has another SHA-256"):
        opened(tmp_path)


def test_each_file_needs_a_sum(tmp_path: Path, model: Path) -> None:
    reason = r":2: sha256\.1: there is none for '{}': give each file of the model its own"
    for sums in (sha256_of(model), f"{{model.onnx: {sha256_of(model)}}}"):
        with_sums(model, sums)
        with pytest.raises(ConfigurationError, match=reason.format("data/w.bin")):
            opened(tmp_path)
    with_sums(model, f"{{data/w.bin: {sha256(WEIGHTS).hexdigest()}}}")
    with pytest.raises(ConfigurationError, match=reason.format("model.onnx")):
        opened(tmp_path)


def test_a_sum_of_no_file_is_not_passed_over(tmp_path: Path, model: Path) -> None:
    with_sums(model, sums_of(model).replace("}", f", other.bin: {'a' * 64}}}"))
    known = "'other.bin' is no file of the model; it has: data/w.bin, model.onnx"
    with pytest.raises(ConfigurationError, match=known):
        opened(tmp_path)


def test_weights_of_elsewhere_are_not_even_read(tmp_path: Path) -> None:
    path = with_external_data(tmp_path / "m" / "1" / "model.onnx", "../../w.bin")
    with_sums(path, f"{{model.onnx: {sha256_of(path)}, ../../w.bin: {'a' * 64}}}")
    with pytest.raises(ConfigurationError, match="must lie beside the model"):
        opened(tmp_path)


def test_the_suffix_does_not_matter(tmp_path: Path, model: Path) -> None:
    model.rename(model.with_name("model.bin"))
    more = "runtime: onnx\nversions: {1: 1/model.bin}\n"
    with_sums(model, sha256_of(model.with_name("model.bin")), more)
    with pytest.raises(ConfigurationError, match=r"there is none for 'data/w\.bin'"):
        opened(tmp_path)


def test_one_sum_by_name_is_enough_without_external_data(tmp_path: Path) -> None:
    path = dense(tmp_path / "m" / "1" / "model.onnx", np.ones((2, 2)))
    with_sums(path, f"{{model.onnx: {sha256_of(path)}}}")
    opened(tmp_path)


def test_what_is_downloaded_has_no_external_data(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    url, digest = "https://host/model.onnx", sha256_of(model)
    kept = cached(url, digest)
    kept.parent.mkdir()
    model.rename(kept)
    (model.parent / "data").rename(kept.parent / "data")
    with_sums(model, digest, f"versions: {{1: '{url}'}}\n")
    with pytest.raises(ConfigurationError, match=r"w\.bin': external data is not downloaded"):
        opened(tmp_path)
