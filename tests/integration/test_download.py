"""Artefacts from a web server, which is a real one on this machine."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from app.errors import ConfigurationError
from models.repository.artefacts import CACHE_VARIABLE, cached
from models.repository.located import locate
from models.repository.model_yaml import load_model_config
from models.repository.repository import ModelRepository
from tests.integration.site import Site
from tests.unit.models.onnx_files import identity

pytestmark = pytest.mark.integration


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    with Site.running() as site:
        site.content = identity(tmp_path / "made.onnx").read_bytes()
        yield site


def repository(
    root: Path, site: Site, digest: str | None = None, limit: int = 1
) -> ModelRepository:
    (root / "models" / "m").mkdir(parents=True, exist_ok=True)
    given = sha256(site.content).hexdigest() if digest is None else digest
    text = f"versions: {{1: '{site.url}'}}\nsha256: {{1: {given}}}\n"
    (root / "models" / "m" / "model.yaml").write_text(text)
    return ModelRepository([root / "models"], max_model_size_mb=1)


def kept(root: Path) -> list[str]:
    names = (path.name for path in (root / "cache").iterdir())
    return sorted(name for name in names if not name.endswith(".lock"))


def test_a_remote_artefact_is_downloaded_once_and_served_without_the_server(
    tmp_path: Path, site: Site
) -> None:
    models = repository(tmp_path, site)
    for _ in range(2):
        model = models.load("m", "1")
        x = np.ones((1, 3), np.float32)
        assert model.predict({"x": x})["y"].tolist() == [[1, 1, 1]]
    assert site.asked == [None]
    assert kept(tmp_path) == [f"{sha256(site.content).hexdigest()}.onnx"]


def test_a_signed_link_is_kept_without_its_signature(tmp_path: Path, site: Site) -> None:
    models = repository(tmp_path, site)
    path = tmp_path / "models" / "m" / "model.yaml"
    path.write_text(path.read_text().replace("net.onnx", "net.onnx?Signature=a.b/c"))
    models.scan()
    models.load("m", "1")
    assert kept(tmp_path) == [f"{sha256(site.content).hexdigest()}.onnx"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_transfer_goes_on_where_it_ended(tmp_path: Path, site: Site, ranges: bool) -> None:
    site.break_after, site.ranges = 50, ranges
    repository(tmp_path, site).load("m", "1")
    assert site.asked == [None, "bytes=50-"]


def test_fault_083_another_file_than_was_meant_is_not_kept(tmp_path: Path, site: Site) -> None:
    models = repository(tmp_path, site, "a" * 64)
    with pytest.raises(ConfigurationError, match=r":1: versions\.1: .*another SHA-256"):
        models.load("m", "1")
    assert kept(tmp_path) == []


def test_fault_079_a_full_disk_leaves_nothing_behind(tmp_path: Path, site: Site) -> None:
    models = repository(tmp_path, site)
    path = cached(site.url, sha256(site.content).hexdigest())
    path.parent.mkdir(parents=True)
    partial = path.with_name(f".{path.name}.part")
    partial.symlink_to("/dev/full")
    with pytest.raises(ConfigurationError, match="cannot be kept: No space left on device"):
        models.load("m", "1")
    assert kept(tmp_path) == []
    models.load("m", "1")


def test_a_file_that_is_too_large_is_not_kept(tmp_path: Path, site: Site) -> None:
    site.content = bytes(1_000_001)
    with pytest.raises(ConfigurationError, match="the file has more than 1 MB"):
        repository(tmp_path, site).load("m", "1")
    assert kept(tmp_path) == []


def test_a_server_that_refuses_or_is_away(tmp_path: Path, site: Site) -> None:
    site.status = 404
    with pytest.raises(ConfigurationError, match="the server answers 404"):
        repository(tmp_path, site).load("m", "1")
    models = repository(tmp_path, site)
    url = f"{site.url[: site.url.rindex(':')]}:1/net.onnx"
    text = f"versions: {{1: '{url}'}}\nsha256: {{1: {'a' * 64}}}\n"
    (tmp_path / "models" / "m" / "model.yaml").write_text(text)
    models.scan()
    with pytest.raises(ConfigurationError, match="failed 3 times: ConnectError"):
        models.load("m", "1")


def test_a_transfer_that_was_complete_but_for_its_name(tmp_path: Path, site: Site) -> None:
    models = repository(tmp_path, site)
    path = cached(site.url, sha256(site.content).hexdigest())
    path.parent.mkdir(parents=True)
    path.with_name(f".{path.name}.part").write_bytes(site.content)
    models.load("m", "1")
    assert site.asked == [f"bytes={len(site.content)}-"]


def test_without_a_checksum_nothing_is_fetched(tmp_path: Path, site: Site) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.yaml").write_text(f"versions: {{1: '{site.url}'}}")
    with pytest.raises(ConfigurationError, match=r"sha256\.1: is required for what is downloaded"):
        locate(load_model_config(tmp_path / "m"), "1")
    assert site.asked == []
