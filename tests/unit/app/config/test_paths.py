"""Paths of a pipelines file start at the file."""

from pathlib import Path

import pytest

import deployments.catalogue  # noqa: F401 - fills the registries
from app.config.pipelines import load_pipelines, parse_pipelines
from app.errors import ConfigurationError

FILE = """
version: 1
connectors:
  - {id: recorded, type: file, path: recordings/day.jsonl, pipeline: p}
  - {id: absolute, type: file, path: /srv/day.jsonl, pipeline: p}
  - {id: filmed, type: camera, device: film.mp4, pipeline: p}
  - {id: first, type: camera, device: 0, pipeline: p}
  - id: site
    type: mqtt
    host: broker
    topics: [{filter: a, pipeline: p}]
    tls: {ca_file: ca.pem}
pipelines:
  - id: p
    nodes: [{id: decode, type: image.decode}]
    agents: [kept]
agents:
  kept: {type: snapshot_archive, dispatcher: log, directory: kept}
"""


def test_a_relative_path_starts_at_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "pipelines.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    config = load_pipelines(Path("site/pipelines.yaml"))
    known = {connector.id: connector.model_dump() for connector in config.connectors}
    assert known["recorded"]["path"] == str(site / "recordings" / "day.jsonl")
    assert known["absolute"]["path"] == "/srv/day.jsonl"
    assert known["filmed"]["device"] == str(site / "film.mp4")
    assert known["first"]["device"] == 0
    assert known["site"]["tls"]["ca_file"] == str(site / "ca.pem")
    assert config.agents["kept"].model_dump()["directory"] == str(site / "kept")


def test_text_of_no_file_is_left_as_it_is() -> None:
    config = parse_pipelines(FILE)
    assert config.connectors[0].model_dump()["path"] == "recordings/day.jsonl"


def test_an_address_is_no_device_wherever_the_file_is(tmp_path: Path) -> None:
    file = tmp_path / "pipelines.yaml"
    file.write_text(FILE.replace("film.mp4", "http://somewhere/film.mp4"))
    with pytest.raises(ConfigurationError, match="not an address"):
        load_pipelines(file)
